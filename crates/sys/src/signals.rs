//! sigprocmask(2), sigwaitinfo(2), signalfd(2): signals are waited for, never handled asynchronously. And tgkill(2) that sends none.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Errno, check};

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Set(libc::sigset_t);

impl std::fmt::Debug for Set {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Set")
    }
}

impl Set {
    /// No signal.
    #[must_use]
    pub fn empty() -> Self {
        // SAFETY: all-zero is a valid place for sigemptyset to write to.
        let mut set = unsafe { std::mem::zeroed() };
        // SAFETY: set is a valid sigset_t.
        unsafe { libc::sigemptyset(&raw mut set) };
        Self(set)
    }

    /// Every signal.
    #[must_use]
    pub fn all() -> Self {
        let mut set = Self::empty();
        // SAFETY: set.0 is a valid sigset_t.
        unsafe { libc::sigfillset(&raw mut set.0) };
        set
    }

    /// Every signal but this one.
    #[must_use]
    pub fn all_but(signal: i32) -> Self {
        let mut set = Self::all();
        // SAFETY: set.0 is a valid sigset_t; a bad number is refused with -1 and changes nothing.
        unsafe { libc::sigdelset(&raw mut set.0, signal) };
        set
    }

    /// These signals.
    #[must_use]
    pub fn of(signals: &[i32]) -> Self {
        let mut set = Self::empty();
        for &signal in signals {
            // SAFETY: set.0 is a valid sigset_t; a bad number is refused with -1 and changes nothing.
            unsafe { libc::sigaddset(&raw mut set.0, signal) };
        }
        set
    }
}

/// Blocks exactly `set` in the calling thread.
///
/// # Errors
/// None in practice; the kernel's word is passed on.
pub fn block_only(set: &Set) -> Result<(), Errno> {
    // SAFETY: set.0 is a valid sigset_t; no old mask is asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set.0, std::ptr::null_mut()) };
    check(libc::c_long::from(result)).map(drop)
}

/// Whether this process was started with the signal ignored, as nohup(1) does it; a blocked one is queued all the same.
#[must_use]
pub fn ignored(signal: i32) -> bool {
    // SAFETY: all-zero is a valid sigaction to write to.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new action is given; action is valid for writing.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// A write beyond the invoker's bound for a file (`ulimit -f`) fails as others do, instead of ending this process without a word.
pub fn ignore_file_size() {
    // SAFETY: a disposition without a handler; nobody else has one for this signal.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Every signal back to its default action, as a new program expects it. What is blocked stays so.
pub fn default_actions() {
    // `struct kernel_sigaction` (linux/signal_types.h): handler, flags, restorer, mask; all zero is SIG_DFL. The C library's
    // own function leaves out the signals it keeps for itself, which an invoker may have ignored.
    let default = [0_u64; 4];
    for signal in 1..=64_i32 {
        let none = std::ptr::null::<u64>();
        // SAFETY: the kernel reads one such struct; KILL and STOP are refused harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8) };
    }
}

/// Ends this process by a signal, as if it had not been waited for; by a status that says so if that fails.
pub fn end_by(signal: i32) -> ! {
    default_actions();
    // No other one that waits: the hang-up of a terminal comes at the same time.
    let _ = block_only(&Set::all_but(signal));
    // SAFETY: takes a number; a signal to oneself.
    unsafe { libc::raise(signal) };
    crate::exec::exit_now(128 + signal)
}

/// Stops this process as its terminal would, until it is continued; `others` stay blocked
/// meanwhile, and `taken` after that. A process that no shell could continue is not stopped (setpgid(2), orphaned groups).
pub fn stop_self(others: &Set, taken: &Set) {
    // Sent while it is blocked, and to the process as a terminal does, it is one with what a second Ctrl-Z left pending: two
    // would stop again what its shell has just continued.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
    let _ = block_only(others);
    let _ = block_only(taken);
}

/// Waits for one of `set`, which must be blocked, and returns its number.
///
/// # Errors
/// EINTR.
pub fn wait(set: &Set) -> Result<i32, Errno> {
    // SAFETY: set.0 is a valid sigset_t; no details are asked for.
    let result = unsafe { libc::sigwaitinfo(&raw const set.0, std::ptr::null_mut()) };
    check(libc::c_long::from(result)).map(|_| result)
}

/// Takes every blocked signal that is pending, so that none of them acts later.
pub fn forget_pending() {
    let (all, now) = (Set::all(), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both are valid for reading; no details are asked for.
    while unsafe { libc::sigtimedwait(&raw const all.0, std::ptr::null_mut(), &raw const now) } > 0 {}
}

/// Whether one of these, which are blocked, has arrived and was not taken yet.
#[must_use]
pub fn pending(signals: &[i32]) -> bool {
    let mut set = Set::empty();
    // SAFETY: set.0 is valid for writing.
    let known = unsafe { libc::sigpending(&raw mut set.0) } == 0;
    // SAFETY: set.0 is a valid sigset_t; a bad number is answered with -1.
    known && signals.iter().any(|signal| unsafe { libc::sigismember(&raw const set.0, *signal) } == 1)
}

/// Runs `call`, whose sleep in the kernel ends with EINTR after this time, and again and again until it returns. All signals
/// are blocked but SIGALRM, which does nothing else; no other timer of the process may use it.
pub fn interrupted_after<T>(time: std::time::Duration, call: impl FnOnce() -> T) -> T {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let micros = i32::try_from(time.as_micros()).unwrap_or(999_999).min(999_999);
    let every = libc::timeval { tv_sec: 0, tv_usec: micros.into() };
    let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = |value| {
        let timer = libc::itimerval { it_interval: value, it_value: value };
        // SAFETY: the kernel reads one itimerval; the old one is not asked for.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    };
    // SAFETY: all-zero is a valid sigaction: no flags (no SA_RESTART among them), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler touches nothing, so it may run at any instruction.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let mut before = Set::empty();
    let waited = Set::all_but(libc::SIGALRM);
    // SAFETY: both are valid sets.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const waited.0, &raw mut before.0) };
    timer(every);
    let outcome = call();
    timer(never);
    let _ = block_only(&before);
    outcome
}

/// A descriptor that becomes readable when one of `set`, which must be blocked, arrives.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn descriptor(set: &Set) -> Result<OwnedFd, Errno> {
    // SAFETY: set.0 is a valid sigset_t; -1 asks for a new descriptor.
    let result = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    check(libc::c_long::from(result))?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// The signal number in a record read from [`descriptor`] (`struct signalfd_siginfo` starts with it).
#[must_use]
pub fn number(record: &[u8]) -> Option<i32> {
    let first: [u8; 4] = record.get(..4)?.try_into().ok()?;
    Some(i32::from_ne_bytes(first))
}

/// Bytes of one such record.
pub const RECORD: usize = size_of::<libc::signalfd_siginfo>();

/// Whether a record tells of kill(2) and its like, not of the terminal or the kernel (`ssi_code` follows the number and
/// errno; SI_USER and below, sigaction(2)).
#[must_use]
pub fn from_process(record: &[u8]) -> bool {
    let code: Option<[u8; 4]> = record.get(8..12).and_then(|part| part.try_into().ok());
    code.is_some_and(|code| i32::from_ne_bytes(code) <= 0)
}

/// Whether this thread is the first of its process, by tgkill(2) with no signal; also `false` where that may not be asked.
#[must_use]
pub fn leads(thread: i32) -> bool {
    // SAFETY: takes numbers; signal 0 is never sent.
    unsafe { libc::syscall(libc::SYS_tgkill, thread, thread, 0) == 0 }
}
