//! The scanner: one automaton for all that is looked for, walked twice over a stream, as it is and with its escapes taken away, in memory that
//! does not grow with the stream.

use std::collections::HashMap;
use std::fmt;

use aho_corasick::automaton::Automaton;
use aho_corasick::automaton::StateID;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};

use crate::encodings::ways;
use crate::formats::{Format, formats};

/// Bytes that are remembered of a stream, to tell what stands before a beginning.
const REMEMBERED: usize = 64;
/// Bytes whose escapes are taken away at one time.
const PIECE: usize = 1024;
/// Beginnings whose ends are awaited at one time.
const AWAITED: usize = 8;
/// Fewer letters than this that differ are no secret, but an example.
const DIFFERENT: usize = 9;

/// A secret of this run.
pub struct Known {
    /// Whose it is, in words: `the credential \`x\``.
    pub name: String,
    /// It.
    pub value: Vec<u8>,
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Known").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Whose secret it is, or the name of its form.
    pub name: String,
    /// How it is written: `raw`, `base64`, .. or `form`.
    pub way: &'static str,
}

enum Pattern {
    /// Of the secret of this number, written this way.
    Secret(usize, &'static str),
    /// The beginning of this length of a form.
    Beginning(&'static Format, &'static str),
}

/// All that is looked for.
pub struct Scanner {
    automaton: DFA,
    start: StateID,
    patterns: Vec<Pattern>,
    names: Vec<String>,
    /// How much of a pattern a state stands for.
    depths: HashMap<StateID, usize>,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scanner").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl Scanner {
    /// For these secrets, and the well-known forms where `forms` is set. `None`: nothing to look for, or too much.
    #[must_use]
    pub fn new(known: &[Known], forms: bool) -> Option<Self> {
        let (mut texts, mut patterns) = (Vec::new(), Vec::new());
        for (number, known) in known.iter().enumerate() {
            for (way, text) in ways(&known.value) {
                texts.push(text);
                patterns.push(Pattern::Secret(number, way));
            }
        }
        for format in formats().iter().filter(|_| forms) {
            for prefix in &format.prefixes {
                texts.push(prefix.as_bytes().to_vec());
                patterns.push(Pattern::Beginning(format, prefix));
            }
        }
        if texts.is_empty() {
            return None;
        }
        let automaton =
            DFA::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).build(&texts).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = HashMap::new();
        for text in &texts {
            let mut state = start;
            for (depth, byte) in (1..).zip(text) {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, depth);
            }
        }
        let names = known.iter().map(|known| known.name.clone()).collect();
        Some(Self { automaton, start, patterns, names, depths })
    }

    /// The beginning of a stream.
    #[must_use]
    pub fn begin(&self) -> Stream {
        let walk = || Walk { state: self.start, last: Vec::new(), awaited: Vec::new() };
        Stream { plain: walk(), loose: walk(), escape: Escape::None }
    }

    /// A text that is there as a whole.
    #[must_use]
    pub fn whole(&self, text: &[u8]) -> Option<Hit> {
        let mut stream = self.begin();
        stream.push(self, text).or_else(|| stream.end())
    }
}

/// Where a scan is in its stream.
#[derive(Clone, Debug)]
pub struct Stream {
    plain: Walk,
    loose: Walk,
    escape: Escape,
}

#[derive(Clone, Debug)]
struct Walk {
    state: StateID,
    /// The end of what was walked over.
    last: Vec<u8>,
    /// Forms whose beginning was there.
    awaited: Vec<Awaited>,
}

#[derive(Clone, Debug)]
struct Awaited {
    format: &'static Format,
    letters: usize,
    /// Which bytes were there, a bit each.
    seen: [u64; 4],
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    /// Behind `%` or `\x`, with the first digit.
    Percent(Option<u8>),
    Backslash,
    /// Behind `\u`: how many digits, and their value.
    Unicode(u8, u16),
}

impl Stream {
    /// The next part: what was found first.
    pub fn push(&mut self, scanner: &Scanner, part: &[u8]) -> Option<Hit> {
        if let Some(hit) = self.plain.run(scanner, part) {
            return Some(hit);
        }
        let mut loose = [0; PIECE];
        for piece in part.chunks(PIECE) {
            let mut length = 0;
            for byte in piece {
                let out = match self.escape {
                    Escape::None if !odd(*byte) => Some(*byte),
                    escape => {
                        let (next, out) = escape.step(*byte);
                        self.escape = next;
                        // What an escape stands for may be taken away as well.
                        out.filter(|byte| !between(*byte))
                    }
                };
                if let (Some(byte), Some(place)) = (out, loose.get_mut(length)) {
                    *place = byte;
                    length += 1;
                }
            }
            let hit = loose.get(..length).and_then(|piece| self.loose.run(scanner, piece));
            if hit.is_some() {
                return hit;
            }
        }
        None
    }

    /// How many of the last bytes may be the beginning of a secret.
    #[must_use]
    pub fn open(&self, scanner: &Scanner) -> usize {
        let forms = self.plain.awaited.iter().map(|one| one.letters + REMEMBERED).max();
        scanner.depths.get(&self.plain.state).copied().max(forms).unwrap_or(0)
    }

    /// The end of the stream: a form may end with it.
    pub fn end(&mut self) -> Option<Hit> {
        [&mut self.plain, &mut self.loose]
            .into_iter()
            .find_map(|walk| walk.awaited.iter().find_map(Awaited::whole))
    }
}

/// Is it the beginning of an escape, or what is taken away?
#[inline]
fn odd(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\') || between(byte)
}

/// May it stand between the letters of a secret?
#[inline]
fn between(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | b'"' | b'\'' | b',')
}

impl Walk {
    fn run(&mut self, scanner: &Scanner, bytes: &[u8]) -> Option<Hit> {
        let automaton = &scanner.automaton;
        let mut state = self.state;
        for (at, byte) in bytes.iter().enumerate() {
            if !self.awaited.is_empty()
                && let Some(hit) = self.follow(*byte)
            {
                return Some(hit);
            }
            state = automaton.next_state(Anchored::No, state, *byte);
            if automaton.is_special(state)
                && automaton.is_match(state)
                && let Some(hit) = self.matched(scanner, state, bytes.get(..=at).unwrap_or_default())
            {
                return Some(hit);
            }
        }
        self.state = state;
        let keep = bytes.len().saturating_sub(REMEMBERED);
        self.last.extend_from_slice(bytes.get(keep..).unwrap_or_default());
        self.last.drain(..self.last.len().saturating_sub(REMEMBERED));
        None
    }

    #[cold]
    fn matched(&mut self, scanner: &Scanner, state: StateID, bytes: &[u8]) -> Option<Hit> {
        for index in 0..scanner.automaton.match_len(state) {
            let pattern = scanner.automaton.match_pattern(state, index);
            match scanner.patterns.get(pattern.as_usize())? {
                Pattern::Secret(number, way) => {
                    return Some(Hit { name: scanner.names.get(*number)?.clone(), way });
                }
                Pattern::Beginning(format, prefix) => {
                    if self.awaited.len() < AWAITED && self.stands(prefix, bytes) {
                        self.awaited.push(Awaited { format, letters: 0, seen: [0; 4] });
                    }
                }
            }
        }
        None
    }

    /// Is it written so, and does no word go on into it?
    fn stands(&self, prefix: &str, bytes: &[u8]) -> bool {
        let mut back = bytes.iter().rev().chain(self.last.iter().rev());
        let same = prefix.bytes().rev().all(|own| back.next() == Some(&own));
        same && back.next().is_none_or(|before| !before.is_ascii_alphanumeric())
    }

    fn follow(&mut self, byte: u8) -> Option<Hit> {
        let mut hit = None;
        self.awaited.retain_mut(|one| {
            if one.letters < one.format.length.1.min(one.format.length.0 + 1) && one.format.follows(byte) {
                one.letters += 1;
                if let Some(seen) = one.seen.get_mut(usize::from(byte >> 6)) {
                    *seen |= 1 << (byte & 63);
                }
                // Long enough where any number may follow.
                let enough = one.letters > one.format.length.0;
                if enough {
                    hit = hit.take().or_else(|| one.whole());
                }
                return !enough;
            }
            if !one.format.follows(byte) {
                hit = hit.take().or_else(|| one.whole());
            }
            false
        });
        hit
    }
}

impl Awaited {
    fn whole(&self) -> Option<Hit> {
        let different: u32 = self.seen.iter().map(|bits| bits.count_ones()).sum();
        let whole = self.letters >= self.format.length.0 && different as usize >= DIFFERENT;
        whole.then(|| Hit { name: self.format.name.clone(), way: "form" })
    }
}

impl Escape {
    /// The next state, and the byte that comes out.
    #[inline]
    fn step(self, byte: u8) -> (Self, Option<u8>) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match self {
            Self::None => match byte {
                b'%' => (Self::Percent(None), None),
                b'\\' => (Self::Backslash, None),
                byte => (Self::None, Some(byte)),
            },
            Self::Percent(None) => match digit(byte) {
                Some(high) => (Self::Percent(Some(high)), None),
                None => (Self::None, Some(byte)),
            },
            Self::Percent(Some(high)) => {
                (Self::None, digit(byte).map_or(Some(byte), |low| Some(high << 4 | low)))
            }
            Self::Backslash => match byte {
                b'u' => (Self::Unicode(0, 0), None),
                b'x' => (Self::Percent(None), None),
                b'n' | b'r' | b't' => (Self::None, None),
                byte => (Self::None, Some(byte)),
            },
            Self::Unicode(count, value) => match digit(byte) {
                Some(digit) if count == 3 => (Self::None, u8::try_from(value << 4 | u16::from(digit)).ok()),
                Some(digit) => (Self::Unicode(count + 1, value << 4 | u16::from(digit)), None),
                None => (Self::None, Some(byte)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";

    fn scanner() -> Scanner {
        let known = [Known { name: "it".to_owned(), value: SECRET.into() }];
        Scanner::new(&known, true).unwrap()
    }

    #[test]
    fn escapes_are_taken_away_wherever_the_stream_is_cut() {
        let scanner = scanner();
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let unicode: String = SECRET.bytes().map(|byte| format!("\\u00{byte:02X}")).collect();
        let hex: String = SECRET.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let between = |what: &str| SECRET.chars().map(|letter| format!("{letter}{what}")).collect::<String>();
        let lines: String = SECRET.chars().flat_map(|letter| [letter, '\n']).collect();
        let listed = format!("[\"{}\", \"{}\"]", &SECRET[..17], &SECRET[17..]);
        for text in [
            percent,
            unicode,
            hex,
            between("%0a"),
            between("%22%2C%27"),
            between("\\u000a"),
            between("\u{b}"),
            lines,
            listed,
            format!("x{SECRET}"),
            SECRET[..18].to_owned(),
            SECRET[18..].to_owned(),
        ] {
            let text = format!("some text before {text} and behind");
            for size in [1, 2, 3, 7, 1000] {
                let mut stream = scanner.begin();
                let hit = text.as_bytes().chunks(size).find_map(|part| stream.push(&scanner, part));
                assert!(hit.is_some_and(|hit| hit.name == "it"), "{text} {size}");
            }
        }
        assert_eq!(scanner.whole(&SECRET.as_bytes()[1..17]), None);
    }

    #[test]
    fn forms_stand_alone() {
        let scanner = scanner();
        let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
        for text in
            [token.to_owned(), format!("x={token}&y"), format!("\"{token}\""), format!("Bearer {token}\n")]
        {
            assert_eq!(
                scanner.whole(text.as_bytes()).map(|hit| hit.name).as_deref(),
                Some("GitHub token"),
                "{text}"
            );
        }
        for text in [
            format!("x{token}"),
            token[..30].to_owned(),
            token.to_uppercase(),
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".to_owned(),
            "ghp_".to_owned(),
        ] {
            assert_eq!(scanner.whole(text.as_bytes()), None, "{text}");
        }
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKjMzEfYyji\n";
        assert_eq!(scanner.whole(key.as_bytes()).map(|hit| hit.name).as_deref(), Some("private key"));
        assert_eq!(scanner.whole(b"if text.startswith(\"-----BEGIN PRIVATE KEY-----\"): return None"), None);
    }

    #[test]
    fn what_may_go_on_is_known() {
        let scanner = scanner();
        let mut stream = scanner.begin();
        assert_eq!(stream.push(&scanner, b"text Zq8mT4vK"), None);
        assert_eq!(stream.open(&scanner), 8);
        assert_eq!(stream.push(&scanner, b" is not it. "), None);
        assert_eq!(stream.open(&scanner), 0);
    }
}
