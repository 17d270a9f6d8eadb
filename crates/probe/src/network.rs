//! The network: what is configured is read; connected to is nothing but what was named, and a listener of its own.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use ringfence_audit::Level;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

use crate::Request;
use crate::look::text;
use crate::report::{Out, State};

/// How long a named destination may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// `AF_ALG` (socket.h).
const ALG: u16 = 38;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

pub(crate) fn look(request: &Request, out: &mut Out<'_>) {
    let devices = text("/proc/net/dev");
    let names: Vec<String> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect();
    let alone = names.is_empty();
    out.list(
        "network-interfaces",
        Level::Low,
        names,
        "there are interfaces besides loopback",
        "there is no interface but loopback",
        "packets may leave by them",
    );
    out.list(
        "network-route",
        Level::Medium,
        routes(),
        "there is a default route",
        "there is no default route",
        "any address can be sent to, unless something on the way refuses it",
    );
    let resolvers: Vec<String> = text("/etc/resolv.conf")
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("nameserver")?.split_whitespace().next().map(str::to_owned)
        })
        .collect();
    out.list(
        "network-resolver",
        Level::Note,
        resolvers,
        "a resolver is configured",
        "no resolver is configured",
        "names that are asked for carry data, where it can be reached",
    );
    let own = listener();
    let ports = listening(own.as_ref().ok().map(SocketAddr::port));
    // A machine has more than loopback: where there is nothing else, the network is the environment's own, and so is who listens.
    let (level, open) = match alone {
        false => (Level::Medium, "services listen on this loopback"),
        true => (Level::Note, "services listen on this loopback, which is of a network of its own"),
    };
    let (closed, why) =
        ("nobody else listens on this loopback", "services on loopback often trust whoever reaches them");
    out.list("network-host-services", level, ports, open, closed, why);
    let (state, what) = match own {
        Ok(_) => (State::Open, "a listener of its own can be reached on loopback".to_owned()),
        Err(error) => (State::Closed, format!("no listener of its own on loopback: {error}")),
    };
    out.tell("network-loopback", state, Level::Note, &what, "", Vec::new());
    families(out);
    for target in &request.targets {
        let (state, what) = match reach(target) {
            Ok(address) => (State::Open, format!("{target} is reached ({address})")),
            Err(error) => (State::Closed, format!("{target} is not reached: {error}")),
        };
        out.tell(
            "network-target",
            state,
            Level::Medium,
            &what,
            "it was named on the command line",
            vec![target.clone()],
        );
    }
}

/// Devices of default routes: destination 0.0.0.0 and mask 0 (IPv4), prefix length 0 that is not for refusing (IPv6).
fn routes() -> Vec<String> {
    let four = text("/proc/net/route");
    let mut found: Vec<String> = four
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000"))
                .then(|| fields.first().map(|name| (*name).to_owned()))?
        })
        .collect();
    let six = text("/proc/net/ipv6_route");
    found.extend(six.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let device = fields.last()?;
        (fields.first()?.bytes().all(|byte| byte == b'0') && fields.get(1) == Some(&"00") && *device != "lo")
            .then(|| format!("{device} (IPv6)"))
    }));
    found
}

/// Ports that others listen on, of all addresses (state 0A is LISTEN).
fn listening(own: Option<u16>) -> Vec<String> {
    let mut ports: Vec<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| text(table).lines().skip(1).filter_map(port).collect::<Vec<_>>())
        .filter(|port| Some(*port) != own)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(|port| format!("port {port}")).collect()
}

fn port(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    (fields.nth(1)? == "0A").then_some(())?;
    u16::from_str_radix(local.rsplit(':').next()?, 16).ok()
}

/// Listens, connects to itself, and leaves.
fn listener() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    TcpStream::connect_timeout(&address, PATIENCE)?;
    Ok(address)
}

fn reach(target: &str) -> io::Result<SocketAddr> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in target.to_socket_addrs()?.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Kinds of sockets that say more than a connection: they are made, and not used.
fn families(out: &mut Out<'_>) {
    let made = |family, kind, protocol| socket_with(family, kind, SocketFlags::CLOEXEC, protocol).is_ok();
    let raw = [
        ("raw (IPv4)", made(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP))),
        ("packet", made(AddressFamily::PACKET, SocketType::RAW, None)),
    ];
    let names = |list: &[(&str, bool)]| {
        list.iter().filter(|(_, made)| *made).map(|(name, _)| (*name).to_owned()).collect()
    };
    out.list(
        "network-raw",
        Level::Medium,
        names(&raw),
        "raw sockets can be made",
        "no raw socket can be made",
        "whatever passes can be read, and anybody's packets sent",
    );
    let odd = [
        ("netlink (netfilter)", made(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::NETFILTER))),
        ("vsock", made(AddressFamily::VSOCK, SocketType::STREAM, None)),
        ("AF_ALG", made(AddressFamily::from_raw(ALG), SocketType::SEQPACKET, None)),
        ("TIPC", made(AddressFamily::TIPC, SocketType::SEQPACKET, None)),
        ("CAN", made(AddressFamily::CAN, SocketType::RAW, None)),
        ("Bluetooth", made(AddressFamily::BLUETOOTH, SocketType::RAW, None)),
    ];
    out.list(
        "network-families",
        Level::Low,
        names(&odd),
        "sockets of rare kinds can be made",
        "no socket of a rare kind can be made",
        "they pass by what looks at addresses, or reach code of the kernel that few have looked at",
    );
}
