//! What is compressed, unpacked as it comes: nothing of it is kept but what its format needs, and no more than a bound is given.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter as Brotli;
use flate2::write::{GzDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::write::Decoder as Zstd;

/// More bytes than this for each that came, beyond the first, are there to waste memory or time.
const RATIO: u64 = 200;
const FIRST: u64 = 4 << 20;
/// What is unpacked of brotli at one time.
const BUFFER: usize = 16 << 10;
/// zstd may refer back 8 MiB (RFC 9659); brotli may 16 MiB by itself (RFC 7932, section 9.1).
const WINDOW_LOG: u32 = 23;

/// How gzip begins (RFC 1952, section 2.3.1), and zstd (RFC 8878, section 3.1.1).
pub(crate) const GZIP: &[u8] = &[0x1f, 0x8b, 8];
pub(crate) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is unpacked so far, and of how much.
pub(crate) struct Packed<W: Write> {
    by: By<W>,
    taken: u64,
}

/// Takes no more than it may.
struct Bounded<W> {
    sink: W,
    given: u64,
    most: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.given = self.given.saturating_add(bytes.len() as u64);
        if self.given > self.most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.sink.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

enum By<W: Write> {
    Members(Box<MultiGzDecoder<Bounded<W>>>),
    Gzip(Box<GzDecoder<Bounded<W>>>),
    Zlib(Box<ZlibDecoder<Bounded<W>>>),
    Brotli(Box<Brotli<Bounded<W>>>),
    Zstd(Box<Zstd<'static, Bounded<W>>>),
}

impl<W: Write> Packed<W> {
    /// For this `Content-Encoding`; `None`: it is not known here.
    pub(crate) fn told(word: &str, sink: impl FnOnce() -> W) -> Option<Self> {
        let sink = || bounded(sink());
        let by = match word {
            "gzip" | "x-gzip" => By::Members(Box::new(MultiGzDecoder::new(sink()))),
            "deflate" => By::Zlib(Box::new(ZlibDecoder::new(sink()))),
            "br" => By::Brotli(Box::new(Brotli::new(sink(), BUFFER))),
            "zstd" => zstd(sink())?,
            _ => return None,
        };
        Some(Self { by, taken: 0 })
    }

    /// One member of gzip; what follows it is not its own.
    pub(crate) fn gzip(sink: W) -> Self {
        Self { by: By::Gzip(Box::new(GzDecoder::new(bounded(sink)))), taken: 0 }
    }

    pub(crate) fn zlib(sink: W) -> Self {
        Self { by: By::Zlib(Box::new(ZlibDecoder::new(bounded(sink)))), taken: 0 }
    }

    pub(crate) fn zstd(sink: W) -> Option<Self> {
        Some(Self { by: zstd(bounded(sink))?, taken: 0 })
    }

    /// The next part.
    ///
    /// # Errors
    /// It is something else, or it is [`too_much`](Self::too_much).
    pub(crate) fn push(&mut self, part: &[u8]) -> io::Result<()> {
        self.taken += part.len() as u64;
        let most = FIRST.max(self.taken.saturating_mul(RATIO));
        self.bounded().most = most;
        let by: &mut dyn Write = match &mut self.by {
            By::Members(by) => by,
            By::Gzip(by) => by,
            By::Zlib(by) => by,
            By::Brotli(by) => by,
            By::Zstd(by) => by,
        };
        by.write_all(part).and_then(|()| by.flush())
    }

    /// The end.
    ///
    /// # Errors
    /// It is not whole.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match &mut self.by {
            By::Members(by) => by.try_finish(),
            By::Gzip(by) => by.try_finish(),
            By::Zlib(by) => by.try_finish(),
            By::Brotli(by) => by.close(),
            By::Zstd(by) => by.do_finish(),
        }
    }

    pub(crate) fn sink(&mut self) -> &mut W {
        &mut self.bounded().sink
    }

    /// How much came.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it is more than any text: how much.
    pub(crate) fn too_much(&mut self) -> Option<u64> {
        let bounded = self.bounded();
        (bounded.given > bounded.most).then_some(bounded.given)
    }

    fn bounded(&mut self) -> &mut Bounded<W> {
        match &mut self.by {
            By::Members(by) => by.get_mut(),
            By::Gzip(by) => by.get_mut(),
            By::Zlib(by) => by.get_mut(),
            By::Brotli(by) => by.get_mut(),
            By::Zstd(by) => by.get_mut(),
        }
    }
}

fn bounded<W>(sink: W) -> Bounded<W> {
    Bounded { sink, given: 0, most: FIRST }
}

/// `None`: there is no memory for it.
fn zstd<W: Write>(sink: Bounded<W>) -> Option<By<W>> {
    let mut by = Zstd::new(sink).ok()?;
    by.window_log_max(WINDOW_LOG).ok()?;
    Some(By::Zstd(Box::new(by)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `some text ` 500 times, and 64 MiB of zeros, by another implementation.
    const BROTLI: &[u8] =
        &[27, 135, 19, 248, 5, 28, 114, 164, 119, 9, 91, 80, 80, 28, 24, 10, 128, 179, 0, 208, 88, 76, 31];
    const BOMB: &[u8] = &[
        203, 255, 255, 63, 248, 39, 0, 226, 177, 64, 32, 247, 254, 143, 255, 255, 127, 240, 79, 0, 196, 97,
        17, 128, 238, 253, 31, 255, 255, 255, 224, 159, 0, 136, 195, 2, 0, 221, 251, 63, 254, 255, 255, 193,
        63, 1, 16, 135, 5, 0, 186, 247, 127, 252, 255, 255, 131, 127, 2, 32, 14, 11, 0, 116, 239, 255, 248,
        255, 255, 7, 255, 4, 64, 28, 22, 0, 232, 222, 255, 241, 255, 255, 15, 254, 9, 128, 56, 44, 0, 208,
        189, 255, 227, 255, 255, 31, 252, 19, 0, 113, 88, 0, 160, 123, 255, 55,
    ];

    #[test]
    fn each_is_unpacked_wherever_it_is_cut_and_a_bomb_ends() {
        let text = b"some text ".repeat(500);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&text).unwrap();
        let zstd = ::zstd::encode_all(&text[..], 3).unwrap();
        for (word, packed) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("br", BROTLI.to_vec())] {
            for size in [1, 3, 1000] {
                let mut by = Packed::told(word, Vec::new).unwrap();
                packed.chunks(size).for_each(|part| by.push(part).unwrap());
                by.end().unwrap();
                assert!(*by.sink() == text && by.too_much().is_none(), "{word} {size}");
                let mut cut = Packed::told(word, Vec::new).unwrap();
                packed[..packed.len() - 5].chunks(size).for_each(|part| cut.push(part).unwrap());
                assert!(cut.end().is_err(), "{word} {size}");
            }
        }
        let bomb = ::zstd::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
        for (word, bomb) in [("zstd", &bomb[..]), ("br", BOMB)] {
            let mut by = Packed::told(word, io::sink).unwrap();
            assert!(bomb.len() < 1 << 16 && bomb.chunks(4096).any(|part| by.push(part).is_err()), "{word}");
            assert!(by.too_much().is_some_and(|size| size < 6 << 20), "{word}");
        }
    }
}
