//! Sandboxes of the task's own (`runtime.user_namespaces`): what a path leads to there, and whether that is the same here.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::file::path_of;

/// How often a path is tried to be followed.
const MOST_TRIES: usize = 1000;

/// Where the paths of a thread begin that is in a user namespace of its own. Nobody else can have another root than init's, or other
/// mounts: both need a capability there (chroot(2), setns(2)), and only processes of one user namespace share a root (clone(2), `CLONE_FS`).
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    path: Vec<u8>,
}

impl Root {
    /// `None`: the thread is where init is.
    pub(super) fn of(thread: i32) -> Result<Option<Self>, Errno> {
        let namespace = |path: &str| fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
        if namespace(&format!("/proc/{thread}/ns/user"))? == namespace("/proc/self/ns/user")? {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = fs::openat(CWD, format!("/proc/{thread}/root"), flags, Mode::empty())?;
        let path = path_of(&directory)?;
        Ok(Some(Self { directory, path }))
    }

    /// A path of the kernel's as the thread would say it; `None`: it lies outside of its root.
    pub(super) fn inside(&self, path: &[u8]) -> Option<Vec<u8>> {
        let below = match self.path.as_slice() {
            b"/" => path,
            root => path.strip_prefix(root)?,
        };
        match below {
            [] => Some(b"/".to_vec()),
            [b'/', ..] => Some(below.to_vec()),
            _ => None,
        }
    }

    /// What the kernel would open for the thread; magic links are another matter.
    pub(super) fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let open = || fs::openat2(&self.directory, OsStr::from_bytes(path), flags, Mode::empty(), how);
        // `..` fails where anybody on the machine renames or mounts at this moment (openat2(2), EAGAIN).
        let mut tries = std::iter::repeat_with(open).take(MOST_TRIES);
        tries.find(|found| !matches!(found, Err(Errno::AGAIN))).unwrap_or(Err(Errno::XDEV))
    }
}

/// Which file it is.
pub(super) fn identity(file: &OwnedFd) -> Result<(u64, u64), Errno> {
    fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino))
}

/// What lies here at this path, if it is the very same file: whether its mount forbids to start it, and its path without links.
pub(super) fn here(file: &OwnedFd, path: &[u8]) -> Option<(bool, Vec<u8>)> {
    let how = ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = fs::openat2(CWD, OsStr::from_bytes(path), flags, Mode::empty(), how).ok()?;
    let same = identity(&found).ok()? == identity(file).ok()?;
    let flags = fs::fstatvfs(&found).ok()?.f_flag;
    let real = path_of(&found).ok()?;
    same.then(|| (flags.contains(StatVfsMountFlags::NOEXEC), real))
}
