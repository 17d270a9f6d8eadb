//! The one-struct pipe on which init and the task say what became of them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// Bytes of a message; far below PIPE_BUF, so that writes are never torn (pipe(7)).
const SIZE: usize = 12;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A stage of the construction failed; the number is a [`Stage`] or, from 100, the index of a step of the plan.
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
}

/// Steps of the construction that are not in the plan's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Stage {
    Identity = 1,
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
}

/// Where steps of the plan begin in [`Message::Failed`].
pub(crate) const STEPS: u32 = 100;
/// Where trees of the plan begin.
pub(crate) const TREES: u32 = 100_000;

impl Message {
    fn encode(self) -> [u8; SIZE] {
        let (kind, a, b) = match self {
            Self::Failed { stage, errno } => (1u32, stage, errno.raw_os_error().unsigned_abs()),
            Self::NotExecuted { errno } => (2, 0, errno.raw_os_error().unsigned_abs()),
            Self::Exited(status) => (3, status, 0),
            Self::Signalled(signal) => (4, signal, 0),
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
            _ => None,
        }
    }
}

/// Says it; a reader that is gone is no reason to go on.
pub(crate) fn send(pipe: BorrowedFd<'_>, message: Message) {
    let _ = rustix::io::write(pipe, &message.encode());
}

/// The next message, or `None` at the end.
pub(crate) fn receive(pipe: &OwnedFd) -> Option<Message> {
    let mut bytes = [0; SIZE];
    loop {
        return match rustix::io::read(pipe.as_fd(), &mut bytes) {
            Ok(SIZE) => Message::decode(bytes),
            Err(Errno::INTR) => continue,
            _ => None,
        };
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
