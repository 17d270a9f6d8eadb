//! Finding what begins as a well-known form does, and telling whether it goes on as one.

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

use crate::formats::{Format, formats};

/// Fewer letters than this that differ are no secret, but an example.
const DIFFERENT: usize = 9;
/// Bytes at the beginning of each that are looked for together.
const LONG: usize = 4;

/// The beginnings of all forms.
pub(crate) struct Beginnings {
    by: By,
    /// Those that are so short that the others would be found more slowly with them.
    short: Vec<Finder<'static>>,
    all: Vec<(&'static Format, &'static [u8])>,
    /// Bytes of the longest that must be seen to tell whether it is one, with what stands before and behind.
    reach: usize,
}

enum By {
    /// Many bytes at one time.
    Packed(Box<Searcher>),
    /// Where the processor cannot.
    Single(AhoCorasick),
}

/// What stands at some place.
pub(crate) enum Stands {
    No,
    /// It may be one, if it goes on.
    Begun,
    /// One of this form, up to here at least.
    Whole(&'static Format, usize),
}

enum Goes {
    Not,
    On,
    Whole(usize),
}

impl Beginnings {
    /// `None`: no search can be made, which the tests show not to be so.
    pub(crate) fn get() -> Option<&'static Self> {
        static ALL: OnceLock<Option<Beginnings>> = OnceLock::new();
        ALL.get_or_init(Self::new).as_ref()
    }

    fn new() -> Option<Self> {
        let all: Vec<(&Format, &[u8])> = formats()
            .iter()
            .flat_map(|format| format.prefixes.iter().map(move |prefix| (format, prefix.as_bytes())))
            .collect();
        let texts = || all.iter().map(|(_, prefix)| prefix).filter(|prefix| prefix.len() >= LONG);
        let short =
            all.iter().filter(|(_, prefix)| prefix.len() < LONG).map(|(_, prefix)| Finder::new(*prefix));
        let short = short.collect();
        let packed = packed::Config::new().heuristic_pattern_limits(false).builder().extend(texts()).build();
        let by = match packed {
            Some(searcher) => By::Packed(Box::new(searcher)),
            None => {
                By::Single(AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts()).ok()?)
            }
        };
        let reach = all.iter().map(|(format, prefix)| prefix.len() + format.length.0 + 2).max()?;
        Some(Self { by, short, all, reach })
    }

    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// Each place in this range where one begins.
    pub(crate) fn find(&self, bytes: &[u8], range: Range<usize>, mut found: impl FnMut(usize)) {
        let (mut at, until) = (range.start, range.end.min(bytes.len()));
        let part = bytes.get(at..until).unwrap_or_default();
        for short in &self.short {
            short.find_iter(part).for_each(|place| found(at + place));
        }
        while at < until {
            let span = at..until;
            let next = match &self.by {
                By::Packed(searcher) => searcher.find_in(bytes, span.into()),
                By::Single(automaton) => automaton.find(aho_corasick::Input::new(bytes).span(span)),
            };
            let Some(next) = next else { return };
            found(next.start());
            at = next.start() + 1;
        }
    }

    /// Is it one, that no word goes on into? `last`: nothing follows these bytes.
    pub(crate) fn stands(&self, bytes: &[u8], at: usize, last: bool) -> Stands {
        let (before, rest) = bytes.split_at_checked(at).unwrap_or_default();
        let mut begun = Stands::No;
        if before.last().is_some_and(u8::is_ascii_alphanumeric) {
            return begun;
        }
        for (format, prefix) in &self.all {
            let Some(letters) = rest.strip_prefix(*prefix) else { continue };
            match goes_on(format, letters, last) {
                Goes::Not => {}
                Goes::On => begun = Stands::Begun,
                Goes::Whole(length) => return Stands::Whole(format, at + prefix.len() + length),
            }
        }
        begun
    }

    /// The longest end, of so many bytes at least, that may go on to be one.
    pub(crate) fn open(&self, bytes: &[u8], least: usize) -> usize {
        let mut open = 0;
        self.find(bytes, 0..bytes.len(), |at| {
            if open == 0 && matches!(self.stands(bytes, at, false), Stands::Begun) {
                open = bytes.len() - at;
            }
        });
        let partly = |prefix: &[u8]| {
            (least..prefix.len())
                .rev()
                .find(|length| prefix.get(..*length).is_some_and(|begun| bytes.ends_with(begun)))
        };
        self.all.iter().filter_map(|(_, prefix)| partly(prefix)).fold(open, usize::max)
    }
}

fn goes_on(format: &Format, letters: &[u8], last: bool) -> Goes {
    let (least, most) = format.length;
    let count = letters.iter().take(least + 1).take_while(|byte| format.follows(**byte)).count();
    if count == letters.len() && count <= least && !last {
        return Goes::On;
    }
    // Where any number may follow, one more than the least is enough.
    if count < least || count > most {
        return Goes::Not;
    }
    let mut seen = [false; 256];
    letters.iter().take(count).for_each(|byte| seen[usize::from(*byte)] = true);
    match seen.iter().filter(|seen| **seen).count() >= DIFFERENT {
        true => Goes::Whole(count),
        false => Goes::Not,
    }
}
