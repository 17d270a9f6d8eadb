//! The allocator of the static binary: musl's own is slow, and every page that is touched first costs a fault.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use dlmalloc::{Allocator, Dlmalloc};

/// What a start of a sandbox needs: asked of the kernel at once and with its pages, instead of by a hundred faults.
const AT_FIRST: usize = 192 * 1024;
/// More at once may be room that is never used: its pages come when they are touched.
const SURE: usize = 1024 * 1024;

/// So much at once is a long policy: more of its kind follows. It lies in pages of this machine's second size, where the kernel has
/// them: one fault instead of five hundred.
const MUCH: usize = 256 * 1024;
/// Such a page (x86-64, and aarch64 with pages of 4 KiB); what lies at another place only has ordinary ones.
const LARGE_PAGE: usize = 2 * 1024 * 1024;

/// Where the first of it lies.
static FIRST: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// In a process that was forked: takes copies of the pages of the first of it now, not when somebody waits for what writes there. Its
/// parent's are its own again, too.
pub fn take_pages() {
    let first = FIRST.load(Ordering::Relaxed);
    if !first.is_null() {
        // SAFETY: changes no byte, whatever is mapped there by now (madvise(2), MADV_POPULATE_WRITE).
        let _ = unsafe { libc::madvise(first.cast(), AT_FIRST, libc::MADV_POPULATE_WRITE) };
    }
}

/// Whether there ever was a thread besides the first. Until then nothing is locked: that would take as long as all else of the allocator.
static SEVERAL: AtomicBool = AtomicBool::new(!cfg!(target_env = "musl"));

/// All threads of the static binary begin here, also those of libraries: musl's own function of that name is weak (pthread_create.c),
/// and no other one is in the program.
#[cfg(target_env = "musl")]
mod threads {
    use std::ffi::{c_int, c_void};

    use super::{Ordering, SEVERAL};

    type Start = extern "C" fn(*mut c_void) -> *mut c_void;

    unsafe extern "C" {
        fn __pthread_create(
            thread: *mut libc::pthread_t,
            attributes: *const libc::pthread_attr_t,
            start: Start,
            value: *mut c_void,
        ) -> c_int;
    }

    // SAFETY: pthread_create(3), which this stands for.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: Start,
        value: *mut c_void,
    ) -> c_int {
        // Who calls this asks the allocator for nothing now, and sees its own store; the new thread sees what came before it.
        SEVERAL.store(true, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { __pthread_create(thread, attributes, start, value) }
    }
}

/// dlmalloc, behind a lock as soon as there is a second thread.
#[expect(missing_debug_implementations, reason = "its inner state has none")]
pub struct Heap {
    inner: UnsafeCell<Dlmalloc<Pages>>,
    lock: Mutex<()>,
}

// SAFETY: the inner state is reached through `with` alone: by the only thread that there is, or under the lock.
unsafe impl Sync for Heap {}

impl Heap {
    /// Takes nothing of the kernel until something is asked of it.
    #[must_use]
    pub const fn new() -> Self {
        let inner = Dlmalloc::new_with_allocator(Pages {
            some: AtomicBool::new(false),
            much: AtomicBool::new(false),
        });
        Self { inner: UnsafeCell::new(inner), lock: Mutex::new(()) }
    }

    fn with<R>(&self, ask: impl FnOnce(&mut Dlmalloc<Pages>) -> R) -> R {
        // A panic ends the process; none of ours can stand between the lines of the allocator.
        let several = SEVERAL.load(Ordering::Relaxed);
        let _held = several.then(|| self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        // SAFETY: nobody else has it: there is no other thread, or the lock is held; and `ask` asks for nothing here itself.
        ask(unsafe { &mut *self.inner.get() })
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: dlmalloc is an allocator, one caller at a time; layouts are passed on as they came.
unsafe impl GlobalAlloc for Heap {
    // Not inlined, any of them: ten thousand callers would each hold the allocator.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.free(start, layout.size(), layout.align()) });
    }

    #[inline(never)]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.with(|heap| unsafe { heap.realloc(start, layout.size(), layout.align(), size) })
    }
}

/// Anonymous memory of the kernel's.
#[derive(Debug)]
struct Pages {
    /// Whether any were asked for before.
    some: AtomicBool,
    /// Whether there is a region of large pages: one is enough, what a process holds for long is not rounded up again.
    much: AtomicBool,
}

/// A new mapping of ordinary memory; `None`: the kernel has none.
fn map(size: usize, flags: c_int) -> Option<*mut u8> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: a new mapping at a place that the kernel chooses; nothing else is touched.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

/// So much at a place where large pages can lie, and the size that it is then. Only what was asked for has pages already.
fn map_large(size: usize) -> Option<(*mut u8, usize)> {
    let whole = size.checked_next_multiple_of(LARGE_PAGE)?;
    let start = map(whole.checked_add(LARGE_PAGE)?, 0)?;
    let before = start.align_offset(LARGE_PAGE);
    let (aligned, after) = (start.wrapping_add(before), LARGE_PAGE - before);
    for (start, size) in [(start, before), (aligned.wrapping_add(whole), after)] {
        if size > 0 {
            // SAFETY: the ends of the mapping made above, which nobody uses.
            let _ = unsafe { libc::munmap(start.cast(), size) };
        }
    }
    for (size, advice) in [(whole, libc::MADV_HUGEPAGE), (size, libc::MADV_POPULATE_WRITE)] {
        // SAFETY: changes no byte of it (madvise(2)); a kernel without them gives pages as they are touched.
        let _ = unsafe { libc::madvise(aligned.cast(), size, advice) };
    }
    Some((aligned, whole))
}

// SAFETY: what is returned is mapped, of the size that is said, and nobody else's.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let first = !self.some.swap(true, Ordering::Relaxed);
        let size = if first { size.max(AT_FIRST) } else { size };
        if !first && (MUCH..=SURE).contains(&size) && !self.much.swap(true, Ordering::Relaxed) {
            return map_large(size).map_or((std::ptr::null_mut(), 0, 0), |(start, size)| (start, size, 0));
        }
        let populate = if size <= SURE { libc::MAP_POPULATE } else { 0 };
        let Some(start) = map(size, populate) else { return (std::ptr::null_mut(), 0, 0) };
        if first {
            FIRST.store(start, Ordering::Relaxed);
        }
        (start, size, 0)
    }

    fn remap(&self, start: *mut u8, from: usize, to: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { libc::MREMAP_MAYMOVE } else { 0 };
        // SAFETY: a mapping that `alloc` returned, of which the allocator keeps no other pointer when it may move.
        let start = unsafe { libc::mremap(start.cast(), from, to, flags) };
        if start == libc::MAP_FAILED { std::ptr::null_mut() } else { start.cast() }
    }

    fn free_part(&self, start: *mut u8, from: usize, to: usize) -> bool {
        // SAFETY: the end of a mapping that `alloc` returned, which nobody uses any more.
        unsafe { libc::munmap(start.wrapping_add(to).cast(), from - to) == 0 }
    }

    fn free(&self, start: *mut u8, size: usize) -> bool {
        // SAFETY: a mapping that `alloc` returned, which nobody uses any more.
        unsafe { libc::munmap(start.cast(), size) == 0 }
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

#[cfg(test)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "an allocator has no other face")]
mod tests {
    use super::*;

    /// What is asked of it is aligned, keeps its bytes when it grows and shrinks, and is given out again.
    #[test]
    fn it_gives_grows_and_takes_back() {
        let heap = Heap::new();
        for size in [1, 24, 4096, 100_000, 600_000, 3_000_000] {
            let layout = Layout::from_size_align(size, 64).unwrap();
            // SAFETY: the layout is not of size zero; what is written is within it; each block is freed once, by its layout.
            unsafe {
                let start = heap.alloc(layout);
                assert!(!start.is_null() && start.addr().is_multiple_of(64), "{size}");
                start.write_bytes(7, size);
                let start = heap.realloc(start, layout, size * 3);
                let bytes = std::slice::from_raw_parts(start, size);
                assert!(bytes.iter().all(|byte| *byte == 7), "{size}");
                let start =
                    heap.realloc(start, Layout::from_size_align(size * 3, 64).unwrap(), size.div_ceil(2));
                assert_eq!(*start.add(size.div_ceil(2) - 1), 7);
                heap.dealloc(start, Layout::from_size_align(size.div_ceil(2), 64).unwrap());
                let zeroed = heap.alloc_zeroed(layout);
                assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|byte| *byte == 0), "{size}");
                heap.dealloc(zeroed, layout);
            }
        }
    }

    /// Several threads at a time: nobody's bytes are another's.
    #[test]
    fn threads_do_not_share_blocks() {
        let heap = Heap::new();
        std::thread::scope(|scope| {
            for mark in 1..=4_u8 {
                let heap = &heap;
                scope.spawn(move || {
                    for round in 1..2_000 {
                        let layout = Layout::from_size_align(round % 700 + 1, 8).unwrap();
                        // SAFETY: as above.
                        unsafe {
                            let start = heap.alloc(layout);
                            start.write_bytes(mark, layout.size());
                            std::thread::yield_now();
                            let bytes = std::slice::from_raw_parts(start, layout.size());
                            assert!(bytes.iter().all(|byte| *byte == mark));
                            heap.dealloc(start, layout);
                        }
                    }
                });
            }
        });
    }
}
