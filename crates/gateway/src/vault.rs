//! The secrets themselves: in locked memory that is zeroed when one is dropped, fetched when they are first used.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfence_confine::keeper::{self, About, HEAD, LONGEST, Packet, Session};
use ringfence_sys::secret::{Locked, wipe};
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout};

/// How long the keeper may take; a command that it runs has less.
const PATIENCE: Duration = Duration::from_secs(35);
/// A secret that can be fetched again is not held when nobody used it for so long.
const IDLE: Duration = Duration::from_secs(600);
/// A JWT is fetched again so long before it ends.
const EARLY: Duration = Duration::from_secs(5);
/// A server that refuses a secret has it fetched again, and not more often than so.
const AGAIN: Duration = Duration::from_secs(1);

/// Bytes for those that a secret was before.
const ROOM: usize = 2 + LONGEST;

/// Who waits for a secret.
type Waiting = oneshot::Sender<Result<(), String>>;
/// And for a signature.
type Signed = oneshot::Sender<Result<Vec<u8>, String>>;

/// All secrets of a sandbox, by the numbers of their credentials.
#[derive(Debug)]
pub(crate) struct Vault {
    slots: Vec<RefCell<Slot>>,
    /// Where secrets are asked for; `None`: all came at the start.
    asked: Option<OwnedFd>,
    /// Grows when a secret is another one.
    state: Cell<u64>,
    waiting: RefCell<HashMap<u32, Vec<Waiting>>>,
    /// Who waits for a signature: one at a time, by the number of the question.
    signing: Mutex<u32>,
    signed: RefCell<Option<(u32, Signed)>>,
}

#[derive(Debug)]
struct Slot {
    memory: Locked,
    length: usize,
    /// Those before it, the last one first, each behind its length in two bytes: a server that was sent one may repeat it later.
    old: Option<Locked>,
    /// It can be had again.
    fetched: bool,
    refresh: Option<Duration>,
    since: Instant,
    until: Option<Instant>,
    used: Cell<Instant>,
}

impl Slot {
    fn put(&mut self, bytes: &[u8], told: Option<Duration>) {
        if self.now() != Some(bytes) {
            self.clear();
        }
        if let Some(place) = self.memory.bytes_mut().get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.length = bytes.len();
        }
        self.since = Instant::now();
        self.used.set(self.since);
        let refresh = self.refresh.map(|refresh| self.since + refresh);
        let ends = told.or_else(|| left(bytes)).map(|left| self.since + left.saturating_sub(EARLY));
        self.until = [refresh, ends.filter(|_| self.fetched)].into_iter().flatten().min();
    }

    fn now(&self) -> Option<&[u8]> {
        self.memory.bytes().get(..self.length).filter(|bytes| !bytes.is_empty())
    }

    /// Those that it was before.
    fn before(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.old.as_ref().map_or(&[][..], Locked::bytes);
        std::iter::from_fn(move || {
            let (head, behind) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_ne_bytes(head.try_into().ok()?));
            let (own, behind) = behind.split_at_checked(length)?;
            rest = behind;
            (length > 0).then_some(own)
        })
    }

    /// It is not used again, and still masked.
    fn clear(&mut self) {
        let known = self.now().is_none_or(|now| self.before().any(|old| old == now));
        if let (false, Some(old), Ok(length)) = (known, &mut self.old, u16::try_from(self.length)) {
            let (place, own) = (old.bytes_mut(), self.memory.bytes());
            let head = 2 + self.length;
            let kept = place.len().saturating_sub(head);
            place.copy_within(..kept, head.min(place.len()));
            if let (Some(place), Some(own)) = (place.get_mut(..head), own.get(..self.length)) {
                let (told, place) = place.split_at_mut(2);
                told.copy_from_slice(&length.to_ne_bytes());
                place.copy_from_slice(own);
            }
        }
        wipe(self.memory.bytes_mut());
        self.length = 0;
    }

    fn stale(&self) -> bool {
        self.length == 0 || self.fetched && self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// How long a JWT is still good (RFC 7519, section 4.1.4).
fn left(bytes: &[u8]) -> Option<Duration> {
    use base64::Engine;
    let claims = bytes.split(|byte| *byte == b'.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let ends = serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("exp")?.as_u64()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(ends).saturating_sub(now))
}

impl Vault {
    /// Room for them; each with whether it can be fetched, and how often it is then. Memory is locked here, before the gateway is
    /// confined.
    pub(crate) fn new(kinds: &[(bool, Option<u64>)], asked: Option<OwnedFd>) -> Result<Self, Errno> {
        let slot = |(fetched, refresh): &(bool, Option<u64>)| {
            let now = Instant::now();
            Ok(RefCell::new(Slot {
                memory: Locked::new(LONGEST)?,
                length: 0,
                old: fetched.then(|| Locked::new(ROOM)).transpose()?,
                fetched: *fetched,
                refresh: refresh.map(Duration::from_millis),
                since: now,
                until: None,
                used: Cell::new(now),
            }))
        };
        let slots = kinds.iter().map(slot).collect::<Result<_, Errno>>()?;
        Ok(Self {
            slots,
            asked,
            state: Cell::new(1),
            waiting: RefCell::default(),
            signing: Mutex::new(0),
            signed: RefCell::default(),
        })
    }

    /// One that is there, for so long if that was told.
    pub(crate) fn put(&self, number: u32, bytes: &[u8], left: Option<Duration>) {
        if let Some(slot) = self.slot(number) {
            slot.borrow_mut().put(bytes, left);
            self.state.set(self.state.get() + 1);
        }
    }

    pub(crate) fn state(&self) -> u64 {
        self.state.get()
    }

    /// The one that is there right now, and those that were before.
    pub(crate) fn here(&self, number: u32) -> Vec<Vec<u8>> {
        let Some(slot) = self.slot(number) else { return Vec::new() };
        let slot = slot.borrow();
        slot.now().into_iter().chain(slot.before()).map(<[u8]>::to_vec).collect()
    }

    fn slot(&self, number: u32) -> Option<&RefCell<Slot>> {
        self.slots.get(usize::try_from(number).ok()?)
    }

    /// Uses a secret, which is fetched if that is needed.
    ///
    /// # Errors
    /// It is not there: why, in words without it.
    pub(crate) async fn with<T>(&self, number: u32, use_it: impl FnOnce(&[u8]) -> T) -> Result<T, String> {
        let slot = self.slot(number).ok_or("there is no such credential")?;
        let (stale, fetched) = (slot.borrow().stale(), slot.borrow().fetched);
        if stale && !fetched {
            return Err("it is not there any more".to_owned());
        }
        if stale {
            self.fetch(number).await?;
        }
        let slot = slot.borrow();
        slot.used.set(Instant::now());
        slot.now().map(use_it).ok_or_else(|| "it is not there".to_owned())
    }

    async fn fetch(&self, number: u32) -> Result<(), String> {
        let asked = self.asked.as_ref().ok_or("nobody can fetch it again")?;
        let (told, wait) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.borrow_mut();
            let others = waiting.entry(number).or_default();
            others.push(told);
            others.len() == 1
        };
        if first && rustix::net::send(asked, &number.to_ne_bytes(), rustix::net::SendFlags::NOSIGNAL).is_err()
        {
            self.waiting.borrow_mut().remove(&number);
            return Err("who fetches it is gone".to_owned());
        }
        match timeout(PATIENCE, wait).await {
            Ok(Ok(outcome)) => outcome,
            _ => {
                self.waiting.borrow_mut().remove(&number);
                Err("it did not come in time".to_owned())
            }
        }
    }

    /// It is not used for now.
    pub(crate) fn forget(&self, number: u32) {
        if let Some(mut slot) = self.slot(number).map(RefCell::borrow_mut).filter(|slot| slot.fetched) {
            slot.clear();
        }
    }

    /// It is no more.
    pub(crate) fn erase(&self, number: u32) {
        if let Some(slot) = self.slot(number) {
            slot.borrow_mut().clear();
            self.state.set(self.state.get() + 1);
        }
    }

    /// Has a key sign, which is not here: `asked` is the session, the key, the text, each with its length, and the flags.
    ///
    /// # Errors
    /// It was not done: why.
    pub(crate) async fn ask(&self, number: u32, asked: &[u8]) -> Result<Vec<u8>, String> {
        let socket = self.asked.as_ref().ok_or("nobody can ask the agent")?;
        let mut question = self.signing.lock().await;
        *question = question.wrapping_add(1);
        let packet = [&number.to_ne_bytes()[..], &question.to_ne_bytes(), asked].concat();
        let (told, wait) = oneshot::channel();
        *self.signed.borrow_mut() = Some((*question, told));
        rustix::net::send(socket, &packet, rustix::net::SendFlags::NOSIGNAL)
            .map_err(|_| "who asks the agent is gone")?;
        timeout(PATIENCE, wait)
            .await
            .map_err(|_| "it did not sign in time")?
            .map_err(|_| "it did not sign")?
    }

    /// Has the keeper begin a session of git.
    ///
    /// # Errors
    /// It was not asked: why.
    pub(crate) fn session(&self, session: &Session, streams: [BorrowedFd<'_>; 3]) -> Result<(), String> {
        let asked = self.asked.as_ref().ok_or("nobody can start ssh")?;
        keeper::begin_session(asked.as_fd(), session, streams)
            .map_err(|errno| format!("who starts ssh cannot be asked: {errno}"))
    }

    /// Tells who ends it with the sandbox of a container.
    ///
    /// # Errors
    /// Nobody would.
    pub(crate) fn container(&self, id: &str) -> Result<(), Errno> {
        let asked = self.asked.as_ref().ok_or(Errno::NOTCONN)?;
        let packet = [&keeper::CONTAINER.to_ne_bytes()[..], id.as_bytes()].concat();
        rustix::net::send(asked, &packet, rustix::net::SendFlags::NOSIGNAL).map(drop)
    }

    /// A server did not take it: it may have been changed without a word.
    pub(crate) fn doubt(&self, number: u32) {
        if let Some(slot) = self.slot(number) {
            let mut slot = slot.borrow_mut();
            if slot.fetched && slot.since.elapsed() >= AGAIN {
                slot.clear();
            }
        }
    }

    /// Hears what the keeper says, and drops what nobody uses.
    pub(crate) async fn listen(self: Rc<Self>) {
        let Some(own) = self.asked.as_ref().and_then(|asked| rustix::io::fcntl_dupfd_cloexec(asked, 3).ok())
        else {
            return;
        };
        let own = StdStream::from(own);
        let Ok(own) = own.set_nonblocking(true).and_then(|()| UnixStream::from_std(own)) else { return };
        let mut packet = vec![0; HEAD + LONGEST];
        loop {
            match timeout(IDLE / 10, own.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => self.rest(),
            }
            match own.try_read(&mut packet) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(length) if length > 0 => {
                    self.hear(packet.get(..length).unwrap_or_default());
                    wipe(&mut packet);
                }
                _ => return,
            }
        }
    }

    fn hear(&self, packet: &[u8]) {
        let Some(Packet { number, about, left, bytes }) = keeper::read(packet) else { return };
        let signed = matches!(about, About::Signed | About::Unsigned);
        if let Some((question, bytes)) = bytes.split_first_chunk().filter(|_| signed) {
            let own = u32::from_ne_bytes(*question);
            if let Some((_, told)) = self.signed.borrow_mut().take_if(|(waiting, _)| *waiting == own) {
                let failed = || Err(String::from_utf8_lossy(bytes).into_owned());
                let _ = told.send(if about == About::Signed { Ok(bytes.to_vec()) } else { failed() });
            }
            return;
        }
        let outcome = match about {
            About::Signed | About::Unsigned => return,
            About::Failure => Err(String::from_utf8_lossy(bytes).into_owned()),
            About::Value => {
                self.put(number, bytes, left);
                Ok(())
            }
            About::Gone => return self.forget(number),
            About::Changed => {
                // One that was dropped is fetched when it is used.
                if self.slot(number).is_some_and(|slot| slot.borrow().length > 0) {
                    self.put(number, bytes, left);
                }
                return;
            }
        };
        for waiting in self.waiting.borrow_mut().remove(&number).into_iter().flatten() {
            let _ = waiting.send(outcome.clone());
        }
    }

    fn rest(&self) {
        for slot in &self.slots {
            let mut slot = slot.borrow_mut();
            if slot.fetched && slot.used.get().elapsed() >= IDLE {
                slot.clear();
            }
        }
    }
}

/// In the gateway, before it is confined: a secret that was there at the start.
pub(crate) fn take(told: impl AsFd, vault: &Vault) -> Result<(), Errno> {
    let mut packet = vec![0; HEAD + LONGEST];
    let (length, _) = rustix::net::recv(told, &mut packet, rustix::net::RecvFlags::empty())?;
    let taken = packet
        .get(..length)
        .and_then(keeper::read)
        .map(|packet| vault.put(packet.number, packet.bytes, packet.left));
    wipe(&mut packet);
    taken.ok_or(Errno::BADMSG)
}

/// The same of one that is only looked for.
pub(crate) fn packet(told: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut packet = vec![0; HEAD + LONGEST];
    let (length, _) = rustix::net::recv(told, &mut packet, rustix::net::RecvFlags::empty())?;
    packet.get(..length).and_then(keeper::read).map(|packet| packet.bytes.to_vec()).ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_was_before_is_known_and_never_used() {
        let vault = Vault::new(&[(true, None), (false, None)], None).unwrap();
        for secret in ["first-secret", "second", "second", "third-secret"] {
            vault.put(0, secret.as_bytes(), None);
        }
        assert_eq!(vault.here(0), [&b"third-secret"[..], b"second", b"first-secret"]);
        vault.slot(0).unwrap().borrow_mut().clear();
        assert_eq!(vault.here(0), [&b"third-secret"[..], b"second", b"first-secret"]);
        assert!(vault.slot(0).unwrap().borrow().stale());
        for number in 0..2000 {
            vault.put(0, format!("secret-{number}").as_bytes(), None);
        }
        let known = vault.here(0);
        assert!(
            known.len() > 500
                && known.len() < 2000
                && known[0] == b"secret-1999"
                && known[1] == b"secret-1998"
        );
        vault.put(0, &[b'a'; LONGEST], None);
        vault.put(0, b"short", None);
        assert_eq!(vault.here(0), [b"short".to_vec(), vec![b'a'; LONGEST]]);
        vault.put(1, b"of the start", None);
        assert_eq!(vault.here(1), [b"of the start"]);
    }
}
