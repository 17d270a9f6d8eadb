//! What is looked for in the body of a request: placeholders, which belong in none, and secrets, also where it is compressed.

use std::io::{self, Write};
use std::rc::Rc;

use memchr::memmem;
use ringfence_leaks::{Hit, Masking, Scanner};
use ringfence_policy::Leaks;

use crate::chunks::{self, Chunks};
use crate::credentials::{Credentials, Denied};
use crate::guard::Watched;
use crate::packed::{GZIP, Packed, ZSTD};

const PACKED: &str = "gzip, deflate, br or zstd";
/// Of what began as something compressed, so many are looked into at one time; almost all end at once, being something else.
const MOST_BEGUN: usize = 16;

/// Bytes of something compressed that wait at the most: empty blocks have no end.
const MOST_WAITING: usize = 256 << 10;

/// Why a request is not sent.
pub(crate) enum Stop {
    Credential(Denied),
    Leak(Hit),
}

/// What was found.
pub(crate) enum Found {
    Stop(Stop),
    /// It is sent all the same, or without the secret.
    Sent(Hit, Leaks),
}

/// Looks through a body.
pub(crate) struct Search {
    /// Placeholders, and the credentials that they stand for.
    words: Vec<(Vec<u8>, String)>,
    longest: usize,
    end: Vec<u8>,
    watch: Option<(Watched, Leaks)>,
    /// Where secrets are replaced.
    masking: Option<Masking>,
    /// What the request says that it is.
    packed: Told,
    /// What nobody said that it is: what begins as gzip or zstd, wherever that is, and as zlib at the beginning.
    begun: Vec<Unpack>,
    /// The last bytes, in which such a beginning may begin, and how many came altogether.
    seam: (Vec<u8>, u64),
    told: bool,
}

enum Told {
    Nothing,
    Unknown(String),
    As(Unpack),
    /// Parts of one text, which may be compressed.
    Chunks(Chunks, Watched, Option<Unpack>),
}

impl Told {
    fn of(told: &str, watched: &Watched) -> Self {
        let words: Vec<&str> = told.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let packed = |word: &str| Packed::told(word, || Sink::new(watched)).map(Unpack::new);
        // Some clients name it before what the data is, and some behind.
        let rest: Vec<&str> = words.iter().copied().filter(|word| *word != chunks::NAME).collect();
        match (words.len() - rest.len(), rest.as_slice()) {
            (0, [] | ["identity"]) => Self::Nothing,
            (0, [word]) => packed(word).map_or_else(|| Self::Unknown(told.to_owned()), Self::As),
            (1, []) => Self::Chunks(Chunks::default(), watched.anew(), None),
            (1, [word]) => match packed(word) {
                Some(unpack) => Self::Chunks(Chunks::default(), watched.anew(), Some(unpack)),
                None => Self::Unknown(told.to_owned()),
            },
            _ => Self::Unknown(told.to_owned()),
        }
    }
}

/// What was compressed, and how many of its last bytes wait: those from which a secret may go on.
struct Unpack {
    packed: Packed<Sink>,
    waits: usize,
}

/// Where what was compressed goes.
struct Sink {
    watched: Watched,
    hit: Option<Hit>,
}

impl Sink {
    fn new(watched: &Watched) -> Self {
        Self { watched: watched.anew(), hit: None }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hit = self.hit.take().or_else(|| self.watched.push(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpack {
    fn new(packed: Packed<Sink>) -> Self {
        Self { packed, waits: 0 }
    }

    /// The next part: what was found in it; whether it can go on.
    fn push(&mut self, part: &[u8]) -> (Option<Hit>, bool) {
        let written = self.packed.push(part);
        let open = self.packed.sink().watched.open() > 0;
        let waits = self.waits.saturating_add(part.len());
        self.waits = if open && waits <= MOST_WAITING { waits } else { 0 };
        (self.look(), written.is_ok())
    }

    fn end(&mut self) -> (Option<Hit>, bool) {
        let written = self.packed.end();
        let hit = self.look().or_else(|| self.packed.sink().watched.end());
        (hit, written.is_ok())
    }

    fn look(&mut self) -> Option<Hit> {
        let taken = self.packed.taken();
        let bomb =
            |size| Hit { name: format!("a body of {size} bytes packed into {taken}"), way: "compressed" };
        self.packed.sink().hit.take().or_else(|| self.packed.too_much().map(bomb))
    }
}

impl Search {
    /// `None`: there is nothing to look for. `encoding`: what the request says of its body.
    pub(crate) fn new(
        credentials: Option<&Credentials>,
        watch: Option<(Rc<Scanner>, Leaks)>,
        encoding: &str,
    ) -> Option<Self> {
        let placeholders = credentials.map(Credentials::placeholders).unwrap_or_default().into_iter();
        let words: Vec<_> =
            placeholders.map(|(name, placeholder)| (placeholder.into_bytes(), name)).collect();
        if words.is_empty() && watch.is_none() {
            return None;
        }
        let watch = watch.map(|(scanner, action)| (Watched::new(scanner), action));
        let told = encoding.trim().to_ascii_lowercase();
        let packed = watch.as_ref().map_or(Told::Nothing, |(watched, _)| Told::of(&told, watched));
        let longest = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        let (end, begun, seam) = (Vec::new(), Vec::new(), Default::default());
        let masks = watch.as_ref().filter(|(_, action)| *action == Leaks::Mask);
        let masking = masks.map(|(watched, _)| Masking::new(watched.scanner()));
        Some(Self { words, longest, end, watch, masking, packed, begun, seam, told: false })
    }

    /// The next part.
    pub(crate) fn push(&mut self, part: &[u8]) -> Option<Found> {
        if let Some(denied) = self.placeholder(part) {
            return Some(Found::Stop(Stop::Credential(denied)));
        }
        let hit = self.watch.as_mut().and_then(|(watched, _)| watched.push(part));
        let hit = hit.or_else(|| self.unpacked(part));
        self.found(hit)
    }

    /// Whether secrets are replaced: by `mask`, which is called in the place of `push`.
    pub(crate) fn masks(&self) -> bool {
        self.masking.is_some()
    }

    /// The next part, `None` at the end: what of it goes on by now, and what was replaced. In what is compressed nothing can be.
    pub(crate) fn mask(&mut self, part: Option<&[u8]>) -> Result<(Vec<u8>, Option<Found>), Stop> {
        if let Some(denied) = part.and_then(|part| self.placeholder(part)) {
            return Err(Stop::Credential(denied));
        }
        let packed = match part {
            Some(part) => self.unpacked(part),
            None => self.unpacked_end(),
        };
        let (Some(masking), Some((watched, _))) = (&mut self.masking, &self.watch) else {
            return Ok((part.unwrap_or_default().to_vec(), None));
        };
        let masked = match (packed, part) {
            (Some(hit), _) => Err(hit),
            (None, Some(part)) => masking.push(watched.scanner(), part),
            (None, None) => masking.end(watched.scanner()),
        };
        let (out, hit) = masked.map_err(Stop::Leak)?;
        Ok((out, self.found(hit)))
    }

    /// A field behind a body, in which nothing is replaced.
    pub(crate) fn field(&mut self, field: &[u8]) -> Option<Stop> {
        let (watched, _) = self.watch.as_ref()?;
        let hit = watched.scanner().whole(field).map(Stop::Leak);
        hit.or_else(|| self.placeholder(field).map(Stop::Credential))
    }

    /// What is found in what is compressed.
    fn unpacked(&mut self, part: &[u8]) -> Option<Hit> {
        let mut whole = None;
        let hit = match &mut self.packed {
            Told::Nothing => None,
            Told::Unknown(word) => Some(unread(word)),
            Told::As(unpack) => match unpack.push(part) {
                (None, false) => Some(unread(PACKED)),
                (hit, _) => hit,
            },
            Told::Chunks(chunks, watched, unpack) => {
                let mut data = Vec::with_capacity(part.len());
                let read = chunks.push(part, |more| data.extend_from_slice(more));
                let hit = read.is_none().then(|| unread(chunks::NAME));
                let found = match unpack {
                    None => watched.push(&data),
                    Some(unpack) => match unpack.push(&data) {
                        (None, false) => Some(unread(PACKED)),
                        (hit, _) => hit,
                    },
                };
                whole = Some(data);
                hit.or(found)
            }
        };
        hit.or_else(|| self.begins(whole.as_deref().unwrap_or(part)))
    }

    fn unpacked_end(&mut self) -> Option<Hit> {
        let hit = match &mut self.packed {
            Told::As(unpack) => match unpack.end() {
                (None, false) => Some(unread(PACKED)),
                (hit, _) => hit,
            },
            Told::Chunks(chunks, watched, unpack) => match unpack.as_mut().map(Unpack::end) {
                Some((None, false)) => Some(unread(PACKED)),
                Some((hit @ Some(_), _)) => hit,
                _ if !chunks.ended() => Some(unread(chunks::NAME)),
                _ => watched.end(),
            },
            Told::Nothing | Told::Unknown(_) => None,
        };
        hit.or_else(|| self.begun.iter_mut().find_map(|unpack| unpack.end().0))
    }

    /// What nobody said: looked for, and looked into for as long as it is what it began as.
    fn begins(&mut self, part: &[u8]) -> Option<Hit> {
        let (watched, _) = self.watch.as_ref()?;
        let mut hit = None;
        self.begun.retain_mut(|unpack| {
            let (found, goes_on) = unpack.push(part);
            hit = hit.take().or(found);
            goes_on
        });
        let (mut bytes, came) = std::mem::take(&mut self.seam);
        let seam = bytes.len();
        bytes.extend_from_slice(part);
        let zlib = came < 2
            && matches!(bytes.as_slice(), [0x78, level, ..] if (0x7800 + u32::from(*level)) % 31 == 0);
        let mut begins: Vec<(usize, Option<Packed<Sink>>)> = Vec::new();
        if zlib {
            begins.push((0, Some(Packed::zlib(Sink::new(watched)))));
        }
        for (magic, gzip) in [(GZIP, true), (ZSTD, false)] {
            let new = memmem::find_iter(&bytes, magic).filter(|at| at + magic.len() > seam);
            begins.extend(new.map(|at| {
                let sink = Sink::new(watched);
                (at, if gzip { Some(Packed::gzip(sink)) } else { Packed::zstd(sink) })
            }));
        }
        for (at, made) in begins {
            let Some(made) = made else { return Some(unread("zstd")) };
            let mut made = Unpack::new(made);
            let (found, goes_on) = made.push(bytes.get(at..).unwrap_or_default());
            hit = hit.or(found);
            if goes_on {
                self.begun.push(made);
            }
            if self.begun.len() > MOST_BEGUN {
                return Some(unread("many at one time"));
            }
        }
        let came = came.saturating_add(part.len() as u64);
        self.seam = (bytes.split_off(bytes.len().saturating_sub(ZSTD.len() - 1)), came);
        hit
    }

    /// The end.
    pub(crate) fn end(&mut self) -> Option<Found> {
        let hit = self.watch.as_mut().and_then(|(watched, _)| watched.end());
        let hit = hit.or_else(|| self.unpacked_end());
        self.found(hit)
    }

    /// How many of the last bytes may be the beginning of a secret.
    pub(crate) fn open(&self) -> usize {
        let Some((watched, Leaks::Block)) = &self.watch else { return 0 };
        let packed = match &self.packed {
            Told::Chunks(chunks, parts, None) => chunks.behind(parts.open()),
            Told::Chunks(chunks, _, Some(unpack)) => chunks.behind(unpack.waits),
            Told::As(unpack) => unpack.waits,
            Told::Nothing | Told::Unknown(_) => 0,
        };
        self.begun.iter().map(|unpack| unpack.waits).fold(watched.open().max(packed), usize::max)
    }

    fn found(&mut self, hit: Option<Hit>) -> Option<Found> {
        let (hit, (_, action)) = (hit?, self.watch.as_ref()?);
        if *action == Leaks::Block {
            return Some(Found::Stop(Stop::Leak(hit)));
        }
        let (first, action) = (!std::mem::replace(&mut self.told, true), *action);
        first.then_some(Found::Sent(hit, action))
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
            rule: "its placeholder stands in the body of a request, where no secret is put: send it to the credential's own host, as `inject` says"
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

fn unread(word: &str) -> Hit {
    Hit { name: format!("a body that cannot be looked into (`Content-Encoding: {word}`)"), way: "compressed" }
}
