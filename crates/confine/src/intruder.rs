//! Debug builds only: what code of an attacker in the supervisor would try, for the tests to see what comes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// What to try, in words `VERB=WHAT`; each outcome goes to standard error.
pub(crate) const VARIABLE: &str = "RINGFENCE_TEST_INTRUDER";

pub(crate) fn act() {
    let Ok(words) = std::env::var(VARIABLE) else { return };
    for word in words.split_whitespace() {
        let Some((verb, what)) = word.split_once('=') else { continue };
        let text = match attempt(verb, what) {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let _ = rustix::io::write(rustix::stdio::stderr(), format!("intruder {word}: {text}\n").as_bytes());
    }
}

fn attempt(verb: &str, what: &str) -> std::io::Result<()> {
    let pid = || what.parse().ok().and_then(Pid::from_raw).ok_or(Errno::INVAL);
    match verb {
        "read" => fs::File::open(what).map(drop),
        "list" => fs::read_dir(what).map(drop),
        "write" => fs::OpenOptions::new().append(true).open(what).map(drop),
        "create" => fs::File::create_new(what).map(drop),
        "remove" => fs::remove_file(what),
        "rename" => fs::rename(what, format!("{what}.moved")),
        "link" => std::os::unix::fs::symlink("/", what),
        "mode" => fs::set_permissions(what, fs::Permissions::from_mode(0o777)),
        "touch" => fs::File::open(what)?.set_modified(std::time::SystemTime::now()),
        "run" => Command::new(what).status().map(drop),
        "connect" => std::os::unix::net::UnixStream::connect(what).map(drop),
        "signal" => Ok(kill_process(pid()?, Signal::USR1)?),
        "trace" => Ok(ringfence_sys::memory::read(pid()?.as_raw_nonzero().get(), 4096, &mut [0; 8])?),
        _ => Err(Errno::INVAL.into()),
    }
}
