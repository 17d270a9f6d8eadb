//! A command in a sandbox that another process keeps: what its clients ask, one packet a request.

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_confine::{Message, Refusal, Size, Stack, Stream, report};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

use crate::permits::Act;
use crate::{Choice, Sandbox};

/// Bytes of the longest request; a longer command line is refused.
pub(crate) const LONGEST: usize = 128 << 10;

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Start a command. Its streams that are [`Stream::Passed`] come along.
    Exec {
        /// The command and its arguments.
        command: Vec<OsString>,
        /// Where the client stands.
        directory: OsString,
        /// Its `TERM`.
        term: Option<OsString>,
        /// Descriptors 0 to 2.
        streams: [Stream; 3],
        /// Its terminal's size, if the command is to have one.
        terminal: Option<Size>,
    },
    /// Send a signal to the client's command.
    Signal {
        /// Its number.
        signal: i32,
        /// To its whole group.
        group: bool,
    },
    /// Show something of the host for reading.
    Grant {
        /// Absolute, without links.
        path: OsString,
        /// Seconds; `None` until the sandbox ends.
        seconds: Option<u64>,
        /// The owner's words.
        why: String,
    },
    /// Take a grant away, or all of them.
    Revoke {
        /// Which.
        path: Option<OsString>,
    },
    /// Who waits for the owner: an answer for each that is not done, and one that is.
    Waiting,
    /// Let a command start, or a destination be reached.
    Permit {
        /// Which of the two.
        act: Act,
        /// As an entry of `commands.allow`, or `NAME:PORT`.
        entry: String,
        /// Seconds; `None` until the sandbox ends.
        seconds: Option<u64>,
        /// The owner's words.
        why: String,
    },
    /// Take that away.
    Withdraw {
        /// Which of the two.
        act: Act,
        /// The same.
        entry: String,
    },
    /// Put the copy-on-write directories together anew, of these; nothing runs meanwhile.
    Restack {
        /// One for each.
        stacks: Vec<Stack>,
        /// What is written down of them.
        record: String,
        /// What runs is ended first; else nothing happens if something does.
        end: bool,
        /// Written to the log when it is done.
        note: Note,
    },
    /// Write this to the log.
    Note(Note),
    /// The client's command wrote more than `limits.output`: the sandbox ends.
    Flooded,
    /// Stop everything, until the client says otherwise or is gone.
    Hold {
        /// Stop, or go on.
        hold: bool,
    },
    /// What the owner says to the question that is on the client's terminal.
    Answer {
        /// What it is about.
        path: OsString,
        /// What is said.
        choice: Choice,
    },
    /// End the sandbox; commands get SIGTERM first, and this many milliseconds.
    Stop {
        /// Milliseconds.
        grace: u32,
    },
}

/// What a client does or sees, for the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Note {
    /// Takes one.
    Checkpoint {
        /// Its name.
        point: String,
        /// Its number.
        number: u32,
        /// While a command ran.
        copied: bool,
    },
    /// Goes back to one.
    Rollback {
        /// Its name.
        point: String,
        /// Its number.
        number: u32,
        /// The point that what was until then is kept as.
        kept: String,
    },
    /// Starts a second sandbox from one.
    Fork {
        /// Its name; empty: from all there is.
        point: String,
        /// The second one's run.
        into: String,
        /// The second one's name.
        sandbox: String,
    },
    /// Saw a secret in what its command wrote.
    Leak {
        /// Whose it is.
        secret: String,
        /// How it is written.
        way: String,
        /// What was done.
        action: String,
    },
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Remote {
    socket: OwnedFd,
}

impl Remote {
    /// Over a connected socket of kind SEQPACKET.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Asks.
    ///
    /// # Errors
    /// EMSGSIZE for a command line that is too long, or the kernel's.
    pub fn ask(&self, what: &Ask, passed: &[OwnedFd]) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(what).map_err(|_| Errno::INVAL)?;
        if bytes.len() > LONGEST {
            return Err(Errno::MSGSIZE);
        }
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !passed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&passed)) {
            return Err(Errno::NOBUFS);
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
            .map(drop)
    }
}

/// What a client asks next, with its descriptors. `bytes` has room for [`LONGEST`]. Never waits: a client may send what it likes, whenever it likes.
///
/// # Errors
/// EPIPE at the end, EBADMSG for what is no request.
pub(crate) fn asked(socket: &OwnedFd, bytes: &mut [u8]) -> Result<(Ask, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags)?;
    let passed = ancillary
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    if received.bytes == 0 {
        return Err(Errno::PIPE);
    }
    let bytes = bytes.get(..received.bytes).unwrap_or_default();
    Ok((postcard::from_bytes(bytes).map_err(|_| Errno::BADMSG)?, passed))
}

impl Sandbox for Remote {
    fn ended(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn reports(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn report(&self) -> Option<(Message, Option<OwnedFd>)> {
        report::receive(self.socket.as_fd())
    }

    fn signal(&self, _job: u32, signal: i32, group: bool) {
        let _ = self.ask(&Ask::Signal { signal, group }, &[]);
    }

    /// Only this client's command: the sandbox has others.
    fn pause(&self, pause: bool) {
        let signal = if pause { 19 } else { 18 }; // SIGSTOP, SIGCONT
        let _ = self.ask(&Ask::Signal { signal, group: true }, &[]);
    }

    /// Refusals are its keeper's.
    fn written(&self, _refusal: &Refusal) {}

    fn looks(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn look(&self) -> Option<Message> {
        None
    }

    fn asks(&self) -> bool {
        true
    }

    fn answer(&self, path: &Path, choice: Choice) {
        let _ = self.ask(&Ask::Answer { path: path.as_os_str().to_owned(), choice }, &[]);
    }

    fn kill(&self) {
        let _ = self.ask(&Ask::Signal { signal: 9, group: true }, &[]);
    }
}
