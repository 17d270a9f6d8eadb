//! What is looked for in the body of a request: placeholders, which belong in none, and secrets, also where it is compressed.

use std::io::{self, Write};
use std::rc::Rc;

use flate2::write::MultiGzDecoder;
use flate2::write::ZlibDecoder;
use memchr::memmem;
use ringfence_leaks::{Hit, Scanner};
use ringfence_policy::Leaks;

use crate::credentials::{Credentials, Denied};
use crate::guard::Watched;

/// More bytes than this for each that was compressed, beyond the first, are there to waste memory or time.
const RATIO: u64 = 200;
const FIRST: u64 = 4 << 20;

/// How gzip begins (RFC 1952, section 2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b, 8];

/// Why a request is not sent.
pub(crate) enum Stop {
    Credential(Denied),
    Leak(Hit),
}

/// What was found.
pub(crate) enum Found {
    Stop(Stop),
    /// It is sent all the same.
    Warn(Hit),
}

/// Looks through a body.
pub(crate) struct Search {
    /// Placeholders, and the credentials that they stand for.
    words: Vec<(Vec<u8>, String)>,
    longest: usize,
    end: Vec<u8>,
    watch: Option<(Watched, Leaks)>,
    packed: Packed,
    /// Nobody said that it is compressed; it began so.
    soft: bool,
    begun: bool,
    warned: bool,
}

enum Packed {
    No,
    Unknown(String),
    Gzip(Box<MultiGzDecoder<Sink>>, u64),
    Zlib(Box<ZlibDecoder<Sink>>, u64),
}

/// Where what was compressed goes.
struct Sink {
    watched: Watched,
    hit: Option<Hit>,
    size: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        self.hit = self.hit.take().or_else(|| self.watched.push(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Search {
    /// `None`: there is nothing to look for. `encoding`: what the request says of its body.
    pub(crate) fn new(
        credentials: Option<&Credentials>,
        watch: Option<(Rc<Scanner>, Leaks)>,
        encoding: Option<&str>,
    ) -> Option<Self> {
        let placeholders = credentials.into_iter().flat_map(Credentials::placeholders);
        let words: Vec<_> = placeholders
            .map(|(name, placeholder)| (placeholder.as_bytes().to_vec(), name.to_owned()))
            .collect();
        if words.is_empty() && watch.is_none() {
            return None;
        }
        let sink =
            |scanner: &Rc<Scanner>| Sink { watched: Watched::new(Rc::clone(scanner)), hit: None, size: 0 };
        let packed = match (encoding.map(|word| word.trim().to_ascii_lowercase()), &watch) {
            (Some(word), Some((scanner, _))) => match word.as_str() {
                "gzip" | "x-gzip" => Packed::Gzip(Box::new(MultiGzDecoder::new(sink(scanner))), 0),
                "deflate" => Packed::Zlib(Box::new(ZlibDecoder::new(sink(scanner))), 0),
                "" | "identity" => Packed::No,
                _ => Packed::Unknown(word),
            },
            _ => Packed::No,
        };
        let longest = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        let watch = watch.map(|(scanner, action)| (Watched::new(scanner), action));
        Some(Self {
            words,
            longest,
            end: Vec::new(),
            watch,
            packed,
            soft: false,
            begun: false,
            warned: false,
        })
    }

    /// The next part.
    pub(crate) fn push(&mut self, part: &[u8]) -> Option<Found> {
        if let Some(denied) = self.placeholder(part) {
            return Some(Found::Stop(Stop::Credential(denied)));
        }
        let begins = !std::mem::replace(&mut self.begun, true) && part.starts_with(GZIP);
        if let (true, Packed::No, Some((watched, _))) = (begins, &self.packed, &self.watch) {
            let sink = Sink { watched: watched.anew(), hit: None, size: 0 };
            (self.packed, self.soft) = (Packed::Gzip(Box::new(MultiGzDecoder::new(sink)), 0), true);
        }
        let soft = self.soft;
        let hit = match &mut self.packed {
            Packed::No => self.watch.as_mut().and_then(|(watched, _)| watched.push(part)),
            Packed::Unknown(word) => Some(unread(word)),
            Packed::Gzip(decoder, taken) => {
                *taken += part.len() as u64;
                let written = decoder
                    .write_all(part)
                    .and_then(|()| decoder.flush())
                    .or_else(|error| if soft { Ok(()) } else { Err(error) });
                look(decoder.get_mut(), &written, *taken, "gzip")
            }
            Packed::Zlib(decoder, taken) => {
                *taken += part.len() as u64;
                let written = decoder.write_all(part).and_then(|()| decoder.flush());
                look(decoder.get_mut(), &written, *taken, "deflate")
            }
        };
        self.found(hit)
    }

    /// The end.
    pub(crate) fn end(&mut self) -> Option<Found> {
        let soft = self.soft;
        let hit = match &mut self.packed {
            Packed::No => self.watch.as_mut().and_then(|(watched, _)| watched.end()),
            Packed::Unknown(_) => None,
            Packed::Gzip(decoder, taken) => {
                let written = decoder.try_finish().or_else(|error| if soft { Ok(()) } else { Err(error) });
                let taken = *taken;
                look(decoder.get_mut(), &written, taken, "gzip").or_else(|| decoder.get_mut().watched.end())
            }
            Packed::Zlib(decoder, taken) => {
                let written = decoder.try_finish();
                let taken = *taken;
                look(decoder.get_mut(), &written, taken, "deflate")
                    .or_else(|| decoder.get_mut().watched.end())
            }
        };
        self.found(hit)
    }

    /// How many of the last bytes may be the beginning of a secret.
    pub(crate) fn open(&self) -> usize {
        match (&self.packed, &self.watch) {
            (Packed::No, Some((watched, Leaks::Block))) => watched.open(),
            _ => 0,
        }
    }

    fn found(&mut self, hit: Option<Hit>) -> Option<Found> {
        let (hit, (_, action)) = (hit?, self.watch.as_ref()?);
        if *action == Leaks::Block {
            return Some(Found::Stop(Stop::Leak(hit)));
        }
        let first = !std::mem::replace(&mut self.warned, true);
        first.then_some(Found::Warn(hit))
    }

    fn placeholder(&mut self, part: &[u8]) -> Option<Denied> {
        if self.words.is_empty() {
            return None;
        }
        let look = |bytes: &[u8]| self.words.iter().find(|(word, _)| memmem::find(bytes, word).is_some());
        // Over the seam first, then the part itself.
        let seam = [&self.end, part.get(..part.len().min(self.longest)).unwrap_or_default()].concat();
        let found = look(&seam).or_else(|| look(part)).map(|(_, name)| Denied {
            credential: name.clone(),
            rule: "its placeholder stands in the body of a request, where no secret is put: send it as `inject` says"
                .to_owned(),
        });
        let keep = self.longest.saturating_sub(1);
        self.end = if part.len() >= keep {
            part.get(part.len() - keep..).unwrap_or_default().to_vec()
        } else {
            seam.get(seam.len().saturating_sub(keep)..).unwrap_or_default().to_vec()
        };
        found
    }
}

fn look(sink: &mut Sink, written: &io::Result<()>, taken: u64, word: &str) -> Option<Hit> {
    if let Some(hit) = sink.hit.take() {
        return Some(hit);
    }
    if sink.size > FIRST && sink.size / RATIO > taken {
        return Some(Hit { name: format!("a body of {} bytes in {taken}", sink.size), way: "compressed" });
    }
    written.as_ref().err().map(|_| unread(word))
}

fn unread(word: &str) -> Hit {
    Hit { name: format!("a body that cannot be looked into (`Content-Encoding: {word}`)"), way: "compressed" }
}
