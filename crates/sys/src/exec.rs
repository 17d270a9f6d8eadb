//! execve(2) with an environment of our own, and leaving without destructors.

use std::ffi::{CStr, CString};

use crate::{Errno, last_errno};

/// Argument and environment vectors, made before the fork so that the child allocates nothing.
#[derive(Debug)]
pub struct Vectors {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Vectors {
    /// Keeps the strings and the null-terminated pointer array the kernel reads.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    /// The strings themselves.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces this process. Returns only on failure, with the cause.
#[must_use]
pub fn execve(program: &CStr, arguments: &Vectors, environment: &Vectors) -> Errno {
    // SAFETY: both arrays are null-terminated and point into strings that `Vectors` keeps alive.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_errno()
}

/// _exit(2): ends this process at once; no destructor or exit handler runs.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes any status and does not return.
    unsafe { libc::_exit(status) }
}

/// Zeroes the arguments and variables this process was started with, which /proc/PID/cmdline and environ show.
///
/// Only for a process that reads neither any more.
pub fn wipe_start() {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
        static program_invocation_name: *mut libc::c_char;
    }
    // SAFETY: the caller has one thread; the C library set it to argv[0], or null.
    let start = unsafe { program_invocation_name };
    // SAFETY: likewise; null or a null-terminated array of strings.
    let mut cursor = unsafe { environ };
    let mut end = start;
    while !cursor.is_null() {
        // SAFETY: cursor stays within the array until its terminating null.
        let entry = unsafe { *cursor };
        if entry.is_null() {
            break;
        }
        // SAFETY: entry is a null-terminated string.
        let length = unsafe { libc::strlen(entry) };
        // SAFETY: the terminator of that string is in the same block.
        end = end.max(unsafe { entry.add(length) });
        // SAFETY: not past the terminator of the array yet.
        cursor = unsafe { cursor.add(1) };
    }
    if start.is_null() || end <= start {
        return;
    }
    let length = end.addr() - start.addr();
    // execve(2) lays arguments and variables out as one block; a distance beyond its limit means that they are not.
    if length < 8 << 20 {
        // SAFETY: arguments and, behind them, variables are one writable block on the stack (proc(5), arg_start to env_end).
        unsafe { std::ptr::write_bytes(start, 0, length) };
    }
}
