//! Families of sockets by the names that manuals have for them (address_families(7), linux/socket.h): a refused call names the one it
//! asked for.

const NAMES: [&str; 46] = [
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

/// The family that a call asks for, if it is one that makes sockets; all that have no name are one.
#[must_use]
pub fn asked(number: i32, arguments: &[u64; 6]) -> Option<u8> {
    let makes = [libc::SYS_socket, libc::SYS_socketpair].contains(&i64::from(number));
    makes.then_some(known(arguments[0]))
}

/// A family as an argument says it.
#[must_use]
pub fn known(argument: u64) -> u8 {
    // The kernel reads 32 bits.
    let family = u8::try_from(argument as u32).unwrap_or(u8::MAX);
    if usize::from(family) < NAMES.len() { family } else { u8::MAX }
}

/// As a call is told of with it.
#[must_use]
pub fn with(call: &str, family: u8) -> String {
    match NAMES.get(usize::from(family)) {
        Some(name) => format!("{call} (AF_{name})"),
        None => format!("{call} (an unknown family)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_names_and_unknown_ones_are_one() {
        let socket = |family: u64| asked(libc::SYS_socket as i32, &[family, 0, 0, 0, 0, 0]);
        assert_eq!(socket(40).map(|family| with("socket", family)).as_deref(), Some("socket (AF_VSOCK)"));
        assert_eq!(socket(45).map(|family| with("socket", family)).as_deref(), Some("socket (AF_MCTP)"));
        assert!(
            socket(46) == Some(u8::MAX)
                && socket(1 << 20) == socket(46)
                && socket((1 << 32) | 17) == Some(17)
        );
        assert_eq!(asked(libc::SYS_connect as i32, &[1; 6]), None);
    }
}
