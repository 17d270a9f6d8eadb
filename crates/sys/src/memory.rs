//! process_vm_readv(2): what a waiting task put into its memory.

use crate::{Errno, check};

/// Reads `buffer.len()` bytes at `address` of a process; short reads are errors.
///
/// # Errors
/// EPERM without the right to trace it, EFAULT for memory that is not there, ESRCH.
pub fn read(process: i32, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).map_err(|_| Errno::FAULT)?),
        iov_len: buffer.len(),
    };
    // SAFETY: the local vector is the buffer, writable for its length; the remote one is checked by the kernel.
    let result = unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    let length = check(result as libc::c_long)?;
    if usize::try_from(length) == Ok(buffer.len()) { Ok(()) } else { Err(Errno::FAULT) }
}

/// Writes all of `bytes` to `address` of a process.
///
/// # Errors
/// Like [`read`].
pub fn write(process: i32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).map_err(|_| Errno::FAULT)?),
        iov_len: bytes.len(),
    };
    // SAFETY: the local vector is only read, for its length; the remote one is checked by the kernel.
    let result = unsafe { libc::process_vm_writev(process, &raw const local, 1, &raw const remote, 1, 0) };
    let length = check(result as libc::c_long)?;
    if usize::try_from(length) == Ok(bytes.len()) { Ok(()) } else { Err(Errno::FAULT) }
}

/// Gives the program's own code back to the page cache, from which it comes again as it is used: a process that sleeps for
/// hours needs none of what its start took (madvise(2), MADV_DONTNEED on a private mapping of a file that nobody wrote to).
pub fn forget_code() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    // rustix::param would be one more feature for one number; 64 KiB is a multiple of every page size in use.
    const PAGES: usize = 64 << 10;
    let start = (&raw const __executable_start).addr().next_multiple_of(PAGES);
    let end = (&raw const etext).addr() / PAGES * PAGES;
    if start < end {
        let first = std::ptr::without_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range lies in the mapping of the code, which is never written; the kernel reads it again on use.
        unsafe { libc::madvise(first, end - start, libc::MADV_DONTNEED) };
    }
}
