//! Where init tells of processes that start and end: nobody is woken by what lies there, and it stays when init ends.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

use crate::report::{self, LONGEST, Message, Process, SIZE};

/// Messages that are read at one time.
const MANY: usize = 256;
/// Bytes of the kernel's that wait at most, and no fewer messages than these can be: each takes 256 for itself (sk_buff, unix(7)).
const ROOM: usize = 208 << 10;
const MOST: usize = ROOM / 256;

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Lives {
    own: OwnedFd,
    /// Init's, until that has it.
    end: Option<OwnedFd>,
    /// Messages that were read since something else was heard.
    read: Cell<usize>,
}

impl Lives {
    pub(crate) fn new() -> Result<Self, Errno> {
        let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // The kernel doubles it (socket(7)).
        sockopt::set_socket_send_buffer_size(&ends.1, ROOM / 2)?;
        Ok(Self { own: ends.0, end: Some(ends.1), read: Cell::new(0) })
    }

    pub(crate) fn end(&mut self) -> Option<OwnedFd> {
        self.end.take()
    }

    /// What was told before what is to be heard next, which is told once all of that is: as much as there is room for. What is more came
    /// later, and a storm of it would keep all else from being heard.
    pub(crate) fn turn(&self) -> Option<Message> {
        let before = self.read.get();
        let told = self.read(MOST.saturating_sub(before).min(MANY));
        self.read.set(told.as_ref().map_or(0, |(messages, _)| before + messages));
        told.map(|(_, told)| told)
    }

    /// What was told and not read yet, or the first of it.
    pub(crate) fn waiting(&self) -> Option<Message> {
        self.read(MANY).map(|(_, told)| told)
    }

    /// At most so many messages, as one, and how many these were.
    fn read(&self, most: usize) -> Option<(usize, Message)> {
        let mut bytes = [0; SIZE + LONGEST];
        let (mut messages, mut all) = (0, Vec::new());
        while messages < most {
            let received = rustix::net::recv(&self.own, &mut bytes[..], RecvFlags::DONTWAIT);
            let Ok((_, length @ 1..)) = received else { break };
            messages += 1;
            if let Some(Message::Processes(processes)) = bytes.get(..length).and_then(Message::decode) {
                all.extend(processes);
            }
        }
        (messages > 0).then_some((messages, Message::Processes(all)))
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
            // As much as fits, and what is told meanwhile, but not without end.
            let mut turns = 0;
            while let Some(Message::Processes(processes)) = lives.turn() {
                heard.extend(processes);
                turns += 1;
                assert!(turns <= MOST);
            }
        }
        told.join().unwrap();
        while let Some(Message::Processes(processes)) = lives.waiting() {
            heard.extend(processes);
        }
        assert_eq!(heard, (0..2000).map(began).collect::<Vec<_>>());
    }

    /// What fits at one time is read before what is heard next: that came behind it. More is not.
    #[test]
    fn all_that_was_told_before_is_read_first() {
        let mut lives = Lives::new().unwrap();
        let end = lives.end().unwrap();
        let ended = |process| {
            let file = "/true".into();
            let (exit, signal, user, system, memory) = (Some(0), None, None, None, None);
            let life = Life::Ended { file, exit, signal, milliseconds: 0, user, system, memory };
            Process { process, life }
        };
        let mut number = 0;
        loop {
            let message = report::of_processes(&[ended(number)]).next().unwrap();
            if rustix::net::send(&end, &message, SendFlags::DONTWAIT).is_err() {
                break;
            }
            number += 1;
        }
        assert!((100..i32::try_from(MOST).unwrap()).contains(&number), "{number}");
        let mut heard = 0;
        while let Some(Message::Processes(processes)) = lives.turn() {
            heard += processes.len();
            // Somebody goes on telling.
            tell(end.as_fd(), &[ended(0)], || ());
        }
        assert!((usize::try_from(number).unwrap()..=MOST).contains(&heard), "{heard} of {number}");
    }
}
