//! The way to where a connection may go: looked up, vetted, and connected to exactly that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringfence_policy::{HOST, Peer};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Gateway;
use crate::connection::Target;

/// For an address that is not the last one, and for the last.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(30));

/// Why there is no way.
pub(crate) enum NoWay {
    /// Policy refuses it, in words.
    Refused(String),
    /// The server is not who it should be: somebody else may be there.
    Unverified(String),
    /// The network does.
    Failed(String),
}

/// Connects to where the rules allow a connection to go.
pub(crate) async fn connect(gateway: &Gateway, target: &Target) -> Result<TcpStream, NoWay> {
    let addresses = addresses(gateway, target).await?;
    gateway.pending.answered(target, "the server", reach(addresses, target.port)).await
}

/// Connects to the first that answers.
async fn reach(addresses: Vec<IpAddr>, port: u16) -> Result<TcpStream, NoWay> {
    let last = addresses.len();
    let mut why = "it has no address".to_owned();
    for (number, address) in addresses.into_iter().enumerate() {
        let patience = if number + 1 == last { PATIENCE.1 } else { PATIENCE.0 };
        match timeout(patience, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let _ = sockopt::set_socket_keepalive(&stream, true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no answer for {} seconds", patience.as_secs()),
        }
    }
    Err(NoWay::Failed(format!("the server cannot be reached: {why}")))
}

/// Where a server is that the rules allow a connection to.
pub(crate) async fn addresses(gateway: &Gateway, target: &Target) -> Result<Vec<IpAddr>, NoWay> {
    Ok(match target.peer() {
        // The rules were about the address itself.
        Peer::Address(address) => vec![address],
        // A service of the host itself, which the rule is about.
        Peer::Name(HOST) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Peer::Name(name) => {
            let vetted = vetted(gateway, name, target.port);
            gateway.pending.answered(target, "the host's resolver", vetted).await?
        }
    })
}

/// The addresses of a name that policy lets it lead to.
async fn vetted(gateway: &Gateway, name: &str, port: u16) -> Result<Vec<IpAddr>, NoWay> {
    let found = gateway.resolver.lookup(name).await.map_err(NoWay::Failed)?;
    let mut refused = None;
    let mut fine = Vec::new();
    for address in found {
        match gateway.judge.borrow().vet(name, address, port) {
            Ok(()) => fine.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) if fine.is_empty() => Err(NoWay::Refused(why)),
        _ => Ok(fine),
    }
}
