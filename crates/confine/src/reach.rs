//! Connections to addresses: those that no rule allows are refused here, as a network would; and who asked is remembered,
//! since the gateway sees only ports.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use ringfence_policy::{GrantedHost, Names, NetworkJudge, NetworkRules, Peer};
use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};

use crate::gateway::DATAGRAM;
use crate::hosted::Sockets;
use crate::report::{Refusal, Refused};
use crate::script::Program;

/// Questions for names go to the gateway whatever their address.
pub(crate) const DNS: u16 = 53;

/// Why nothing of the loopback is reached in tier `landlock`.
const LOOPBACK: &str = "tier `landlock`: the loopback is the host's, and of it only `host_loopback` in `network.allow` is reached, by the name `host.ringfence.internal`";

/// The network as init knows it.
#[derive(Debug)]
pub(crate) struct Reach {
    rules: NetworkJudge,
    /// Names that the policy writes out, with their addresses.
    names: Names,
    /// By their ports, which TCP and UDP have apart.
    callers: HashMap<u32, (i32, OsString)>,
    /// In tier `landlock`.
    pub(crate) sockets: Option<Sockets>,
}

impl Reach {
    pub(crate) fn new(rules: NetworkRules, sockets: Option<Sockets>) -> Self {
        let names = Names::new(rules.names());
        Self { names, rules: NetworkJudge::new(rules), callers: HashMap::new(), sockets }
    }

    /// Why a connection of this socket to this address is refused; `None`: the kernel and the gateway see to it.
    pub(crate) fn refuses(&self, socket: &OwnedFd, address: &[u8]) -> Option<Refused> {
        let asked = parse(address)?;
        let (to, port) = (asked.ip().to_canonical(), asked.port());
        let stream = sockopt::socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM);
        if !stream || port == DNS || to.is_loopback() || to.is_unspecified() {
            return None;
        }
        self.judge(asked)
    }

    /// The same in tier `landlock`, where the loopback is the host's.
    pub(crate) fn refuses_here(&self, asked: SocketAddr) -> Option<Refused> {
        let (to, port) = (asked.ip().to_canonical(), asked.port());
        if port == DNS {
            return None;
        }
        if to.is_loopback() || to.is_unspecified() {
            return Some(Refused::Network {
                host: to.to_string(),
                port,
                rule: LOOPBACK.into(),
                source: 0,
                times: 1,
            });
        }
        self.judge(asked)
    }

    fn judge(&self, asked: SocketAddr) -> Option<Refused> {
        let (to, port) = (asked.ip().to_canonical(), asked.port());
        let (peer, host) = match to {
            IpAddr::V4(to) if Names::is_one(to) => match self.names.name(to) {
                Some(name) => (Peer::Name(name), name.to_owned()),
                // A name that a pattern covers: only the gateway knows which.
                None => return None,
            },
            to => (Peer::Address(to), to.to_string()),
        };
        let rule = self.rules.connect(&peer, port).err()?;
        // The gateway holds what the owner may be asked about: a call that waits would stop a whole loop of events.
        (!self.rules.asks(&peer, port)).then_some(Refused::Network { host, port, rule, source: 0, times: 1 })
    }

    pub(crate) fn grant(&mut self, number: u32, granted: GrantedHost) {
        self.rules.grant(number, granted);
    }

    pub(crate) fn withdraw(&mut self, number: u32) {
        self.rules.withdraw(number);
    }

    /// Remembers who uses the socket's port: of what is granted no more than must be.
    pub(crate) fn note(&mut self, socket: &OwnedFd, process: i32, file: impl FnOnce() -> OsString) {
        let own = getsockname(socket).ok().and_then(|own| SocketAddr::try_from(own).ok());
        if let Some(port) = own.map(|own| own.port()).filter(|port| *port != 0) {
            let stream = sockopt::socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM);
            let port = u32::from(port) | if stream { 0 } else { DATAGRAM };
            self.callers.insert(port, (process, file()));
        }
    }

    /// Adds who asked to what the gateway refused.
    pub(crate) fn identify(&self, refusal: &mut Refusal) {
        let source = match refusal.what {
            Refused::Network { source, .. } => source,
            Refused::Failed { source, .. }
            | Refused::Credential { source, .. }
            | Refused::Leak { source, .. } => source.into(),
            _ => return,
        };
        if let Some((process, file)) = self.callers.get(&source) {
            (refusal.process, refusal.program) = (*process, Program::still(*process, file).started(*process));
        }
    }

    /// Remembers who asks for names under a number that stands for a port.
    pub(crate) fn meet(&mut self, number: u16, process: i32, file: OsString) {
        self.callers.insert(u32::from(number) | DATAGRAM, (process, file));
    }
}

/// One of the two families.
pub(crate) fn is_network(family: u16) -> bool {
    [AddressFamily::INET, AddressFamily::INET6].map(AddressFamily::as_raw).contains(&family)
}

/// An address of one of the two families of a network (ip(7), ipv6(7)).
pub(crate) fn parse(address: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(address.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    if family == AddressFamily::INET.as_raw() {
        let four: [u8; 4] = address.get(4..8)?.try_into().ok()?;
        return Some(SocketAddr::new(four.into(), port));
    }
    let sixteen: [u8; 16] = address.get(8..24)?.try_into().ok()?;
    (family == AddressFamily::INET6.as_raw()).then(|| SocketAddr::new(sixteen.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let four = [&2_u16.to_ne_bytes()[..], &443_u16.to_be_bytes(), &[203, 0, 113, 5], &[0; 8]].concat();
        assert_eq!(parse(&four), Some("203.0.113.5:443".parse().unwrap()));
        let six =
            [&10_u16.to_ne_bytes()[..], &80_u16.to_be_bytes(), &[0; 4], &[0; 15], &[1], &[0; 4]].concat();
        assert_eq!(parse(&six), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse(&four[..7]), None);
        assert_eq!(parse(&[0; 16]), None);
    }
}
