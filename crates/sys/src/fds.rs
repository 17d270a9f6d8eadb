//! close_range(2): which descriptors survive.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::{Errno, check};

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// ENOSYS before Linux 5.11.
pub fn cloexec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: takes three integers; no descriptor is closed, so none that Rust owns goes away.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result).map(drop)
}

/// Closes every descriptor from `first` to `last`, both included.
///
/// Whoever calls this must not use an owned descriptor in that range afterwards; it is for processes that are about
/// to exec or that hold nothing there.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes three integers; the caller vouches that nothing owned in the range is used again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(result).map(drop)
}

/// Closes all but these, the streams too, or their other ends would never see an end of file.
pub fn keep_only(kept: &[&OwnedFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept {
        if fd > from {
            let _ = close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    let _ = close_range(from, u32::MAX);
}
