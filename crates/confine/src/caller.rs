//! Who made a request to the root's server, by the sandbox's own /proc. It waits for the answer, so it holds still; what stands in
//! its memory may be changed by others, and is told as its own words.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

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

/// What it is going to do, and with what, as its system call says.
pub(crate) fn intent(proc: &OwnedFd, thread: i32) -> (Purpose, Option<OsString>) {
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
    let (purpose, name) = purpose(number, &arguments);
    let address = name.and_then(|name| arguments.get(name)).copied();
    (purpose, address.and_then(|address| string(thread, address)))
}

/// By the call and its flags; and which of its arguments is the path.
fn purpose(number: i64, arguments: &[u64]) -> (Purpose, Option<usize>) {
    let opened = |flags: usize| {
        let flags = arguments.get(flags).copied().unwrap_or(0);
        // O_ACCMODE, O_CREAT, O_TRUNC (open(2)).
        if flags & 0o3 != 0 || flags & 0o1100 != 0 { Purpose::Write } else { Purpose::Read }
    };
    #[cfg(target_arch = "x86_64")]
    match number {
        libc::SYS_open => return (opened(1), Some(0)),
        libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_readlink | libc::SYS_chdir => {
            return (Purpose::Look, Some(0));
        }
        libc::SYS_creat | libc::SYS_mkdir => return (Purpose::Write, Some(0)),
        libc::SYS_rmdir | libc::SYS_unlink | libc::SYS_rename => return (Purpose::Remove, Some(0)),
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
        libc::SYS_mkdirat | libc::SYS_mknodat => (Purpose::Write, Some(1)),
        libc::SYS_unlinkat | libc::SYS_renameat | libc::SYS_renameat2 => (Purpose::Remove, Some(1)),
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

/// What the task meant, where its way ended at `path`: the rest of the path that it named, if that leads through there. What leads up again
/// from what is not there leads nowhere, and is left out.
pub(crate) fn whole(path: &Path, named: &OsStr) -> Option<PathBuf> {
    let end = path.file_name()?;
    let mut names = Path::new(named).components();
    match Path::new(named).strip_prefix(path) {
        Ok(rest) => names = rest.components(),
        Err(_) => drop(names.by_ref().find(|component| *component == Component::Normal(end))?),
    }
    let rest: PathBuf = names.take_while(|component| *component != Component::ParentDir).collect();
    (!rest.as_os_str().is_empty()).then(|| path.join(rest))
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
        let whole = |path: &str, named: &str| whole(Path::new(path), OsStr::new(named));
        assert_eq!(whole("/h/.aws", "/h/.aws/credentials"), Some("/h/.aws/credentials".into()));
        assert_eq!(whole("/h/.aws", ".aws/credentials"), Some("/h/.aws/credentials".into()));
        assert_eq!(whole("/h/.aws", "//h/.aws//sso///x/"), Some("/h/.aws/sso/x".into()));
        assert_eq!(whole("/h/a/a", "/h/a/a/x"), Some("/h/a/a/x".into()));
        assert_eq!(whole("/h/.aws", "/h/.aws/../.ssh"), None);
        assert_eq!(whole("/h/.aws", "/h/.aws"), None);
        assert_eq!(whole("/h/.aws", "/elsewhere"), None);
    }

    #[test]
    fn opening_to_write_is_writing() {
        assert_eq!(purpose(libc::SYS_openat, &[0, 0, 0]).0, Purpose::Read);
        assert_eq!(purpose(libc::SYS_openat, &[0, 0, 0o101]).0, Purpose::Write);
        assert_eq!(purpose(libc::SYS_execve, &[]), (Purpose::Execute, Some(0)));
    }
}
