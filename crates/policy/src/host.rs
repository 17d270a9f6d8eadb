//! Hosts as policies write them: exact, or `*.` for one or more labels in front; addresses and networks only if
//! written so. A port follows a colon; 443 if absent.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::diagnostic::Invalid;
use crate::idna::a_label;
use crate::network::Peer;

/// Which host a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostPattern {
    /// This name, in lower case, as A-labels, without the trailing dot.
    Name(String),
    /// One or more labels, then this name.
    Below(String),
    /// This address.
    Address(IpAddr),
    /// The addresses that share this many leading bits.
    Network(IpAddr, u8),
}

/// A host and the port there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// The host.
    pub host: HostPattern,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `HOST` or `HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        refuse_urls(text)?;
        let (host, port) = split_port(text)?;
        let port = port.map(|port| parse_port(text, port)).transpose()?.unwrap_or(443);
        let host = HostPattern::parse(host)?;
        if matches!(&host, HostPattern::Name(name) if name == "localhost") {
            return Err(Invalid::new("`localhost` inside is the sandbox's own loopback, not the host's")
                .help(format!(
                    "write `{{ host_loopback = {port} }}`; inside it is `host.ringfence.internal`"
                )));
        }
        Ok(Self { host, port })
    }
}

impl Endpoint {
    /// Does it stand for this peer at this port?
    pub fn is(&self, peer: &Peer<'_>, port: u16) -> bool {
        self.port == port
            && match (&self.host, peer) {
                (HostPattern::Name(own), Peer::Name(name)) => own == name,
                (HostPattern::Below(own), Peer::Name(name)) => {
                    name.strip_suffix(own.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                (HostPattern::Address(own), Peer::Address(address)) => {
                    own.to_canonical() == address.to_canonical()
                }
                _ => false,
            }
    }
}

impl HostPattern {
    /// Reads a host without a port.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        refuse_urls(text)?;
        if let Some((address, bits)) = text.split_once('/') {
            return network(text, address, bits);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        if text.contains(['[', ']', ':']) {
            return Err(Invalid::new(format!("`{text}` is not an IPv6 address"))
                .help("write an IPv6 address in brackets, `[2001:db8::1]:443`"));
        }
        match text.strip_prefix("*.") {
            None => Ok(Self::Name(name(text)?)),
            Some(rest) => {
                let below = name(rest)?;
                if !below.contains('.') {
                    return Err(Invalid::new(format!("`{text}` would allow a whole top-level domain"))
                        .help(format!("put at least two labels behind the star, `*.example.{below}`")));
                }
                Ok(Self::Below(below))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Below(name) => write!(formatter, "*.{name}"),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Network(address, bits) => write!(formatter, "{address}/{bits}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            HostPattern::Network(IpAddr::V6(address), bits) => {
                write!(formatter, "[{address}/{bits}]:{}", self.port)
            }
            _ => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// What is not a host at all gets its own message, before it is taken apart.
fn refuse_urls(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new("a host is empty"));
    }
    if let Some(character) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        let message = format!("a host cannot hold the character U+{:04X}", character as u32);
        return Err(Invalid::new(message).help("write the host alone, without spaces"));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(Invalid::new(format!("`{text}` is a URL, not a host")).help(format!("write `{host}`")));
    }
    Ok(())
}

/// Splits `host:port`, `[v6]:port`, `[v6/bits]:port`; leaves `::1` and `10.0.0.0/8` whole.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<&str>), Invalid> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, behind)) = rest.split_once(']') else {
            return Err(Invalid::new(format!("`{text}` has `[` without `]`"))
                .help("write an IPv6 address in brackets, `[2001:db8::1]:443`"));
        };
        return match (behind, behind.strip_prefix(':')) {
            _ if !inside.contains(':') => {
                Err(Invalid::new(format!("`{inside}` in brackets is not an IPv6 address"))
                    .help("write it without brackets"))
            }
            ("", _) => Ok((inside, None)),
            (_, Some(port)) => Ok((inside, Some(port))),
            _ => Err(Invalid::new(format!("`{text}` goes on behind `]`"))),
        };
    }
    if text.bytes().filter(|byte| *byte == b':').count() > 1 {
        return Ok((text, None));
    }
    Ok(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

/// Reads a port, 1 to 65535.
pub(crate) fn parse_port(text: &str, port: &str) -> Result<u16, Invalid> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok(number),
        _ => Err(Invalid::new(format!("`{port}` in `{text}` is not a port"))
            .help("write one number from 1 to 65535, and one rule for each port")),
    }
}

fn network(text: &str, address: &str, bits: &str) -> Result<HostPattern, Invalid> {
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(Invalid::new(format!("`{text}` is a path, not a host"))
            .help("write `{ host = \"..\", paths = [\"..\"] }`"));
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let invalid = || {
        Invalid::new(format!("`/{bits}` is not a prefix length of `{address}`"))
            .help(format!("write 0 to {width}"))
    };
    if bits.is_empty() || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let bits: u8 = bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(invalid)?;
    let first = first_address(address, bits);
    if first != address {
        return Err(Invalid::new(format!("`{text}` is not the first address of its network"))
            .help(format!("write `{first}/{bits}`, or the address alone")));
    }
    Ok(HostPattern::Network(address, bits))
}

fn first_address(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// Normalises a name: lower case, A-labels, no trailing dot.
fn name(text: &str) -> Result<String, Invalid> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if let Some(odd) = name.split('.').find(|label| label.contains('*')) {
        return Err(Invalid::new(format!("`{odd}` in `{text}`: a star stands only for the labels in front"))
            .help("write `*.` and at least two labels, such as `*.example.org`"));
    }
    if !name.is_ascii() {
        let spelled = name.split('.').map(a_label).collect::<Option<Vec<_>>>();
        let invalid = Invalid::new(format!("`{text}` has letters outside ASCII, which may look like others"));
        return Err(match spelled {
            Some(labels) => invalid.help(format!("if this very name is meant, write `{}`", labels.join("."))),
            None => invalid.help("write its labels in punycode, `xn--..`"),
        });
    }
    let name = name.to_ascii_lowercase();
    if name.len() > 253 {
        return Err(
            Invalid::new(format!("a host name of {} bytes is too long", name.len())).help("at most 253")
        );
    }
    for label in name.split('.') {
        check_label(text, label)?;
    }
    // WHATWG URL, "ends in a number": clients read `127.1` and `0x7f000001` as addresses.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid::new(format!("`{text}` looks like an address in an unusual form"))
            .help("write the address with four decimal numbers"));
    }
    Ok(name)
}

fn check_label(text: &str, label: &str) -> Result<(), Invalid> {
    let why = match label {
        "" => "a label is empty",
        _ if label.len() > 63 => "a label is longer than 63 bytes",
        _ if label.starts_with('-') || label.ends_with('-') => "a label starts or ends with a hyphen",
        _ if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) => {
            "only letters, digits and hyphens may be in it"
        }
        _ => return Ok(()),
    };
    Err(Invalid::new(format!("`{text}` is not a host name: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Endpoint::parse(text).unwrap().to_string()
    }

    #[test]
    fn valid_ones_are_normalised() {
        for (text, expected) in [
            ("packages.example.org", "packages.example.org:443"),
            ("ALLOWED.EXAMPLE.:443", "allowed.example:443"),
            ("xn--llowed-3cd.example:443", "xn--llowed-3cd.example:443"),
            ("*.Example.Org:8443", "*.example.org:8443"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("10.0.0.0/8", "10.0.0.0/8:443"),
            ("10.0.0.0/8:80", "10.0.0.0/8:80"),
            ("[::1]:80", "[::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:443"),
            ("2001:db8::/32", "[2001:db8::/32]:443"),
            ("[2001:db8::/32]:80", "[2001:db8::/32]:80"),
            ("0.0.0.0/0", "0.0.0.0/0:443"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn po15_bad_hosts_are_errors() {
        for (text, why) in [
            ("*", "a star stands only"),
            ("*.com", "whole top-level domain"),
            ("*.com.", "whole top-level domain"),
            ("a*.example:443", "a star stands only"),
            ("*.*.example.org", "a star stands only"),
            ("allowed.example.*", "a star stands only"),
            ("https://allowed.example/x", "is a URL"),
            ("allowed.example/x", "is a path"),
            (" allowed.example", "U+0020"),
            ("allowed.example\0.denied.example:443", "U+0000"),
            ("[::1", "without `]`"),
            ("[::1]x", "behind `]`"),
            ("[zz]:1", "in brackets is not"),
            ("[10.0.0.1]:1", "in brackets is not"),
            ("1:2:3", "not an IPv6"),
            ("allowed.example:443-80", "is not a port"),
            ("allowed.example:0", "is not a port"),
            ("allowed.example:70000", "is not a port"),
            ("allowed.example:+80", "is not a port"),
            ("allowed.example:", "is not a port"),
            ("10.0.0.1/33", "not a prefix length"),
            ("10.0.0.1/+8", "not a prefix length"),
            ("10.0.0.1/8", "not the first address"),
            ("127.1", "unusual form"),
            ("0x7f000001", "unusual form"),
            ("2130706433", "unusual form"),
            ("a..b", "a label is empty"),
            (".a", "a label is empty"),
            ("-a.example", "hyphen"),
            ("a@b.example", "only letters"),
            ("", "empty"),
            ("localhost:5432", "host_loopback"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            let all = format!("{error} {}", error.help.clone().unwrap_or_default());
            assert!(all.contains(why), "{text:?}: {all}");
        }
        assert!(HostPattern::parse(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(HostPattern::parse(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn po16_letters_outside_ascii_are_named_in_punycode() {
        let error = Endpoint::parse("\u{430}llowed.example:443").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("if this very name is meant, write `xn--llowed-2nf.example`"));
    }
}
