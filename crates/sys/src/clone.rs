//! clone3(2) and fork(2): new processes, with new namespaces where asked.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;

use crate::{Errno, check, last_errno};

/// The namespaces of a sandbox (clone(2)).
pub const SANDBOX_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

/// Only a user namespace: what an idmapped mount is described by.
pub const USER_NAMESPACE: u64 = libc::CLONE_NEWUSER as u64;

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The caller, with the child's id and a descriptor that names it.
    Parent(Pid, OwnedFd),
    /// The new process.
    Child,
}

/// clone3(2) with copied memory: returns twice. `namespaces` is a mask of `CLONE_NEW*`.
///
/// Sound only while the caller has one thread, which every caller in this project keeps to: then the child's
/// allocator and locks are in a consistent state.
///
/// # Errors
/// EPERM where user namespaces are forbidden, ENOSPC past their limit, ENOSYS where a filter hides the call.
pub fn clone(namespaces: u64) -> Result<Forked, Errno> {
    fork(namespaces, libc::SIGCHLD)
}

/// The same, but the new process is the caller's sibling: their common parent waits for it (clone(2), CLONE_PARENT).
///
/// # Errors
/// EINVAL in pid 1.
pub fn clone_sibling(namespaces: u64) -> Result<Forked, Errno> {
    // The kernel gives it the caller's own exit signal, and takes no other.
    fork(libc::CLONE_PARENT as u64 | namespaces, 0)
}

/// unshare(2): new namespaces for the caller; a new pid namespace for its next child.
///
/// # Errors
/// Like [`clone`].
pub fn unshare(namespaces: u64) -> Result<(), Errno> {
    let mask = libc::c_int::try_from(namespaces).map_err(|_| Errno::INVAL)?;
    // SAFETY: takes a number and no memory; the caller's descriptors stay its own.
    let result = unsafe { libc::unshare(mask) };
    check(result.into()).map(drop)
}

fn fork(flags: u64, exit_signal: libc::c_int) -> Result<Forked, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all-zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = exit_signal as u64;
    // SAFETY: args is valid for its size; no stack is given, so the child runs on a copy of this one.
    let mut result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    // Containers hide or refuse clone3, whose flags a filter cannot see.
    if result == -1 && matches!(last_errno(), Errno::NOSYS | Errno::PERM) && flags & SANDBOX_NAMESPACES == 0 {
        let flags = args.flags | args.exit_signal;
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as above; clone(2) stores the pidfd where the parent's thread id would go.
        result = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
    }
    match Pid::from_raw(i32::try_from(check(result)?).unwrap_or(0)) {
        None => Ok(Forked::Child),
        Some(pid) => {
            // SAFETY: the kernel stored a fresh descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(pid, pidfd))
        }
    }
}
