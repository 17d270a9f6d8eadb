//! Packets that the kernel has refused, UDP and ICMP most of all: told of after the fact, for nobody asks here before.

use std::net::{IpAddr, UdpSocket as StdSocket};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use ringfence_confine::gateway::{PACKET, UNSEEN};
use ringfence_policy::Names;
use ringfence_sys::refused::{Packet, packets};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::Gateway;

/// At most one in so long is told of, and the kernel keeps a few hundred more: a flood costs little here.
const PACE: Duration = Duration::from_millis(5);

/// So many of them are told of at the end.
const MOST: usize = 64;

/// Tells of each, to the end.
pub(crate) async fn listen(gateway: Rc<Gateway>, socket: Option<OwnedFd>) {
    // Each read takes a message, whatever the type is called.
    let Some(Ok(socket)) = socket.map(|socket| UdpSocket::from_std(StdSocket::from(socket))) else {
        let why = "the kernel has no nfnetlink_log: they are refused, and nobody hears of a single one";
        gateway.refusals.tell(UNSEEN, 0, why.to_owned(), 0).await;
        return quiet(gateway).await;
    };
    let mut bytes = [0; 8192];
    loop {
        let read = tokio::select! {
            read = socket.recv(&mut bytes) => read,
            () = gateway.last.notified() => break,
        };
        match read {
            Ok(length) => {
                for packet in packets(bytes.get(..length).unwrap_or_default()) {
                    tell(&gateway, &packet).await;
                }
                tokio::select! {
                    () = sleep(PACE) => {}
                    () = gateway.last.notified() => break,
                }
            }
            // There were more than it keeps.
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {}
            Err(_) => return,
        }
    }
    for _ in 0..MOST {
        let Ok((_, length)) = recv(&socket, &mut bytes[..], RecvFlags::DONTWAIT) else { break };
        for packet in packets(bytes.get(..length).unwrap_or_default()) {
            tell(&gateway, &packet).await;
        }
    }
    last(&gateway).await;
}

/// Has nothing to tell, and says so at the end.
pub(crate) async fn quiet(gateway: Rc<Gateway>) {
    gateway.last.notified().await;
    last(&gateway).await;
}

/// What else is still to be told.
async fn last(gateway: &Gateway) {
    gateway.refusals.settled().await;
    gateway.pending.last(&gateway.refusals).await;
    if let Some(credentials) = &gateway.credentials {
        credentials.count(gateway).await;
    }
    gateway.refusals.end();
}

async fn tell(gateway: &Gateway, packet: &Packet) {
    let host = match packet.to {
        IpAddr::V4(own) if Names::is_one(own) => gateway.names.borrow().name(own).map(str::to_owned),
        _ => None,
    };
    let host = host.unwrap_or_else(|| packet.to.to_string());
    let port = packet.port;
    let (protocol, more) = match packet.protocol {
        1 | 58 => ("ICMP".to_owned(), ""),
        17 if port == 443 => ("UDP".to_owned(), ": HTTP/3 falls back to TCP"),
        17 => ("UDP".to_owned(), ""),
        132 => ("SCTP".to_owned(), ""),
        other => (format!("protocol {other}"), ""),
    };
    let rule = format!("{PACKET} {protocol}, and only TCP and questions for names leave a sandbox{more}");
    // Its own port may be one that another socket has with TCP: who sent it is not known.
    gateway.refusals.tell(&host, port, rule, 0).await;
}
