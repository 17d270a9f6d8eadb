//! Moves bytes between a descriptor of the invoker and a pipe of the task, in bounded memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ringfence_leaks::Scanner;
use ringfence_policy::Leaks;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{self, Errno, ioctl_fionbio};
use rustix::termios::isatty;

use crate::outlet::{Found, Outlet};
use crate::screen::{in_front, is_closed};

/// What is moved at a time.
const BUFFER: usize = 64 * 1024;

/// One direction of one descriptor. An end that is closed is `None`.
pub struct Relay {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    /// Read and not yet written.
    pending: Vec<u8>,
    /// The task writes to `from`; otherwise it reads from `to`. Its end is non-blocking, the invoker's is left as it is.
    outwards: bool,
    /// Bytes written so far.
    moved: u64,
    /// What is written at a time: less where a write could wait for a reader.
    most: usize,
    /// Bytes after which the rest is thrown away.
    room: Option<u64>,
    /// Why something was lost.
    fault: Option<Errno>,
    /// Keys: they are somebody else's while the terminal is.
    keys: bool,
    outlet: Outlet,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Relay").field("outwards", &self.outwards).finish_non_exhaustive()
    }
}

impl Relay {
    pub(crate) fn inwards(from: OwnedFd, to: OwnedFd) -> Result<Self, Errno> {
        ioctl_fionbio(&to, true)?;
        let keys = isatty(&from);
        let (from, _) = never_waiting(from, OFlags::RDONLY);
        Ok(Self { keys, ..Self::new(from, to, false) })
    }

    pub(crate) fn outwards(from: OwnedFd, to: OwnedFd) -> Result<Self, Errno> {
        ioctl_fionbio(&from, true)?;
        let outlet = Outlet::new(isatty(&to));
        let (to, most) = never_waiting(to, OFlags::WRONLY);
        Ok(Self { outlet, most, ..Self::new(from, to, true) })
    }

    fn new(from: OwnedFd, to: OwnedFd, outwards: bool) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            pending: Vec::new(),
            outwards,
            moved: 0,
            most: BUFFER,
            room: None,
            fault: None,
            keys: false,
            outlet: Outlet::default(),
        }
    }

    /// Lets everything pass as it is.
    pub(crate) fn unfiltered(&mut self) {
        self.outlet.unfiltered();
    }

    /// Looks for secrets in what the task writes.
    pub(crate) fn sift(&mut self, scanner: &Rc<Scanner>, action: Leaks) {
        if self.outwards {
            self.outlet.sift(scanner, action);
        }
    }

    /// Those that were found since this was asked last.
    pub(crate) fn found(&mut self) -> Vec<Found> {
        self.outlet.found()
    }

    /// Whether it waits for its terminal to be this process group's: nothing tells when that is so.
    pub(crate) fn waits(&self) -> bool {
        self.keys && self.pending.is_empty() && self.from.as_ref().is_some_and(|from| !in_front(from))
    }

    /// The end of the task's pipe that is kept here: both ends are one inode.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        if self.outwards { self.from.as_ref() } else { self.to.as_ref() }.map(AsFd::as_fd)
    }

    /// Bytes of the task's output that passed.
    pub(crate) fn written(&self) -> u64 {
        if self.outwards { self.moved } else { 0 }
    }

    /// Why the task's output was lost, if it was.
    pub(crate) fn fault(&self) -> Option<Errno> {
        self.fault.filter(|_| self.outwards)
    }

    /// Keeps only this many bytes.
    pub(crate) fn keep(&mut self, bytes: u64) {
        self.room = Some(bytes);
    }

    /// What to wait for next, if anything.
    pub(crate) fn wants(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let (from, to) = (self.from.as_ref()?, self.to.as_ref()?);
        if self.waits() {
            return None;
        }
        Some(if self.pending.is_empty() {
            (from.as_fd(), PollFlags::IN)
        } else {
            (to.as_fd(), PollFlags::OUT)
        })
    }

    /// Moves what can be moved now; whether anything was.
    pub(crate) fn step(&mut self) -> bool {
        let read = self.pending.is_empty() && self.read();
        let written = !self.pending.is_empty() && self.write();
        read || written
    }

    /// After the task's end: everything that is still in its pipe.
    pub(crate) fn drain(&mut self) {
        if !self.outwards {
            return;
        }
        loop {
            if self.step() {
                continue;
            }
            // All of it, however slow its reader is: nothing else is left to watch.
            match &self.to {
                Some(to) if !self.pending.is_empty() => wait_for_room(to),
                _ => break,
            }
        }
        // Whoever has its other end still is not heard any more.
        self.last();
        while let Some(to) = self.to.as_ref().filter(|_| !self.pending.is_empty()) {
            wait_for_room(to);
            self.write();
        }
    }

    fn read(&mut self) -> bool {
        let Some(from) = &self.from else { return false };
        let mut buffer = vec![0; BUFFER];
        match io::read(from, &mut buffer) {
            Ok(0) => return self.last() || self.close(),
            Ok(length) => {
                buffer.truncate(length);
                self.pending = self.outlet.push(buffer);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Its shell took the terminal.
            Err(Errno::IO) if self.keys && isatty(from) && !is_closed(from) => {}
            Err(_) => return self.close(),
        }
        false
    }

    /// Takes what waited for more; whether there is some.
    fn last(&mut self) -> bool {
        self.pending.extend(self.outlet.end());
        !self.pending.is_empty()
    }

    fn write(&mut self) -> bool {
        let Some(to) = &self.to else { return false };
        if self.room.is_some_and(|room| self.moved >= room) {
            self.pending.clear();
            return true;
        }
        let part = self.pending.get(..self.most).unwrap_or(&self.pending);
        match io::write(to, part) {
            Ok(length) => {
                self.moved += length as u64;
                self.pending.drain(..length.min(self.pending.len()));
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                // A reader that went away is told to the task by its own pipe.
                if errno != Errno::PIPE {
                    self.fault = Some(errno);
                }
                self.close();
            }
        }
        false
    }

    /// Closing both ends tells the task that nothing more comes, or that nobody listens. Nothing is moved then.
    fn close(&mut self) -> bool {
        (self.from, self.to, self.pending) = (None, None, Vec::new());
        false
    }
}

/// Waits until more can be written, or nobody reads any more.
pub(crate) fn wait_for_room(to: &OwnedFd) {
    let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
}

/// The same pipe or terminal, opened so that reading or writing never waits: a reader that does not read, or another one that
/// was faster, must not keep the supervisor from what else it watches. Where that cannot be had, little enough is written at a
/// time: what poll(2) calls writable takes a page (pipe(7), PIPE_BUF).
pub(crate) fn never_waiting(fd: OwnedFd, access: OFlags) -> (OwnedFd, usize) {
    let waits = fstat(&fd).is_ok_and(|stat| {
        matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::CharacterDevice)
    });
    if !waits {
        return (fd, BUFFER);
    }
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()) {
        Ok(own) => (own, BUFFER),
        Err(_) => (fd, 4096),
    }
}
