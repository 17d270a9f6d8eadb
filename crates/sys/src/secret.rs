//! Memory for secrets: it stays in memory, out of dumps and of children, and is zeroed when it is given back.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Errno, last_errno};

/// Bytes of whole pages that are locked (mlock(2)), not dumped and not inherited (madvise(2)).
#[derive(Debug)]
pub struct Locked {
    start: NonNull<u8>,
    size: usize,
}

impl Locked {
    /// Zeroes.
    ///
    /// # Errors
    /// ENOMEM and EPERM where RLIMIT_MEMLOCK does not let so much be locked; EINVAL for no bytes.
    pub fn new(size: usize) -> Result<Self, Errno> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at a place that the kernel chooses; nothing else is touched.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let own = Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, size };
        // SAFETY: exactly the mapping that was just made.
        if unsafe { libc::mlock(start, size) } != 0 {
            return Err(last_errno());
        }
        for advice in [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK] {
            // SAFETY: exactly the mapping that was just made; its contents stay.
            if unsafe { libc::madvise(start, size, advice) } != 0 {
                return Err(last_errno());
            }
        }
        Ok(own)
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable for its size, initialised by the kernel, and lives as long as this.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    /// All of it, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: likewise, writable, and borrowed by nobody else while this borrow lasts.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The pages go back to the kernel, which hands them out zeroed; until then they are.
        wipe(self.bytes_mut());
        // SAFETY: exactly the mapping that this owns; nobody borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// Zeroes, also where nobody reads it afterwards.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

/// Whether what is freed is zeroed.
static WIPING: AtomicBool = AtomicBool::new(false);

/// From here on, all memory that this process frees is zeroed first, whoever used it: what libraries copy of a secret does not
/// stay behind. Takes effect where [`Wiping`] is the allocator.
pub fn wipe_what_is_freed() {
    WIPING.store(true, Ordering::Relaxed);
}

/// An allocator that zeroes what is freed once [`wipe_what_is_freed`] was called.
#[derive(Debug)]
pub struct Wiping<A>(pub A);

// SAFETY: everything is left to the inner allocator; what is written is memory that the caller gives back, before it is.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if WIPING.load(Ordering::Relaxed) {
            // SAFETY: the block is the caller's, of this size, and is not used any more.
            unsafe { std::ptr::write_bytes(start, 0, layout.size()) };
            std::hint::black_box(start);
        }
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !WIPING.load(Ordering::Relaxed) {
            // SAFETY: as the caller promises.
            return unsafe { self.0.realloc(start, layout, size) };
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return std::ptr::null_mut() };
        // SAFETY: `size` is not zero, as the caller promises.
        let moved = unsafe { self.0.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both blocks are that long, and the new one is nobody's else.
            unsafe { std::ptr::copy_nonoverlapping(start, moved, layout.size().min(size)) };
            // SAFETY: the old block is not used any more.
            unsafe { self.dealloc(start, layout) };
        }
        moved
    }
}

/// Zeroes the value of one variable in the memory that this process was started with, which /proc/PID/environ shows.
///
/// Only while the process has one thread. Whoever reads the variable later finds it empty.
pub fn wipe_variable(name: &str) {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: one thread, and so nobody changes it; null or a null-terminated array of strings.
    let mut cursor = unsafe { environ };
    while !cursor.is_null() {
        // SAFETY: cursor stays within the array until its terminating null.
        let entry = unsafe { *cursor };
        if entry.is_null() {
            return;
        }
        // SAFETY: entry is a null-terminated string.
        let length = unsafe { libc::strlen(entry) };
        // SAFETY: the string's own bytes; they lie on the stack, which is writable.
        let bytes = unsafe { std::slice::from_raw_parts_mut(entry.cast::<u8>(), length) };
        if let Some(value) = bytes.strip_prefix(name.as_bytes()).filter(|rest| rest.first() == Some(&b'=')) {
            let from = length - value.len() + 1;
            if let Some(value) = bytes.get_mut(from..) {
                wipe(value);
            }
        }
        // SAFETY: not past the terminator of the array yet.
        cursor = unsafe { cursor.add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zeroed_memory_that_can_be_written() {
        let mut own = Locked::new(8192).unwrap();
        assert!(own.bytes().len() == 8192 && own.bytes().iter().all(|byte| *byte == 0));
        own.bytes_mut()[..3].copy_from_slice(b"abc");
        assert_eq!(&own.bytes()[..4], b"abc\0");
        let locked = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = locked.lines().find(|line| line.starts_with("VmLck")).unwrap();
        assert!(!line.ends_with(" 0 kB"), "{line}");
        assert!(Locked::new(0).is_err());
    }
}
