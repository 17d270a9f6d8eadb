//! The socket on which init and the task say what became of them, one fixed struct a message.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Bytes of a message; the socket keeps them apart (unix(7), SOCK_SEQPACKET).
const SIZE: usize = 12;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A stage of the construction failed; the number names it for [`crate::stage`]; from 100 it is the index of a step of the plan.
    Failed {
        /// Which.
        stage: u32,
        /// Why.
        errno: Errno,
    },
    /// The command could not be executed.
    NotExecuted {
        /// Why.
        errno: Errno,
    },
    /// The command ended with this status.
    Exited(u32),
    /// The command was ended by this signal.
    Signalled(u32),
    /// The system call filter is in place; its listener comes along.
    Listening,
    /// Init exists, with this process id; a descriptor that names it comes along.
    Made(u32),
}

/// Steps of the construction that are not in the plan's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stage {
    Identity = 1,
    Namespaces = 2,
    Guard = 3,
    Root = 4,
    Pivot = 5,
    Names = 6,
    Network = 7,
    Limits = 8,
    Privileges = 9,
    Fork = 10,
    Directory = 11,
    Landlock = 12,
    Filter = 13,
    Descriptors = 14,
    Orders = 15,
}

/// Where steps of the plan begin in [`Message::Failed`].
pub(crate) const STEPS: u32 = 100;
/// Where trees of the plan begin.
pub(crate) const TREES: u32 = 100_000;

impl Message {
    /// Whether init says no more: nothing but itself is left of the sandbox.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Exited(_) | Self::Signalled(_))
    }

    fn encode(self) -> [u8; SIZE] {
        let (kind, a, b) = match self {
            Self::Failed { stage, errno } => (1u32, stage, errno.raw_os_error().unsigned_abs()),
            Self::NotExecuted { errno } => (2, 0, errno.raw_os_error().unsigned_abs()),
            Self::Exited(status) => (3, status, 0),
            Self::Signalled(signal) => (4, signal, 0),
            Self::Listening => (5, 0, 0),
            Self::Made(pid) => (6, pid, 0),
        };
        let mut out = [0; SIZE];
        for (slot, byte) in out.iter_mut().zip([kind, a, b].into_iter().flat_map(u32::to_ne_bytes)) {
            *slot = byte;
        }
        out
    }

    fn decode(bytes: [u8; SIZE]) -> Option<Self> {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_ne_bytes);
        let errno = |raw: u32| Errno::from_raw_os_error(i32::try_from(raw).unwrap_or(5));
        match word(0)? {
            1 => Some(Self::Failed { stage: word(4)?, errno: errno(word(8)?) }),
            2 => Some(Self::NotExecuted { errno: errno(word(8)?) }),
            3 => Some(Self::Exited(word(4)?)),
            4 => Some(Self::Signalled(word(4)?)),
            5 => Some(Self::Listening),
            6 => Some(Self::Made(word(4)?)),
            _ => None,
        }
    }
}

/// Says it; a reader that is gone is no reason to go on.
pub(crate) fn send(socket: BorrowedFd<'_>, message: Message) {
    let _ = rustix::net::send(socket, &message.encode(), SendFlags::NOSIGNAL);
}

/// Says it and hands over a descriptor.
pub(crate) fn send_with(socket: BorrowedFd<'_>, message: Message, descriptor: &OwnedFd) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [descriptor.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    let message = message.encode();
    rustix::net::sendmsg(socket, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The next message, with the descriptor that came along, or `None` at the end.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Option<(Message, Option<OwnedFd>)> {
    let mut bytes = [0; SIZE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) if received.bytes == SIZE => {}
            Err(Errno::INTR) => continue,
            _ => return None,
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        return Some((Message::decode(bytes)?, fd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_pipe() {
        for message in [
            Message::Failed { stage: 107, errno: Errno::PERM },
            Message::NotExecuted { errno: Errno::NOENT },
            Message::Exited(3),
            Message::Signalled(9),
        ] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([9; SIZE]), None);
    }
}
