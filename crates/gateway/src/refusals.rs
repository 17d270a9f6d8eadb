//! What is refused: told to the supervisor, and effective once that has written it down.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringfence_confine::gateway::{DATAGRAM, GatewayTell, NUMBERS};
use ringfence_confine::{Message, Program, Refusal, Refused, report};
use ringfence_leaks::Hit;
use ringfence_policy::Leaks;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};

use crate::connection::Target;
use crate::credentials::Credentials;
use crate::guard::{self, Guard};

/// Bytes of the longest packet from the supervisor.
const TOLD: usize = 4096;
/// Refusals on their way.
const MOST: usize = 64;
/// Bytes of a host and of a reason that are told: a client may name what it likes, as long as it likes, and a report is one packet.
const HOST: usize = 1024;
const RULE: usize = 2048;
/// What is told in the place of a name, or a request, with a secret in it.
pub(crate) const UNNAMED: &str = "(a name that is not written down)";
const UNTOLD: &str = "(not written down)";

/// Those that are not written down yet, by their numbers.
pub(crate) struct Refusals {
    told: OwnedFd,
    /// What is in no record: the task names what it likes.
    guard: Option<Rc<Guard>>,
    credentials: Option<Rc<Credentials>>,
    /// So many are on their way at one time: neither side can fill the other's queue.
    room: Semaphore,
    next: Cell<u32>,
    waiting: RefCell<HashMap<u32, oneshot::Sender<Heard>>>,
}

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is written down, and takes effect.
    Written,
    /// The owner granted something: it is to be judged again.
    Again,
}

impl Refusals {
    pub(crate) fn new(told: OwnedFd, guard: Option<Rc<Guard>>, credentials: Option<Rc<Credentials>>) -> Self {
        let room = Semaphore::new(MOST);
        Self { told, guard, credentials, room, next: Cell::default(), waiting: RefCell::default() }
    }

    /// A text of the task's, where no secret is in it; else what stands for it.
    fn plain(&self, text: String, most: usize, instead: impl FnOnce(&Hit) -> String) -> String {
        let hit = |guard: &Rc<Guard>| guard::told(guard, self.credentials.as_deref(), &text);
        match self.guard.as_ref().filter(|_| !text.is_empty()).and_then(hit) {
            Some(hit) => instead(&hit),
            None => cut(text, most),
        }
    }

    fn host(&self, host: String) -> String {
        self.plain(host, HOST, |_| UNNAMED.to_owned())
    }

    fn request(&self, request: String) -> String {
        self.plain(request, RULE, |_| UNTOLD.to_owned())
    }

    fn rule(&self, rule: String) -> String {
        self.plain(rule, RULE, |hit| {
            format!("{}, {}, is in what was asked for: `[leaks]`", hit.name, hit.way)
        })
    }

    /// Tells of one and waits until it is written down. `source`: the port it came from, 0 if not known.
    pub(crate) async fn tell(&self, host: &str, port: u16, rule: String, source: u16) -> Heard {
        let (host, rule, source) = (self.host(host.to_owned()), self.rule(rule), source.into());
        self.told(Refused::Network { host, port, rule, source, times: 1 }).await
    }

    /// The same of a connection that is granted and came to nothing.
    pub(crate) async fn failed(&self, target: &Target, why: String) {
        let (host, why) = (self.host(target.host()), self.rule(why));
        self.told(Refused::Failed { host, port: target.port, why, source: target.source }).await;
    }

    /// The same of one to a socket of the host.
    pub(crate) async fn unreached(&self, path: &Path, why: String) {
        let host = path.to_string_lossy().into_owned();
        self.told(Refused::Failed { host, port: 0, why, source: 0 }).await;
    }

    /// The same of what came by UDP and asks for a name, or for none.
    pub(crate) async fn asked(&self, name: &str, rule: String, source: u16) -> Heard {
        self.asked_often(name, rule, source, 1).await
    }

    /// The same of what came so often.
    pub(crate) async fn asked_often(&self, name: &str, rule: String, source: u16, times: u64) -> Heard {
        let (host, rule, source) =
            (self.host(name.to_owned()), self.rule(rule), DATAGRAM | u32::from(source));
        self.told(Refused::Network { host, port: 0, rule, source, times }).await
    }

    /// Waits until all that has come already was judged, and is written down: the task is gone, so that nothing of it still comes.
    /// What waits for a server or a name goes no further with its client gone.
    pub(crate) async fn settled(&self) {
        const ROUNDS: u32 = 64;
        let (mut quiet, mut seen) = (0, self.next.get());
        while quiet < ROUNDS {
            // The runtime looks at its sockets in between.
            tokio::task::yield_now().await;
            let same = seen == self.next.get() && self.waiting.borrow().is_empty();
            quiet = if same { quiet + 1 } else { 0 };
            seen = self.next.get();
        }
    }

    /// Says that nothing more is to be told.
    pub(crate) fn end(&self) {
        let _ = report::tell(self.told.as_fd(), &Message::Quiet { yes: true }, None);
    }

    /// The same of a credential: that it was used, or, with a rule, that it was not.
    pub(crate) async fn credential(
        &self,
        name: &str,
        target: &Target,
        request: String,
        rule: String,
        times: u64,
    ) {
        let (name, host, port, source) = (name.to_owned(), target.host(), target.port, target.source);
        let (host, request, rule) = (self.host(host), self.request(request), self.rule(rule));
        self.told(Refused::Credential { name, host, port, request, rule, times, source }).await;
    }

    /// The same of a request to a container engine: that it is made, or, with a rule, that it is not.
    pub(crate) async fn engine(&self, request: String, rule: String) {
        let (request, rule) = (self.request(request), self.rule(rule));
        self.told(Refused::Engine { request, rule }).await;
    }

    /// The same of a secret in what leaves, and what was done about it.
    pub(crate) async fn leak(&self, hit: &Hit, target: &Target, request: String, action: Leaks) {
        let (name, way, host) = (hit.name.clone(), hit.way.to_owned(), self.host(target.host()));
        let request = self.request(request);
        self.told(Refused::Leak {
            name,
            way,
            host,
            port: target.port,
            request,
            action,
            source: target.source,
        })
        .await;
    }

    async fn told(&self, what: Refused) -> Heard {
        let Ok(_place) = self.room.acquire().await else { return Heard::Written };
        let number = NUMBERS + self.next.get() % NUMBERS;
        self.next.set(self.next.get().wrapping_add(1));
        let refusal = Refusal { number, process: 0, program: Program::default(), what };
        let (written, wait) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, written);
        let message = Message::Refused(refusal);
        loop {
            match report::tell(self.told.as_fd(), &message, None) {
                Ok(()) => break,
                Err(Errno::AGAIN) => tokio::time::sleep(Duration::from_millis(1)).await,
                // The supervisor is gone, and all of this ends.
                Err(_) => return Heard::Written,
            }
        }
        wait.await.unwrap_or(Heard::Written)
    }

    /// Hears what is written down, until the supervisor is gone; `told` takes what is about something else.
    pub(crate) async fn listen(&self, own: OwnedFd, told: impl Fn(GatewayTell)) {
        let own = StdStream::from(own);
        if own.set_nonblocking(true).is_err() {
            return;
        }
        // Each read takes a packet, whatever the type is called.
        let Ok(own) = UnixStream::from_std(own) else { return };
        let mut packet = [0; TOLD];
        loop {
            if own.readable().await.is_err() {
                return;
            }
            match own.try_read(&mut packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(length) if length > 0 => {
                    let tell = packet.get(..length).and_then(|bytes| postcard::from_bytes(bytes).ok());
                    let (number, heard) = match tell {
                        Some(GatewayTell::Written(number)) => (number, Heard::Written),
                        Some(GatewayTell::Again(number)) => (number, Heard::Again),
                        Some(other) => {
                            told(other);
                            continue;
                        }
                        None => return,
                    };
                    if let Some(waiting) = self.waiting.borrow_mut().remove(&number) {
                        let _ = waiting.send(heard);
                    }
                }
                _ => return,
            }
        }
    }
}

/// Not longer than that; what was longer ends with an ellipsis.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_names_is_cut() {
        assert_eq!(cut("a.example".to_owned(), HOST), "a.example");
        assert_eq!(cut("\u{fffd}".repeat(5), 7), "\u{fffd}\u{fffd}\u{2026}");
        assert!(cut("x".repeat(60_000), RULE).len() <= RULE + 3);
    }
}
