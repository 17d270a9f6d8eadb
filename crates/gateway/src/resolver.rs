//! Where a name leads, asked of the host's own resolvers when something connects: /etc/hosts, then the servers of
//! /etc/resolv.conf (resolv.conf(5)). Both are read at the start; a sandbox keeps what it began with. Answers are kept for as
//! long as they say, and nobody asks for what somebody else is asking for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Aaaa};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Mutex;
use tokio::time::timeout;

const DNS: u16 = 53;
/// Bytes of an answer by UDP without extensions (RFC 1035, section 2.3.4), and a little for servers that do not care.
const PACKET: usize = 4096;
/// Addresses of one name that are looked at.
const MOST: usize = 16;
/// Names whose answers are kept.
const MOST_KEPT: usize = 4096;
/// An answer is kept for no longer than this, whatever it says; and a failure for so long.
const LONGEST: Duration = Duration::from_secs(3600);
const FAILURE: Duration = Duration::from_secs(1);

/// What was answered. `begun`: when it was asked.
#[derive(Debug)]
struct Kept {
    addresses: Result<Vec<IpAddr>, String>,
    begun: Instant,
    until: Instant,
}

/// Locked by whoever asks.
type Place = Rc<Mutex<Option<Kept>>>;

#[derive(Debug)]
pub(crate) struct Resolver {
    kept: RefCell<HashMap<String, Place>>,
    hosts: HashMap<String, Vec<IpAddr>>,
    servers: Vec<SocketAddr>,
    patience: Duration,
    attempts: u32,
}

impl Resolver {
    /// As the host is configured.
    pub(crate) fn of_host() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/hosts"), &read("/etc/resolv.conf"))
    }

    fn parse(hosts: &str, configuration: &str) -> Self {
        let mut resolver = Self {
            kept: RefCell::default(),
            hosts: HashMap::new(),
            servers: Vec::new(),
            patience: Duration::from_secs(5),
            attempts: 2,
        };
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                resolver.hosts.entry(name).or_default().push(address);
            }
        }
        for line in configuration.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(server);
                    resolver.servers.extend(server.filter(|_| resolver.servers.len() < 3));
                }
                Some("options") => words.for_each(|word| resolver.option(word)),
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            resolver.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS));
        }
        resolver
    }

    fn option(&mut self, word: &str) {
        let number = |name: &str| word.strip_prefix(name)?.parse::<u32>().ok();
        if let Some(seconds) = number("timeout:") {
            self.patience = Duration::from_secs(seconds.clamp(1, 30).into());
        }
        if let Some(attempts) = number("attempts:") {
            self.attempts = attempts.clamp(1, 5);
        }
    }

    /// Its addresses, IPv4 first: not every host has a way out by IPv6.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if let Some(addresses) = self.hosts.get(name) {
            return Ok(addresses.clone());
        }
        let arrived = Instant::now();
        let place = self.place(name);
        let mut kept = place.lock().await;
        // What was asked for since is as fresh as what would be asked for now.
        let fresh = |kept: &&Kept| kept.begun >= arrived || Instant::now() < kept.until;
        if let Some(kept) = kept.as_ref().filter(fresh) {
            return kept.addresses.clone();
        }
        let begun = Instant::now();
        let (addresses, lasts) = match self.question(name).await {
            Ok((addresses, lasts)) => (Ok(addresses), lasts.min(LONGEST)),
            Err(why) => (Err(why), FAILURE),
        };
        *kept = Some(Kept { addresses: addresses.clone(), begun, until: Instant::now() + lasts });
        addresses
    }

    fn place(&self, name: &str) -> Place {
        let mut kept = self.kept.borrow_mut();
        if let Some(place) = kept.get(name) {
            return Rc::clone(place);
        }
        if kept.len() >= MOST_KEPT {
            // Others hold those that are being asked for.
            kept.retain(|_, place| Rc::strong_count(place) > 1);
        }
        Rc::clone(kept.entry(name.to_owned()).or_default())
    }

    /// Asks for both kinds of addresses; and how long that may be kept.
    async fn question(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let (four, six) = tokio::join!(self.ask(name, Rtype::A), self.ask(name, Rtype::AAAA));
        let ((mut all, four), (more, six)) = match (four, six) {
            (Err(why), Err(_)) => return Err(why),
            // The other is asked for again soon.
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => (one, (Vec::new(), FAILURE)),
            (Ok(four), Ok(six)) => (four, six),
        };
        all.extend(more);
        all.truncate(MOST);
        if all.is_empty() {
            return Err(format!("the host's resolver knows no address of `{name}`"));
        }
        Ok((all, four.min(six)))
    }

    async fn ask(&self, name: &str, kind: Rtype) -> Result<(Vec<IpAddr>, Duration), String> {
        let mut last = "no answer".to_owned();
        for _ in 0..self.attempts {
            for server in &self.servers {
                match timeout(self.patience, exchange(*server, name, kind)).await {
                    Ok(Ok(Answer::Addresses(addresses, lasts))) => return Ok((addresses, lasts)),
                    Ok(Ok(Answer::Never(why))) => return Err(why),
                    Ok(Ok(Answer::Failed(why))) => last = why,
                    Ok(Err(error)) => last = error.to_string(),
                    Err(_) => last = "no answer in time".to_owned(),
                }
            }
        }
        Err(format!("the host's resolver does not answer for `{name}`: {last}"))
    }
}

/// With or without a zone, which only link-local addresses have; those are left out.
fn server(text: &str) -> Option<SocketAddr> {
    let address: IpAddr = text.parse().ok()?;
    Some(SocketAddr::new(address, DNS))
}

enum Answer {
    /// And how long they are good for; without any, there is nothing of this kind, and that for no longer than the other.
    Addresses(Vec<IpAddr>, Duration),
    /// There is no such name.
    Never(String),
    /// Another server may know more.
    Failed(String),
}

async fn exchange(server: SocketAddr, name: &str, kind: Rtype) -> io::Result<Answer> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut number = [0; 2];
    getrandom(&mut number, GetRandomFlags::empty())?;
    let number = u16::from_ne_bytes(number);
    let owner = Name::<Vec<u8>>::vec_from_str(name).map_err(|_| invalid())?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(number);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((&owner, kind, Class::IN)).map_err(|_| invalid())?;
    let question = builder.into_message();
    let own: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connected: the kernel takes answers of this server alone, on a port of its own choice.
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
    socket.connect(server).await?;
    socket.send(question.as_slice()).await?;
    let mut packet = vec![0; PACKET];
    loop {
        let length = socket.recv(&mut packet).await?;
        let Ok(message) = Message::from_octets(packet.get(..length).unwrap_or_default()) else { continue };
        if !message.is_answer(&question) {
            continue;
        }
        if message.header().tc() {
            return by_stream(server, &question, kind).await;
        }
        return Ok(read(&message, kind));
    }
}

async fn by_stream(server: SocketAddr, question: &Message<Vec<u8>>, kind: Rtype) -> io::Result<Answer> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut stream = TcpStream::connect(server).await?;
    let bytes = question.as_slice();
    let length = u16::try_from(bytes.len()).map_err(|_| invalid())?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut packet = vec![0; usize::from(length)];
    stream.read_exact(&mut packet).await?;
    let message = Message::from_octets(packet).map_err(|_| invalid())?;
    if !message.is_answer(question) {
        return Err(invalid());
    }
    Ok(read(&message, kind))
}

/// The addresses at the end of the chain of aliases that begins with the name.
fn read<Octs: domain::dep::octseq::Octets>(message: &Message<Octs>, kind: Rtype) -> Answer {
    match message.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Answer::Never("the host's resolver knows no such name".to_owned()),
        code => return Answer::Failed(format!("the host's resolver answers {code}")),
    }
    let (Some(owner), Ok(records)) = (message.canonical_name(), message.answer()) else {
        return Answer::Failed("the host's resolver answers what cannot be read".to_owned());
    };
    let addresses: Vec<IpAddr> = if kind == Rtype::A {
        let own = records.limit_to_in::<A>().flatten().filter(|record| *record.owner() == owner);
        own.map(|record| record.data().addr().into()).take(MOST).collect()
    } else {
        let own = records.limit_to_in::<Aaaa>().flatten().filter(|record| *record.owner() == owner);
        own.map(|record| record.data().addr().into()).take(MOST).collect()
    };
    // Each step of the way there has a time of its own.
    let lasts = message.answer().into_iter().flatten().flatten().map(|record| record.ttl().as_secs()).min();
    Answer::Addresses(addresses, lasts.map_or(LONGEST, |seconds| Duration::from_secs(seconds.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_configuration_is_read() {
        let resolver = Resolver::parse(
            "127.0.0.1 localhost\n203.0.113.7 A.example b.example. # note\nx y\n",
            "# c\nsearch example.org\nnameserver 192.0.2.53\nnameserver ::1\nnameserver x\noptions timeout:1 attempts:9 rotate\n",
        );
        assert_eq!(resolver.servers, ["192.0.2.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!((resolver.patience, resolver.attempts), (Duration::from_secs(1), 5));
        for name in ["a.example", "b.example"] {
            assert_eq!(resolver.hosts.get(name).unwrap(), &["203.0.113.7".parse::<IpAddr>().unwrap()]);
        }
        assert_eq!(Resolver::parse("", "").servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
