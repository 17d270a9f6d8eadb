//! The scanner: all secrets at once by samples, well-known forms by their beginnings, over a stream as it is and with its escapes taken
//! away, in memory that does not grow with the stream.

use std::fmt;
use std::ops::Range;

use crate::beginnings::{Beginnings, Stands};
use crate::encodings::ways;
use crate::loose::{Escape, Left, PIECE, Placed};
use crate::texts::Texts;

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

/// All that is looked for.
pub struct Scanner {
    pub(crate) texts: Texts,
    /// Of each text, whose it is and how it is written.
    owners: Vec<(usize, &'static str)>,
    names: Vec<String>,
    pub(crate) forms: Option<&'static Beginnings>,
    /// Bytes that must be there together to tell whether something is one.
    pub(crate) reach: usize,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scanner").field("texts", &self.owners.len()).finish_non_exhaustive()
    }
}

impl Scanner {
    /// For these secrets, and the well-known forms where `forms` is set. `None`: nothing to look for, or too much.
    #[must_use]
    pub fn new(known: &[Known], forms: bool) -> Option<Self> {
        let (mut texts, mut owners) = (Vec::new(), Vec::new());
        for (number, known) in known.iter().enumerate() {
            for (way, text) in ways(&known.value) {
                texts.push(text);
                owners.push((number, way));
            }
        }
        let forms = if forms { Some(Beginnings::get()?) } else { None };
        if texts.is_empty() && forms.is_none() {
            return None;
        }
        let reach = texts.iter().map(Vec::len).chain(forms.map(Beginnings::reach)).max().unwrap_or_default();
        let names = known.iter().map(|known| known.name.clone()).collect();
        Some(Self { texts: Texts::new(texts)?, owners, names, forms, reach })
    }

    /// The beginning of a stream.
    #[must_use]
    pub fn begin(&self) -> Stream {
        Stream { plain: Walk::default(), loose: Walk::default(), escape: Escape::None, tail: Vec::new() }
    }

    /// A text that is there as a whole.
    #[must_use]
    pub fn whole(&self, text: &[u8]) -> Option<Hit> {
        let mut stream = self.begin();
        stream.push(self, text).or_else(|| stream.end(self))
    }

    /// What secret is in these bytes, and ends behind `from`.
    fn secret(&self, bytes: &[u8], from: usize) -> Option<Hit> {
        let mut hit = None;
        self.texts.find(bytes, |text, _, end| {
            if hit.is_none() && end > from {
                hit = self
                    .owners
                    .get(text)
                    .and_then(|(number, way)| Some(Hit { name: self.names.get(*number)?.clone(), way }));
            }
        });
        hit
    }

    /// What form begins in this range, and whether one may. `last`: nothing follows these bytes.
    fn form(&self, bytes: &[u8], range: Range<usize>, last: bool) -> (Option<Hit>, bool) {
        let (mut hit, mut begun) = (None, false);
        let Some(forms) = self.forms else { return (hit, begun) };
        forms.find(bytes, range, |at| {
            begun = true;
            if let (None, Stands::Whole(format, _)) = (&hit, forms.stands(bytes, at, last)) {
                hit = Some(Hit { name: format.name.clone(), way: "form" });
            }
        });
        (hit, begun)
    }
}

/// Bytes of the end of a stream that are kept as they came, to tell where in them something begins.
const TAIL: usize = 4096;

/// Where a scan is in its stream.
#[derive(Clone, Debug)]
pub struct Stream {
    plain: Walk,
    loose: Walk,
    escape: Escape,
    tail: Vec<u8>,
}

/// A walk over a stream, or over what is left of it.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// The end of what came, in which something may begin.
    end: Vec<u8>,
    /// Something came before that.
    more: bool,
}

impl Stream {
    /// The next part: what was found first.
    pub fn push(&mut self, scanner: &Scanner, part: &[u8]) -> Option<Hit> {
        let (mut hit, mut left) = (None, Left::new());
        let kept = (self.tail.len() + part.len()).saturating_sub(TAIL).min(self.tail.len());
        self.tail.drain(..kept);
        self.tail.extend_from_slice(part.get(part.len().saturating_sub(TAIL)..).unwrap_or_default());
        for piece in part.chunks(PIECE - 1) {
            let (found, begun) = self.plain.push(scanner, piece, Near::All);
            hit = hit.or(found);
            let waits = !matches!(self.escape, Escape::None);
            self.escape.loosen(piece, &mut left);
            // Letters that are further apart than in plain text belong to what begins there, or at an escape.
            let near = match begun {
                // Nothing was taken away, and nothing stands for something else: all was seen.
                _ if left.length == piece.len() && !waits => Near::Seen,
                true => Near::All,
                false => Near::These(&left.near),
            };
            let (found, _) =
                self.loose.push(scanner, left.bytes.get(..left.length).unwrap_or_default(), near);
            hit = hit.or(found);
        }
        hit
    }

    /// How many of the last bytes may be the beginning of a secret, from so many letters on, as it is or with escapes and what may stand
    /// between; of the last only as far as they are kept.
    #[must_use]
    pub fn open(&self, scanner: &Scanner, least: usize) -> usize {
        let open = |walk: &Walk| {
            let forms = scanner.forms.map_or(0, |forms| forms.open(&walk.end, least));
            scanner.texts.open(&walk.end, least).max(forms)
        };
        let (plain, loose) = (open(&self.plain), open(&self.loose));
        // Where nothing was taken away, both are the same.
        if loose == 0 || loose == plain && matches!(self.escape, Escape::None) {
            return plain;
        }
        let placed = Placed::new(&self.tail);
        let behind = match placed.bytes.len().checked_sub(loose) {
            Some(from) => self.tail.len() - placed.place(from, from + 1).start,
            None => self.tail.len(),
        };
        plain.max(behind)
    }

    /// The end of the stream: a form may end with it.
    pub fn end(&mut self, scanner: &Scanner) -> Option<Hit> {
        [&self.plain, &self.loose].into_iter().find_map(|walk| {
            let range = usize::from(walk.more)..walk.end.len();
            scanner.form(&walk.end, range, true).0
        })
    }
}

/// Where in a part forms may begin.
#[derive(Clone, Copy)]
enum Near<'a> {
    Seen,
    All,
    These(&'a [Range<usize>]),
}

impl Walk {
    /// What was found, and whether a form may have begun.
    fn push(&mut self, scanner: &Scanner, part: &[u8], near: Near<'_>) -> (Option<Hit>, bool) {
        // What begins before this part, then what begins in it: what stands before its first byte is known above alone.
        let before = self.end.len();
        let first = part.get(..scanner.reach).unwrap_or(part);
        self.end.extend_from_slice(first);
        let (form, mut begun) = scanner.form(&self.end, usize::from(self.more)..self.end.len(), false);
        let mut hit = scanner.secret(&self.end, before).or(form);
        if first.len() < part.len() {
            if !matches!(near, Near::Seen) {
                hit = hit.or_else(|| scanner.secret(part, 0));
            }
            let mut look = |range: Range<usize>| {
                let (form, some) = scanner.form(part, range.start.max(1)..range.end, false);
                hit = hit.take().or(form);
                begun |= some;
            };
            match near {
                Near::Seen => {}
                Near::All => look(0..part.len()),
                Near::These(ranges) => ranges.iter().for_each(|range| look(range.clone())),
            }
            self.end.clear();
            self.end.extend_from_slice(part.get(part.len() - scanner.reach..).unwrap_or_default());
            self.more = true;
        } else if self.end.len() > scanner.reach {
            self.end.drain(..self.end.len() - scanner.reach);
            self.more = true;
        }
        (hit, begun)
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
        let entities: String = SECRET.bytes().map(|byte| format!("&#{byte};")).collect();
        let entities_of_hex: String = SECRET.bytes().map(|byte| format!("&#x0{byte:02X}")).collect();
        let some: String = SECRET
            .char_indices()
            .map(|(at, letter)| if at % 3 == 0 { format!("&#{:03};", letter as u32) } else { letter.into() })
            .collect();
        let between = |what: &str| SECRET.chars().map(|letter| format!("{letter}{what}")).collect::<String>();
        let lines: String = SECRET.chars().flat_map(|letter| [letter, '\n']).collect();
        let listed = format!("[\"{}\", \"{}\"]", &SECRET[..17], &SECRET[17..]);
        for text in [
            percent,
            unicode,
            hex,
            entities,
            entities_of_hex,
            some,
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
    fn forms_are_found_behind_escapes_and_in_lines() {
        let scanner = Scanner::new(&[], true).unwrap();
        let token = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
        let percent: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let unicode: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let lines = format!("{}\r\n   {}", &token[..9], &token[9..]);
        let listed = format!("{}\",\"{}", &token[..20], &token[20..]);
        for text in [percent, unicode, lines, listed, token.to_owned()] {
            let text = format!("{}={text};{}", "some text ".repeat(900), " and more".repeat(2000));
            for size in [1, 3, 100, 9_000, 100_000] {
                let mut stream = scanner.begin();
                let hit = text.as_bytes().chunks(size).find_map(|part| stream.push(&scanner, part));
                assert!(hit.is_some_and(|hit| hit.name == "GitHub token"), "{} {size}", &text[9_000..9_060]);
            }
        }
    }

    #[test]
    fn what_may_go_on_is_known() {
        let scanner = scanner();
        let mut stream = scanner.begin();
        assert_eq!(stream.push(&scanner, b"text Zq8mT4vK"), None);
        assert_eq!(stream.open(&scanner, 6), 8);
        assert_eq!(stream.push(&scanner, b" is not it. "), None);
        assert_eq!(stream.open(&scanner, 6), 0);
        // Escaped, with a space between, and in the midst of an escape.
        assert_eq!(stream.push(&scanner, b"text &#90;q8 m%54"), None);
        assert_eq!(stream.open(&scanner, 5), 12);
        assert_eq!(stream.push(&scanner, b"4&#118"), None);
        assert_eq!(stream.open(&scanner, 6), 18);
        assert_eq!(stream.push(&scanner, b"! and more"), None);
        assert_eq!(stream.open(&scanner, 6), 0);
        assert_eq!(
            stream.push(&scanner, &[&b" ".repeat(TAIL)[..], b"Zq8mT", &b" ".repeat(TAIL), b"4"].concat()),
            None
        );
        assert_eq!(stream.open(&scanner, 6), TAIL);
    }
}
