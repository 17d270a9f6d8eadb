//! Secrets in a stream, replaced by letters that say nothing: as many as there were. What is sent is looked through once more, so that
//! what could not be replaced is found.

use std::ops::Range;

use crate::beginnings::Stands;
use crate::formats::Format;
use crate::loose::{BETWEEN, Placed};
use crate::scan::{Hit, Scanner, Stream};

/// Stands for each letter.
const LETTER: u8 = b'x';
/// Fewer bytes that a secret may go on from are not held back, and stand if they were sent.
const FEWEST: usize = 4;
/// Bytes that are kept of what was sent, within which a secret with much between its letters is replaced.
const KEPT: usize = 4096;

/// A stream whose secrets are replaced.
pub struct Masking {
    /// What came, and what goes on.
    input: Stream,
    output: Stream,
    /// The end of what came: what has gone on, and what waits.
    bytes: Vec<u8>,
    masks: Vec<bool>,
    gone: usize,
    /// Something came before that.
    more: bool,
    /// The form that what came last is of, and may go on.
    running: Option<&'static Format>,
}

/// A secret in some bytes.
struct Span {
    range: Range<usize>,
    /// Its form, if that may go on behind these bytes.
    open: Option<&'static Format>,
    /// Where its letters are in what is left without escapes, if it was found there.
    loose: Option<Range<usize>>,
}

impl Masking {
    /// The beginning of a stream.
    #[must_use]
    pub fn new(scanner: &Scanner) -> Self {
        let (bytes, masks) = (Vec::new(), Vec::new());
        let (input, output) = (scanner.begin(), scanner.begin());
        Self { input, output, bytes, masks, gone: 0, more: false, running: None }
    }

    /// The next part: what goes on, and what was found and replaced. An error: what was found and cannot be.
    pub fn push(&mut self, scanner: &Scanner, part: &[u8]) -> Result<(Vec<u8>, Option<Hit>), Hit> {
        let found = self.input.push(scanner, part);
        let from = self.bytes.len();
        self.bytes.extend_from_slice(part);
        self.masks.resize(self.bytes.len(), false);
        self.run_on(from);
        if let Some(hit) = &found {
            self.cover(scanner, hit, false)?;
        }
        let until = self.bytes.len() - self.held(scanner);
        Ok((self.send(scanner, until.max(self.gone))?, found))
    }

    /// The end of the stream.
    pub fn end(&mut self, scanner: &Scanner) -> Result<(Vec<u8>, Option<Hit>), Hit> {
        let found = self.input.end(scanner);
        if let Some(hit) = &found {
            self.cover(scanner, hit, true)?;
        }
        let rest = self.send(scanner, self.bytes.len())?;
        self.output.end(scanner).map_or(Ok((rest, found)), Err)
    }

    /// How many of the last bytes wait: those from which a secret may go on, unless none of its letters stands.
    fn held(&self, scanner: &Scanner) -> usize {
        let open = scanner.open(&self.bytes);
        let last = self.bytes.iter().zip(&self.masks).rev().take(open);
        let mut stand = last.filter(|(byte, masked)| !**masked && !BETWEEN.contains(byte));
        if stand.next().is_none() { 0 } else { open }
    }

    /// More of a form that was found.
    fn run_on(&mut self, from: usize) {
        let Some(format) = self.running else { return };
        let new = self.bytes.get(from..).unwrap_or_default();
        let count = new.iter().take_while(|byte| format.follows(**byte)).count();
        self.running = (count == new.len()).then_some(format);
        let masks = self.masks.iter_mut().skip(from);
        masks.zip(new).take(count).for_each(|(mask, byte)| *mask = !BETWEEN.contains(byte));
    }

    /// Replaces all that is found.
    fn cover(&mut self, scanner: &Scanner, hit: &Hit, last: bool) -> Result<(), Hit> {
        let placed = Placed::new(&self.bytes);
        let spans = scanner.spans(&self.bytes, &placed, !self.more, last);
        if spans.is_empty() {
            return Err(hit.clone());
        }
        let plain = |start| {
            spans.iter().any(|span| span.loose.is_none() && span.open.is_some() && span.range.start == start)
        };
        for span in &spans {
            // Where more of it is written in another way, what belongs to it is not known.
            if span.loose.is_some() && span.open.is_some() && !plain(span.range.start) {
                return Err(hit.clone());
            }
            self.running = self.running.or(span.open);
            let stands = |at: usize| at < self.gone && self.masks.get(at) == Some(&false);
            let few = match &span.loose {
                None => span.range.clone().filter(|at| stands(*at) && !placed.keeps(*at)).count(),
                Some(letters) => letters.clone().filter(|at| stands(placed.place(*at, at + 1).start)).count(),
            };
            if few >= FEWEST {
                return Err(hit.clone());
            }
            for at in span.range.start.max(self.gone)..span.range.end {
                if let Some(mask) = self.masks.get_mut(at).filter(|_| !placed.keeps(at)) {
                    *mask = true;
                }
            }
        }
        Ok(())
    }

    /// What goes on, up to here.
    fn send(&mut self, scanner: &Scanner, until: usize) -> Result<Vec<u8>, Hit> {
        let new = self.gone..until;
        let (bytes, masks) = (self.bytes.get(new.clone()), self.masks.get(new));
        let both = bytes.unwrap_or_default().iter().zip(masks.unwrap_or_default());
        let sent: Vec<u8> = both.map(|(byte, mask)| if *mask { LETTER } else { *byte }).collect();
        self.gone = until;
        let before = self.gone.saturating_sub(KEPT.max(2 * scanner.reach));
        if before > 0 {
            self.bytes.drain(..before);
            self.masks.drain(..before);
            self.gone -= before;
            self.more = true;
        }
        self.output.push(scanner, &sent).map_or(Ok(sent), Err)
    }
}

impl Scanner {
    /// A whole text with its secrets replaced, and the first of them; none if there is none. An error: what cannot be replaced.
    pub fn mask(&self, text: &[u8]) -> Result<Option<(Vec<u8>, Hit)>, Hit> {
        let mut masking = Masking::new(self);
        let (mut masked, first) = masking.push(self, text)?;
        let (rest, last) = masking.end(self)?;
        masked.extend_from_slice(&rest);
        Ok(first.or(last).map(|hit| (masked, hit)))
    }

    /// All that is in these bytes, and where. `first`: nothing was before them; `last`: nothing follows.
    fn spans(&self, bytes: &[u8], placed: &Placed, first: bool, last: bool) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut add = |text: &[u8], loose: bool| {
            let mut add = |range: Range<usize>, open| {
                let own = if loose { placed.place(range.start, range.end) } else { range.clone() };
                spans.push(Span { range: own, open, loose: loose.then_some(range) });
            };
            self.texts.find(text, |_, start, end| add(start..end, None));
            let Some(forms) = self.forms else { return };
            forms.find(text, usize::from(!first)..text.len(), |at| {
                let Stands::Whole(format, least) = forms.stands(text, at, last) else { return };
                let rest = text.get(least..).unwrap_or_default();
                let end = least + rest.iter().take_while(|byte| format.follows(**byte)).count();
                let open = (end == text.len() && !last).then_some(format);
                add(at..end, open);
            });
        };
        add(bytes, false);
        add(&placed.bytes, true);
        spans
    }

    /// How many of the last bytes may be the beginning of a secret, escaped or not.
    fn open(&self, bytes: &[u8]) -> usize {
        let end = bytes.get(bytes.len().saturating_sub(KEPT.max(self.reach))..).unwrap_or_default();
        let open = |text: &[u8]| {
            let end = text.get(text.len().saturating_sub(self.reach)..).unwrap_or_default();
            let forms = self.forms.map_or(0, |forms| forms.open(end, FEWEST));
            self.texts.open(end, FEWEST).max(forms)
        };
        let placed = Placed::new(end);
        let loose = match open(&placed.bytes) {
            0 => placed.pending,
            open => end.len() - placed.place(placed.bytes.len() - open, placed.bytes.len()).start,
        };
        open(end).max(loose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Known;

    const SECRET: &str = "Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
    const TOKEN: &str = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";

    fn scanner() -> Scanner {
        let known = [Known { name: "it".to_owned(), value: SECRET.into() }];
        Scanner::new(&known, true).unwrap()
    }

    fn through(text: &str, size: usize) -> Result<String, Hit> {
        let scanner = scanner();
        let mut masking = Masking::new(&scanner);
        let mut out = Vec::new();
        for part in text.as_bytes().chunks(size) {
            out.extend(masking.push(&scanner, part)?.0);
        }
        out.extend(masking.end(&scanner)?.0);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn as_many_letters_stand_in_its_place_wherever_the_stream_is_cut() {
        let x = "x".repeat(SECRET.len());
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let listed: String = SECRET.chars().map(|letter| format!("\"{letter}\",\n ")).collect();
        let quoted: String = SECRET.chars().map(|letter| format!("{letter}\\\"")).collect();
        for (text, masked) in [
            (SECRET.to_owned(), x.clone()),
            (format!("{SECRET}{SECRET}"), format!("{x}{x}")),
            (SECRET[..18].to_owned(), x[..18].to_owned()),
            (TOKEN.to_owned(), "x".repeat(TOKEN.len())),
            (format!("{TOKEN}/{TOKEN}"), format!("{0}/{0}", "x".repeat(TOKEN.len()))),
            (percent, x.repeat(3)),
            (listed.clone(), SECRET.chars().fold(listed, |text, letter| text.replace(letter, "x"))),
            // The last quote is no part of it.
            (quoted, format!("{}\\\"", "x".repeat(3 * SECRET.len() - 2))),
        ] {
            let escaped = text.contains(['%', '\\']);
            for size in [1, 2, 7, 30, 10_000] {
                for (before, behind) in [("", ""), ("{\"a\": [\"", "\"]}"), ("text=", "&more=ordinary text")]
                {
                    let whole = format!("{before}{text}{behind}");
                    let sent = through(&whole, size).unwrap_or_else(|hit| panic!("{hit:?} {whole} {size}"));
                    // Of its beginning a few letters may stand.
                    let whole_mask = format!("{before}{masked}{behind}");
                    let differ = sent.bytes().zip(whole_mask.bytes()).filter(|(one, other)| one != other);
                    let few = if size == 10_000 {
                        0
                    } else if escaped {
                        18
                    } else {
                        6
                    };
                    assert!(sent.len() == whole.len() && differ.count() <= few, "{whole} {sent} {size}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_not_sent() {
        let wide: String = SECRET.chars().map(|letter| format!("{letter}{}", " ".repeat(900))).collect();
        for size in [100, 4096] {
            assert_eq!(through(&wide, size).unwrap_err().name, "it", "{size}");
        }
        let long = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END", SECRET.repeat(900));
        let sent = through(&long, 1000).unwrap();
        assert!(sent.len() == long.len() && sent.ends_with("\n-----END"), "{}", &sent[sent.len() - 50..]);
        assert!(!sent.contains(&SECRET[..6]));
    }

    #[test]
    fn ordinary_text_goes_on_as_it_is() {
        let text =
            "Zq8mT is not it, nor is ghp_ or ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; \\u00e9 %20 "
                .repeat(200);
        for size in [1, 50, 9_000] {
            assert_eq!(through(&text, size).as_deref(), Ok(text.as_str()));
        }
    }
}
