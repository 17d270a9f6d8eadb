//! fork(2): a child without new namespaces, where a filter may hide clone3.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

use crate::clone::Forked;
use crate::{Errno, check};

/// fork(2): returns twice. Sound under the same rule as [`crate::clone::clone`]: the caller has one thread.
///
/// # Errors
/// EAGAIN at the limit of processes; those of pidfd_open(2), after which there is no child.
pub fn fork() -> Result<Forked, Errno> {
    // SAFETY: the caller has one thread, so the child's allocator and locks are in a consistent state.
    let result = unsafe { libc::fork() };
    match Pid::from_raw(i32::try_from(check(libc::c_long::from(result))?).unwrap_or(0)) {
        None => Ok(Forked::Child),
        Some(pid) => {
            let pidfd: Result<OwnedFd, Errno> = pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            });
            Ok(Forked::Parent(pid, pidfd?))
        }
    }
}
