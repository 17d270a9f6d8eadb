//! What is refused: told to the supervisor, and effective once that has written it down.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use ringfence_confine::gateway::{GatewayTell, NUMBERS};
use ringfence_confine::{Message, Refusal, Refused, report};
use ringfence_leaks::Hit;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};

use crate::connection::Target;

/// Bytes of the longest packet from the supervisor.
const TOLD: usize = 256;
/// Refusals on their way.
const MOST: usize = 64;

/// Those that are not written down yet, by their numbers.
#[derive(Debug)]
pub(crate) struct Refusals {
    told: OwnedFd,
    /// So many are on their way at one time: neither side can fill the other's queue.
    room: Semaphore,
    next: Cell<u32>,
    waiting: RefCell<HashMap<u32, oneshot::Sender<()>>>,
}

impl Refusals {
    pub(crate) fn new(told: OwnedFd) -> Self {
        Self { told, room: Semaphore::new(MOST), next: Cell::default(), waiting: RefCell::default() }
    }

    /// Tells of one and waits until it is written down. `source`: the port it came from, 0 if not known.
    pub(crate) async fn tell(&self, host: &str, port: u16, rule: String, source: u16) {
        self.told(Refused::Network { host: host.to_owned(), port, rule, source }).await;
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
        self.told(Refused::Credential { name, host, port, request, rule, times, source }).await;
    }

    /// The same of a secret in what leaves; `sent`: it was sent all the same.
    pub(crate) async fn leak(&self, hit: &Hit, target: &Target, request: String, sent: bool) {
        let (name, way, host) = (hit.name.clone(), hit.way.to_owned(), target.host());
        self.told(Refused::Leak { name, way, host, port: target.port, request, sent, source: target.source })
            .await;
    }

    async fn told(&self, what: Refused) {
        let Ok(_place) = self.room.acquire().await else { return };
        let number = NUMBERS + self.next.get() % NUMBERS;
        self.next.set(self.next.get().wrapping_add(1));
        let refusal = Refusal { number, process: 0, program: OsString::new(), what };
        let (written, wait) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, written);
        let message = Message::Refused(refusal);
        loop {
            match report::tell(self.told.as_fd(), &message, None) {
                Ok(()) => break,
                Err(Errno::AGAIN) => tokio::time::sleep(Duration::from_millis(1)).await,
                // The supervisor is gone, and all of this ends.
                Err(_) => return,
            }
        }
        let _ = wait.await;
    }

    /// Hears what is written down, until the supervisor is gone.
    pub(crate) async fn listen(&self, told: OwnedFd) {
        let own = StdStream::from(told);
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
                    let Some(GatewayTell::Written(number)) = tell else { return };
                    drop(self.waiting.borrow_mut().remove(&number));
                }
                _ => return,
            }
        }
    }
}
