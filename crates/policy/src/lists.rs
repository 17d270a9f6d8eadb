//! Long lists of plain strings, taken out of a document before it is parsed: a program writes ten thousand of them, and
//! the parser's tree of spans would be most of a start.
//!
//! Taken is only what can be nothing else. In a document without multi-line strings, a line that begins `key = [` opens a
//! list, wherever it stands; what follows must be strings without escapes, commas and comments up to the bracket. The parser
//! then sees blanks there, in the same number, so that every other place stays what it was.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// Shorter documents are not worth a second look.
const WORTH: usize = 16 << 10;

/// What was taken out.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Where each list opens, and the strings in it with their quotes; in the order of the document.
    taken: Vec<(usize, Vec<Range<usize>>)>,
}

impl Lists {
    /// The strings of the list that opens at this byte, if it was taken out.
    pub(crate) fn opening_at(&self, at: usize) -> Option<&[Range<usize>]> {
        let number = self.taken.binary_search_by_key(&at, |(open, _)| *open).ok()?;
        self.taken.get(number).map(|(_, strings)| strings.as_slice())
    }
}

/// The document with blanks in place of its long lists, and the lists; `None`: it has none.
pub(crate) fn take(text: &str) -> Option<(String, Lists)> {
    if text.len() < WORTH { None } else { take_any(text) }
}

pub(crate) fn take_any(text: &str) -> Option<(String, Lists)> {
    if [&b"\"\"\""[..], b"'''"].iter().any(|quotes| memmem::find(text.as_bytes(), quotes).is_some()) {
        return None;
    }
    let mut lists = Lists::default();
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(line) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = memchr(b'\n', line.as_bytes()).map_or(line.len(), |end| end + 1);
        let end = match opens(line.get(..length)?).map(|open| at + open) {
            Some(open) => match strings(text.as_bytes(), open + 1) {
                Some((taken, close)) => {
                    blanked.push_str(text.get(at..=open)?);
                    blanked.push_str(&" ".repeat(close - open - 1));
                    lists.taken.push((open, taken));
                    at = close;
                    continue;
                }
                None => at + length,
            },
            None => at + length,
        };
        blanked.push_str(text.get(at..end)?);
        at = end;
    }
    (!lists.taken.is_empty()).then_some((blanked, lists))
}

/// Where the bracket is in a line that begins with a bare key, `=` and `[`.
fn opens(line: &str) -> Option<usize> {
    let key = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let value = key.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    let plain = key.len() < line.len() && value.starts_with('[');
    plain.then_some(line.len() - value.len())
}

/// The strings of a list from behind its bracket, and where it ends; `None`: something else is in it.
fn strings(text: &[u8], mut at: usize) -> Option<(Vec<Range<usize>>, usize)> {
    let mut taken = Vec::new();
    loop {
        at = skip_blanks(text, at)?;
        if text.get(at) == Some(&b']') {
            return Some((taken, at));
        }
        let start = at;
        at = string_end(text, at)?;
        taken.push(start..at);
        at = skip_blanks(text, at)?;
        match text.get(at)? {
            b',' => at += 1,
            b']' => {}
            _ => return None,
        }
    }
}

/// Behind the closing quote of a string of visible ASCII without escapes.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix(b"\"")?;
    let length = memchr2(b'"', b'\\', rest)?;
    let plain = rest.get(..length)?.iter().all(|byte| matches!(byte, b' '..=b'~'));
    (plain && rest.get(length) == Some(&b'"')).then_some(at + length + 2)
}

/// Behind blanks, line ends and comments.
fn skip_blanks(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b' ' | b'\t' | b'\n' => at += 1,
            b'\r' if text.get(at + 1) == Some(&b'\n') => at += 2,
            b'#' => {
                let comment = text.get(at..)?.iter().position(|byte| !matches!(byte, b'\t' | b' '..=b'~'))?;
                at += comment;
            }
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Vec<Vec<&str>> {
        let Some((blanked, lists)) = take_any(text) else { return Vec::new() };
        assert_eq!(blanked.len(), text.len());
        let strings = |list: &Vec<Range<usize>>| list.iter().map(|span| &text[span.clone()]).collect();
        lists.taken.iter().map(|(_, list)| strings(list)).collect()
    }

    #[test]
    fn lists_of_plain_strings_are_taken() {
        for text in [
            "a = [\n\"x\",\n\"y\"\n]\n",
            "a = [\"x\",\"y\"] # b",
            "version = 1\n[files]\r\nread=[\r\n  # note\n \"x\", \"y\", # more\n]",
        ] {
            assert_eq!(taken(text), [["\"x\"", "\"y\""]], "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_left_to_the_parser() {
        for text in [
            "s = 'a = [\"x\"]'",
            "s = [[\"x\"]]",
            "a = [\n'x']",
            "a = [\n\"x\\n\"]",
            "a = [\n\"é\"]",
            "a = [\n\"x\" \"y\"]",
            "a = [\n,\"x\"]",
            "a = [\n\"x\",,]",
            "a = [\n\"x\"",
            "a = [\n\"x\n\"]",
            "a = [\n# \u{1}\n\"x\"]",
            "a = [\n# é\n\"x\"]",
            "a = [\n\"x\"\r]",
            "a = [\n1]",
            "a = [\n[\"x\"]]",
            " = [\n\"x\"]",
            "= [\n\"x\"]",
            "\"a\" = [\n\"x\"]",
            "a.b = [\n\"x\"]",
            "# a = [\n\"x\"]",
            "s = '''\na = [\n\"x\"]'''",
            "s = \"\"\"\na = [\n'x']\"\"\"",
        ] {
            assert_eq!(taken(text), Vec::<Vec<&str>>::new(), "{text:?}");
        }
    }
}
