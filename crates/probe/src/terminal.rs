//! The terminal: whether a program here could type into it.

use ringfence_audit::Level;
use rustix::termios::isatty;

use crate::Request;
use crate::descriptors::is_character_device;
use crate::look::text;
use crate::report::Out;

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let terminal = streams.iter().any(|stream| is_character_device(stream) && isatty(stream));
    // Without the switch (before Linux 6.2) the request is always there.
    let typed = text("/proc/sys/dev/tty/legacy_tiocsti").trim() != "0";
    let why = "characters that are put into its input (TIOCSTI) are run by the shell outside, unless a filter refuses that";
    out.either(
        "terminal-input",
        Level::Medium,
        terminal && typed,
        (
            "the caller's terminal is here, and the kernel lets programs type into it",
            "no terminal that programs could type into",
        ),
        why,
    );
}
