//! netdevice(7): the loopback interface of a new network namespace.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Sets `lo` up. `socket` is any socket of the namespace meant.
///
/// # Errors
/// EPERM without the right in that namespace.
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which request is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    check(libc::c_long::from(result)).map(drop)
}
