//! process_vm_readv(2): what a waiting task put into its memory; and what files are mapped there.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// Reads several parts of a process at once, each from its address. How many bytes were read: all, or those before the first part
/// that is not there.
///
/// # Errors
/// Like [`read`].
pub fn read_parts(process: i32, parts: &mut [(u64, &mut [u8])]) -> Result<usize, Errno> {
    let mut local = Vec::with_capacity(parts.len());
    let mut remote = Vec::with_capacity(parts.len());
    for (address, buffer) in parts {
        let address = usize::try_from(*address).map_err(|_| Errno::FAULT)?;
        local.push(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
        remote
            .push(libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: buffer.len() });
    }
    let count = local.len() as libc::c_ulong;
    // SAFETY: each local vector is a buffer of `parts`, writable for its length; the remote ones are checked by the kernel.
    let result = unsafe { libc::process_vm_readv(process, local.as_ptr(), count, remote.as_ptr(), count, 0) };
    usize::try_from(check(result as libc::c_long)?).map_err(|_| Errno::FAULT)
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

/// A file in the memory of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Where it ends.
    pub end: u64,
    /// The path of the file as proc_pid_maps(5) has it.
    pub name: Vec<u8>,
}

/// `struct procmap_query` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    kind: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// The first mapping of a file in this range of addresses, by an open /proc/PID/maps (PROCMAP_QUERY, Linux 6.11).
///
/// # Errors
/// ENOTTY for an older kernel, ENAMETOOLONG, ESRCH for a process that is gone.
pub fn mapped(maps: BorrowedFd<'_>, from: u64, to: u64) -> Result<Option<Mapped>, Errno> {
    const REQUEST: libc::c_ulong = 0xc068_6611;
    /// PROCMAP_QUERY_COVERING_OR_NEXT_VMA, PROCMAP_QUERY_FILE_BACKED_VMA.
    const NEXT_FILE: u64 = 0x10 | 0x20;
    let mut name = [0_u8; libc::PATH_MAX as usize];
    let mut query = Query {
        size: size_of::<Query>() as u64,
        flags: NEXT_FILE,
        address: from,
        name_size: libc::PATH_MAX as u32,
        name: (&raw mut name).expose_provenance() as u64,
        ..Query::default()
    };
    // SAFETY: the request reads and writes one Query, and writes at most `name_size` bytes to the buffer that `name` points to.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), REQUEST as _, &raw mut query) };
    match check(libc::c_long::from(result)) {
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
        Ok(_) if query.start >= to => Ok(None),
        Ok(_) => {
            let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::NAMETOOLONG)?;
            Ok(Some(Mapped { end: query.end, name: name.to_bytes().to_vec() }))
        }
    }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_mapped_file_is_found_and_ordinary_memory_is_none() {
        let maps = std::fs::File::open("/proc/self/maps").unwrap();
        let code = mapped as *const () as u64;
        let found = mapped(maps.as_fd(), code, code + 1).unwrap().unwrap();
        assert_eq!(found.name, std::env::current_exe().unwrap().into_os_string().into_encoded_bytes());
        assert!(found.end > code);
        let own = Box::new([0_u8; 64]);
        let at = (&raw const *own).addr() as u64;
        assert_eq!(mapped(maps.as_fd(), at, at + 64), Ok(None));
    }
}
