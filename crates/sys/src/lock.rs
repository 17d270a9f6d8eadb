//! Locks of single bytes that belong to an open file, fcntl_locking(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Locks one byte of a file, which need not be that long, for whoever has this open file; until the last descriptor of it is closed.
///
/// # Errors
/// EAGAIN or EACCES where another open file holds it.
pub fn try_lock_byte(file: BorrowedFd<'_>, at: u32) -> Result<(), Errno> {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::from(at),
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the kernel only reads the structure, which lives until the call returns.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    check(libc::c_long::from(result)).map(drop)
}
