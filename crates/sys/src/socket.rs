//! connect(2) with an address as raw bytes: whatever family the task chose.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Connects; `address` is a `struct sockaddr` of any family.
///
/// # Errors
/// The kernel's.
pub fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel copies `length` bytes, which the slice has, and judges them itself.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    check(libc::c_long::from(result)).map(drop)
}
