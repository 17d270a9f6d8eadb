//! Who made a request to the root's server, by the sandbox's own /proc. It waits for the answer, so it holds still; what stands in
//! its memory may be changed by others, and is told as its own words.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use ringfence_plan::syscalls;
use ringfence_sys::memory;
use rustix::event::{Timespec, poll};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::purpose::Purpose;

/// How long a thread may take from its request to its waiting for the answer: 5 ms.
const SETTLING: u32 = 50;
const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000 };
/// PATH_MAX.
const LONGEST: usize = 4096;
const PAGE: u64 = 4096;
/// How often a name may lead up before it comes to where its way ended; each time is looked for links.
const MOST_UPS: usize = 16;

/// The process that a thread belongs to, or the thread itself where that cannot be told.
pub(crate) fn process(proc: &OwnedFd, thread: i32) -> i32 {
    let group = text(proc, &format!("{thread}/status")).ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
        line.trim().parse().ok()
    });
    group.unwrap_or(thread)
}

/// Whether a thread lives; one that was killed may be there until its parent has heard of it (proc_pid_status(5)).
pub(crate) fn lives(proc: impl AsFd, thread: &str) -> bool {
    let status = text(proc, &format!("{thread}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// What it is going to do, as its system call says, and with what, where its way ended at `path`: that, with the rest of the path that it
/// named. `links`: what a path leads to by links of the sandbox's own.
pub(crate) fn intent(
    proc: &OwnedFd,
    thread: i32,
    path: &Path,
    links: impl Fn(&Path) -> PathBuf,
) -> (Purpose, Option<PathBuf>) {
    let mut waits = 0..SETTLING;
    let line = loop {
        match text(proc, &format!("{thread}/syscall")) {
            // It has asked, and does not wait for the answer yet.
            Ok(line) if line.starts_with("running") && waits.next().is_some() => {
                // The server's own filter knows no other way to sleep.
                let _ = poll(&mut [], Some(&STEP));
            }
            Ok(line) => break line,
            Err(_) => return (Purpose::Look, None),
        }
    };
    let mut fields = line.split_ascii_whitespace();
    let Some(number) = fields.next().and_then(|field| field.parse::<i64>().ok()) else {
        return (Purpose::Look, None);
    };
    let arguments: Vec<u64> =
        fields.map_while(|field| u64::from_str_radix(field.strip_prefix("0x")?, 16).ok()).collect();
    let argument = |number: usize| arguments.get(number).copied();
    let rest = |name: &Named| {
        let text = string(thread, argument(name.path)?.checked_add(name.from)?)?;
        let named = Path::new(&text);
        let begin = match named.is_absolute() {
            true => PathBuf::from("/"),
            // Where it begins no link is on the way up.
            false => begin(proc, thread, name.directory.and_then(argument)).filter(|at| at.is_absolute())?,
        };
        rest(path, begin, named, &links)
    };
    let named = names(number, &arguments);
    // Of two names it is the one that leads there.
    let met = named.iter().find_map(|named| Some((named.purpose, rest(named)?)));
    let (purpose, rest) =
        met.unwrap_or_else(|| (named.first().map_or(Purpose::Look, |named| named.purpose), PathBuf::new()));
    (purpose, (!rest.as_os_str().is_empty()).then(|| path.join(rest)))
}

/// A path that a call names.
struct Named {
    purpose: Purpose,
    /// The argument with the directory to begin at, and the one with the path.
    directory: Option<usize>,
    path: usize,
    /// Where it begins there.
    from: u64,
}

/// Bytes before the path in an address of a socket (unix(7)).
const FAMILY: u64 = 2;

/// All of a call's, those that are looked up first before the others.
fn names(number: i64, arguments: &[u64]) -> Vec<Named> {
    let named = |purpose, (directory, path): (Option<u8>, u8)| Named {
        purpose,
        directory: directory.map(usize::from),
        path: path.into(),
        from: 0,
    };
    let Ok(short) = i32::try_from(number) else { return Vec::new() };
    if let Some([old, new]) = syscalls::renames(short) {
        return vec![named(Purpose::Remove, *old), named(Purpose::Write, *new)];
    }
    let (of, path) = purpose(number, arguments);
    if let Some(path) = path {
        return vec![Named { purpose: of, directory: path.checked_sub(1), path, from: 0 }];
    }
    if number == libc::SYS_bind {
        return vec![Named { from: FAMILY, ..named(Purpose::Write, (None, 1)) }];
    }
    if let Some(at) = syscalls::looked(short) {
        return vec![named(Purpose::Look, at)];
    }
    let written = syscalls::written(short).unwrap_or_default().iter();
    let written = written.filter(|(_, path)| *path != syscalls::NO_PATH).map(|at| named(Purpose::Write, *at));
    let linked = match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_link => Some((None, 0)),
        libc::SYS_linkat => Some((Some(0), 1)),
        _ => None,
    };
    linked.into_iter().map(|at| named(Purpose::Look, at)).chain(written).collect()
}

/// Where a relative path begins.
fn begin(proc: &OwnedFd, thread: i32, directory: Option<u64>) -> Option<PathBuf> {
    // Descriptors are 32 bits wide.
    let link = match directory.map(|directory| directory as u32 as i32) {
        None | Some(libc::AT_FDCWD) => format!("{thread}/cwd"),
        Some(number) => format!("{thread}/fd/{number}"),
    };
    let path = fs::readlinkat(proc, link, Vec::new()).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}

/// By the call and its flags; and which of its arguments is the path, which stands behind the one with the directory to begin at.
fn purpose(number: i64, arguments: &[u64]) -> (Purpose, Option<usize>) {
    let opened = |flags: usize| {
        let flags = arguments.get(flags).copied().unwrap_or(0);
        // O_ACCMODE, O_CREAT, O_TRUNC (open(2)).
        if flags & 0o3 != 0 || flags & 0o1100 != 0 { Purpose::Write } else { Purpose::Read }
    };
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_open => return (opened(1), Some(0)),
        libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_readlink => {
            return (Purpose::Look, Some(0));
        }
        libc::SYS_creat | libc::SYS_mkdir => return (Purpose::Write, Some(0)),
        libc::SYS_rmdir | libc::SYS_unlink => return (Purpose::Remove, Some(0)),
        _ => {}
    }
    match number {
        libc::SYS_openat => (opened(2), Some(1)),
        libc::SYS_openat2 => (Purpose::Read, Some(1)),
        libc::SYS_execve => (Purpose::Execute, Some(0)),
        libc::SYS_execveat => (Purpose::Execute, Some(1)),
        libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_readlinkat => (Purpose::Look, Some(1)),
        libc::SYS_chdir => (Purpose::Look, Some(0)),
        libc::SYS_mkdirat | libc::SYS_mknodat => (Purpose::Write, Some(1)),
        libc::SYS_unlinkat => (Purpose::Remove, Some(1)),
        _ => (Purpose::Look, None),
    }
}

/// A string that ends with NUL in its memory; it may lie at the end of a mapping.
pub(crate) fn string(thread: i32, address: u64) -> Option<OsString> {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST {
        let at = address.checked_add(bytes.len() as u64)?;
        let mut part = vec![0; usize::try_from(PAGE - at % PAGE).ok()?];
        memory::read(thread, at, &mut part).ok()?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(part.get(..end)?);
            return (bytes.len() < LONGEST).then(|| OsString::from_vec(bytes));
        }
        bytes.extend(part);
    }
    None
}

/// What follows `path` in what is named from `at`, where that leads through there by its own names, without `.` and doubled slashes; what
/// leads up again behind it stays as it is, for nobody here knows what it leads up from. By a link of the task's own another way may end
/// in the same name, and the rest of that is no path of the host's.
fn rest(path: &Path, mut at: PathBuf, named: &Path, links: impl Fn(&Path) -> PathBuf) -> Option<PathBuf> {
    let mut parts = named.components().peekable();
    for _ in 0..MOST_UPS {
        while let Some(part) = parts.next_if(|part| *part != Component::ParentDir) {
            at.push(part);
        }
        at = links(&at);
        if let Ok(rest) = at.strip_prefix(path) {
            let mut rest = rest.to_path_buf();
            rest.extend(parts);
            return Some(rest);
        }
        parts.next()?;
        at.pop();
    }
    None
}

pub(crate) fn text(proc: impl AsFd, name: &str) -> Result<String, Errno> {
    let file = fs::openat(proc, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0; 4096];
    let length = rustix::io::read(&file, &mut bytes)?;
    bytes.truncate(length);
    Ok(OsStr::from_bytes(&bytes).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_way() {
        // The tree has one link.
        let links = |at: &Path| match at.strip_prefix("/l") {
            Ok(below) => Path::new("/h").join(below),
            Err(_) => at.to_path_buf(),
        };
        let rest = |path: &str, at: &str, named: &str| {
            let rest = rest(Path::new(path), at.into(), Path::new(named), links)?;
            Some(rest.display().to_string())
        };
        for (path, at, named, expected) in [
            ("/h/.aws", "/", "/h/.aws/credentials", "credentials"),
            ("/h/.aws", "/", "//h/.aws/.//sso///x/", "sso/x"),
            ("/h/a/a", "/", "/h/a/a/x", "x"),
            ("/h/.aws", "/", "/h/.aws", ""),
            ("/h/.aws", "/", "/h/.aws/../.ssh", "../.ssh"),
            ("/h/.aws", "/", "/h/.aws/a/../../x", "a/../../x"),
            ("/h/.aws", "/", "/t/../h/.aws/credentials", "credentials"),
            ("/h/.aws", "/usr/lib", "../../h/.aws/x", "x"),
            ("/h/.aws", "/h", "./.aws/x", "x"),
            ("/h/.aws", "/", "/l/w/../.aws/x/../y", "x/../y"),
            ("/srv", "/", "/usr/lib/../../srv/up/z", "up/z"),
        ] {
            assert_eq!(rest(path, at, named).as_deref(), Some(expected), "{at} {named}");
        }
        let up = format!("{}h/.aws/x", "../".repeat(MOST_UPS));
        for other in ["/elsewhere", "/tmp/.aws/credentials", "/t/x/../h/.aws/credentials", ".aws/x", &up] {
            assert_eq!(rest("/h/.aws", "/", other), None, "{other}");
        }
    }

    #[test]
    fn calls_that_change_are_no_looks() {
        let of = |number: i64| {
            let names = names(number, &[0; 6]);
            names.iter().map(|named| (named.purpose, named.directory, named.path)).collect::<Vec<_>>()
        };
        let (look, write, remove) = (Purpose::Look, Purpose::Write, Purpose::Remove);
        assert_eq!(of(libc::SYS_symlinkat), [(write, Some(1), 2)]);
        assert_eq!(of(libc::SYS_linkat), [(look, Some(0), 1), (write, Some(2), 3)]);
        assert_eq!(of(libc::SYS_renameat2), [(remove, Some(0), 1), (write, Some(2), 3)]);
        for call in [libc::SYS_truncate, libc::SYS_setxattr, libc::SYS_lremovexattr] {
            assert_eq!(of(call), [(write, None, 0)]);
        }
        for call in [libc::SYS_utimensat, libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_mkdirat] {
            assert_eq!(of(call), [(write, Some(0), 1)]);
        }
        assert_eq!(of(libc::SYS_bind), [(write, None, 1)]);
        assert_eq!(of(libc::SYS_statx), [(look, Some(0), 1)]);
        assert_eq!(of(libc::SYS_inotify_add_watch), [(look, None, 1)]);
        for call in [libc::SYS_statfs, libc::SYS_getxattr, libc::SYS_llistxattr] {
            assert_eq!(of(call), [(look, None, 0)]);
        }
        assert!(of(libc::SYS_getpid).is_empty());
    }

    #[test]
    fn opening_to_write_is_writing() {
        assert_eq!(purpose(libc::SYS_openat, &[0, 0, 0]).0, Purpose::Read);
        assert_eq!(purpose(libc::SYS_openat, &[0, 0, 0o101]).0, Purpose::Write);
        assert_eq!(purpose(libc::SYS_execve, &[]), (Purpose::Execute, Some(0)));
    }
}
