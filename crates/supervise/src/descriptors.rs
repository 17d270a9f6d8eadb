//! Descriptors 0 to 2: which pass as they are, which are relayed, which are refused.
//!
//! A pipe or a terminal passes. A regular file does not: the task could open it again with other rights through /proc, and
//! a socket or a directory would be a way out.

use std::os::fd::{BorrowedFd, OwnedFd};

use ringfence_confine::Stream;
use rustix::fs::{FileType, Gid, OFlags, Uid, fchown, fcntl_getfl, fstat, major, minor};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::Relay;

/// What the task gets, and what has to be moved for it.
#[derive(Debug)]
pub struct Standard {
    /// Descriptors 0, 1 and 2 of the task.
    pub streams: [Stream; 3],
    /// For [`crate::run`].
    pub relays: Vec<Relay>,
}

/// A descriptor that cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is a directory or a block device.
    #[error("descriptor {number} is {what}, which a sandbox cannot be given")]
    Kind {
        /// 0, 1 or 2.
        number: usize,
        /// In words.
        what: &'static str,
    },
    /// The kernel's answer.
    #[error("descriptor {number}: {errno}")]
    Kernel {
        /// 0, 1 or 2.
        number: usize,
        /// Why.
        errno: Errno,
    },
}

/// Looks at this process' own descriptors 0 to 2. With `foreign`, the task will have another kernel uid than the invoker:
/// then pipes are relayed too, through pipes that [`give`] makes its own.
///
/// # Errors
/// [`Unfit`].
pub fn standard(foreign: bool) -> Result<Standard, Unfit> {
    let mut relays = Vec::new();
    let mut one = |number: usize, fd: BorrowedFd<'_>| {
        stream(number, fd, foreign, &mut relays).map_err(|fault| match fault {
            Fault::Kind(what) => Unfit::Kind { number, what },
            Fault::Kernel(errno) => Unfit::Kernel { number, errno },
        })
    };
    let streams =
        [one(0, rustix::stdio::stdin())?, one(1, rustix::stdio::stdout())?, one(2, rustix::stdio::stderr())?];
    Ok(Standard { streams, relays })
}

enum Fault {
    Kind(&'static str),
    Kernel(Errno),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

fn stream(
    number: usize,
    fd: BorrowedFd<'_>,
    foreign: bool,
    relays: &mut Vec<Relay>,
) -> Result<Stream, Fault> {
    let stat = match fstat(fd) {
        Ok(stat) => stat,
        // Closed by the invoker: the task gets its own /dev/null instead, so that no file it opens lands there.
        Err(Errno::BADF) => return Ok(Stream::Null),
        Err(errno) => return Err(errno.into()),
    };
    if fcntl_getfl(fd)?.contains(OFlags::PATH) {
        return Err(Fault::Kind("a bare path"));
    }
    let null = (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo if !foreign => Ok(Stream::Pass(fcntl_dupfd_cloexec(fd, 3)?)),
        FileType::CharacterDevice if null => Ok(Stream::Null),
        FileType::CharacterDevice if rustix::termios::isatty(fd) => {
            Ok(Stream::Pass(fcntl_dupfd_cloexec(fd, 3)?))
        }
        FileType::Directory => Err(Fault::Kind("a directory")),
        FileType::BlockDevice => Err(Fault::Kind("a block device")),
        _ => relayed(number, fcntl_dupfd_cloexec(fd, 3)?, relays),
    }
}

/// Lets a kernel uid and gid open the pipes of the relays again, by /proc/self/fd or /dev/stdin.
///
/// # Errors
/// The kernel's.
pub fn give(relays: &[Relay], uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    relays.iter().filter_map(Relay::pipe).try_for_each(|pipe| fchown(pipe, uid, gid))
}

fn relayed(number: usize, own: OwnedFd, relays: &mut Vec<Relay>) -> Result<Stream, Fault> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if number == 0 {
        relays.push(Relay::inwards(own, writer)?);
        Ok(Stream::Pass(reader))
    } else {
        relays.push(Relay::outwards(reader, own)?);
        Ok(Stream::Pass(writer))
    }
}
