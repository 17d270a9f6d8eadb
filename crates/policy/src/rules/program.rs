//! Which program an execution means, where one file is many.

use super::{Execution, last};

/// One file that holds many programs: its name when called, or its first argument, says which. An entry for one of them is none
/// for the others.
pub const MULTICALL: &[&str] = &[
    "busybox",
    "toybox",
    "coreutils",
    "gnu-coreutils",
    "rustup",
    "rustup-init",
    "llvm",
    "sbase-box",
    "ubase-box",
];

pub(super) fn many(file: &[u8]) -> bool {
    MULTICALL.iter().any(|name| name.as_bytes() == last(file))
}

/// The name and the arguments that decide: of the program within a file of many.
pub(super) fn called<'a>(execution: &Execution<'a>) -> (&'a [u8], Vec<&'a [u8]>) {
    let rest = execution.arguments.get(1..).unwrap_or_default();
    let (file, name) = (last(execution.file), last(execution.arguments.first().copied().unwrap_or_default()));
    // git does the same by its name as by its first argument, and keeps programs under such names.
    let dashed = |name: &'a [u8]| name.strip_prefix(b"git-");
    let of_git = dashed(file).or_else(|| dashed(name).filter(|_| file == b"git"));
    if let Some(command) = of_git {
        return (b"git", std::iter::once(command).chain(rest.iter().copied()).collect());
    }
    if !many(execution.file) {
        return (file, rest.to_vec());
    }
    match rest {
        [applet, rest @ ..] if name == file => (last(applet), rest.to_vec()),
        _ => (name, rest.to_vec()),
    }
}
