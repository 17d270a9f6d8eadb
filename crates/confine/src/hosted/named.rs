//! What programs are told of addresses, in tier `landlock`: their sockets lead to the gateway, and they are to see whom they asked.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use ringfence_sys::memory;
use ringfence_sys::seccomp::Notification;
use rustix::fs::{self, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, recv};

use super::sockets::Made;

/// More than any answer for a name.
const PACKET: usize = 4096;
/// `struct msghdr` (recvmsg(2)): name, its length, the parts, their number, control data, its length, flags; of 64 bits each.
const HEADER: usize = 56;
/// Parts that are filled; nobody reads a name's answer into more.
const PARTS: u64 = 16;

/// As the kernel writes it (ip(7), ipv6(7)).
pub(super) fn bytes(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    let family = |family: AddressFamily| family.as_raw().to_ne_bytes();
    match address.ip() {
        IpAddr::V4(ip) => [&family(AddressFamily::INET)[..], &port, &ip.octets(), &[0; 8]].concat(),
        IpAddr::V6(ip) => [&family(AddressFamily::INET6)[..], &port, &[0; 4], &ip.octets(), &[0; 4]].concat(),
    }
}

/// Writes an address where a call wants it: as much as there is room for, and its length (getpeername(2)).
pub(super) fn tell(thread: i32, address: SocketAddr, to: u64, length_at: u64) -> Result<(), Errno> {
    let mut room = [0; 4];
    memory::read(thread, length_at, &mut room)?;
    let bytes = bytes(address);
    let room = usize::try_from(u32::from_ne_bytes(room)).map_err(|_| Errno::INVAL)?;
    if let Some(fits) = bytes.get(..room.min(bytes.len())).filter(|fits| !fits.is_empty()) {
        memory::write(thread, to, fits)?;
    }
    memory::write(thread, length_at, &u32::try_from(bytes.len()).unwrap_or(0).to_ne_bytes())
}

/// Receives an answer for the task, from whom it asked. What is not there yet is the kernel's to wait for: then nothing is told of whom
/// it comes from.
pub(super) fn receive(call: &Notification, own: &OwnedFd, asked: SocketAddr) -> Result<Made, Errno> {
    let [_, first, second, third, fourth, fifth] = call.arguments;
    let message = i64::from(call.number) == libc::SYS_recvmsg;
    // recvmsg(fd, message, flags); recvfrom(fd, bytes, length, flags, name, its length).
    let flags = if message { second } else { third } as u32;
    let known = RecvFlags::DONTWAIT.bits() | RecvFlags::TRUNC.bits() | RecvFlags::CMSG_CLOEXEC.bits();
    if flags & !known != 0 {
        return Ok(Made::Proceed);
    }
    let waits = flags & RecvFlags::DONTWAIT.bits() == 0 && !fs::fcntl_getfl(own)?.contains(OFlags::NONBLOCK);
    let mut header = [0; HEADER];
    let mut parts = vec![(first, second)];
    if message {
        memory::read(call.thread, first, &mut header)?;
        parts = read_parts(call.thread, &header)?;
    }
    let mut packet = [0; PACKET];
    let length = match recv(own, &mut packet, RecvFlags::DONTWAIT) {
        Ok((length, _)) => length,
        Err(Errno::AGAIN) if waits => return Ok(Made::Proceed),
        Err(errno) => return Err(errno),
    };
    let mut rest = packet.get(..length).unwrap_or_default();
    for (at, room) in parts {
        let (fits, more) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        if !fits.is_empty() {
            memory::write(call.thread, at, fits)?;
        }
        rest = more;
    }
    let (whole, cut) = (length, !rest.is_empty());
    let length = if flags & RecvFlags::TRUNC.bits() != 0 { whole } else { whole - rest.len() };
    if message {
        let name = number(&header, 0);
        if name != 0 {
            tell(call.thread, asked, name, first + 8)?;
        }
        // No control data came, and whether something was left out.
        let told = if cut { libc::MSG_TRUNC } else { 0 };
        memory::write(call.thread, first + 40, &0_u64.to_ne_bytes())?;
        memory::write(call.thread, first + 48, &told.to_ne_bytes())?;
    } else {
        tell(call.thread, asked, fourth, fifth)?;
    }
    Ok(Made::Answer(i64::try_from(length).map_err(|_| Errno::INVAL)))
}

fn read_parts(thread: i32, header: &[u8; HEADER]) -> Result<Vec<(u64, u64)>, Errno> {
    let (at, count) = (number(header, 16), number(header, 24));
    if count > PARTS {
        return Err(Errno::MSGSIZE);
    }
    let mut bytes = vec![0; usize::try_from(count * 16).map_err(|_| Errno::MSGSIZE)?];
    if count > 0 {
        memory::read(thread, at, &mut bytes)?;
    }
    let (parts, _) = bytes.as_chunks::<16>();
    Ok(parts.iter().map(|part| (number(part, 0), number(part, 8))).collect())
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|part| part.try_into().ok());
    eight.map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::parse;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["203.0.113.5:443", "[2001:db8::1]:53"] {
            let address = text.parse().unwrap();
            assert_eq!(parse(&bytes(address)), Some(address));
        }
    }
}
