//! Who fetches secrets: this program started anew, in the host's own world, for the sources that only that world has (files, commands).
//! What it fetches goes straight to the gateway; neither the supervisor nor any process of the sandbox sees it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringfence_policy::{Credential, SecretSource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

use crate::parent::{Failure, fail};
use crate::{channel, nascent};

/// The first word of its command line.
pub const NAME: &str = "ringfence-keeper";
/// In the place of a credential's number: what follows is the id of a container that the sandbox made.
pub const CONTAINER: u32 = u32::MAX;
/// Likewise: what follows is a [`Session`], and its streams come along.
pub const SESSION: u32 = u32::MAX - 1;
/// How long it may take to remove those.
const REMOVING: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
/// Bytes of the longest question of the gateway.
pub const QUESTION: usize = 64 << 10;
/// Bytes of the longest secret.
pub const LONGEST: usize = 8 << 10;
/// Bytes in front of what a packet holds: the number of the credential, what it is about, and how many seconds it is good for.
pub const HEAD: usize = 9;
/// It is good for a time that nobody told.
pub const FOREVER: u32 = u32::MAX;

/// One secret that it fetches.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fetching {
    /// The number of the credential.
    pub number: u32,
    /// From where; never a variable.
    pub source: SecretSource,
    /// It is not looked at at the start: its placeholder has this form.
    pub like: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Where git's sessions go by it, if it is a key of ssh that git alone uses.
    pub git: Option<Git>,
}

/// A key of ssh that git alone uses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Git {
    /// Its hosts, with their ports.
    pub hosts: Vec<(String, u16)>,
    /// The directory with `NUMBER.pub`, the public key, and `NUMBER.hosts`, the keys of the hosts.
    pub directory: PathBuf,
}

/// A session of git with a server of ssh, as the gateway has judged it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// The credential's number.
    pub number: u32,
    /// The host as the policy names it, and its port.
    pub host: (String, u16),
    /// Where it is.
    pub address: IpAddr,
    /// Who signs in; as ssh has it, if that is empty.
    pub user: String,
    /// What is run there, as git writes it.
    pub command: String,
    /// The version of git's protocol that is asked for.
    pub version: Option<u8>,
}

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One line.
    Line,
    /// Keys of AWS, in one of their forms.
    Aws,
    /// A certificate and its key, as PEM.
    Certificate,
}

impl Kind {
    /// Of what a credential holds.
    #[must_use]
    pub fn of(credential: &Credential) -> Self {
        if credential.aws() {
            Self::Aws
        } else if credential.certificate() {
            Self::Certificate
        } else {
            Self::Line
        }
    }
}

/// What it is told first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Keeping {
    /// Secrets.
    pub fetching: Vec<Fetching>,
    /// The container engine whose containers end with the sandbox.
    pub engine: Option<PathBuf>,
}

/// What it answers at the start, for each: a placeholder, or why there is none.
pub type Placeholders = Vec<Result<String, String>>;

/// What a packet to the gateway is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum About {
    /// The secret.
    Value = 1,
    /// Why there is none.
    Failure = 2,
    /// The secret is another one from now on.
    Changed = 3,
    /// A signature; the number of the question stands in front.
    Signed = 4,
    /// Why there is none; likewise.
    Unsigned = 5,
    /// The secret is not where it was read any more.
    Gone = 6,
}

impl About {
    /// From the number in a packet.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Value, Self::Failure, Self::Changed, Self::Signed, Self::Unsigned, Self::Gone]
            .into_iter()
            .find(|about| *about as u8 == byte)
    }
}

/// It, as the supervisor has it. Ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    socket: Option<OwnedFd>,
    /// It has something to remove.
    removes: bool,
    /// Where the gateway asks it.
    pub asked: OwnedFd,
}

impl Keeper {
    /// Starts it with these variables. `None`: a placeholder for each.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(
        keeping: &Keeping,
        variables: &BTreeMap<OsString, OsString>,
    ) -> Result<(Self, Placeholders), Failure> {
        let failed = fail("starting who fetches secrets");
        let (socket, told) = nascent::sockets().map_err(&failed)?;
        let (asked, answering) = nascent::sockets().map_err(&failed)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(NAME)
            .env_clear()
            .envs(variables)
            .stdin(Stdio::from(told))
            .stdout(Stdio::from(answering));
        let child =
            command.spawn().map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        // It is known by its socket, and ends with that.
        drop((child, command));
        channel::send(socket.as_fd(), keeping, &[]).map_err(&failed)?;
        let (placeholders, _) = channel::receive::<Placeholders>(socket.as_fd()).map_err(&failed)?;
        Ok((Self { socket: Some(socket), removes: keeping.engine.is_some(), asked }, placeholders))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.socket.take());
        if self.removes {
            let mut polled = [PollFd::new(&self.asked, PollFlags::empty())];
            while matches!(poll(&mut polled, Some(&REMOVING)), Err(Errno::INTR)) {}
        }
    }
}

/// In the keeper: what it is to fetch, on descriptor 0.
///
/// # Errors
/// The kernel's, or EBADMSG.
pub fn keeping(told: BorrowedFd<'_>) -> Result<Keeping, Errno> {
    channel::receive::<Keeping>(told).map(|(keeping, _)| keeping)
}

/// In the gateway: has it begin a session. `streams`: what git and the server say, what ssh says, and where the end is told.
///
/// # Errors
/// The kernel's.
pub fn begin_session(
    asked: BorrowedFd<'_>,
    session: &Session,
    streams: [BorrowedFd<'_>; 3],
) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(session).map_err(|_| Errno::INVAL)?;
    channel::packet(asked, &[&SESSION.to_ne_bytes()[..], &bytes].concat(), &streams)
}

/// In the keeper: a question of the gateway, with its streams.
///
/// # Errors
/// The kernel's.
pub fn question(asked: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut streams = Vec::new();
    channel::take(asked, bytes, &mut streams).map(|length| (length, streams))
}

/// The session that a question is about.
#[must_use]
pub fn session(question: &[u8]) -> Option<Session> {
    postcard::from_bytes(question.strip_prefix(&SESSION.to_ne_bytes())?).ok()
}

/// In the keeper: its answer.
///
/// # Errors
/// The kernel's.
pub fn placeholders(told: BorrowedFd<'_>, placeholders: &Placeholders) -> Result<(), Errno> {
    channel::send(told, placeholders, &[])
}

/// One packet to the gateway. `bytes` holds [`HEAD`] bytes of room, then what it is about, which is good for `seconds`.
///
/// # Errors
/// The kernel's.
pub fn packet(
    socket: BorrowedFd<'_>,
    number: u32,
    about: About,
    seconds: u32,
    bytes: &mut [u8],
) -> Result<(), Errno> {
    if let Some((first, _)) = bytes.split_at_mut_checked(HEAD) {
        first.copy_from_slice(&[&number.to_ne_bytes()[..], &[about as u8], &seconds.to_ne_bytes()].concat());
    }
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL).map(drop)
}

/// A packet that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Of which credential.
    pub number: u32,
    /// What it is about.
    pub about: About,
    /// How long it is good, if that was told.
    pub left: Option<Duration>,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Reads one.
#[must_use]
pub fn read(packet: &[u8]) -> Option<Packet<'_>> {
    let (head, bytes) = packet.split_at_checked(HEAD)?;
    let (number, rest) = head.split_at_checked(4)?;
    let (about, seconds) = rest.split_first()?;
    let seconds = u32::from_ne_bytes(seconds.try_into().ok()?);
    let left = (seconds != FOREVER).then(|| Duration::from_secs(u64::from(seconds)));
    let number = u32::from_ne_bytes(number.try_into().ok()?);
    Some(Packet { number, about: About::of(*about)?, left, bytes })
}
