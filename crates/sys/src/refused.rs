//! Packets that the rules of a network namespace refuse: the kernel's copies of their beginnings.
//!
//! Sources: linux/netfilter/nfnetlink_log.h; RFC 791, RFC 8200.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

use crate::Errno;
use crate::netlink::{ACK, Messages, each};

/// The group that the rules send them to.
pub(crate) const GROUP: u16 = 1;
/// Bytes of each that are copied: an IPv6 header and the ports.
pub(crate) const BEGINNING: u32 = 64;
/// NFNL_SUBSYS_ULOG.
const LOG: u16 = 4 << 8;
const PAYLOAD: u16 = 9;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// One that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The number of its protocol (assigned by IANA).
    pub protocol: u8,
    /// Where it was to go.
    pub to: IpAddr,
    /// And to which port; 0 for protocols without.
    pub port: u16,
}

/// A socket that hears of them from now on, in the namespace of the caller. It does not block; what nobody reads in time is lost.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace, EINVAL or EOPNOTSUPP where the kernel cannot.
pub fn watch() -> Result<OwnedFd, Errno> {
    const CONFIG: u16 = 1;
    let (command, mode, threshold) = (1, 2, 5);
    let (bind, copy_packet) = (1, 2);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    let [high, low] = GROUP.to_be_bytes();
    let mut messages = Messages::default();
    let mut config = |kind: u16, value: &[u8]| {
        messages.add(LOG | CONFIG, ACK, &[0, 0, high, low], |inner| inner.raw(kind, value));
    };
    config(command, &[bind]);
    config(mode, &[&BEGINNING.to_be_bytes()[..], &[copy_packet, 0]].concat());
    // Each at once.
    config(threshold, &1_u32.to_be_bytes());
    messages.exchange_on(&socket)?;
    Ok(socket)
}

/// Those in what was read from such a socket; what cannot be read is left out.
#[must_use]
pub fn packets(bytes: &[u8]) -> Vec<Packet> {
    let mut found = Vec::new();
    each(bytes, |kind, message| {
        // The family and the group come first.
        let attributes = message.get(4..).filter(|_| kind == LOG).unwrap_or_default();
        each_attribute(attributes, |kind, value| {
            found.extend((kind == PAYLOAD).then(|| packet(value)).flatten());
        });
    });
    found
}

fn each_attribute(mut bytes: &[u8], mut found: impl FnMut(u16, &[u8])) {
    let number = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    while let (Some(length), Some(kind)) = (number(bytes, 0).map(usize::from), number(bytes, 2)) {
        let Some(value) = bytes.get(4..length) else { return };
        // Without the marks for nested ones and for the order of bytes.
        found(kind & 0x3fff, value);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// By its header. Of IPv6 only the first one is looked at.
fn packet(bytes: &[u8]) -> Option<Packet> {
    let first = *bytes.first()?;
    let four = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let (protocol, to, rest): (u8, IpAddr, usize) = match first >> 4 {
        4 => (*bytes.get(9)?, Ipv4Addr::from(four(16)?).into(), usize::from(first & 15) * 4),
        6 => {
            let to: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            (*bytes.get(6)?, Ipv6Addr::from(to).into(), 40)
        }
        _ => return None,
    };
    let port = match four(rest).filter(|_| matches!(protocol, TCP | UDP | SCTP)) {
        Some([_, _, high, low]) => u16::from_be_bytes([high, low]),
        None => 0,
    };
    Some(Packet { protocol, to, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message of the kernel's, with this packet in it.
    fn message(packet: &[u8]) -> Vec<u8> {
        let mut messages = Messages::default();
        messages.add(LOG, 0, &[2, 0, 0, 1], |inner| {
            inner.raw(1, &[8, 0, 3, 0]);
            inner.raw(PAYLOAD, packet);
        });
        messages.bytes().to_vec()
    }

    fn four(protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 99, 0, 0, 0, 0, 64, protocol, 0, 0, 198, 18, 0, 2, 192, 0, 2, 7];
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn what_was_refused_is_read() {
        let to = IpAddr::from([192, 0, 2, 7]);
        let udp = four(UDP, &[0xC0, 0, 1, 0xBB, 0, 8, 0, 0]);
        let ping = four(1, &[8, 0, 0, 0]);
        let mut six = vec![0x60, 0, 0, 0, 0, 8, UDP, 64];
        six.extend(
            [Ipv6Addr::LOCALHOST.octets(), "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets()].concat(),
        );
        six.extend([0, 9, 0, 7, 0, 8, 0, 0]);
        let all = [message(&udp), message(&ping), message(&six)].concat();
        let expected = [
            Packet { protocol: UDP, to, port: 443 },
            Packet { protocol: 1, to, port: 0 },
            Packet { protocol: UDP, to: "2001:db8::1".parse().unwrap(), port: 7 },
        ];
        assert_eq!(packets(&all), expected);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let whole = message(&four(UDP, &[0xC0, 0, 1, 0xBB]));
        for length in 0..whole.len() {
            assert!(packets(&whole[..length]).is_empty(), "{length}");
        }
        for length in 0..20 {
            assert!(packets(&message(&four(UDP, &[])[..length])).is_empty(), "{length}");
        }
        // Options that are not there, and no version.
        assert_eq!(packets(&message(&[&[0x4f][..], &four(UDP, &[])[1..]].concat()))[0].port, 0);
        assert!(packets(&message(&[0x15; 64])).is_empty());
    }
}
