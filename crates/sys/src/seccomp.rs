//! seccomp(2): installing a filter, asking what the kernel knows.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, check};

/// SECCOMP_IOCTL_NOTIF_SET_FLAGS, and SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (linux/seccomp.h).
const SET_FLAGS: libc::c_ulong = 0x4008_2104;
const SYNC_WAKE_UP: libc::c_ulong = 1;

/// One classic BPF instruction (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Whether the kernel offers filters at all.
#[must_use]
pub fn available() -> bool {
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: reads one u32 that outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, std::ptr::from_ref(&action))
    };
    result == 0
}

/// Installs `program` and returns the listener that its notifications arrive on (seccomp_unotify(2)).
///
/// # Errors
/// EINVAL for a bad program, EACCES without no_new_privs, ENOSYS without seccomp, EBUSY where a filter of this process has a listener already.
pub fn install_with_listener(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    // Without the second flag (Linux 5.19) a signal makes the caller ask again; that is only slower.
    let killable = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let fd = set_filter(program, killable).or_else(|errno| match errno {
        Errno::INVAL => set_filter(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        errno => Err(errno),
    })?;
    let fd = libc::c_int::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    let listener = unsafe { OwnedFd::from_raw_fd(fd) };
    // Caller and listener take turns, so that who is waked best runs where its waker stops. A hint, known since Linux 6.6.
    // SAFETY: the request takes its flags as a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
    Ok(listener)
}

/// Installs `program` on the calling thread.
///
/// # Errors
/// EINVAL for a bad program, EACCES without no_new_privs, ENOSYS without seccomp.
pub fn install(program: &[Instruction]) -> Result<(), Errno> {
    set_filter(program, 0).map(drop)
}

fn set_filter(program: &[Instruction], flags: libc::c_ulong) -> Result<libc::c_long, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: Instruction has the layout of sock_filter; the kernel only reads it, during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
    };
    check(result)
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// Names this one call.
    pub id: u64,
    /// The thread that made it, in the listener's pid namespace.
    pub thread: i32,
    /// Number of the call.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Takes the next waiting call.
///
/// # Errors
/// ENOENT where the caller was killed meanwhile, EINTR.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: all-zero is what the kernel demands of the buffer.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one seccomp_notif, which the buffer is.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut request) };
    check(libc::c_long::from(result))?;
    Ok(Notification {
        id: request.id,
        thread: request.pid.cast_signed(),
        number: request.data.nr,
        arguments: request.data.args,
    })
}

/// Whether the caller still waits: what was read from it belongs to it only if so.
#[must_use]
pub fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the request reads one u64.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) };
    result == 0
}

/// Lets the call be made as it stands in the caller's memory by then.
///
/// # Errors
/// ENOENT where the caller was killed meanwhile.
pub fn proceed(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    // SECCOMP_USER_NOTIF_FLAG_CONTINUE (linux/seccomp.h).
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 1 };
    // SAFETY: the request reads one seccomp_notif_resp.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut response) };
    check(libc::c_long::from(result)).map(drop)
}

/// Answers with a return value or an error; the call itself is never made.
///
/// # Errors
/// ENOENT where the caller was killed meanwhile.
pub fn answer(listener: BorrowedFd<'_>, id: u64, outcome: Result<i64, Errno>) -> Result<(), Errno> {
    let mut response = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    match outcome {
        Ok(value) => response.val = value,
        Err(errno) => response.error = -errno.raw_os_error(),
    }
    // SAFETY: the request reads one seccomp_notif_resp.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut response) };
    check(libc::c_long::from(result)).map(drop)
}

/// Puts a copy of a descriptor into the caller's table under this number, which the answer then is; what was there is closed.
///
/// # Errors
/// EBADF where it may not have that number, ENOENT where the caller was killed meanwhile.
pub fn place(
    listener: BorrowedFd<'_>,
    id: u64,
    given: BorrowedFd<'_>,
    number: u32,
    cloexec: bool,
) -> Result<i32, Errno> {
    add(listener, id, given, (libc::SECCOMP_ADDFD_FLAG_SETFD as u32, number), cloexec)
}

/// Puts a copy of a descriptor into the caller's table and answers with its number, in one step (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14).
///
/// # Errors
/// ENOENT where the caller was killed meanwhile, EMFILE where it may have no more.
pub fn answer_with(
    listener: BorrowedFd<'_>,
    id: u64,
    given: BorrowedFd<'_>,
    cloexec: bool,
) -> Result<(), Errno> {
    add(listener, id, given, (libc::SECCOMP_ADDFD_FLAG_SEND as u32, 0), cloexec).map(drop)
}

fn add(
    listener: BorrowedFd<'_>,
    id: u64,
    given: BorrowedFd<'_>,
    (flags, newfd): (u32, u32),
    cloexec: bool,
) -> Result<i32, Errno> {
    let mut request = libc::seccomp_notif_addfd {
        id,
        flags,
        srcfd: given.as_raw_fd().unsigned_abs(),
        newfd,
        newfd_flags: if cloexec { libc::O_CLOEXEC.unsigned_abs() } else { 0 },
    };
    // SAFETY: the request reads one seccomp_notif_addfd.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw mut request) };
    check(libc::c_long::from(result))?;
    Ok(result)
}
