//! Descriptors 0 to 2: which pass as they are, which are relayed, which become a pseudo-terminal, which are refused.
//!
//! Nothing of the invoker's passes: through /proc the task could open it again with other rights, set it, or keep it. What
//! passes are pipes made here, whose other end a [`Relay`] has. A socket's, a file's and a pipe's bytes are moved so; keys too,
//! while the terminal is this process group's. A directory would be a way out.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use ringfence_confine::Stream;
use ringfence_leaks::Scanner;
use ringfence_policy::Leaks;
use rustix::fs::{FileType, Gid, OFlags, Stat, Uid, fchown, fcntl_getfl, fstat, major, minor};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::isatty;

use crate::Relay;
use crate::screen::Screen;

/// Bytes of output that are kept in a file.
const KEPT: u64 = 64 << 20;

/// What the task gets, and what has to be moved for it.
#[derive(Debug, Default)]
pub struct Standard {
    /// Kinds of descriptors 0, 1 and 2 of the task.
    pub streams: [Stream; 3],
    /// Those that are [`Stream::Passed`], in order.
    pub passed: Vec<OwnedFd>,
    /// Bytes that are moved.
    pub relays: Vec<Relay>,
    /// The invoker's terminal, if the task is to have one.
    pub screen: Option<Screen>,
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

/// Looks at this process' own descriptors 0 to 2.
///
/// # Errors
/// [`Unfit`].
pub fn standard() -> Result<Standard, Unfit> {
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // A program that shows itself on a terminal gets one; in a pipe's midst nobody else's keys are taken.
    let shown = isatty(own[1]);
    let mut standard = Standard::default();
    for (number, fd) in own.into_iter().enumerate() {
        let stream = standard.stream(number, fd, shown).map_err(|fault| match fault {
            Fault::Kind(what) => Unfit::Kind { number, what },
            Fault::Kernel(errno) => Unfit::Kernel { number, errno },
        })?;
        if let Some(slot) = standard.streams.get_mut(number) {
            *slot = stream;
        }
    }
    if shown {
        let screen = Screen::new(own[0], own[1]).map_err(|errno| Unfit::Kernel { number: 1, errno })?;
        standard.screen = Some(screen);
    }
    Ok(standard)
}

/// Lets a kernel uid and gid open the pipes of the relays again, by /proc/self/fd or /dev/stdin.
///
/// # Errors
/// The kernel's.
pub fn give(relays: &[Relay], uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    relays.iter().filter_map(Relay::pipe).try_for_each(|pipe| fchown(pipe, uid, gid))
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

impl Standard {
    /// No input; both outputs go to a file, by a relay: the first 64 MiB of them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kept(file: &File) -> Result<Self, Errno> {
        let mut standard = Self::default();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        standard.passed = vec![fcntl_dupfd_cloexec(&writer, 3)?, writer];
        standard.streams = [Stream::Null, Stream::Passed, Stream::Passed];
        let mut relay = Relay::outwards(reader, fcntl_dupfd_cloexec(file, 3)?)?;
        relay.keep(KEPT);
        standard.relays.push(relay);
        Ok(standard)
    }

    /// Lets everything the task writes to a terminal pass as it is: it may then act on it.
    pub fn unfiltered(&mut self) {
        self.screen.iter_mut().for_each(Screen::unfiltered);
        self.relays.iter_mut().for_each(Relay::unfiltered);
    }

    /// Looks for secrets in what the task writes.
    pub fn sift(&mut self, scanner: &Rc<Scanner>, action: Leaks) {
        self.screen.iter_mut().for_each(|screen| screen.sift(scanner, action));
        self.relays.iter_mut().for_each(|relay| relay.sift(scanner, action));
    }

    fn stream(&mut self, number: usize, fd: BorrowedFd<'_>, shown: bool) -> Result<Stream, Fault> {
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
            FileType::CharacterDevice if null => Ok(Stream::Null),
            FileType::CharacterDevice if isatty(fd) && shown => Ok(Stream::Terminal),
            FileType::Directory => Err(Fault::Kind("a directory")),
            FileType::BlockDevice => Err(Fault::Kind("a block device")),
            _ => self.relay(number, fd, &stat),
        }
    }

    fn relay(&mut self, number: usize, fd: BorrowedFd<'_>, stat: &Stat) -> Result<Stream, Fault> {
        // `2>&1`: what is written to one pipe stays in its order.
        if number == 2
            && self.streams.get(1) == Some(&Stream::Passed)
            && fstat(rustix::stdio::stdout()).is_ok_and(|out| same(&out, stat))
            && let Some(out) = self.passed.last()
        {
            self.passed.push(fcntl_dupfd_cloexec(out, 3)?);
            return Ok(Stream::Passed);
        }
        let own = fcntl_dupfd_cloexec(fd, 3)?;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let (relay, passed) = if number == 0 {
            (Relay::inwards(own, writer)?, reader)
        } else {
            (Relay::outwards(reader, own)?, writer)
        };
        self.relays.push(relay);
        self.passed.push(passed);
        Ok(Stream::Passed)
    }
}

fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
}
