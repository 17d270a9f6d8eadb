//! System calls that are made to see whether they are answered: each with arguments that cannot succeed, or have no effect.

use rustix::process::Pid;

use crate::{Errno, check};

/// The kernel's answer, as far as it matters who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call itself looked at its arguments: nothing was in its way.
    Reached,
    /// EPERM, EACCES or ENOSYS: a filter, a module or a missing capability.
    Refused(Errno),
}

/// Name, number and arguments of each. Null pointers, descriptors that are none and flags that do not exist: none of them does anything.
fn calls() -> [(&'static str, libc::c_long, [usize; 6]); 13] {
    const NONE: usize = usize::MAX;
    const WRONG: usize = 0x7fff_0000;
    [
        ("bpf", libc::SYS_bpf, [WRONG, 0, 0, 0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0, 0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, NONE, NONE, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [WRONG, 0, 0, 0, 0, 0]),
        // KEYCTL_DESCRIBE of a key that is none.
        ("keyctl", libc::SYS_keyctl, [6, WRONG, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0, 0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [0, WRONG, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [NONE, 0, 0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [NONE, 0, 0, 0, 0, 0]),
        ("init_module", libc::SYS_init_module, [0, 0, 0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, NONE, 0, WRONG, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [NONE, NONE, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 1, 0, 1, WRONG]),
    ]
}

/// Makes each of them. A filter may end the caller for one: whoever asks does so in a child.
pub fn each(mut told: impl FnMut(&'static str, Answer)) {
    for (name, number, [a, b, c, d, e, f]) in calls() {
        // SAFETY: no argument is a valid pointer or descriptor, so that the kernel neither reads nor writes memory of ours.
        let result = check(unsafe { libc::syscall(number, a, b, c, d, e, f) });
        let answer = match result {
            Err(errno @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS)) => Answer::Refused(errno),
            _ => Answer::Reached,
        };
        told(name, answer);
    }
}

/// Whether this process could read and change the memory of another one; nothing of it is read.
#[must_use]
pub fn may_attach(pid: Pid) -> bool {
    let byte = [0u8; 1];
    let (own, none) = (
        libc::iovec { iov_base: byte.as_ptr().cast_mut().cast(), iov_len: 1 },
        libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 },
    );
    // SAFETY: both vectors hold one element of this layout; the other process has nothing at address 0, so that no byte arrives.
    let result = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            pid.as_raw_nonzero().get(),
            &raw const own,
            1usize,
            &raw const none,
            1usize,
            0usize,
        )
    };
    // Whoever may not is told so before any address is looked at (mm_access in the kernel).
    matches!(check(result), Ok(_) | Err(Errno::FAULT))
}

/// What an open descriptor of this process is, as `st_mode` says it; `None` for a number that is not open.
#[must_use]
pub fn descriptor(number: i32) -> Option<u32> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel writes one structure of this type, or nothing where it fails.
    check(libc::c_long::from(unsafe { libc::fstat(number, stat.as_mut_ptr()) })).ok()?;
    // SAFETY: fstat succeeded, so all of it was written.
    Some(unsafe { stat.assume_init() }.st_mode)
}

/// Whether the kernel's log may be read: its size is asked for (syslog(2), SYSLOG_ACTION_SIZE_UNREAD is refused as reading is).
#[must_use]
pub fn may_read_log() -> bool {
    const SIZE_UNREAD: i32 = 9;
    // SAFETY: takes a number, a null pointer and a length of 0.
    check(unsafe { libc::syscall(libc::SYS_syslog, SIZE_UNREAD, std::ptr::null::<u8>(), 0i32) }).is_ok()
}

/// How many Landlock domains the calling thread can still enter, of 16: it enters them, so that only a child that ends asks this.
///
/// `None`: Landlock is missing or refused.
#[must_use]
pub fn landlock_room() -> Option<u32> {
    // LANDLOCK_ACCESS_FS_MAKE_BLOCK: what the child will not do anyway.
    let handled: u64 = 1 << 11;
    // SAFETY: the kernel reads eight bytes, which live until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<u64>(), 0u32)
    };
    let ruleset = check(result).ok()?;
    // SAFETY: takes numbers; the effect is on this thread alone.
    check(unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1usize, 0usize, 0usize, 0usize)
    })
    .ok()?;
    let mut entered = 0;
    while entered < 32 {
        // SAFETY: takes a descriptor and flags; the descriptor stays open until the child ends.
        if check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0u32) }).is_err() {
            break;
        }
        entered += 1;
    }
    (entered < 32).then_some(entered)
}
