//! What the library of HTTP/2 refuses by itself, before anybody is asked: seen in what the gateway writes (RFC 9113, section 4.1).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes in front of each frame.
const HEAD: usize = 9;
/// Codes of errors that say what was said is none (RFC 9113, section 7).
static MALFORMED: &[(u32, &str)] = &[
    (1, "PROTOCOL_ERROR"),
    (3, "FLOW_CONTROL_ERROR"),
    (6, "FRAME_SIZE_ERROR"),
    (9, "COMPRESSION_ERROR"),
    (11, "ENHANCE_YOUR_CALM"),
];

/// An answer of its own to a head that is too large: `:status` 431 and nothing else, as it is written the first time (RFC 7541, appendix A
/// and B). What the gateway answers, or a server, has more fields.
const TOO_LARGE: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];
/// And a change of the table's size before it.
const ANSWER: usize = TOO_LARGE.len() + 4;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// What was said is none, by this code.
    Malformed(&'static str),
    /// The head of the request is too large.
    TooLarge,
}

/// Frames, as they are written.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    rest: usize,
    /// Each is told once of a connection: what is told waits in memory until it is written down.
    told: Vec<Reset>,
}

impl Frames {
    fn wrote(&mut self, mut bytes: &[u8], tell: &dyn Fn(Reset)) {
        while let Some((first, after)) = bytes.split_first() {
            if self.rest > 0 {
                let (_, left) = bytes.split_at(self.rest.min(bytes.len()));
                self.rest -= bytes.len() - left.len();
                bytes = left;
                continue;
            }
            self.head.push(*first);
            bytes = after;
            let Some(([a, b, c, kind, ..], said)) = self.head.split_first_chunk::<HEAD>() else { continue };
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap_or_default();
            let most = match kind {
                1 if length <= ANSWER => length,
                // RST_STREAM and GOAWAY: the code is last of what is read.
                3 => 4,
                7 => 8,
                _ => 0,
            };
            if said.len() < most {
                continue;
            }
            if let Some(reset) = reset(*kind, said).filter(|reset| !self.told.contains(reset)) {
                self.told.push(reset);
                tell(reset);
            }
            self.rest = length.saturating_sub(most);
            self.head.clear();
        }
    }
}

/// What a frame of this kind says, of which so much was read.
fn reset(kind: u8, said: &[u8]) -> Option<Reset> {
    if kind == 1 {
        return said.ends_with(TOO_LARGE).then_some(Reset::TooLarge);
    }
    let code = said.last_chunk().map(|code| u32::from_be_bytes(*code))?;
    MALFORMED.iter().find(|(own, _)| *own == code).map(|(_, name)| Reset::Malformed(name))
}

/// A stream whose resets are told.
pub(crate) struct Resets<S, F> {
    stream: S,
    frames: Frames,
    tell: F,
}

impl<S, F: Fn(Reset)> Resets<S, F> {
    pub(crate) fn new(stream: S, tell: F) -> Self {
        Self { stream, frames: Frames::default(), tell }
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Resets<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, F: Fn(Reset) + Unpin> AsyncWrite for Resets<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let own = &mut *self;
        let written = Pin::new(&mut own.stream).poll_write_vectored(context, parts);
        if let Poll::Ready(Ok(mut left)) = written {
            for part in parts {
                let now = part.get(..left.min(part.len())).unwrap_or_default();
                own.frames.wrote(now, &own.tell);
                left -= now.len();
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn resets_are_seen_however_frames_are_cut() {
        let frame = |kind: u8, content: &[u8]| {
            [&[0, 0, content.len() as u8, kind, 0, 0, 0, 0, 1][..], content].concat()
        };
        let said = [
            frame(4, &[0; 12]),
            frame(0, &frame(3, &[0, 0, 0, 1])),
            frame(3, &[0, 0, 0, 1]),
            frame(3, &[0, 0, 0, 8]),
            frame(4, &[]),
            frame(7, &[0, 0, 0, 1, 0, 0, 0, 9, 1, 1, 1]),
            frame(7, &[0, 0, 0, 1, 0, 0, 0, 0]),
            frame(3, &[0, 0, 0, 1]),
            frame(1, &[&[0x3f, 0xe1, 0x1f], TOO_LARGE].concat()),
            frame(1, &[TOO_LARGE, &[0xbf]].concat()),
            frame(1, &[0x88]),
            frame(1, TOO_LARGE),
        ]
        .concat();
        for size in [1, 5, 1000] {
            let (mut frames, told) = (Frames::default(), RefCell::default());
            said.chunks(size)
                .for_each(|part| frames.wrote(part, &|name| Vec::push(&mut told.borrow_mut(), name)));
            let malformed = ["PROTOCOL_ERROR", "COMPRESSION_ERROR"].map(Reset::Malformed);
            assert_eq!(told.into_inner(), [malformed[0], malformed[1], Reset::TooLarge], "parts of {size}");
        }
    }
}
