//! Addresses that a name never leads to by itself: private networks, the host's own services, metadata of clouds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What such a range is, and whether an address or network of `network.allow` that lies in it opens it.
struct Range {
    first: IpAddr,
    bits: u8,
    what: &'static str,
    opens: bool,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8, what: &'static str, opens: bool) -> Range {
    Range { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits, what, opens }
}

const fn v6(first: u128, bits: u8, what: &'static str, opens: bool) -> Range {
    Range { first: IpAddr::V6(Ipv6Addr::from_bits(first)), bits, what, opens }
}

/// IANA's registries of special-purpose addresses, without those for documentation, which lead nowhere; the first that
/// holds an address is the one.
static RANGES: &[Range] = &[
    v4(127, 0, 0, 0, 8, "a loopback address", false),
    v4(0, 0, 0, 0, 8, "an address of this host", false),
    v4(10, 0, 0, 0, 8, "a private address", true),
    v4(172, 16, 0, 0, 12, "a private address", true),
    v4(192, 168, 0, 0, 16, "a private address", true),
    v4(169, 254, 0, 0, 16, "a link-local address, where clouds serve metadata", true),
    v4(168, 63, 129, 16, 32, "an address where a cloud serves metadata", true),
    v4(100, 64, 0, 0, 10, "an address of a provider's own network", true),
    v4(192, 0, 0, 0, 24, "an address of a protocol's own", true),
    v4(192, 88, 99, 0, 24, "an address of 6to4 relays", true),
    v4(198, 18, 0, 0, 15, "an address that the sandbox gives to names", false),
    v4(224, 0, 0, 0, 4, "a multicast address", false),
    v4(240, 0, 0, 0, 4, "a reserved address", false),
    v6(1, 128, "a loopback address", false),
    v6(0, 96, "an address of this host", false),
    v6(0xfc00 << 112, 7, "a private address", true),
    v6(0xfe80 << 112, 10, "a link-local address", true),
    v6(0xfec0 << 112, 10, "a private address", true),
    v6(0xff00 << 112, 8, "a multicast address", false),
    v6(0x0064_ff9b_0001 << 80, 48, "an address of a local translator", true),
    v6(0x0100 << 112, 64, "an address that discards", false),
    v6(0x2001_0000 << 96, 32, "an address of a Teredo tunnel", true),
];

/// Does the network hold the address?
pub(crate) fn holds(first: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            first.to_bits() == address.to_bits() & mask
        }
        (IpAddr::V6(first), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            first.to_bits() == address.to_bits() & mask
        }
        _ => false,
    }
}

/// The IPv4 address that packets to this one end up at: mapped (RFC 4291), NAT64 (RFC 6052), 6to4
/// (RFC 3056), translated (RFC 2765).
pub(crate) fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(whole) = address else { return address };
    if let Some(mapped) = whole.to_ipv4_mapped() {
        return mapped.into();
    }
    let [a, b, c, d, e, f, g, h] = whole.segments();
    let four = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    match (a, b) {
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => four(g, h),
        (0x2002, _) => four(b, c),
        (0, 0) if [c, d, e, f] == [0, 0, 0xffff, 0] => four(g, h),
        _ => address,
    }
}

/// How it ends where a rule would.
pub(crate) const OPENED: &str = "; only a rule of `network.allow` that names it opens it";

/// What is special about an address, and what would open it, in words.
pub(crate) fn why(address: IpAddr) -> Option<String> {
    let address = inner(address);
    let range = RANGES.iter().find(|range| holds(range.first, range.bits, address))?;
    let opens = if range.opens { OPENED } else { "; which no rule opens" };
    Some(format!("{}{opens}", range.what))
}

/// What is special about an address, unless a rule about this network, or this address alone (all bits), opens it.
pub(crate) fn special(address: IpAddr, rule: Option<(IpAddr, u8)>) -> Option<&'static str> {
    let address = inner(address);
    let range = RANGES.iter().find(|range| holds(range.first, range.bits, address))?;
    let within = |(first, bits): (IpAddr, u8)| bits >= range.bits && holds(range.first, range.bits, first);
    let opened = range.opens && rule.is_some_and(within);
    (!opened).then_some(range.what)
}

/// What is special about an address, if anything is.
#[must_use]
pub fn unusual(address: IpAddr) -> Option<&'static str> {
    special(address, None)
}

/// Whether a rule with this network lets an address of it be reached: those of special ranges are not, unless the rule is about that
/// range or a part of it.
#[must_use]
pub fn opens(network: (IpAddr, u8), address: IpAddr) -> bool {
    special(address, Some(network)).is_none()
}

/// What a network is as a whole, if no rule opens it.
pub(crate) fn closed(first: IpAddr, bits: u8) -> Option<&'static str> {
    let whole = |range: &&Range| bits >= range.bits && holds(range.first, range.bits, first);
    RANGES.iter().find(whole).filter(|range| !range.opens).map(|range| range.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(text: &str) -> Option<&'static str> {
        special(text.parse().unwrap(), None)
    }

    #[test]
    fn special_addresses_are_known_in_every_form() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.64.0.1",
            "192.0.0.192",
            "198.18.0.7",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "::ffff:0:10.9.8.7",
            "::ffff:0:127.0.0.1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is(text).is_some(), "{text}");
        }
        for text in
            ["203.0.113.10", "8.8.8.8", "172.32.0.1", "2001:db8::1", "64:ff9b::808:808", "2002:808:808::1"]
        {
            assert_eq!(is(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_rule_within_a_range_opens_it() {
        let opens = |address: &str, first: &str, bits: u8| {
            special(address.parse().unwrap(), Some((first.parse().unwrap(), bits))).is_none()
        };
        assert!(opens("10.1.2.3", "10.0.0.0", 8));
        assert!(opens("10.1.2.3", "10.1.2.3", 32));
        assert!(opens("::ffff:10.1.2.3", "10.1.2.3", 32));
        assert!(opens("169.254.169.254", "169.254.169.254", 32));
        assert!(opens("fd00::1", "fd00::", 8));
        assert!(!opens("10.1.2.3", "0.0.0.0", 0));
        assert!(!opens("169.254.169.254", "128.0.0.0", 1));
        assert!(!opens("127.0.0.1", "127.0.0.1", 32));
        assert!(!opens("224.0.0.1", "224.0.0.0", 4));
    }
}
