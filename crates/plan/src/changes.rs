//! What calls that change files do that to: where their paths stand among the arguments.

use crate::syscalls::list;

/// Where a call that changes a directory or a file holds its paths: the number of the argument with the directory to begin at,
/// if any, and of the one with the path; [`NO_PATH`]: the directory is the file.
pub type Paths = &'static [(Option<u8>, u8)];

/// The number of no argument.
pub const NO_PATH: u8 = u8::MAX;

/// The paths of a call that changes files, for `runtime.watch_writes`.
#[must_use]
pub fn written(number: i32) -> Option<Paths> {
    if let Some(both) = renames(number) {
        return Some(both);
    }
    let call = list().iter().find(|call| i64::from(call.number) == i64::from(number))?;
    Some(match call.name {
        "open" | "creat" | "truncate" | "mkdir" | "rmdir" | "unlink" | "mknod" => &[(None, 0)],
        "openat" | "openat2" | "mkdirat" | "unlinkat" | "mknodat" => &[(Some(0), 1)],
        "link" | "symlink" => &[(None, 1)],
        "linkat" => &[(Some(2), 3)],
        "symlinkat" => &[(Some(1), 2)],
        "chmod" | "chown" | "lchown" | "utime" | "utimes" | "setxattr" | "lsetxattr" | "removexattr"
        | "lremovexattr" => &[(None, 0)],
        "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat" | "setxattrat"
        | "removexattrat" => &[(Some(0), 1)],
        "fchmod" | "fchown" | "fsetxattr" | "fremovexattr" => &[(Some(0), NO_PATH)],
        _ => return None,
    })
}

/// Of those, the ones that change attributes: whether they follow a link that the path ends with.
#[must_use]
pub fn attributes(number: i32, arguments: &[u64; 6]) -> Option<bool> {
    let call = list().iter().find(|call| i64::from(call.number) == i64::from(number))?;
    let flags = match call.name {
        "chmod" | "utime" | "utimes" | "futimesat" | "chown" | "setxattr" | "removexattr" | "fchmod"
        | "fchmodat" | "fchown" | "fsetxattr" | "fremovexattr" => return Some(true),
        "lchown" | "lsetxattr" | "lremovexattr" => return Some(false),
        "fchownat" => 4,
        "fchmodat2" | "utimensat" => 3,
        "setxattrat" | "removexattrat" => 2,
        _ => return None,
    };
    let flags = arguments.get(flags).map_or(0, |flags| *flags as i32);
    Some(flags & libc::AT_SYMLINK_NOFOLLOW == 0)
}

/// Of those, the renames: what is renamed, and to what.
#[must_use]
pub fn renames(number: i32) -> Option<&'static [(Option<u8>, u8); 2]> {
    match i64::from(number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => Some(&[(None, 0), (None, 1)]),
        libc::SYS_renameat | libc::SYS_renameat2 => Some(&[(Some(0), 1), (Some(2), 3)]),
        _ => None,
    }
}

/// Of those, the opens: where their flags and their mode stand.
#[must_use]
pub fn opened(number: i32) -> Option<(usize, usize)> {
    match i64::from(number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => Some((1, 2)),
        libc::SYS_openat => Some((2, 3)),
        _ => None,
    }
}

/// The path of a call that looks, and is none that only opens, asks for status or follows a link.
#[must_use]
pub fn looked(number: i32) -> Option<(Option<u8>, u8)> {
    let call = list().iter().find(|call| i64::from(call.number) == i64::from(number))?;
    match call.name {
        "statfs" | "getxattr" | "lgetxattr" | "listxattr" | "llistxattr" => Some((None, 0)),
        "getxattrat" | "listxattrat" | "file_getattr" | "name_to_handle_at" => Some((Some(0), 1)),
        "inotify_add_watch" => Some((None, 1)),
        _ => None,
    }
}
