//! mount_setattr(2): flags, propagation and id mapping of a whole tree of mounts.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// What to change on a mount (mount_setattr(2)); masks of `MOUNT_ATTR_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Flags to set.
    pub set: u64,
    /// Flags to clear.
    pub clear: u64,
    /// Make the tree private, so that nothing mounted on the host later appears in it.
    pub private: bool,
}

/// Read-only.
pub const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// Set-id bits and file capabilities are ignored.
pub const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// Device nodes cannot be opened.
pub const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
/// Nothing can be executed or mapped executable.
pub const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Applies `attributes` to the mount at `directory` + `path` (empty: `directory` itself), and to all below it if
/// `recursive`. With `map`, the tree is idmapped by that user namespace.
///
/// # Errors
/// EINVAL where the file system cannot be idmapped or the kernel is older than 5.12, EPERM without the right.
pub fn set_attributes(
    directory: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attributes: Attributes,
    map: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut flags = libc::AT_SYMLINK_NOFOLLOW;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    // SAFETY: all-zero is a valid mount_attr.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes.set;
    attr.attr_clr = attributes.clear;
    attr.propagation = if attributes.private { libc::MS_PRIVATE } else { 0 };
    if let Some(map) = map {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::try_from(map.as_fd().as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: attr is valid for the size given and outlives the call; path is null-terminated.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}
