//! An answer that was compressed although that was not asked for: unpacked, so that a secret in it is masked.

use std::io::{self, Write};

use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// More bytes than this for each that came, beyond the first, are there to waste memory or time.
const RATIO: u64 = 200;
const FIRST: u64 = 4 << 20;

pub(crate) enum Unpack {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
}

/// What was unpacked so far, and of how much.
pub(crate) struct Unpacked {
    by: Unpack,
    taken: u64,
    given: u64,
}

impl Unpacked {
    /// For this `Content-Encoding`; `None`: it is not known here.
    pub(crate) fn of(word: &str) -> Option<Self> {
        let by = match word {
            "gzip" | "x-gzip" => Unpack::Gzip(MultiGzDecoder::new(Vec::new())),
            "deflate" => Unpack::Zlib(ZlibDecoder::new(Vec::new())),
            _ => return None,
        };
        Some(Self { by, taken: 0, given: 0 })
    }

    /// The next part.
    pub(crate) fn push(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        self.taken += part.len() as u64;
        let mut out = Vec::new();
        // A little at a time, so that a bomb is seen before it is large.
        for part in part.chunks(4096) {
            let own = match &mut self.by {
                Unpack::Gzip(by) => {
                    by.write_all(part).and_then(|()| by.flush()).map(|()| std::mem::take(by.get_mut()))
                }
                Unpack::Zlib(by) => {
                    by.write_all(part).and_then(|()| by.flush()).map(|()| std::mem::take(by.get_mut()))
                }
            }?;
            self.given += own.len() as u64;
            if self.given > FIRST && self.given / RATIO > self.taken {
                return Err(io::ErrorKind::InvalidData.into());
            }
            out.extend_from_slice(&own);
        }
        Ok(out)
    }

    /// The end.
    pub(crate) fn end(&mut self) -> io::Result<Vec<u8>> {
        // There is none where only the head was asked for.
        if self.taken == 0 {
            return Ok(Vec::new());
        }
        match &mut self.by {
            Unpack::Gzip(by) => by.try_finish().map(|()| std::mem::take(by.get_mut())),
            Unpack::Zlib(by) => by.try_finish().map(|()| std::mem::take(by.get_mut())),
        }
    }
}
