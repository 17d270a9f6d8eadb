//! The socket on which init and the task say what became of them, one packet a message.

use std::ffi::{OsStr, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ringfence_policy::Leaks;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

use crate::interpreter::Unfit;
use crate::purpose::Purpose;
use crate::query::Query;
use crate::script::{self, Program};
use crate::stage::Stage;

/// Bytes of a message; the socket keeps them apart (unix(7), SOCK_SEQPACKET).
pub(crate) const SIZE: usize = 16;
/// Bytes of a name behind one: a whole path (PATH_MAX), or a path below a working directory.
const NAME: usize = 4096 + 128;

/// Something is refused, once it is written down: then [`crate::Boundary::written`] is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Names this one, among those of its kind.
    pub number: u32,
    /// The process that asked, as the sandbox counts.
    pub process: i32,
    /// What it runs.
    pub program: Program,
    /// What it asked for.
    pub what: Refused,
}

impl Refusal {
    /// Whether init knows who asked: by the port that it came from.
    pub(crate) fn can_be_identified(&self) -> bool {
        match &self.what {
            Refused::Network { source, .. } => *source != 0,
            Refused::Failed { source, .. }
            | Refused::Credential { source, .. }
            | Refused::Leak { source, .. } => *source != 0,
            _ => false,
        }
    }
}

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// A connect to a unix socket.
    Connect {
        /// Its path as the task named it.
        path: OsString,
    },
    /// A connection, or the question for a name.
    Network {
        /// The name, or an address.
        host: String,
        /// The port; 0: only the name was asked for.
        port: u16,
        /// Why.
        rule: String,
        /// The port it came from, in the sandbox; 0: not known. Of UDP with [`DATAGRAM`](crate::gateway::DATAGRAM).
        source: u32,
        /// How often.
        times: u64,
    },
    /// A connection that is granted, and came to nothing: no refusal.
    Failed {
        /// The name, or an address; or the path of a socket of the host.
        host: String,
        /// The port; 0: it was to such a socket.
        port: u16,
        /// Why.
        why: String,
        /// The port it came from, in the sandbox; 0: not known.
        source: u16,
    },
    /// A credential was used, or was going to be used in another way than its rule allows.
    Credential {
        /// Its name in the policy.
        name: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The method and the path of the request, without its query.
        request: String,
        /// Why it was refused; empty: it was used.
        rule: String,
        /// How often.
        times: u64,
        /// The port it came from, in the sandbox; 0: not known.
        source: u16,
    },
    /// A container engine was asked, or was going to be.
    Engine {
        /// Method, path, and what it is about.
        request: String,
        /// Why it was refused; empty: it was asked.
        rule: String,
    },
    /// A secret was in what leaves.
    Leak {
        /// Whose it is, or the name of its form.
        name: String,
        /// How it is written.
        way: String,
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The method and the path of the request, unless it was there.
        request: String,
        /// What was done about it.
        action: Leaks,
        /// The port it came from, in the sandbox; 0: not known.
        source: u16,
    },
    /// A name where nothing is granted.
    File {
        /// Where the way ended.
        path: OsString,
        /// The whole path as the task named it, which may have lied.
        asked: Option<OsString>,
        /// What it was going to do there.
        purpose: Purpose,
    },
    /// A system call.
    Syscall {
        /// Its number.
        number: i32,
        /// Its arguments, as numbers: where they point is not looked at.
        arguments: [u64; 6],
    },
    /// A program with arguments.
    Command(Command),
    /// Something that the owner may be asked about, and that somebody waits for.
    Asked {
        /// Which.
        path: OsString,
        /// What it is to be used for.
        purpose: Purpose,
    },
    /// A bait that is opened: that is not refused, but told all the same.
    Decoy {
        /// Which.
        path: OsString,
    },
}

/// A program that was to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its file, without links; empty where that could not be read.
    pub file: OsString,
    /// Its arguments, from the name on, as many as fit.
    pub arguments: Vec<OsString>,
    /// The directory of the process.
    pub directory: OsString,
    /// The process that it is a child of; 0 where that is not known.
    pub parent: i32,
    /// By which rule, or for lack of which.
    pub rule: String,
    /// The program and the arguments that an entry would have to hold; none, where none would help.
    pub wanted: Vec<OsString>,
    /// It is the sandbox's own command, and not what that starts.
    pub first: bool,
    /// What became of it.
    pub fate: Fate,
}

/// A process that runs what the guard let start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number, as the sandbox counts.
    pub process: i32,
    /// What there is to tell.
    pub life: Life,
}

/// The beginning or the end of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It starts.
    Began {
        /// What starts.
        command: Command,
        /// What its file holds, where the policy pins programs.
        digest: Option<[u8; 32]>,
    },
    /// It has ended.
    Ended {
        /// Its file.
        file: OsString,
        /// The status that it ended with; none where a signal ended it, or nobody saw.
        exit: Option<i32>,
        /// The signal that ended it, where that was seen.
        signal: Option<i32>,
        /// How long it ran.
        milliseconds: u64,
        /// Milliseconds of processor time.
        user: Option<u64>,
        /// The same of the kernel for it.
        system: Option<u64>,
        /// The most memory that it held, in KiB.
        memory: Option<u64>,
    },
}

/// What became of a program that was to be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is refused.
    #[default]
    Refused,
    /// It was changed after it was judged: the process is ended.
    Changed,
    /// It runs without these variables.
    Cleaned(Vec<OsString>),
}

/// Bytes behind the numbers of a message: three names, or so many counts.
pub(crate) const LONGEST: usize = 3 * NAME + 2 * script::LONGEST + 64;

/// The kind of a message of [`Message::Processes`].
const PROCESSES: u32 = 18;

/// What is said. `job` is the number a command was started under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A stage of the construction failed; the number names it for [`crate::stage()`]; from 100 it is the index of a step of
    /// the plan.
    Failed {
        /// Which.
        stage: u32,
        /// Why.
        errno: Errno,
        /// Whose start it was; 0 before any.
        job: u32,
    },
    /// The command could not be executed.
    NotExecuted {
        /// Whose.
        job: u32,
        /// Why.
        errno: Errno,
        /// The interpreter or loader that its file names.
        needs: Option<PathBuf>,
        /// What its file is, where no rule could have it executed.
        unfit: Option<Unfit>,
    },
    /// The command ended with this status.
    Exited {
        /// Whose.
        job: u32,
        /// 0 to 255.
        status: u32,
    },
    /// The command was ended by this signal.
    Signalled {
        /// Whose.
        job: u32,
        /// Its number.
        signal: u32,
    },
    /// The command was stopped by its terminal, or was told to go on.
    Stopped {
        /// Whose.
        job: u32,
        /// Which of the two.
        yes: bool,
    },
    /// The command's system call filter is in place; its listener comes along. Init alone hears this.
    Listening {
        /// Whose.
        job: u32,
    },
    /// Something is refused as soon as that is written down.
    Refused(Refusal),
    /// Programs have started, or ended; none: what was told of them elsewhere is to be read.
    Processes(Vec<Process>),
    /// Refusals of the root's server were repeated.
    Again {
        /// Which, and how often.
        counts: Vec<(u32, u64)>,
        /// How often something else was refused, which is told of only so.
        others: u64,
    },
    /// More memory than allowed is used, as far as looking tells.
    MuchMemory,
    /// More processes than allowed are there.
    ManyProcesses,
    /// So much lies in files of the workspace whose names are gone.
    Unnamed {
        /// MiB, rounded up.
        mebibytes: u32,
        /// All processes could be looked at.
        whole: bool,
    },
    /// The command has a pseudo-terminal; its other side comes along.
    Terminal {
        /// Whose.
        job: u32,
    },
    /// Init exists, with this process id; a descriptor that names it comes along.
    Made(u32),
    /// Something of the host is shown from now on.
    Opened {
        /// Which.
        number: u32,
    },
    /// It is not shown any more.
    Closed {
        /// Which.
        number: u32,
    },
    /// The root shows one more name.
    Shown,
    /// Nobody waits any more for what the owner was asked about.
    Left(PathBuf),
    /// What a client asked for is done, or is not; in words.
    Answer {
        /// Done.
        done: bool,
        /// In words, or as JSON.
        text: String,
    },
    /// What the owner is to be asked next, or that nothing is. A keeper alone says this, to clients that have a terminal.
    Question(Option<Query>),
    /// Nothing runs in the sandbox, or something does.
    Quiet {
        /// Nothing.
        yes: bool,
    },
    /// What commands enter is made anew.
    Renewed,
    /// The boundary stands; commands can start.
    Ready,
}

impl Message {
    /// The job whose command has ended with this, if one has.
    #[must_use]
    pub fn ends(&self) -> Option<u32> {
        match self {
            Self::Exited { job, .. } | Self::Signalled { job, .. } => Some(*job),
            _ => None,
        }
    }

    /// The same about a job of another number.
    #[must_use]
    pub fn of_job(self, id: u32) -> Self {
        match self {
            Self::Failed { stage, errno, .. } => Self::Failed { stage, errno, job: id },
            Self::NotExecuted { errno, needs, unfit, .. } => {
                Self::NotExecuted { job: id, errno, needs, unfit }
            }
            Self::Exited { status, .. } => Self::Exited { job: id, status },
            Self::Signalled { signal, .. } => Self::Signalled { job: id, signal },
            Self::Stopped { yes, .. } => Self::Stopped { job: id, yes },
            Self::Listening { .. } => Self::Listening { job: id },
            Self::Terminal { .. } => Self::Terminal { job: id },
            other => other,
        }
    }

    /// The gateway could not be started.
    #[must_use]
    pub fn no_gateway(errno: Errno) -> Self {
        Self::Failed { stage: Stage::Gateway as u32, errno, job: 0 }
    }

    /// This port of the host cannot be had.
    #[must_use]
    pub fn no_port(port: u16, errno: Errno) -> Self {
        Self::Failed { stage: Stage::Gateway as u32, errno, job: port.into() }
    }

    fn encode(&self) -> Vec<u8> {
        let raw = |errno: &Errno| errno.raw_os_error().unsigned_abs();
        let bytes = |path: &'_ PathBuf| {
            let bytes = path.as_os_str().as_bytes();
            bytes.get(..NAME).unwrap_or(bytes).to_vec()
        };
        let (words, names) = match self {
            Self::Failed { stage, errno, job } => ([1u32, *stage, raw(errno), *job], None),
            Self::NotExecuted { job, errno, needs, unfit } => {
                ([2, *job, raw(errno), unfit.map_or(0, |one| one as u32)], needs.as_ref().map(bytes))
            }
            Self::Exited { job, status } => ([3, *job, *status, 0], None),
            Self::Signalled { job, signal } => ([4, *job, *signal, 0], None),
            Self::Listening { job } => ([5, *job, 0, 0], None),
            Self::Made(pid) => ([6, *pid, 0, 0], None),
            Self::Ready => ([7, 0, 0, 0], None),
            Self::Stopped { job, yes } => ([8, *job, u32::from(*yes), 0], None),
            Self::Terminal { job } => ([9, *job, 0, 0], None),
            Self::MuchMemory => ([10, 0, 0, 0], None),
            Self::ManyProcesses => ([11, 0, 0, 0], None),
            Self::Unnamed { mebibytes, whole } => ([21, u32::from(*whole), *mebibytes, 0], None),
            Self::Refused(refusal) => ([12, 0, 0, 0], fitting(refusal, Refusal::shorten)),
            Self::Processes(processes) => ([PROCESSES, 0, 0, 0], parts(processes).next()),
            Self::Opened { number } => ([14, *number, 0, 0], None),
            Self::Closed { number } => ([15, *number, 0, 0], None),
            Self::Shown => ([16, 0, 0, 0], None),
            Self::Left(path) => ([23, 0, 0, 0], Some(bytes(path))),
            Self::Quiet { yes } => ([19, u32::from(*yes), 0, 0], None),
            Self::Renewed => ([20, 0, 0, 0], None),
            Self::Question(query) => ([22, 0, 0, 0], postcard::to_stdvec(query).ok()),
            Self::Answer { done, text } => {
                let text = text.as_bytes();
                ([17, u32::from(*done), 0, 0], Some(text.get(..2 * NAME).unwrap_or(text).to_vec()))
            }
            Self::Again { counts, others } => ([13, 0, 0, 0], postcard::to_stdvec(&(counts, others)).ok()),
        };
        words.into_iter().flat_map(u32::to_ne_bytes).chain(names.into_iter().flatten()).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_ne_bytes);
        let (kind, job, value, last) = (word(0)?, word(4)?, word(8)?, word(12)?);
        // Error numbers end at 4095 (include/linux/err.h).
        let errno = || {
            let raw = i32::try_from(value).ok().filter(|raw| (1..4096).contains(raw));
            Errno::from_raw_os_error(raw.unwrap_or(5))
        };
        let name = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let behind = bytes.get(SIZE..)?;
        Some(match kind {
            1 => Self::Failed { stage: job, errno: errno(), job: last },
            2 => {
                let needs = (!behind.is_empty()).then(|| name(behind));
                Self::NotExecuted { job, errno: errno(), needs, unfit: Unfit::of(last) }
            }
            3 => Self::Exited { job, status: value },
            4 => Self::Signalled { job, signal: value },
            5 => Self::Listening { job },
            6 => Self::Made(job),
            7 => Self::Ready,
            8 => Self::Stopped { job, yes: value != 0 },
            9 => Self::Terminal { job },
            10 => Self::MuchMemory,
            11 => Self::ManyProcesses,
            12 => Self::Refused(postcard::from_bytes(behind).ok()?),
            13 => {
                let (counts, others) = postcard::from_bytes(behind).ok()?;
                Self::Again { counts, others }
            }
            14 => Self::Opened { number: job },
            15 => Self::Closed { number: job },
            16 => Self::Shown,
            23 => Self::Left(name(behind)),
            17 => Self::Answer { done: job != 0, text: String::from_utf8_lossy(behind).into_owned() },
            PROCESSES => {
                let mut processes = Vec::new();
                let mut rest = behind;
                while !rest.is_empty() {
                    let (process, behind) = postcard::take_from_bytes(rest).ok()?;
                    processes.push(process);
                    rest = behind;
                }
                Self::Processes(processes)
            }
            19 => Self::Quiet { yes: job != 0 },
            20 => Self::Renewed,
            21 => Self::Unnamed { mebibytes: value, whole: job != 0 },
            22 => Self::Question(postcard::from_bytes(behind).ok()?),
            _ => return None,
        })
    }
}

/// As it is, or as much of it as a message holds.
fn fitting<T: Serialize + Clone>(whole: &T, shorten: impl Fn(&mut T)) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(whole).ok()?;
    if bytes.len() <= LONGEST {
        return Some(bytes);
    }
    let mut less = whole.clone();
    shorten(&mut less);
    postcard::to_stdvec(&less).ok().filter(|bytes| bytes.len() <= LONGEST)
}

/// As many of them at a time as a message holds.
fn parts(processes: &[Process]) -> impl Iterator<Item = Vec<u8>> {
    let mut all = processes.iter().filter_map(|process| fitting(process, Process::shorten)).peekable();
    std::iter::from_fn(move || {
        let mut part = all.next()?;
        while let Some(next) = all.next_if(|next| part.len() + next.len() <= LONGEST) {
            part.extend(next);
        }
        Some(part)
    })
}

/// Tells of programs, in as few messages as hold them.
pub(crate) fn of_processes(processes: &[Process]) -> impl Iterator<Item = Vec<u8>> {
    let kind = || [PROCESSES, 0, 0, 0].into_iter().flat_map(u32::to_ne_bytes);
    parts(processes).map(move |part| kind().chain(part).collect())
}

/// Says it; a reader that is gone is no reason to go on.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &Message) {
    let _ = rustix::net::send(socket, &message.encode(), SendFlags::NOSIGNAL);
}

/// Says it and hands over a descriptor.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    message: &Message,
    descriptor: &OwnedFd,
) -> Result<(), Errno> {
    tell(socket, message, Some(descriptor))
}

/// Says it, with a descriptor or without one.
///
/// # Errors
/// The kernel's; EAGAIN on a socket that does not wait and whose reader does not read.
pub fn tell(socket: BorrowedFd<'_>, message: &Message, descriptor: Option<&OwnedFd>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = descriptor.map(|descriptor| [descriptor.as_fd()]);
    if let Some(fds) = &fds
        && !ancillary.push(SendAncillaryMessage::ScmRights(fds))
    {
        return Err(Errno::NOBUFS);
    }
    let message = message.encode();
    rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The next message, with the descriptor that came along, or `None` at the end.
#[must_use]
pub fn receive(socket: BorrowedFd<'_>) -> Option<(Message, Option<OwnedFd>)> {
    let mut bytes = [0; SIZE + LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) if received.bytes >= SIZE => {
                let fd = ancillary.drain().find_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                    _ => None,
                });
                return Some((Message::decode(bytes.get(..received.bytes)?)?, fd));
            }
            // A peer that ended without reading all it was sent is told first; what it said comes after that.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
