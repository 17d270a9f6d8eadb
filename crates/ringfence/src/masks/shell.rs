//! The commands of a script, as far as they can be read as a shell does: each with its words, and where these stand. What cannot be told
//! ends it: nothing behind that is known.

use super::programs::secrets;
use super::{header, is_secret, name_at};

/// Bytes that are read of one script, how deep scripts and substitutions are, and commands that are held against the list.
const LONGEST: usize = 64 << 10;
const DEEPEST: usize = 6;
const MOST: usize = 4096;

/// A secret among the words of a script: from where, and where its word ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) cookies: bool,
}

/// Where options of its commands hold secrets, in order.
pub(super) fn places(script: &str) -> Vec<Place> {
    let mut found = Vec::new();
    find(script, 0, &mut found);
    found.sort_by_key(|place| place.at);
    found
}

fn find(script: &str, depth: usize, found: &mut Vec<Place>) {
    let word = script.trim();
    if depth > DEEPEST || script.len() > LONGEST || !word.contains(char::is_whitespace) {
        return;
    }
    let mut reader = Reader { text: script, at: 0, commands: Vec::new(), inner: Vec::new(), defines: false };
    let _ = reader.commands(0);
    // A name may mean something else then.
    if reader.defines {
        return;
    }
    for command in &reader.commands {
        let words: Vec<&str> = command.iter().map(|word| word.text.as_str()).collect();
        let place = |word: usize, at: usize, cookies| {
            let word = command.get(word)?;
            Some(Place { at: *word.from.get(at)?, end: word.end, cookies })
        };
        let told = secrets(&words).into_iter().map(|secret| place(secret.word, secret.at, secret.cookies));
        found.extend(told.flatten());
        for (number, word) in words.iter().enumerate() {
            let option = number.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or("");
            let header = headed(option, word);
            found.extend(header.and_then(|(at, cookies)| place(number, at, cookies)));
        }
        for word in command.iter().filter(|word| word.text.contains(char::is_whitespace)) {
            let mut inner = Vec::new();
            find(&word.text, depth + 1, &mut inner);
            let outer = |place: Place| {
                let end = word.from.get(place.end.checked_sub(1)?)? + 1;
                Some(Place { at: *word.from.get(place.at)?, end, ..place })
            };
            found.extend(inner.into_iter().filter_map(outer));
        }
    }
    for (from, text) in reader.inner {
        let mut inner = Vec::new();
        find(text, depth + 1, &mut inner);
        found.extend(inner.into_iter().map(|place| Place {
            at: from + place.at,
            end: from + place.end,
            ..place
        }));
    }
}

/// Where the secret begins of a header that an option has for its value.
fn headed(option: &str, word: &str) -> Option<(usize, bool)> {
    let from = match word.split_once('=') {
        Some(("--header" | "--proxy-header", _)) => word.find('=')? + 1,
        _ if word.starts_with("-H") => 2,
        _ if option.starts_with('-') && !option.starts_with("--") && option.ends_with('H') => 0,
        _ if matches!(option, "--header" | "--proxy-header") => 0,
        _ => return None,
    };
    let name = name_at(word, from);
    let behind = from + name.len();
    if word.as_bytes().get(behind) != Some(&b':') {
        return None;
    }
    if name.to_ascii_lowercase().ends_with("cookie") {
        let blanks = word.get(behind + 1..)?.len() - word.get(behind + 1..)?.trim_start().len();
        return Some((behind + 1 + blanks, true));
    }
    // A header of its own, whose secret has no other word behind it.
    let (at, _) = is_secret(name).then(|| header(word.get(from..)?, 0, name.len())).flatten()?;
    Some((from + at, false))
}

/// A word without its quotes, where each of its bytes stands, and where it ends.
#[derive(Default)]
struct Word {
    text: String,
    from: Vec<usize>,
    end: usize,
    begun: bool,
}

impl Word {
    fn push(&mut self, letter: char, at: usize) {
        self.text.push(letter);
        self.from.extend((at..).take(letter.len_utf8()));
        self.begun = true;
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    commands: Vec<Vec<Word>>,
    /// What is handed to a command as its input, and where it stands.
    inner: Vec<(usize, &'a str)>,
    /// A function or an alias is made.
    defines: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Commands up to the `)` of a substitution, or to the end. `None`: it cannot be told what follows.
    fn commands(&mut self, depth: usize) -> Option<()> {
        let (mut command, mut word) = (Vec::new(), Word::default());
        let (mut target, mut open, mut documents) = (false, 0_usize, Vec::new());
        let done = loop {
            let at = self.at;
            let Some(letter) = self.next() else { break Some(()) };
            let blank = matches!(letter, ' ' | '\t' | '\r');
            if !blank && !";&|()<>\n".contains(letter) {
                if letter == '#' && !word.begun {
                    self.at += self.rest().find('\n').unwrap_or(self.rest().len());
                } else if self.part(letter, at, &mut word, depth).is_none() {
                    break None;
                }
                continue;
            }
            self.ended(&mut word, at, &mut target, &mut command, depth)?;
            match letter {
                '<' if self.rest().starts_with('<') && !self.rest().starts_with("<<") => {
                    self.at += 1;
                    documents.push(self.document()?);
                }
                '<' | '>' => {
                    self.at += self.rest().len() - self.rest().trim_start_matches(['<', '>', '&', '|']).len();
                    target = !self.rest().starts_with('(');
                }
                // Arithmetic, in which nothing means what it does elsewhere.
                '(' if self.rest().starts_with('(') => break None,
                '(' => {
                    self.defines |= command.len() == 1 && self.rest().trim_start().starts_with(')');
                    open += 1;
                    self.close(&mut command)?;
                }
                ')' if open == 0 && depth > 0 => break Some(()),
                ')' => {
                    open = open.saturating_sub(1);
                    self.close(&mut command)?;
                }
                _ if blank => {}
                letter => {
                    self.close(&mut command)?;
                    if letter == '\n' {
                        for (end, tabs) in std::mem::take(&mut documents) {
                            self.skip(&end, tabs)?;
                        }
                    }
                }
            }
        };
        let end = self.at;
        self.ended(&mut word, end, &mut target, &mut command, depth)?;
        self.close(&mut command)?;
        done
    }

    /// A word is at its end.
    fn ended(
        &mut self,
        word: &mut Word,
        end: usize,
        target: &mut bool,
        command: &mut Vec<Word>,
        depth: usize,
    ) -> Option<()> {
        let word = std::mem::take(word);
        if !word.begun || std::mem::take(target) {
            return Some(());
        }
        self.defines |= matches!(word.text.as_str(), "alias" | "function");
        // In a substitution its `)` looks like the end.
        if depth > 0 && word.text == "case" {
            return None;
        }
        command.push(Word { end, ..word });
        Some(())
    }

    fn close(&mut self, command: &mut Vec<Word>) -> Option<()> {
        let command = std::mem::take(command);
        if !command.is_empty() {
            self.commands.push(command);
        }
        (self.commands.len() < MOST).then_some(())
    }

    /// A letter of a word, and what belongs to it.
    fn part(&mut self, letter: char, at: usize, word: &mut Word, depth: usize) -> Option<()> {
        word.begun = true;
        match letter {
            '\'' => loop {
                let at = self.at;
                match self.next()? {
                    '\'' => return Some(()),
                    letter => word.push(letter, at),
                }
            },
            '"' => loop {
                let at = self.at;
                match self.next()? {
                    '"' => return Some(()),
                    '\\' if self.rest().starts_with(['"', '\\', '$', '`', '\n']) => self.escaped(word),
                    letter @ ('$' | '`') => self.expansion(letter, at, word, depth)?,
                    letter => word.push(letter, at),
                }
            },
            '\\' => self.escaped(word),
            '$' | '`' => return self.expansion(letter, at, word, depth),
            letter => word.push(letter, at),
        }
        Some(())
    }

    fn escaped(&mut self, word: &mut Word) {
        let at = self.at;
        if let Some(letter) = self.next().filter(|letter| *letter != '\n') {
            word.push(letter, at);
        }
    }

    /// What a shell puts in its place stands there as `$`.
    fn expansion(&mut self, letter: char, at: usize, word: &mut Word, depth: usize) -> Option<()> {
        word.push('$', at);
        let rest = self.rest();
        let plain = |text: &str| !text.contains(['\'', '"', '\\', '`', '$', '{', '<', '#', '\n']);
        let until = |end: &str| rest.find(end).filter(|length| rest.get(..*length).is_some_and(plain));
        if letter == '`' {
            self.at += until("`")? + 1;
        } else if rest.starts_with("((") {
            self.at += until("))")? + 2;
        } else if rest.starts_with('(') {
            if depth >= DEEPEST {
                return None;
            }
            self.at += 1;
            self.commands(depth + 1)?;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let length = inner.find('}')?;
            inner.get(..length).filter(|text| !text.contains(['\'', '"', '\\', '`', '$', '{']))?;
            self.at += length + 2;
        } else if rest.starts_with('\'') && letter == '$' {
            // A backslash in there is read by some shells, and by others not.
            let length = rest.get(1..)?.find('\'')?;
            rest.get(1..=length).filter(|text| !text.contains('\\'))?;
        }
        Some(())
    }

    /// The word that ends a document, and whether tabs before it are looked past.
    fn document(&mut self) -> Option<(String, bool)> {
        let rest = self.rest();
        let tabs = rest.starts_with('-');
        let named = rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let length = named.find(|letter: char| letter.is_whitespace() || ";&|<>()".contains(letter));
        let name = named.get(..length.unwrap_or(named.len()))?;
        self.at += rest.len() - named.len() + name.len();
        let bare = name.trim_matches(['\'', '"']).to_owned();
        let known = bare.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        (known && !bare.is_empty()).then_some((bare, tabs))
    }

    /// Goes to where a document ends.
    fn skip(&mut self, end: &str, tabs: bool) -> Option<()> {
        let from = self.at;
        for line in self.rest().split_inclusive('\n') {
            let text = line.strip_suffix('\n').unwrap_or(line);
            if (if tabs { text.trim_start_matches('\t') } else { text }) == end {
                self.inner.push((from, self.text.get(from..self.at)?));
                self.at += line.len();
                return Some(());
            }
            self.at += line.len();
        }
        None
    }
}
