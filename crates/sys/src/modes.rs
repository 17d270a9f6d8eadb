//! Modes of files that are held by descriptors which do not open them, fchmodat2(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Changes the mode of what a descriptor names, also of one with `O_PATH` (Linux 6.6).
///
/// # Errors
/// What the kernel says; before Linux 6.6 ENOSYS, and EPERM where a filter does not know the call.
pub fn change(file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let (number, empty) = (libc::SYS_fchmodat2, c"".as_ptr());
    // SAFETY: the descriptor is open, and the path is a string of the program.
    let result = unsafe { libc::syscall(number, file.as_raw_fd(), empty, mode, libc::AT_EMPTY_PATH) };
    check(result).map(drop)
}
