//! Secrets in a word that holds JSON, or what is written nearly so (a dictionary of Python's, YAML in braces).

use std::cell::OnceCell;

use ringfence_policy::runs_code;

use super::called::called;
use super::programs::base;
use super::{is_secret, is_value};

/// Values that are looked at in one word, and how deep they are in each other.
const MOST: usize = 256;
const DEEPEST: usize = 64;

/// Who reads a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// A shell or an interpreter, for which a value may be what it runs, quoted or not: `{"token":"evil",-rf}` is two words.
    Code,
    /// Nobody knows who. What is not quoted may be a name of a program's own.
    Unknown,
    /// One to which a word without quotes is a string.
    Yaml,
}

/// Who reads each of the words of a command; asked of those alone that matter, since who knows shells has a long list to read first.
pub(super) struct Readers<'a> {
    words: &'a [&'a str],
    /// The first interpreter, and where its first options end.
    code: OnceCell<Option<(usize, usize)>>,
    /// The program that is called in the end.
    program: OnceCell<Option<usize>>,
}

impl<'a> Readers<'a> {
    pub(super) fn new(words: &'a [&'a str]) -> Self {
        Self { words, code: OnceCell::new(), program: OnceCell::new() }
    }

    fn interpreter(&self, from: usize) -> Option<(usize, usize)> {
        let code = |word: &&str| runs_code(base(word)).is_some();
        let first = self.words.iter().skip(from).position(code)? + from;
        let options = self.words.iter().skip(first + 1).take_while(|word| word.starts_with('-'));
        Some((first, first + 1 + options.count()))
    }

    pub(super) fn of(&self, number: usize) -> Reads {
        let word = self.words.get(number).copied().unwrap_or_default();
        if !word.contains(['{', '[']) {
            return Reads::Unknown;
        }
        let before =
            number.checked_sub(1).and_then(|before| self.words.get(before)).copied().unwrap_or_default();
        let takes = matches!(before, "-e" | "--extra-vars")
            || word.starts_with("-e")
            || word.starts_with("--extra-vars=");
        let program = *self.program.get_or_init(|| called(self.words).pop());
        let name = program.and_then(|at| self.words.get(at)).map_or("", |program| base(program));
        if takes && name.starts_with("ansible") {
            return Reads::Yaml;
        }
        let letter =
            before.starts_with('-') && !before.starts_with("--") && before.ends_with(['c', 'e', 'E', 'p']);
        let option = letter || matches!(before, "--eval" | "--print" | "--command" | "--execute" | "--");
        let code = self.code.get_or_init(|| self.interpreter(program.unwrap_or(0)));
        let read = |(first, end)| number > first && (number <= end || option || word.starts_with('-'));
        // What stands where a program does is run.
        if program == Some(number) || code.is_some_and(read) {
            return Reads::Code;
        }
        Reads::Unknown
    }
}

/// From where to where the values of names that say so stand. Whoever reads the word may be a shell: what is no such document is left alone
/// from there on, as is what a shell would take for the words of a command.
pub(super) fn secrets(text: &str, reads: Reads) -> Vec<(usize, usize)> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.=:/@".contains(letter);
    let start = text.trim_start();
    let rest = start.trim_start_matches(plain);
    let before = start.get(..start.len() - rest.len()).unwrap_or_default();
    if !rest.starts_with(['{', '[']) {
        return Vec::new();
    }
    // What is neither an option nor a document alone may be a variable for a command.
    let sure = before.is_empty() || before.starts_with('-');
    let mut reader = Reader {
        text,
        at: text.len() - rest.len(),
        found: Vec::new(),
        open: Vec::new(),
        value: true,
        sure,
        reads,
    };
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
    reads: Reads,
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
        let quoted = self.text.get(..from).is_some_and(|before| before.ends_with(['"', '\'']));
        // Behind a number nothing is called, as it is behind a name.
        let told = match self.reads {
            Reads::Code => false,
            Reads::Unknown => quoted || late && value.bytes().all(|byte| byte.is_ascii_digit()),
            Reads::Yaml => true,
        };
        // What goes on is an expression.
        let after = self.rest().trim_start().chars().next();
        let ends = after.is_none_or(|letter| ",}]".contains(letter)) || !told;
        let says = !value.is_empty() && !["true", "false", "null"].contains(&value);
        if tells && says && ends && (told && !unsure || is_value(self.text, from, false)) {
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
