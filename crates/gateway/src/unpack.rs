//! An answer that was compressed although that was not asked for: unpacked, so that a secret in it is masked.

use std::io;

use crate::packed::Packed;

/// What was unpacked so far.
pub(crate) struct Unpacked(Packed<Vec<u8>>);

impl Unpacked {
    /// For this `Content-Encoding`; `None`: it is not known here.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Packed::told(word, Vec::new).map(Self)
    }

    /// The next part.
    pub(crate) fn push(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        // A little at a time, so that a bomb is seen before it is large.
        for part in part.chunks(4096) {
            self.0.push(part)?;
            out.append(self.0.sink());
        }
        Ok(out)
    }

    /// The end.
    pub(crate) fn end(&mut self) -> io::Result<Vec<u8>> {
        // There is none where only the head was asked for.
        if self.0.taken() == 0 {
            return Ok(Vec::new());
        }
        self.0.end()?;
        Ok(std::mem::take(self.0.sink()))
    }
}
