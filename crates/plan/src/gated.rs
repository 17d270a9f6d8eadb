//! Tier `landlock` with a network: no namespace keeps the task's sockets, so what they are does.
//!
//! Init makes them (`confine/src/hosted/sockets.rs`): those of TCP are connected by init alone and never listen; what
//! passes for one of UDP leads to the gateway's answers for names and nowhere else. So every call that sends may be made as it
//! stands. What is left are options that change the way of packets, and calls that would not be understood.

use crate::bpf::{Case, Match, Verdict};
use crate::conditions::{TOLD, always, fast_open};

/// Why a bind and a listen are refused.
pub(crate) const LISTENING: &str =
    "tier `landlock`: the loopback is the host's, where others would reach what listens; unix sockets work";
/// Why an option is.
pub(crate) const SETSOCKOPT: &str = "it would change where packets of a socket go, or what they are";

/// Options of sockets that say nothing of where packets go (asm-generic/socket.h). Not among them: SO_DONTROUTE, SO_BINDTODEVICE,
/// filters, SO_MARK, SO_TXTIME, SO_BINDTOIFINDEX and whatever comes.
const SOCKET: [i32; 26] = [
    libc::SO_REUSEADDR,
    libc::SO_BROADCAST,
    libc::SO_SNDBUF,
    libc::SO_RCVBUF,
    libc::SO_KEEPALIVE,
    libc::SO_OOBINLINE,
    libc::SO_PRIORITY,
    libc::SO_PASSCRED,
    libc::SO_RCVLOWAT,
    libc::SO_SNDLOWAT,
    libc::SO_RCVTIMEO,
    libc::SO_SNDTIMEO,
    libc::SO_TIMESTAMP,
    libc::SO_PASSSEC,
    libc::SO_TIMESTAMPNS,
    libc::SO_TIMESTAMPING,
    libc::SO_RXQ_OVFL,
    libc::SO_PEEK_OFF,
    libc::SO_BUSY_POLL,
    libc::SO_MAX_PACING_RATE,
    libc::SO_INCOMING_CPU,
    libc::SO_ZEROCOPY,
    66, // SO_RCVTIMEO_NEW
    67, // SO_SNDTIMEO_NEW
    63, // SO_TIMESTAMP_NEW
    76, // SO_PASSPIDFD
];

/// Options of TCP that say how it sends (tcp(7)). Not among them: TCP_ULP, TCP_REPAIR and TCP_MD5SIG, which make something else of it.
/// TCP_FASTOPEN_CONNECT, whose first packet waits for data, has no effect.
const TCP: [i32; 15] = [
    libc::TCP_NODELAY,
    libc::TCP_MAXSEG,
    libc::TCP_CORK,
    libc::TCP_KEEPIDLE,
    libc::TCP_KEEPINTVL,
    libc::TCP_KEEPCNT,
    libc::TCP_SYNCNT,
    libc::TCP_LINGER2,
    libc::TCP_DEFER_ACCEPT,
    libc::TCP_WINDOW_CLAMP,
    libc::TCP_QUICKACK,
    libc::TCP_CONGESTION,
    libc::TCP_USER_TIMEOUT,
    libc::TCP_NOTSENT_LOWAT,
    libc::TCP_THIN_LINEAR_TIMEOUTS,
];

/// Options of IPv4 and IPv6 that clients set. They have no effect, and callers are told that they had: those of addresses are
/// init's to choose, and what passes for UDP knows none. Not among them: IP_OPTIONS and IPV6_RTHDR, which lead packets elsewhere,
/// IP_PKTINFO's and IPV6_PKTINFO's like, IP_UNICAST_IF, IP_TRANSPARENT, groups and policies.
const IPV4: [i32; 9] = [
    libc::IP_TOS,
    libc::IP_TTL,
    libc::IP_PKTINFO, // Only that it is told.
    libc::IP_MTU_DISCOVER,
    libc::IP_RECVERR,
    libc::IP_RECVTTL,
    libc::IP_RECVTOS,
    libc::IP_BIND_ADDRESS_NO_PORT,
    51, // IP_LOCAL_PORT_RANGE
];
const IPV6: [i32; 10] = [
    libc::IPV6_UNICAST_HOPS,
    libc::IPV6_MTU_DISCOVER,
    libc::IPV6_RECVERR,
    libc::IPV6_V6ONLY,
    libc::IPV6_RECVPKTINFO,
    libc::IPV6_RECVHOPLIMIT,
    libc::IPV6_RECVTCLASS,
    libc::IPV6_TCLASS,
    libc::IPV6_DONTFRAG,
    libc::IPV6_ADDR_PREFERENCES,
];

/// Conditions that differ then, besides those of tier `landlock`.
pub(crate) fn conditions(name: &str) -> Option<Vec<Case>> {
    match name {
        "socket" | "listen" => Some(always(Verdict::Notify)),
        "setsockopt" => Some(options()),
        "bind" => {
            // What sockets of a network are bound to; a name of a unix socket may have that length too, and init lets it through.
            let lengths = [size_of::<libc::sockaddr_in>(), size_of::<libc::sockaddr_in6>()];
            let mut cases: Vec<Case> =
                lengths.map(|length| case(&[(2, length as u32)], Verdict::Notify)).to_vec();
            cases.extend(always(Verdict::Allow));
            Some(cases)
        }
        "getpeername" | "getsockname" => Some(always(Verdict::Notify)),
        // What passes for UDP has a number of those, so that whom an answer comes from can be told.
        "recvfrom" => {
            let nowhere = [false, true].map(|upper| Match { argument: 4, upper, mask: u32::MAX, value: 0 });
            let mut cases = vec![Case { when: nowhere.to_vec(), verdict: Verdict::Allow }, asker()];
            cases.extend(always(Verdict::Allow));
            Some(cases)
        }
        "recvmsg" => {
            let mut cases = vec![asker()];
            cases.extend(always(Verdict::Allow));
            Some(cases)
        }
        "sendto" => {
            let nowhere = [false, true].map(|upper| Match { argument: 4, upper, mask: u32::MAX, value: 0 });
            let mut cases = vec![fast_open(3), Case { when: nowhere.to_vec(), verdict: Verdict::Allow }];
            cases.extend(always(Verdict::Notify));
            Some(cases)
        }
        _ => None,
    }
}

/// Descriptors that askers for names are given.
pub(crate) const ASKERS: std::ops::Range<u32> = 0x300..0x400;

fn asker() -> Case {
    let is = Match { argument: 0, upper: false, mask: !0xff, value: ASKERS.start };
    Case { when: vec![is], verdict: Verdict::Notify }
}

/// Calls that init judges then, besides connect.
pub(crate) const CALLS: [&str; 8] =
    ["socket", "bind", "listen", "getpeername", "getsockname", "recvfrom", "recvmsg", "sendto"];

fn options() -> Vec<Case> {
    let (unknown, done) = (Verdict::Errno(libc::ENOPROTOOPT as u16), Verdict::Errno(0));
    let level = |level: i32, options: &[i32], verdict| {
        let one = |option: &i32| case(&[(1, level as u32), (2, *option as u32)], verdict);
        options.iter().map(one).collect::<Vec<_>>()
    };
    let mut cases = level(libc::SOL_SOCKET, &SOCKET, Verdict::Allow);
    // Whoever asks for the first wants to share a port with others of its own. By the other, init would wait where it closes a socket that
    // it looked at, for as long as the task says.
    cases.extend(level(libc::SOL_SOCKET, &[libc::SO_REUSEPORT, libc::SO_LINGER], done));
    cases.extend(level(libc::SOL_TCP, &TCP, Verdict::Allow));
    cases.extend(level(libc::SOL_TCP, &[libc::TCP_FASTOPEN_CONNECT], done));
    cases.extend(level(libc::SOL_IP, &IPV4, done));
    cases.extend(level(libc::SOL_IPV6, &IPV6, done));
    for told in [libc::SOL_SOCKET, libc::SOL_IP, libc::SOL_IPV6] {
        cases.push(case(&[(1, told as u32)], TOLD));
    }
    cases.extend(always(unknown));
    cases
}

fn case(when: &[(u8, u32)], verdict: Verdict) -> Case {
    let is = |(argument, value): &(u8, u32)| Match {
        argument: *argument,
        upper: false,
        mask: u32::MAX,
        value: *value,
    };
    Case { when: when.iter().map(is).collect(), verdict }
}

#[cfg(test)]
mod tests {
    use crate::bpf::{ARCHITECTURE, interpret};
    use crate::syscalls::{Variant, list, program};

    const ALLOW: u32 = 0x7fff_0000;
    const NOTIFY: u32 = 0x7fc0_0000;
    const DONE: u32 = 0x5_0000;

    fn judge(name: &str, arguments: [u64; 6]) -> u32 {
        let variant = Variant { hosted: true, gated: true, ..Variant::default() };
        let number = list().iter().find(|call| call.name == name).unwrap().number;
        interpret(&program(variant), ARCHITECTURE, number, arguments).unwrap()
    }

    #[test]
    fn options_that_lead_packets_elsewhere_are_refused() {
        let of = |level: i32, option: i32| judge("setsockopt", [3, level as u64, option as u64, 0, 0, 0]);
        for (level, option) in [
            (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
            (libc::SOL_SOCKET, libc::SO_MARK),
            (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
            (libc::SOL_SOCKET, libc::SO_DETACH_FILTER),
            (libc::SOL_SOCKET, libc::SO_DONTROUTE),
            (libc::SOL_IP, libc::IP_OPTIONS),
            (libc::SOL_IP, libc::IP_UNICAST_IF),
            (libc::SOL_IP, libc::IP_TRANSPARENT),
            (libc::SOL_IPV6, libc::IPV6_RTHDR),
            (libc::SOL_IPV6, libc::IPV6_PKTINFO),
        ] {
            assert_eq!(of(level, option), NOTIFY, "{level} {option}");
            // The kernel reads 32 bits.
            let high = judge("setsockopt", [3, level as u64 | 1 << 32, option as u64 | 1 << 32, 0, 0, 0]);
            assert_eq!(high, NOTIFY, "{level} {option}");
        }
        assert_eq!(of(libc::SOL_TCP, libc::TCP_FASTOPEN_CONNECT), DONE);
        assert_eq!(of(libc::SOL_SOCKET, libc::SO_LINGER), DONE);
        assert_eq!(of(libc::SOL_TCP, libc::TCP_ULP), DONE | libc::ENOPROTOOPT as u32);
        assert_eq!(of(libc::SOL_TCP, libc::TCP_NODELAY), ALLOW);
        assert_eq!(of(libc::SOL_SOCKET, libc::SO_KEEPALIVE), ALLOW);
        assert_eq!(of(libc::SOL_IP, libc::IP_RECVERR), DONE);
    }

    #[test]
    fn an_address_is_looked_at() {
        assert_eq!(judge("sendto", [3, 1, 1, 0, 0, 0]), ALLOW);
        assert_eq!(judge("sendto", [3, 1, 1, 0, 0x7fff_0000_0000, 16]), NOTIFY);
        assert_eq!(
            judge("sendto", [3, 1, 1, libc::MSG_FASTOPEN as u64, 1, 16]),
            DONE | libc::EOPNOTSUPP as u32
        );
        for length in [16, 28] {
            assert_eq!(judge("bind", [3, 1, length, 0, 0, 0]), NOTIFY);
        }
        assert_eq!(judge("recvmsg", [0x2ff, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(judge("recvmsg", [0x3ff, 1, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(judge("recvfrom", [0x3ff, 1, 9, 0, 0, 0]), ALLOW);
        assert_eq!(judge("recvfrom", [0x3ff, 1, 9, 0, 1 << 40, 0]), NOTIFY);
        assert_eq!(judge("bind", [3, 1, 110, 0, 0, 0]), ALLOW);
        assert_eq!(judge("socket", [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0]), NOTIFY);
    }
}
