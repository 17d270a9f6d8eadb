//! What system calls ask for by an argument, in the names that manuals have for it (address_families(7), socket(2), ip(7), netlink(7),
//! ioctl_tty(2)): a refused call is told of with that, and each such is one.

const FAMILIES: [&str; 46] = [
    "UNSPEC",
    "UNIX",
    "INET",
    "AX25",
    "IPX",
    "APPLETALK",
    "NETROM",
    "BRIDGE",
    "ATMPVC",
    "X25",
    "INET6",
    "ROSE",
    "DECnet",
    "NETBEUI",
    "SECURITY",
    "KEY",
    "NETLINK",
    "PACKET",
    "ASH",
    "ECONET",
    "ATMSVC",
    "RDS",
    "SNA",
    "IRDA",
    "PPPOX",
    "WANPIPE",
    "LLC",
    "IB",
    "MPLS",
    "CAN",
    "TIPC",
    "BLUETOOTH",
    "IUCV",
    "RXRPC",
    "ISDN",
    "PHONET",
    "IEEE802154",
    "CAIF",
    "ALG",
    "NFC",
    "VSOCK",
    "KCM",
    "QIPCRTR",
    "SMC",
    "XDP",
    "MCTP",
];

const TYPES: [(u64, &str); 7] =
    [(1, "STREAM"), (2, "DGRAM"), (3, "RAW"), (4, "RDM"), (5, "SEQPACKET"), (6, "DCCP"), (10, "PACKET")];

const PROTOCOLS: [(u64, &str); 14] = [
    (1, "ICMP"),
    (2, "IGMP"),
    (6, "TCP"),
    (17, "UDP"),
    (33, "DCCP"),
    (41, "IPV6"),
    (47, "GRE"),
    (50, "ESP"),
    (51, "AH"),
    (58, "ICMPV6"),
    (132, "SCTP"),
    (136, "UDPLITE"),
    (255, "RAW"),
    (262, "MPTCP"),
];

const NETLINKS: [(u64, &str); 12] = [
    (2, "USERSOCK"),
    (4, "SOCK_DIAG"),
    (5, "NFLOG"),
    (6, "XFRM"),
    (7, "SELINUX"),
    (9, "AUDIT"),
    (11, "CONNECTOR"),
    (12, "NETFILTER"),
    (15, "KOBJECT_UEVENT"),
    (16, "GENERIC"),
    (20, "RDMA"),
    (21, "CRYPTO"),
];

const REQUESTS: [(u64, &str); 4] = [(0x5412, "STI"), (0x541c, "LINUX"), (0x541d, "CONS"), (0x5423, "SETD")];

/// What a call asks for, if it is one of which that is told; all that has no name is one.
#[must_use]
pub fn detail(number: i32, arguments: &[u64; 6]) -> Option<String> {
    let name = match i64::from(number) {
        libc::SYS_socket => "socket",
        libc::SYS_socketpair => "socketpair",
        libc::SYS_ioctl => "ioctl",
        _ => return None,
    };
    of(name, arguments)
}

/// A call by its name, as it is told of.
#[must_use]
pub fn with(call: &str, arguments: &[u64]) -> String {
    of(call, arguments).map_or_else(|| call.to_owned(), |detail| format!("{call} ({detail})"))
}

/// Whether a call asks for a socket of TCP or UDP, which a network has.
#[must_use]
pub fn of_network(number: i32, arguments: &[u64; 6]) -> bool {
    let inet = matches!(detail(number, arguments).as_deref(), Some("AF_INET" | "AF_INET6"));
    inet && i64::from(number) == libc::SYS_socket
}

/// Whether a call asks for a socket of netlink's that tells of routes.
#[must_use]
pub fn of_routes(number: i32, arguments: &[u64; 6]) -> bool {
    i64::from(number) == libc::SYS_socket && detail(number, arguments).as_deref() == Some("AF_NETLINK")
}

/// Why a socket is refused whose family is allowed.
#[must_use]
pub fn why(call: &str, arguments: &[u64]) -> Option<String> {
    let kind = kind(call, arguments)?;
    let most = match arguments.first().copied().map(low) {
        Some(UNIX) => "unix sockets are streams and sequenced packets",
        Some(NETLINK) => "netlink is that of routes",
        _ => "inet and inet6 sockets are those of TCP and UDP",
    };
    Some(format!("{most}; {kind} is refused by argument"))
}

fn of(call: &str, arguments: &[u64]) -> Option<String> {
    let argument = |at: usize| arguments.get(at).copied().map(low);
    if call == "ioctl" {
        return name("TIOC", &REQUESTS, argument(1)?);
    }
    let family = argument(0).filter(|_| matches!(call, "socket" | "socketpair"))?;
    let name = usize::try_from(family).ok().and_then(|family| FAMILIES.get(family));
    let family = name.map_or_else(|| "an unknown family".to_owned(), |name| format!("AF_{name}"));
    Some(match kind(call, arguments) {
        Some(kind) => format!("{family}, {kind}"),
        None => family,
    })
}

const UNIX: u64 = libc::AF_UNIX as u64;
const NETLINK: u64 = libc::AF_NETLINK as u64;
const INETS: [u64; 2] = [libc::AF_INET as u64, libc::AF_INET6 as u64];

/// The type or protocol for which a socket is refused, where its family is not what is.
fn kind(call: &str, arguments: &[u64]) -> Option<String> {
    let [family, kind, protocol, ..] = *arguments else { return None };
    // SOCK_TYPE_MASK (linux/net.h).
    let (family, kind, protocol) = (low(family), kind & 0xf, low(protocol));
    let types = || name("SOCK_", &TYPES, kind).or_else(|| Some("an unknown type".to_owned()));
    let other = || Some("an unknown protocol".to_owned());
    match (call, family) {
        ("socket" | "socketpair", UNIX) if ![1, 5].contains(&kind) => types(),
        ("socket", family) if INETS.contains(&family) => match (kind, protocol) {
            (1, 0 | 6) | (2, 0 | 17) => None,
            (1 | 2, _) | (5, 1..) => name("IPPROTO_", &PROTOCOLS, protocol).or_else(other),
            _ => types(),
        },
        ("socket", NETLINK) if protocol != 0 => name("NETLINK_", &NETLINKS, protocol).or_else(other),
        _ => None,
    }
}

fn name(prefix: &str, names: &[(u64, &str)], value: u64) -> Option<String> {
    let (_, name) = names.iter().find(|(own, _)| *own == value)?;
    Some(format!("{prefix}{name}"))
}

/// The kernel reads 32 bits.
fn low(argument: u64) -> u64 {
    argument & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_names_and_unknown_ones_are_one() {
        let socket = |family: u64| detail(libc::SYS_socket as i32, &[family, 0, 0, 0, 0, 0]);
        assert_eq!(socket(40).as_deref(), Some("AF_VSOCK"));
        assert_eq!(socket(45).as_deref(), Some("AF_MCTP"));
        assert_eq!(socket(46).as_deref(), Some("an unknown family"));
        assert!(socket(1 << 20) == socket(46) && socket((1 << 32) | 17).as_deref() == Some("AF_PACKET"));
        assert_eq!(detail(libc::SYS_connect as i32, &[1; 6]), None);
    }

    #[test]
    fn of_a_family_that_is_allowed_it_is_the_type_or_protocol_that_is_refused() {
        for (call, arguments, told) in [
            ("socket", [2, 3, 1], "socket (AF_INET, SOCK_RAW)"),
            ("socket", [2, 1, 262], "socket (AF_INET, IPPROTO_MPTCP)"),
            ("socket", [10, 0x8_0005, 132], "socket (AF_INET6, IPPROTO_SCTP)"),
            ("socket", [2, 1, 99], "socket (AF_INET, an unknown protocol)"),
            ("socket", [1, 0x802, 0], "socket (AF_UNIX, SOCK_DGRAM)"),
            ("socketpair", [1, 2, 0], "socketpair (AF_UNIX, SOCK_DGRAM)"),
            ("socket", [16, 3, 12], "socket (AF_NETLINK, NETLINK_NETFILTER)"),
            ("socket", [38, 5, 0], "socket (AF_ALG)"),
            ("socket", [2, 1, 6], "socket (AF_INET)"),
            ("socket", [2, 3, 6], "socket (AF_INET, SOCK_RAW)"),
            ("socket", [2, 5, 0], "socket (AF_INET, SOCK_SEQPACKET)"),
            ("socket", [2, 2, 6], "socket (AF_INET, IPPROTO_TCP)"),
            ("ioctl", [0, 0x5412, 0], "ioctl (TIOCSTI)"),
            ("ioctl", [0, 0x541c, 0], "ioctl (TIOCLINUX)"),
            ("ioctl", [0, 0x5000_9401, 0], "ioctl"),
            ("bpf", [1, 2, 0], "bpf"),
        ] {
            assert_eq!(with(call, &arguments), told);
        }
        let why = |arguments: [u64; 3]| why("socket", &arguments);
        assert!(why([2, 1, 262]).is_some_and(|why| why.contains("IPPROTO_MPTCP is refused")));
        assert_eq!(why([38, 5, 0]), None);
    }
}
