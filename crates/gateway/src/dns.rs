//! Names: answered out of the policy, never asked of anybody. What a name holds leaves the sandbox nowhere.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ToName, Ttl};
use domain::rdata::{A, Ptr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Gateway;
use crate::credentials;
use crate::guard;
use crate::refusals::UNNAMED;

/// A question is short; a longer one is none of ours.
const LONGEST: usize = 1024;
/// Questions over UDP that are being refused at one time; more are dropped, as a network may, and counted.
const MOST: usize = 256;
/// Of what is none at all.
const NO_QUESTION: &str =
    "this port takes only questions for names, whatever the address: nothing else leaves a sandbox by it";
/// A name's address stays; clients may ask again now and then.
const TTL: Ttl = Ttl::from_secs(60);
/// Between two questions on what stands for a port.
const SILENCE: Duration = Duration::from_secs(120);
/// Between two questions on one connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers what comes by UDP.
pub(crate) async fn answer_all(gateway: Rc<Gateway>, socket: Rc<UdpSocket>) {
    let (room, beyond) = (Arc::new(Semaphore::new(MOST)), Rc::new(Cell::new(0_u64)));
    let mut packet = [0; LONGEST];
    loop {
        // An error is about an answer that nobody took.
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let question = packet.get(..length).unwrap_or_default();
        let (name, why, answer) = match judge(&gateway, question, "UDP") {
            Some(Judged::Answer(answer)) => {
                let _ = socket.try_send_to(&answer, from);
                continue;
            }
            Some(Judged::Refused { name, why, answer }) => (name, why, Some(answer)),
            None => (none("UDP"), NO_QUESTION.to_owned(), None),
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            beyond.set(beyond.get() + 1);
            continue;
        };
        let (gateway, socket, beyond) = (Rc::clone(&gateway), Rc::clone(&socket), Rc::clone(&beyond));
        tokio::task::spawn_local(async move {
            gateway.refusals.asked(&name, why, from.port()).await;
            answer.iter().for_each(|answer| drop(socket.try_send_to(answer, from)));
            let unanswered = beyond.take();
            if unanswered > 0 {
                let why =
                    format!("{unanswered} more came while {MOST} were being refused: they are not answered");
                gateway.refusals.asked("(a packet of UDP that asks for a name)", why, 0).await;
            }
            drop(place);
        });
    }
}

/// Answers what comes on one connection, each question behind its length (RFC 7766).
pub(crate) async fn converse(gateway: Rc<Gateway>, mut stream: TcpStream, from: SocketAddr) {
    let source = from.port();
    if let Some(ways) = &gateway.ways
        && ways.asked(from).await.is_none()
    {
        return;
    }
    let mut packet = vec![0; LONGEST];
    while let Some(question) = next(&mut stream, &mut packet).await {
        let answer = match judge(&gateway, question, "TCP") {
            Some(Judged::Answer(answer)) => answer,
            Some(Judged::Refused { name, why, answer }) => {
                gateway.refusals.tell(&name, 0, why, source).await;
                answer
            }
            None => {
                gateway.refusals.tell(&none("TCP"), 0, NO_QUESTION.to_owned(), source).await;
                return;
            }
        };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let whole = [&length.to_be_bytes()[..], &answer].concat();
        let Ok(Ok(())) = timeout(PATIENCE, stream.write_all(&whole)).await else { return };
    }
}

/// What comes next on a connection; nothing of it where it is no whole question. `None`: nothing comes.
async fn next<'a>(stream: &mut TcpStream, packet: &'a mut [u8]) -> Option<&'a [u8]> {
    let first = timeout(PATIENCE, stream.read_u8()).await.ok()?.ok()?;
    let question = async {
        let length = u16::from_be_bytes([first, stream.read_u8().await.ok()?]);
        let question = packet.get_mut(..usize::from(length))?;
        stream.read_exact(question).await.ok()?;
        Some(&*question)
    };
    Some(timeout(PATIENCE, question).await.ok().flatten().unwrap_or_default())
}

/// Answers one socket of the task, which stands for its port of UDP, until that is closed or silent for long.
pub(crate) async fn answer_one(gateway: Rc<Gateway>, socket: UnixStream, source: u16) {
    let mut packet = [0; LONGEST];
    loop {
        // Each read takes a packet, whatever the type is called. None is empty.
        let length = match timeout(SILENCE, socket.readable()).await {
            Ok(Ok(())) => match socket.try_read(&mut packet) {
                Ok(length) if length > 0 => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                _ => return,
            },
            _ => return,
        };
        let answer = match judge(&gateway, packet.get(..length).unwrap_or_default(), "UDP") {
            Some(Judged::Answer(answer)) => answer,
            Some(Judged::Refused { name, why, answer }) => {
                gateway.refusals.asked(&name, why, source).await;
                answer
            }
            // No question: whatever it is, it leads nowhere, and where to only its packet knew.
            None => {
                gateway.refusals.asked(&none("UDP"), NO_QUESTION.to_owned(), source).await;
                return;
            }
        };
        // Who takes no answers gets none.
        let _ = socket.try_write(&answer);
    }
}

/// What becomes of a question.
enum Judged {
    Answer(Vec<u8>),
    /// Answered so once it is written down.
    Refused {
        name: String,
        why: String,
        answer: Vec<u8>,
    },
}

/// Where something else was to go, which came to this port by that protocol.
fn none(protocol: &str) -> String {
    format!("(a packet of {protocol} that asks for no name)")
}

/// `None`: it is no question.
fn judge(gateway: &Gateway, packet: &[u8], protocol: &str) -> Option<Judged> {
    let message = Message::from_slice(packet).ok()?;
    let header = message.header();
    if header.qr() {
        return None;
    }
    let error = |code| error(message, code);
    let refused = |name: &str, why: String, code| {
        Some(Judged::Refused { name: name.to_owned(), why, answer: error(code)? })
    };
    if header.opcode() != Opcode::QUERY {
        let why = format!("{}: only questions are answered (NOTIMP)", header.opcode());
        return refused(&none(protocol), why, Rcode::NOTIMP);
    }
    let Ok(question) = message.sole_question() else {
        return refused(&none(protocol), "it is not one question (FORMERR)".to_owned(), Rcode::FORMERR);
    };
    let name = text(question.qname());
    if question.qclass() != Class::IN {
        return refused(&name, "only the class IN is answered".to_owned(), Rcode::REFUSED);
    }
    if question.qtype() == Rtype::PTR {
        return match reverse(&name)
            .and_then(|address| gateway.names.borrow().name(address).map(str::to_owned))
        {
            Some(own) => {
                let own = Name::<Vec<u8>>::vec_from_str(&own).ok()?;
                answer(message, |builder| builder.push((question.qname(), TTL, Ptr::new(own))).is_ok())
                    .map(Judged::Answer)
            }
            None => refused(&name, "no name of `network.allow` has this address".to_owned(), Rcode::NXDOMAIN),
        };
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return refused(&name, "it is no host name".to_owned(), Rcode::REFUSED);
    }
    // The other tier has a file that says so.
    if gateway.ways.is_some() && name == "localhost" {
        let own = (question.qname(), TTL, A::new(Ipv4Addr::LOCALHOST));
        return answer(message, |builder| question.qtype() != Rtype::A || builder.push(own).is_ok())
            .map(Judged::Answer);
    }
    if let Some(denied) = gateway.credentials.as_ref().and_then(|held| credentials::in_name(held, &name)) {
        let why = format!("the credential `{}`: {}", denied.credential, denied.rule);
        return refused(&name, why, Rcode::REFUSED);
    }
    let look = |guard: &Rc<guard::Guard>| match guard.scanner(gateway.credentials.as_deref()) {
        Some(scanner) => guard::name(&scanner, &name),
        None => Some(guard::unable()),
    };
    if let Some(hit) = gateway.guard.as_ref().and_then(look) {
        // Who keeps the record is told of no more than that.
        let why = format!("{}, {}, is in the name that is asked for: `[leaks]`", hit.name, hit.way);
        return refused(UNNAMED, why, Rcode::REFUSED);
    }
    if let Err(why) = gateway.judge.borrow().knows(&name) {
        // Where a service of an allowed host is looked for: that there is none says nothing new.
        let service =
            name.split_inclusive('.').take_while(|label| label.starts_with('_')).map(str::len).sum();
        if service > 0 && name.get(service..).is_some_and(|host| gateway.judge.borrow().knows(host).is_ok()) {
            return error(Rcode::NXDOMAIN).map(Judged::Answer);
        }
        return refused(&name, why, Rcode::NXDOMAIN);
    }
    match question.qtype() {
        Rtype::A => {
            let Some(address) = gateway.names.borrow_mut().address(&name) else {
                let why = "every address that stands for a name is given: no further name is answered";
                return refused(&name, why.to_owned(), Rcode::SERVFAIL);
            };
            answer(message, |builder| builder.push((question.qname(), TTL, A::new(address))).is_ok())
                .map(Judged::Answer)
        }
        // Nothing of that kind, so that clients take the address.
        Rtype::AAAA
        | Rtype::HTTPS
        | Rtype::SVCB
        | Rtype::CNAME
        | Rtype::SOA
        | Rtype::NS
        | Rtype::DS
        | Rtype::SRV => answer(message, |_| true).map(Judged::Answer),
        kind => refused(&name, format!("records of the type {kind} are not answered"), Rcode::REFUSED),
    }
}

/// In lower case, without a dot at its end; `.` is empty. What is no plain byte is shown as `\DDD`.
fn text(name: impl ToName) -> String {
    let mut text = String::new();
    for label in name.iter_labels().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label.iter() {
            match byte {
                b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                b'!'..=b'~' => text.push(char::from(byte.to_ascii_lowercase())),
                byte => text.push_str(&format!("\\{byte:03}")),
            }
        }
    }
    text
}

/// The address of `5.0.18.198.in-addr.arpa`.
fn reverse(name: &str) -> Option<Ipv4Addr> {
    let mut parts: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
    parts.reverse();
    match parts.join(".").parse().ok()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

type Builder = domain::base::message_builder::AnswerBuilder<Vec<u8>>;

fn answer(question: &Message<[u8]>, write: impl FnOnce(&mut Builder) -> bool) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec().start_answer(question, Rcode::NOERROR).ok()?;
    builder.header_mut().set_ra(true);
    builder.header_mut().set_aa(true);
    write(&mut builder).then(|| builder.finish())
}

fn error(question: &Message<[u8]>, code: Rcode) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::new_vec().start_answer(question, code).ok()?;
    builder.header_mut().set_ra(true);
    Some(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_hosts() {
        let name = |text: &str| Name::<Vec<u8>>::vec_from_str(text).unwrap();
        assert_eq!(text(name("API.Example.org.")), "api.example.org");
        assert_eq!(text(name(".")), "");
        assert_eq!(text(name("a\\.b.example")), "a\\.b.example");
        assert_eq!(text(name("a\\000b.example")), "a\\000b.example");
        assert_eq!(reverse("5.1.18.198.in-addr.arpa"), Some(Ipv4Addr::new(198, 18, 1, 5)));
        assert_eq!(reverse("1.18.198.in-addr.arpa"), None);
        assert_eq!(reverse("example.org"), None);
    }
}
