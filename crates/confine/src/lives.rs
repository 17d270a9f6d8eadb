//! Where init tells of processes that start and end: nobody is woken by what lies there, and it stays when init ends.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

use crate::report::{self, LONGEST, Message, Process, SIZE};

/// Processes that are read at one time.
const MANY: usize = 256;

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Lives {
    own: OwnedFd,
    /// Init's, until that has it.
    end: Option<OwnedFd>,
    /// It was read last.
    read: Cell<bool>,
}

impl Lives {
    pub(crate) fn new() -> Result<Self, Errno> {
        let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok(Self { own: ends.0, end: Some(ends.1), read: Cell::new(false) })
    }

    pub(crate) fn end(&mut self) -> Option<OwnedFd> {
        self.end.take()
    }

    /// What was told before what is to be heard next: every other time, or a storm of it would keep all else from being heard.
    pub(crate) fn turn(&self) -> Option<Message> {
        if self.read.replace(false) {
            return None;
        }
        let told = self.waiting();
        self.read.set(told.is_some());
        told
    }

    /// What was told and not read yet.
    pub(crate) fn waiting(&self) -> Option<Message> {
        let mut bytes = [0; SIZE + LONGEST];
        let mut all = Vec::new();
        while all.len() < MANY {
            let received = rustix::net::recv(&self.own, &mut bytes[..], RecvFlags::DONTWAIT);
            let Ok((_, length @ 1..)) = received else { break };
            if let Some(Message::Processes(processes)) = bytes.get(..length).and_then(Message::decode) {
                all.extend(processes);
            }
        }
        (!all.is_empty()).then_some(Message::Processes(all))
    }
}

/// Tells, as init. `wake` has the supervisor read, without which there may be no room.
pub(crate) fn tell(lives: BorrowedFd<'_>, processes: &[Process], wake: impl Fn()) {
    for message in report::of_processes(processes) {
        let flags = SendFlags::NOSIGNAL;
        if rustix::net::send(lives.as_fd(), &message, flags | SendFlags::DONTWAIT) == Err(Errno::AGAIN) {
            wake();
            let _ = rustix::net::send(lives.as_fd(), &message, flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Command, Life};

    fn began(process: i32) -> Process {
        let words = vec!["x".repeat(200).into(); 9];
        let file = "/y".repeat(1000).into();
        let command = Command { file, arguments: words, ..Command::default() };
        Process { process, life: Life::Began { command, digest: None } }
    }

    /// However little fits: it is read once it is told to be, in order, and all else is heard in between.
    #[test]
    fn more_than_there_is_room_for_is_told_in_order_and_holds_up_nothing() {
        let mut lives = Lives::new().unwrap();
        let end = lives.end().unwrap();
        let (woken, wakes) = std::sync::mpsc::channel();
        let told = std::thread::spawn(move || {
            for number in 0..2000 {
                tell(end.as_fd(), &[began(number)], || woken.send(()).unwrap());
            }
        });
        let mut heard = Vec::new();
        while wakes.recv().is_ok() {
            // Or it was read with what the one before was about.
            if let Some(Message::Processes(processes)) = lives.turn() {
                heard.extend(processes);
                assert_eq!(lives.turn(), None);
            }
        }
        told.join().unwrap();
        while let Some(Message::Processes(processes)) = lives.waiting() {
            heard.extend(processes);
        }
        assert_eq!(heard, (0..2000).map(began).collect::<Vec<_>>());
    }
}
