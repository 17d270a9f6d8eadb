//! Long lists of plain strings, taken out of a document before it is parsed: a program writes ten thousand of them, and
//! the parser's tree of spans would be most of a start.
//!
//! Taken is only what can be nothing else. In a document without multi-line strings, a line that begins `key = [` opens a
//! list, wherever it stands; what follows must be strings without escapes, commas and comments up to the bracket. The parser
//! then sees an empty list, and [`Lists::place`] tells where in the document a place of the rest is.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// Shorter documents are not worth a second look.
const WORTH: usize = 16 << 10;

/// What was taken out, in the order of the document.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<Taken>);

#[derive(Debug)]
struct Taken {
    /// Where the list opens in the rest.
    open: usize,
    /// Bytes that are missing behind it, those of earlier lists among them.
    missing: usize,
    /// The strings with their quotes, in the document. There may be very many.
    strings: Vec<Range<u32>>,
}

impl Lists {
    /// The strings of the list that opens at this byte of the rest, if it was taken out.
    pub(crate) fn opening_at(&self, at: usize) -> Option<&[Range<u32>]> {
        let number = self.0.binary_search_by_key(&at, |taken| taken.open).ok()?;
        self.0.get(number).map(|taken| taken.strings.as_slice())
    }

    /// Where a byte of the rest is in the document.
    pub(crate) fn place(&self, at: usize) -> usize {
        let before = self.0.partition_point(|taken| taken.open < at);
        at + before.checked_sub(1).and_then(|last| self.0.get(last)).map_or(0, |taken| taken.missing)
    }
}

/// The document without the strings of its long lists, and the lists; `None`: it has none.
pub(crate) fn take(text: &str) -> Option<(String, Lists)> {
    if text.len() < WORTH { None } else { take_any(text) }
}

pub(crate) fn take_any(text: &str) -> Option<(String, Lists)> {
    let quotes = [&b"\"\"\""[..], b"'''"];
    if u32::try_from(text.len()).is_err()
        || quotes.iter().any(|quotes| memmem::find(text.as_bytes(), quotes).is_some())
    {
        return None;
    }
    let mut lists = Vec::new();
    let mut rest = String::new();
    let (mut at, mut missing) = (0, 0);
    while let Some(line) = text.get(at..).filter(|line| !line.is_empty()) {
        let length = memchr(b'\n', line.as_bytes()).map_or(line.len(), |end| end + 1);
        let opened = opens(line.get(..length)?).map(|open| at + open);
        if let Some(open) = opened
            && let Some((strings, close)) = strings(text.as_bytes(), open + 1)
        {
            rest.push_str(text.get(at..=open)?);
            missing += close - open - 1;
            lists.push(Taken { open: rest.len() - 1, missing, strings });
            at = close;
        } else {
            rest.push_str(line.get(..length)?);
            at += length;
        }
    }
    (!lists.is_empty()).then_some((rest, Lists(lists)))
}

/// Where the bracket is in a line that begins with a bare key, `=` and `[`.
fn opens(line: &str) -> Option<usize> {
    let key = line.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let value = key.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    let plain = key.len() < line.len() && value.starts_with('[');
    plain.then_some(line.len() - value.len())
}

/// The strings of a list from behind its bracket, and where it ends; `None`: something else is in it.
fn strings(text: &[u8], mut at: usize) -> Option<(Vec<Range<u32>>, usize)> {
    let mut taken = Vec::new();
    loop {
        at = skip_blanks(text, at)?;
        if text.get(at) == Some(&b']') {
            return Some((taken, at));
        }
        let start = at;
        at = string_end(text, at)?;
        taken.push(u32::try_from(start).ok()?..u32::try_from(at).ok()?);
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
        let Some((rest, lists)) = take_any(text) else { return Vec::new() };
        for (at, byte) in rest.bytes().enumerate() {
            assert_eq!(text.as_bytes()[lists.place(at)], byte, "byte {at} of {rest:?}");
        }
        let string = |span: &Range<u32>| &text[span.start as usize..span.end as usize];
        lists.0.iter().map(|taken| taken.strings.iter().map(string).collect()).collect()
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
