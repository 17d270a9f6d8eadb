//! Writing back what is dirty, sync_file_range(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, check};

/// Starts to write a file's dirty pages to disk and does not wait: whoever syncs several files afterwards pays for one
/// commit of the journal and not for one each. It promises nothing by itself.
///
/// # Errors
/// What the kernel says; `ESPIPE` for what is no file.
pub fn start(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and no memory is passed.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    check(libc::c_long::from(result)).map(drop)
}
