//! Servers of the task that the policy publishes: init connects to them, inside, and lends the socket to the gateway, which
//! carries what comes to a port of the host's loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::channel;

/// In the gateway: asks for a connection to a port of the sandbox's own loopback, of IPv6 or IPv4.
///
/// # Errors
/// The kernel's; EPIPE: the sandbox is gone.
pub fn ask_for_port(way: BorrowedFd<'_>, port: u16, six: bool) -> Result<(), Errno> {
    let [high, low] = port.to_be_bytes();
    channel::packet(way, &[high, low, u8::from(six)], &[])
}

/// The answer: a socket whose connect is under way. `None`: there can be none.
///
/// # Errors
/// EAGAIN if none came yet, where the descriptor does not wait; EPIPE.
pub fn lent(way: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut passed = Vec::new();
    match channel::take(way, &mut [0; 1], &mut passed)? {
        0 => Err(Errno::PIPE),
        _ => Ok(passed.pop()),
    }
}

/// In init: answers one such question; `false`: nobody asks any more.
pub(crate) fn lend(way: &OwnedFd) -> bool {
    let mut asked = [0; 3];
    if channel::take(way.as_fd(), &mut asked, &mut Vec::new()) != Ok(asked.len()) {
        return false;
    }
    let [high, low, six] = asked;
    let answered = match begin(u16::from_be_bytes([high, low]), six != 0) {
        Ok(socket) => channel::packet(way.as_fd(), b"d", &[socket.as_fd()]),
        Err(_) => channel::packet(way.as_fd(), b"n", &[]),
    };
    answered.is_ok()
}

fn begin(port: u16, six: bool) -> Result<OwnedFd, Errno> {
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    let begun = match six {
        true => connect(&socket, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)),
        false => connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)),
    };
    match begun {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}
