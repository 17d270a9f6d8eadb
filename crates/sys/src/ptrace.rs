//! ptrace(2): a thread is held across one execve, and no longer.

use crate::{Errno, check};

/// The event of a finished execve, and of a stop that is no signal.
pub const EXEC: i32 = libc::PTRACE_EVENT_EXEC;

/// The numbers of requests have other types from C library to C library; the kernel takes a long.
fn request(request: i64, thread: i32, address: usize, data: usize) -> Result<libc::c_long, Errno> {
    // SAFETY: the requests of this file take numbers, not memory of ours, but for the one that says so itself.
    check(unsafe { libc::syscall(libc::SYS_ptrace, request, thread, address, data) })
}

/// Attaches without stopping it: it stops at the end of an execve, and dies with the caller.
///
/// # Errors
/// EPERM where it is traced already or may not be, ESRCH where it is gone.
pub fn seize(thread: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
    request(i64::from(libc::PTRACE_SEIZE), thread, 0, options.unsigned_abs() as usize).map(drop)
}

/// Lets a stopped thread go, with this signal or, with 0, none.
///
/// # Errors
/// ESRCH where it is gone, or not stopped.
pub fn detach(thread: i32, signal: i32) -> Result<(), Errno> {
    request(i64::from(libc::PTRACE_DETACH), thread, 0, signal.unsigned_abs() as usize).map(drop)
}

/// Stops it as soon as it runs no system call.
///
/// # Errors
/// ESRCH where it is gone.
pub fn interrupt(thread: i32) -> Result<(), Errno> {
    request(i64::from(libc::PTRACE_INTERRUPT), thread, 0, 0).map(drop)
}

/// At the end of an execve: the number that the thread had before.
///
/// # Errors
/// ESRCH where it is gone, or not stopped.
pub fn former(thread: i32) -> Result<i32, Errno> {
    let mut message: libc::c_ulong = 0;
    let number = i64::from(libc::PTRACE_GETEVENTMSG);
    // SAFETY: writes one unsigned long that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, number, thread, 0_usize, &raw mut message) };
    check(result)?;
    i32::try_from(message).map_err(|_| Errno::SRCH)
}

/// Where the stack of a stopped thread ends. At the end of an execve the number of arguments is there, and behind it pointers to
/// them, one string after the other (System V ABI, "Process Initialization").
///
/// # Errors
/// ESRCH where it is gone, or not stopped.
pub fn stack(thread: i32) -> Result<u64, Errno> {
    /// NT_PRSTATUS (linux/elf.h): the general registers.
    const GENERAL: usize = 1;
    // SAFETY: all-zero is a set of registers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let mut vector =
        libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of::<libc::user_regs_struct>() };
    let number = i64::from(libc::PTRACE_GETREGSET);
    // SAFETY: writes at most the length that the vector says to the registers it points to; both outlive the call.
    check(unsafe { libc::syscall(libc::SYS_ptrace, number, thread, GENERAL, &raw mut vector) })?;
    #[cfg(target_arch = "x86_64")]
    return Ok(registers.rsp);
    #[cfg(target_arch = "aarch64")]
    return Ok(registers.sp);
}
