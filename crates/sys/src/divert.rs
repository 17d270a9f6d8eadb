//! A network namespace whose only way out is this process: every address is local, TCP and DNS come to listeners made
//! inside, and everything else is refused at once, as a network refuses.
//!
//! The loopback's own addresses (127.0.0.0/8, ::1) stay the namespace's. The listeners keep working when their descriptors
//! are passed to a process of another namespace. Sources: linux/rtnetlink.h, linux/netfilter/nf_tables.h.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with, sockopt};
use rustix::net::{bind, getsockname, listen};

use crate::Errno;
use crate::netlink::{ACK, APPEND, Attributes, CREATE, EXCLUSIVE, Messages};
use crate::refused;

const DNS: u16 = 53;
const BACKLOG: i32 = 4096;
const INET: u8 = 1; // NFPROTO_INET: both families in one table.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Sockets of the namespace, IPv4 first, then IPv6 with the same port. They do not block. On a host without IPv6 the second of
/// each pair is one of IPv4 that nothing leads to.
pub struct Listeners {
    /// What the task connects to, whatever the address; [`original_destination`] tells which.
    pub streams: [OwnedFd; 2],
    /// Datagrams to port 53 of any address; answers come from where they were sent to.
    pub questions: [OwnedFd; 2],
    /// TCP to port 53 of any address.
    pub long_questions: [OwnedFd; 2],
    /// What hears of every packet that is refused ([`refused::packets`]), where the kernel has that.
    pub refused: Option<OwnedFd>,
    ports: Ports,
    /// There is IPv6.
    six: bool,
}

/// Where the rules lead to.
#[derive(Clone, Copy)]
struct Ports {
    streams: u16,
    questions: u16,
    long_questions: u16,
}

impl Listeners {
    /// Makes them in the namespace of the caller, on free ports of its loopback.
    ///
    /// # Errors
    /// The kernel's; EADDRINUSE where a port is free for one family only.
    pub fn new() -> Result<Self, Errno> {
        let six = has_six()?;
        let (streams, first) = pair(SocketType::STREAM, six)?;
        let (questions, second) = pair(SocketType::DGRAM, six)?;
        let (long_questions, third) = pair(SocketType::STREAM, six)?;
        let ports = Ports { streams: first, questions: second, long_questions: third };
        Ok(Self { streams, questions, long_questions, refused: None, ports, six })
    }

    /// From here on the caller's namespace sends nothing anywhere but to these.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN over the namespace; EOPNOTSUPP where the kernel has no nf_tables with NAT for both
    /// families; EEXIST if it was done before. The rules come as a whole or not at all, and before the routes.
    pub fn divert(&mut self) -> Result<(), Errno> {
        let mut refused = refused::watch().ok();
        let told = ruleset(self.ports, refused.is_some()).exchange(Some(netlink::NETFILTER));
        // The kernel may not know a rule that tells of packets: they are refused without.
        if told.is_err() {
            refused = None;
            ruleset(self.ports, false).exchange(Some(netlink::NETFILTER))?;
        }
        self.refused = refused;
        own_address().exchange(None)?;
        routes(self.six).exchange(None)
    }
}

/// Where the task wanted to connect to, of a connection that a listener accepted.
///
/// # Errors
/// ENOENT if nothing was diverted: the task asked for the listener itself.
pub fn original_destination(connection: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    let own = SocketAddr::try_from(getsockname(connection)?)?;
    let asked = if own.is_ipv4() {
        sockopt::ip_original_dst(connection)?.into()
    } else {
        sockopt::ipv6_original_dst(connection)?.into()
    };
    if asked == own { Err(Errno::NOENT) } else { Ok(asked) }
}

/// Whether the kernel has the family, and the caller's loopback its address.
fn has_six() -> Result<bool, Errno> {
    let socket = match socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
        Err(Errno::AFNOSUPPORT) => return Ok(false),
        other => other?,
    };
    match bind(&socket, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0)) {
        Err(Errno::ADDRNOTAVAIL) => Ok(false),
        other => other.map(|()| true),
    }
}

fn pair(kind: SocketType, six: bool) -> Result<([OwnedFd; 2], u16), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let first = socket_with(AddressFamily::INET, kind, flags, None)?;
    bind(&first, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let port = SocketAddr::try_from(getsockname(&first)?)?.port();
    let second = if six {
        let second = socket_with(AddressFamily::INET6, kind, flags, None)?;
        sockopt::set_ipv6_v6only(&second, true)?;
        bind(&second, &SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0))?;
        second
    } else {
        let second = socket_with(AddressFamily::INET, kind, flags, None)?;
        bind(&second, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        second
    };
    if kind == SocketType::STREAM {
        listen(&first, BACKLOG)?;
        listen(&second, BACKLOG)?;
    }
    Ok(([first, second], port))
}

/// An address beside the loopback's, which glibc wants to see before it asks for addresses of IPv4 (AI_ADDRCONFIG in
/// getaddrinfo(3)); nothing is there.
const OWN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

fn own_address() -> Messages {
    const NEW_ADDRESS: u16 = 20;
    let (address, local) = (1, 2);
    let [family, whole, flags, host_scope] = [AddressFamily::INET.as_raw() as u8, 32, 0, 254];
    let mut messages = Messages::default();
    let fixed = [[family, whole, flags, host_scope], LOOPBACK.to_ne_bytes()].concat();
    messages.add(NEW_ADDRESS, CREATE | EXCLUSIVE | ACK, &fixed, |inner| {
        inner.raw(local, &OWN.octets());
        inner.raw(address, &OWN.octets());
    });
    messages
}

/// The index of lo in every namespace.
const LOOPBACK: u32 = 1;

/// `local default dev lo` in the table that is asked first, for each family that there is.
fn routes(six: bool) -> Messages {
    const NEW_ROUTE: u16 = 24;
    const OUT_INTERFACE: u16 = 4;
    let (local_table, boot, host_scope, local) = (255, 3, 254, 2);
    let mut messages = Messages::default();
    let families = [(AddressFamily::INET, host_scope), (AddressFamily::INET6, 0)];
    for (family, scope) in families.into_iter().take(if six { 2 } else { 1 }) {
        let family = family.as_raw() as u8;
        let fixed = [family, 0, 0, 0, local_table, boot, scope, local, 0, 0, 0, 0];
        messages.add(NEW_ROUTE, CREATE | EXCLUSIVE | ACK, &fixed, |inner| {
            inner.raw(OUT_INTERFACE, &LOOPBACK.to_ne_bytes());
        });
    }
    messages
}

/// ```text
/// table inet ringfence {
///   chain divert { type nat hook output priority -100; policy accept
///     ip daddr 127.0.0.0/8 accept
///     ip6 daddr ::1 accept
///     udp dport 53 redirect to :questions
///     tcp dport 53 redirect to :long_questions
///     meta l4proto tcp redirect to :streams }
///   chain refuse { type filter hook input priority 0; policy drop
///     ct state established,related accept
///     ip daddr 127.0.0.0/8 accept
///     ip6 daddr ::1 accept
///     log group 1 snaplen 64 queue-threshold 1, if told
///     meta l4proto tcp reject with tcp reset
///     reject with icmpx port-unreachable } }
/// ```
fn ruleset(ports: Ports, told: bool) -> Messages {
    const BEGIN: u16 = 0x10;
    const END: u16 = 0x11;
    let mut messages = Messages::default();
    let batch = [0, 0, 0, 10]; // All for NFNL_SUBSYS_NFTABLES.
    messages.add(BEGIN, 0, &batch, |_| {});
    table(&mut messages, 0, CREATE | EXCLUSIVE, |inner| inner.text(1, TABLE));
    let (local_in, local_out) = (1, 3);
    let (drop, accept) = (0, 1);
    chain(&mut messages, DIVERT, "nat", (local_out, -100), accept);
    own_loopback(&mut messages, DIVERT);
    for (protocol, port) in [(UDP, ports.questions), (TCP, ports.long_questions)] {
        rule(&mut messages, DIVERT, |list| {
            carried_by(list, protocol);
            destination_port(list, DNS);
            redirect(list, port);
        });
    }
    rule(&mut messages, DIVERT, |list| {
        carried_by(list, TCP);
        redirect(list, ports.streams);
    });
    chain(&mut messages, REFUSE, "filter", (local_in, 0), drop);
    rule(&mut messages, REFUSE, |list| {
        known_connection(list);
        verdict(list);
    });
    own_loopback(&mut messages, REFUSE);
    if told {
        rule(&mut messages, REFUSE, |list| {
            expression(list, "log", |inner| {
                inner.raw(1, &refused::GROUP.to_be_bytes());
                inner.number(3, refused::BEGINNING);
                inner.raw(4, &1_u16.to_be_bytes());
            });
        });
    }
    let (unreachable, reset, either_family) = (1, 1, 2);
    rule(&mut messages, REFUSE, |list| {
        carried_by(list, TCP);
        expression(list, "reject", |inner| inner.number(1, reset));
    });
    rule(&mut messages, REFUSE, |list| {
        expression(list, "reject", |inner| {
            inner.number(1, either_family);
            inner.raw(2, &[unreachable]);
        });
    });
    messages.add(END, 0, &batch, |_| {});
    messages
}

const TABLE: &str = "ringfence";
const DIVERT: &str = "divert";
const REFUSE: &str = "refuse";
/// NFT_REG_1.
const REGISTER: u32 = 1;

fn table(messages: &mut Messages, message: u16, flags: u16, write: impl FnOnce(&mut Attributes)) {
    const NFTABLES: u16 = 10 << 8;
    messages.add(NFTABLES | message, flags | ACK, &[INET, 0, 0, 0], write);
}

fn chain(messages: &mut Messages, name: &str, kind: &str, (hook, priority): (u32, i32), policy: u32) {
    table(messages, 3, CREATE | EXCLUSIVE, |inner| {
        inner.text(1, TABLE);
        inner.text(3, name);
        inner.nested(4, |inner| {
            inner.number(1, hook);
            inner.raw(2, &priority.to_be_bytes());
        });
        inner.number(5, policy);
        inner.text(7, kind);
    });
}

fn rule(messages: &mut Messages, chain: &str, expressions: impl FnOnce(&mut Attributes)) {
    table(messages, 6, CREATE | APPEND, |inner| {
        inner.text(1, TABLE);
        inner.text(2, chain);
        inner.nested(4, expressions);
    });
}

fn expression(list: &mut Attributes, name: &str, write: impl FnOnce(&mut Attributes)) {
    list.nested(1, |inner| {
        inner.text(1, name);
        inner.nested(2, write);
    });
}

/// Two rules: what goes to 127.0.0.0/8 or ::1 is nobody else's.
fn own_loopback(messages: &mut Messages, chain: &str) {
    let (ipv4, ipv6) = (2, 10);
    rule(messages, chain, |list| {
        family(list, ipv4);
        payload(list, 1, 16, 1);
        equals(list, &[127]);
        verdict(list);
    });
    rule(messages, chain, |list| {
        family(list, ipv6);
        payload(list, 1, 24, 16);
        equals(list, &Ipv6Addr::LOCALHOST.octets());
        verdict(list);
    });
}

fn family(list: &mut Attributes, family: u8) {
    meta(list, 15);
    equals(list, &[family]);
}

fn carried_by(list: &mut Attributes, protocol: u8) {
    meta(list, 16);
    equals(list, &[protocol]);
}

fn destination_port(list: &mut Attributes, port: u16) {
    payload(list, 2, 2, 2);
    equals(list, &port.to_be_bytes());
}

fn meta(list: &mut Attributes, key: u32) {
    expression(list, "meta", |inner| {
        inner.number(1, REGISTER);
        inner.number(2, key);
    });
}

/// Loads bytes of the network (1) or transport (2) header.
fn payload(list: &mut Attributes, header: u32, offset: u32, length: u32) {
    expression(list, "payload", |inner| {
        inner.number(1, REGISTER);
        inner.number(2, header);
        inner.number(3, offset);
        inner.number(4, length);
    });
}

fn equals(list: &mut Attributes, value: &[u8]) {
    compare(list, 0, value);
}

fn compare(list: &mut Attributes, operator: u32, value: &[u8]) {
    expression(list, "cmp", |inner| {
        inner.number(1, REGISTER);
        inner.number(2, operator);
        inner.nested(3, |inner| inner.raw(1, value));
    });
}

/// Is it part of a connection that was let through, or an error about one?
fn known_connection(list: &mut Attributes) {
    let (state, established_or_related, differs) = (0, 2_u32 | 4, 1);
    expression(list, "ct", |inner| {
        inner.number(1, REGISTER);
        inner.number(2, state);
    });
    expression(list, "bitwise", |inner| {
        inner.number(1, REGISTER);
        inner.number(2, REGISTER);
        inner.number(3, 4);
        inner.nested(4, |inner| inner.raw(1, &established_or_related.to_ne_bytes()));
        inner.nested(5, |inner| inner.raw(1, &[0; 4]));
    });
    compare(list, differs, &[0; 4]);
}

/// Accepts.
fn verdict(list: &mut Attributes) {
    expression(list, "immediate", |inner| {
        inner.number(1, 0);
        inner.nested(2, |inner| inner.nested(2, |inner| inner.number(1, 1)));
    });
}

fn redirect(list: &mut Attributes, port: u16) {
    expression(list, "immediate", |inner| {
        inner.number(1, REGISTER);
        inner.nested(2, |inner| inner.raw(1, &port.to_be_bytes()));
    });
    expression(list, "redir", |inner| inner.number(1, REGISTER));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn routes_are_these_bytes() {
        let head = |family: &str, sequence: &str, scope: &str| {
            format!(
                "240000001800050{rest}",
                rest =
                    format_args!("6{sequence}00000000{family}000000ff03{scope}020000000008000400 01000000")
            )
        };
        let expected = [head("02", "01000000", "fe"), head("0a", "02000000", "00")].concat().replace(' ', "");
        assert_eq!(hex(routes(true).bytes()), expected);
    }

    #[test]
    fn a_rule_is_these_bytes() {
        let mut messages = Messages::default();
        rule(&mut messages, REFUSE, |list| {
            expression(list, "reject", |inner| {
                inner.number(1, 2);
                inner.raw(2, &[1]);
            });
        });
        let expected = [
            "58000000060a050c0100000000000000", // NFT_MSG_NEWRULE: request, ack, create, append
            "01000000",                         // NFPROTO_INET
            "0e00010072696e6766656e6365000000", // table
            "0b00020072656675736500 00",        // chain
            "28000480240001800b00010072656a65637400 00",
            "14000280080001000000000205000200010 00000",
        ];
        assert_eq!(hex(messages.bytes()), expected.concat().replace(' ', ""));
    }
}
