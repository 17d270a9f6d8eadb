//! Tries something in a child of its own: whatever becomes of the child, the caller is as before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::{exec, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

/// A user namespace.
pub(crate) const USER: u64 = ringfence_sys::clone::USER_NAMESPACE;
/// User and mount namespace: enough to mount.
pub(crate) const MOUNT: u64 = USER | UnshareFlags::NEWNS.bits() as u64;
/// And a pid namespace: enough for a proc.
pub(crate) const PROCESSES: u64 = MOUNT | UnshareFlags::NEWPID.bits() as u64;

/// Seconds for one attempt.
const LIMIT: i64 = 2;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It works.
    Works,
    /// The kernel, or a filter, refused.
    Fails(Errno),
    /// The child was killed, as filters do.
    Killed(i32),
    /// No answer in time.
    Late,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Works => formatter.write_str("works"),
            Self::Fails(errno) => formatter.write_str(&words(*errno)),
            Self::Killed(signal) => write!(formatter, "killed by signal {signal}"),
            Self::Late => write!(formatter, "no answer within {LIMIT} s"),
        }
    }
}

/// The kernel's words, without the number that only repeats them.
pub(crate) fn words(errno: Errno) -> String {
    errno.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

/// Runs `action` in a child with these new namespaces, its ids mapped where there is a user namespace among them.
pub(crate) fn attempt(namespaces: u64, action: impl FnOnce() -> Result<(), Errno>) -> Answer {
    let ids = (process::geteuid().as_raw(), process::getegid().as_raw());
    match start(namespaces) {
        Err(errno) => Answer::Fails(errno),
        Ok(Forked::Child) => {
            let outcome = enter(namespaces, ids).and_then(|()| action());
            exec::exit_now(outcome.map_or_else(Errno::raw_os_error, |()| 0))
        }
        Ok(Forked::Parent(pid, pidfd)) => end(pid, &pidfd),
    }
}

/// Holds a child in these namespaces while `action` looks at it; the descriptor is one that the child has too.
pub(crate) fn with_child<T>(
    namespaces: u64,
    action: impl FnOnce(Pid, BorrowedFd<'_>, &OwnedFd) -> T,
) -> Result<T, Errno> {
    let ids = (process::geteuid().as_raw(), process::getegid().as_raw());
    let (hold_in, hold_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready_in, ready_out) = pipe_with(PipeFlags::CLOEXEC)?;
    match start(namespaces)? {
        Forked::Child => {
            drop((hold_out, ready_in));
            let outcome = enter(namespaces, ids);
            drop(ready_out);
            let _ = rustix::io::read(&hold_in, &mut [0; 1]);
            exec::exit_now(outcome.map_or_else(Errno::raw_os_error, |()| 0))
        }
        Forked::Parent(pid, pidfd) => {
            drop(ready_out);
            wait(ready_in.as_fd());
            let result = action(pid, pidfd.as_fd(), &hold_in);
            drop(hold_out);
            end(pid, &pidfd);
            Ok(result)
        }
    }
}

/// Without namespaces by fork: a filter that hides clone3 would hide everything else too.
fn start(namespaces: u64) -> Result<Forked, Errno> {
    if namespaces == 0 { fork::fork() } else { clone(namespaces) }
}

/// The child's first steps.
fn enter(namespaces: u64, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if namespaces & USER == 0 {
        return Ok(());
    }
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))
}

/// Writes a short file of the kernel.
pub(crate) fn write(path: &str, text: &str) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

/// Waits for the child's end, and sees to it.
fn end(pid: Pid, pidfd: &OwnedFd) -> Answer {
    let late = !wait(pidfd.as_fd());
    if late {
        let _ = process::pidfd_send_signal(pidfd, Signal::KILL);
        // A child that even this does not end hangs in the kernel: it is not waited for.
        wait(pidfd.as_fd());
        let _ = process::waitpid(Some(pid), WaitOptions::NOHANG);
        return Answer::Late;
    }
    loop {
        match process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return answer(status),
            Err(Errno::INTR) | Ok(None) => {}
            Err(errno) => return Answer::Fails(errno),
        }
    }
}

fn answer(status: WaitStatus) -> Answer {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Answer::Works,
        (Some(code), _) => Answer::Fails(Errno::from_raw_os_error(code)),
        (None, signal) => Answer::Killed(signal.unwrap_or(0)),
    }
}

/// Waits until a descriptor says something, or hangs up, for no longer than an attempt may take.
fn wait(fd: BorrowedFd<'_>) -> bool {
    let limit = Timespec { tv_sec: LIMIT, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test harness has threads, but these children touch neither locks nor the allocator of others.
    #[test]
    fn answers_come_back_and_a_child_that_hangs_is_ended() {
        assert_eq!(attempt(0, || Ok(())), Answer::Works);
        assert_eq!(attempt(0, || Err(Errno::BUSY)), Answer::Fails(Errno::BUSY));
        let hang = || loop {
            rustix::event::pause();
        };
        assert_eq!(attempt(0, hang), Answer::Late);
    }
}
