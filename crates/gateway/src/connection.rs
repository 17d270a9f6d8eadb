//! One connection of the task: whose address it goes to, whether it may, and what is carried.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use ringfence_inspect::{Peek, Spoken, Step};
use ringfence_policy::{Names, Peer, Protocol, Way};
use ringfence_sys::divert::original_destination;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Gateway;
use crate::hellos::{Hellos, named};
use crate::refusals::Heard;
use crate::relay::Bounds;
use crate::upstream::{self, NoWay};
use crate::{http, inspect, relay};

/// How long a client may take to say what it must say first.
const PATIENCE: Duration = Duration::from_secs(30);
/// A fatal alert of TLS: access_denied (RFC 8446, section 6.2). Clients say it in words.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Where a connection goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The name that was asked for, unless the task went to an address.
    pub(crate) name: Option<String>,
    /// Where the task connected to.
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The port in the sandbox that it came from.
    pub(crate) source: u16,
}

impl Target {
    pub(crate) fn peer(&self) -> Peer<'_> {
        self.name.as_deref().map_or(Peer::Address(self.address), Peer::Name)
    }

    /// As a record names it.
    pub(crate) fn host(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.to_string())
    }
}

/// Serves it to its end.
pub(crate) async fn serve(gateway: Rc<Gateway>, stream: TcpStream, from: SocketAddr) {
    let source = from.port();
    let asked = match &gateway.ways {
        Some(ways) => match ways.asked(from).await {
            Some(asked) => Some(asked),
            // Somebody outside of the sandbox.
            None => return reset(&stream),
        },
        None => original_destination(stream.as_fd()).ok(),
    };
    let Some(asked) = asked else {
        let why = "the gateway is no proxy: programs connect to where they want to go";
        gateway.refusals.tell("the gateway itself", 0, why.to_owned(), source).await;
        return reset(&stream);
    };
    let target = match target(&gateway, asked, source) {
        Ok(target) => target,
        Err((host, why)) => {
            gateway.refusals.tell(&host, asked.port(), why, source).await;
            return reset(&stream);
        }
    };
    let _ = stream.set_nodelay(true);
    let Some(way) = judge(&gateway, &target).await else { return reset(&stream) };
    let Some(number) = way.granted else { return speak(gateway, stream, target, way).await };
    // What is granted for a time ends with it, whatever is under way.
    let Ok(own) = rustix::io::fcntl_dupfd_cloexec(&stream, 3) else { return reset(&stream) };
    let ends = Rc::clone(&gateway);
    tokio::select! {
        () = async { ends.lasts(number).await; ends.pending.forget(source) } => {}
        () = speak(gateway, stream, target, way) => return,
    }
    let _ = sockopt::set_socket_linger(&own, Some(Duration::ZERO));
    // Others may hold it, which learn of it so.
    let _ = rustix::net::shutdown(&own, rustix::net::Shutdown::Both);
}

/// How it may go on; `None`: it is refused, and that is written down.
async fn judge(gateway: &Gateway, target: &Target) -> Option<Way> {
    loop {
        let why = match gateway.judge.borrow().connect(&target.peer(), target.port) {
            Ok(way) => return Some(way),
            Err(why) => why,
        };
        // Whoever is asked takes a while, and may say yes.
        let heard = gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
        if heard == Heard::Written {
            return None;
        }
    }
}

async fn speak(gateway: Rc<Gateway>, stream: TcpStream, target: Target, way: Way) {
    let spoken = match way.protocol {
        Protocol::Tls => return tls(gateway, stream, target, way).await,
        Protocol::Http => return http::serve(gateway, stream, target, way.judged).await,
        Protocol::Tcp => None,
        Protocol::Ssh => Some(Spoken::Ssh),
        Protocol::Postgres => Some(Spoken::Postgres),
        Protocol::Mysql => Some(Spoken::Mysql),
        Protocol::Redis => Some(Spoken::Redis),
        Protocol::Smtp => Some(Spoken::Smtp),
    };
    carry(&gateway, stream, &target, (Vec::new(), spoken, None), way).await;
}

fn target(gateway: &Gateway, asked: SocketAddr, source: u16) -> Result<Target, (String, String)> {
    let (address, port) = (asked.ip().to_canonical(), asked.port());
    let name = match address {
        IpAddr::V4(own) if Names::is_one(own) => {
            let names = gateway.names.borrow();
            let name = names.name(own).map(str::to_owned);
            Some(name.ok_or_else(|| (own.to_string(), "no name has this address".to_owned()))?)
        }
        _ => None,
    };
    Ok(Target { name, address, port, source })
}

/// Written down, then reset: that is how a network says no in the middle.
pub(crate) async fn refuse(gateway: &Gateway, stream: &TcpStream, target: &Target, why: String) {
    gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
    reset(stream);
}

pub(crate) fn reset(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Connects and carries; `said` is what the client said already, `spoken` what it must say first, `hellos` what it may say next.
async fn carry(
    gateway: &Gateway,
    mut stream: TcpStream,
    target: &Target,
    (said, spoken, hellos): (Vec<u8>, Option<Spoken>, Option<Hellos>),
    way: Way,
) {
    let spend = |bytes| way.budget.as_ref().is_none_or(|budget| gateway.spend(budget, bytes));
    match upstream::connect(gateway, target).await {
        Ok(mut up) => {
            let begun = said.is_empty() || spend(said.len()) && up.write_all(&said).await.is_ok();
            drop(said);
            let hosts =
                gateway.credentials.iter().flat_map(|credentials| credentials.signs_in(target)).collect();
            let session = gateway.sessions.begin(hosts);
            let (hellos, heard) = (hellos.as_ref(), session.as_ref());
            let bounds = Bounds { spend: &spend, spoken, hellos, heard, ..Bounds::NONE };
            let ended = match begun {
                true => {
                    relay::both(&gateway.buffer, &stream, &up, &bounds).await.map_err(|error| error.kind())
                }
                false => Err(ErrorKind::QuotaExceeded),
            };
            if let Some(why) = hellos.and_then(Hellos::why) {
                reset(&up);
                return deny(gateway, &mut stream, target, why).await;
            }
            let why = match (ended, &way.budget) {
                (Err(ErrorKind::QuotaExceeded), Some(budget)) => budget.exceeded(),
                (Err(ErrorKind::InvalidData), _) => {
                    format!("what the client says is not the protocol `{}`", way.protocol.word())
                }
                _ => return,
            };
            reset(&up);
            refuse(gateway, &stream, target, why).await;
        }
        Err(NoWay::Refused(why) | NoWay::Unverified(why)) => refuse(gateway, &stream, target, why).await,
        Err(NoWay::Failed(why)) => {
            gateway.refusals.failed(target, why).await;
            reset(&stream);
        }
    }
}

/// Lets TLS through whose first message names the very server that was asked for.
async fn tls(gateway: Rc<Gateway>, mut stream: TcpStream, target: Target, way: Way) {
    let mut peek = Peek::default();
    let mut buffer = [0; 2048];
    let hello = async {
        loop {
            let length = stream.read(&mut buffer).await.ok()?;
            if length == 0 {
                return None;
            }
            match peek.push(buffer.get(..length).unwrap_or_default()) {
                Ok(Step::More) => {}
                Ok(Step::Hello(hello)) => return Some(Ok(hello)),
                Err(why) => return Some(Err(why.to_string())),
            }
        }
    };
    let verdict = match timeout(PATIENCE, hello).await {
        Ok(Some(Ok(hello))) => named(&hello, &target).and_then(|()| match way.judged {
            true => Ok(None),
            false => Hellos::new(&target, peek.behind()).map(Some),
        }),
        Ok(Some(Err(why))) => Err(why),
        // Gone, or silent.
        Ok(None) | Err(_) => return reset(&stream),
    };
    match verdict {
        Ok(None) => inspect::serve(gateway, stream, peek.into_bytes(), target).await,
        Ok(hellos) => carry(&gateway, stream, &target, (peek.into_bytes(), None, hellos), way).await,
        Err(why) => deny(&gateway, &mut stream, &target, why).await,
    }
}

/// Written down, then said in the words of TLS.
async fn deny(gateway: &Gateway, stream: &mut TcpStream, target: &Target, why: String) {
    gateway.refusals.tell(&target.host(), target.port, why, target.source).await;
    let _ = stream.try_write(&ACCESS_DENIED);
    let _ = stream.shutdown().await;
    drain(stream).await;
}

/// What is unread when a socket closes would turn the alert into a reset.
async fn drain(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    let mut most = 64;
    let read = async {
        while most > 0 && stream.read(&mut rest).await.is_ok_and(|length| length > 0) {
            most -= 1;
        }
    };
    let _ = timeout(Duration::from_secs(1), read).await;
}
