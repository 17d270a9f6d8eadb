//! Secrets in a word that holds JSON, or what is written nearly so (a dictionary of Python's, YAML in braces).

use super::{is_secret, is_value};

/// Values that are looked at in one word, and how deep they are in each other.
const MOST: usize = 256;
const DEEPEST: usize = 64;

/// From where to where the values of names that say so stand. Whoever reads the word may be a shell: what is no such document is left alone
/// from there on, as is what a shell would take for the words of a command.
pub(super) fn secrets(text: &str) -> Vec<(usize, usize)> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.=:/@".contains(letter);
    let start = text.trim_start();
    let rest = start.trim_start_matches(plain);
    let before = start.get(..start.len() - rest.len()).unwrap_or_default();
    if !rest.starts_with(['{', '[']) {
        return Vec::new();
    }
    // What is neither an option nor a document alone may be a variable for a command.
    let sure = before.is_empty() || before.starts_with('-');
    let mut reader =
        Reader { text, at: text.len() - rest.len(), found: Vec::new(), open: Vec::new(), value: true, sure };
    while reader.found.len() < MOST && reader.step().is_some() {}
    reader.found
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    found: Vec<(usize, usize)>,
    /// Brackets around it.
    open: Vec<char>,
    /// A name or a value has to come, and no comma.
    value: bool,
    sure: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn past(&mut self, letters: &[char]) -> bool {
        let length = self.rest().len() - self.rest().trim_start_matches(letters).len();
        self.at += length;
        length > 0
    }

    /// What comes next. `None`: the end, or it is nothing of the kind.
    fn step(&mut self) -> Option<()> {
        self.past(&[' ', '\t', '\r', '\n']);
        match self.rest().chars().next()? {
            bracket @ ('{' | '[') if self.value && self.open.len() < DEEPEST => self.open.push(bracket),
            '}' | ']' if !self.open.is_empty() => {
                self.open.pop();
                self.value = false;
                self.at += 1;
                return Some(());
            }
            ',' if !self.value => self.value = true,
            _ if self.value && self.open.last() == Some(&'{') => return self.pair(),
            _ if self.value && self.open.last() == Some(&'[') => {
                self.string()?;
                self.value = false;
                return Some(());
            }
            _ => return None,
        }
        self.at += 1;
        Some(())
    }

    fn pair(&mut self) -> Option<()> {
        let (from, end) = self.string()?;
        let name = self.text.get(from..end)?;
        let early = self.past(&[' ', '\t']);
        if !self.rest().starts_with(':') {
            return None;
        }
        self.at += 1;
        let late = self.past(&[' ', '\t']);
        // Of `A={x: evil}` a shell runs `evil}`, and of `{ x : evil }` what `x` makes of its words.
        let unsure = early || late && !self.sure;
        if self.rest().starts_with(['{', '[']) {
            return Some(());
        }
        let (from, end) = self.string()?;
        self.value = false;
        let value = self.text.get(from..end)?;
        let tells = is_secret(name) || ["pass", "pwd"].iter().any(|own| name.eq_ignore_ascii_case(own));
        let says = !value.is_empty() && !["true", "false", "null"].contains(&value);
        if tells && says && (!unsure || is_value(self.text, from, false)) {
            self.found.push((from, end));
        }
        Some(())
    }

    /// A string, or a word without quotes: where it begins, and where it ends.
    fn string(&mut self) -> Option<(usize, usize)> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|letter| "\"'".contains(*letter)) else {
            let part = |letter: char| letter.is_ascii_alphanumeric() || "_-.+".contains(letter);
            let length = rest.len() - rest.trim_start_matches(part).len();
            let from = self.at;
            self.at += length;
            return (length > 0).then_some((from, self.at));
        };
        let string = rest.get(1..)?;
        let mut escaped = false;
        let closes = |letter: char| {
            let closes = letter == quote && !escaped || letter == '\n';
            escaped = letter == '\\' && !escaped;
            closes
        };
        let length = string.find(closes)?;
        let from = self.at + 1;
        self.at = from + length + 1;
        (!string.get(length..)?.starts_with('\n')).then_some((from, from + length))
    }
}
