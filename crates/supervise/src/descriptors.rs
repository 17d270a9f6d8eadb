//! Descriptors 0 to 2: which pass as they are, which are relayed, which become a pseudo-terminal, which are refused.
//!
//! A pipe passes. A terminal does not: the task could write sequences to it that act, or push input. A regular file does
//! not: the task could open it again with other rights through /proc; a socket or a directory would be a way out.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_confine::Stream;
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fcntl_getfl, fstat, major, minor, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr};

use crate::Relay;
use crate::screen::Screen;

/// Bytes of output that are kept in a file.
const KEPT: u64 = 64 << 20;

/// What the task gets, and what has to be moved for it.
#[derive(Debug)]
pub struct Standard {
    /// Kinds of descriptors 0, 1 and 2 of the task.
    pub streams: [Stream; 3],
    /// Those that are [`Stream::Passed`], in order.
    pub passed: Vec<OwnedFd>,
    /// Bytes that are moved.
    pub relays: Vec<Relay>,
    /// The invoker's terminal, if the task is to have one.
    pub screen: Option<Screen>,
    /// How a terminal was set that only its keys are passed of.
    pub keys: Option<Keys>,
}

/// A terminal that a task reads and may set: as it was before when this is dropped.
#[derive(Debug)]
pub struct Keys {
    terminal: OwnedFd,
    saved: Termios,
}

impl Keys {
    fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self { terminal: fcntl_dupfd_cloexec(fd, 3)?, saved: tcgetattr(fd)? })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // From the background it would only stop this process (SIGTTOU).
        if tcgetpgrp(&self.terminal).is_ok_and(|front| front == getpgrp()) {
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.saved);
        }
    }
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
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // A program that shows itself on a terminal gets one; in a pipe's midst nobody else's keys are taken.
    let shown = isatty(own[1]);
    let mut standard = Standard {
        streams: [Stream::Null; 3],
        passed: Vec::new(),
        relays: Vec::new(),
        screen: None,
        keys: None,
    };
    for (number, fd) in own.into_iter().enumerate() {
        let stream = standard.stream(number, fd, foreign, shown).map_err(|fault| match fault {
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
        let mut standard = Self {
            streams: [Stream::Null; 3],
            passed: Vec::new(),
            relays: Vec::new(),
            screen: None,
            keys: None,
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        standard.passed = vec![fcntl_dupfd_cloexec(&writer, 3)?, writer];
        standard.streams = [Stream::Null, Stream::Passed, Stream::Passed];
        let mut relay = Relay::outwards(reader, fcntl_dupfd_cloexec(file, 3)?)?;
        relay.keep(KEPT);
        standard.relays.push(relay);
        Ok(standard)
    }

    /// From now on the task's output can be counted: no pipe of the invoker's passes as it is. `foreign` as for [`standard`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn count_output(&mut self, foreign: bool) -> Result<(), Errno> {
        if foreign {
            // Relayed already.
            return Ok(());
        }
        let mut passed = std::mem::take(&mut self.passed).into_iter();
        for (number, stream) in self.streams.into_iter().enumerate() {
            let Some(fd) = (stream == Stream::Passed).then(|| passed.next()).flatten() else { continue };
            let own = self.relays.iter().filter_map(Relay::pipe).any(|pipe| same_pipe(pipe, fd.as_fd()));
            if number == 0 || own {
                self.passed.push(fd);
            } else {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                self.relays.push(Relay::outwards(reader, fd)?);
                self.passed.push(writer);
            }
        }
        Ok(())
    }

    fn stream(
        &mut self,
        number: usize,
        fd: BorrowedFd<'_>,
        foreign: bool,
        shown: bool,
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
            FileType::Fifo if !foreign => self.pass(fcntl_dupfd_cloexec(fd, 3)?),
            FileType::CharacterDevice if null => Ok(Stream::Null),
            FileType::CharacterDevice if isatty(fd) && shown => Ok(Stream::Terminal),
            // Only what is typed: through a descriptor that was opened for writing too, it could be written to.
            FileType::CharacterDevice if isatty(fd) && number == 0 => {
                self.keys = Some(Keys::of(fd)?);
                self.pass(reading(fd)?)
            }
            FileType::Directory => Err(Fault::Kind("a directory")),
            FileType::BlockDevice => Err(Fault::Kind("a block device")),
            _ => self.relay(number, fcntl_dupfd_cloexec(fd, 3)?),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one arm of a match whose others can fail")]
    fn pass(&mut self, fd: OwnedFd) -> Result<Stream, Fault> {
        self.passed.push(fd);
        Ok(Stream::Passed)
    }

    fn relay(&mut self, number: usize, own: OwnedFd) -> Result<Stream, Fault> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        if number == 0 {
            self.relays.push(Relay::inwards(own, writer)?);
            self.pass(reader)
        } else {
            self.relays.push(Relay::outwards(reader, own)?);
            self.pass(writer)
        }
    }
}

fn same_pipe(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// The same terminal, opened for reading only.
fn reading(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()), flags, Mode::empty())
}
