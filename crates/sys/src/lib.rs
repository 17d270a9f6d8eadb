//! The kernel, one file an interface: the only crate with `unsafe`.
//!
//! Rules: each block says why it is sound; every wrapper takes and returns owned descriptors; errors are plain
//! [`rustix::io::Errno`]. What rustix offers is used from rustix by the callers, not wrapped again here.

#![expect(unsafe_code, reason = "this crate exists to hold it")]

pub mod clone;
pub mod divert;
pub mod exec;
pub mod fds;
pub mod fork;
pub mod harmless;
pub mod heap;
pub mod landlock;
pub mod lock;
pub mod memory;
pub mod modes;
pub mod mount;
pub mod network;
pub mod ptrace;
pub mod refused;
pub mod seccomp;
pub mod secret;
pub mod signals;
pub mod socket;
pub mod writeback;

mod netlink;

pub use rustix::io::Errno;

/// Turns the result of a raw system call (-1 and errno) into a `Result`.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
