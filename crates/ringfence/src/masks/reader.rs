//! A script as a shell reads it: its commands, each with its words, and where these stand. What cannot be told ends it: where it is not
//! known where a word begins or ends, or where shells differ.

use super::shell::{DEEPEST, MOST};

/// Words of the shell's own behind which others are read in another way.
const MEANING: [&str; 7] = ["function", "alias", "case", "esac", "for", "select", "[["];

/// A word without its quotes, where each of its bytes stands, and where it ends.
#[derive(Default)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) from: Vec<usize>,
    pub(super) end: usize,
    begun: bool,
}

impl Word {
    fn push(&mut self, letter: char, at: usize) {
        self.text.push(letter);
        self.from.extend((at..).take(letter.len_utf8()));
        self.begun = true;
    }
}

/// A command that is read; whether it makes aliases is noted as its words come.
#[derive(Default)]
struct Command {
    words: Vec<Word>,
    aliases: bool,
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    pub(super) commands: Vec<Vec<Word>>,
    /// What is handed to a command as its input, or run in its words, and where it stands.
    pub(super) inner: Vec<(usize, &'a str)>,
    /// Names of functions, and of aliases that are words.
    pub(super) made: Vec<String>,
    /// An alias stands for what may end a string or a command.
    pub(super) rewrites: bool,
    /// Where the last word that is known ended.
    stuck: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self {
            text,
            at,
            commands: Vec::new(),
            inner: Vec::new(),
            made: Vec::new(),
            rewrites: false,
            stuck: at,
        }
    }

    /// Where a command may begin again behind what could not be told: on a later line than it was begun on, or behind where that was.
    pub(super) fn next_command(&self, from: usize) -> Option<usize> {
        let stuck = self.stuck.max(from);
        let rest = self.text.get(stuck..)?;
        Some(stuck + rest.find([';', '\n', '&', '|'])? + 1)
    }

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
    pub(super) fn commands(&mut self, depth: usize) -> Option<()> {
        let (mut command, mut word) = (Command::default(), Word::default());
        let (mut target, mut open, mut documents) = (false, 0_usize, Vec::new());
        let done = loop {
            let at = self.at;
            self.stuck = if depth == 0 { at } else { self.stuck };
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
                '(' if self.rest().starts_with('(') => {
                    self.at += 1;
                    // Some shells have two of their own there: what they read alike is read.
                    let Some(true) = self.arithmetic(depth, &["<<"]) else { break None };
                    self.close(&mut command)?;
                }
                '(' => {
                    self.function(&command.words);
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
        command: &mut Command,
        depth: usize,
    ) -> Option<()> {
        let word = std::mem::take(word);
        if !word.begun || std::mem::take(target) {
            return Some(());
        }
        match command.words.last().map(|last| last.text.as_str()) {
            Some("function") => self.made.push(word.text.clone()),
            _ if command.aliases => self.alias(&word.text),
            _ => {}
        }
        // In a substitution its `)` looks like the end.
        if depth > 0 && word.text == "case" {
            return None;
        }
        command.aliases |= word.text == "alias";
        command.words.push(Word { end, ..word });
        Some(())
    }

    /// Of a command that has a `(` behind it.
    fn function(&mut self, command: &[Word]) {
        if let [.., name] = command
            && self.rest().trim_start().starts_with(')')
            && !name.text.ends_with('=')
        {
            self.made.push(name.text.clone());
        }
    }

    fn alias(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        self.rewrites |=
            word.contains(['\'', '"', '\\', '$', '`', ';', '&', '|', '(', ')', '<', '>', '#', '\n']);
        self.made.push(name.to_owned());
        // A blank at its end makes the next word one, and some words mean something for what follows.
        let means = |word: &str| MEANING.contains(&word);
        self.rewrites |= value.ends_with([' ', '\t']) || value.split_whitespace().any(means);
    }

    /// To the `))` of arithmetic that has begun; `Some(false)`: it is none. `None`: that cannot be told.
    fn arithmetic(&mut self, depth: usize, without: &[&str]) -> Option<bool> {
        let (mut open, mut scratch) = (0_usize, Word::default());
        loop {
            let at = self.at;
            if without.iter().any(|own| self.rest().starts_with(own)) {
                return None;
            }
            match self.next()? {
                '(' => open += 1,
                ')' if open > 0 => open -= 1,
                ')' => return Some(self.peek() == Some(')') && self.next().is_some()),
                letter @ '$' => self.part(letter, at, &mut scratch, depth)?,
                '"' | '\'' | '\\' | '`' | '\n' => return None,
                '#' if self.text.get(..at).is_some_and(|text| text.ends_with([' ', '\t', '('])) => {
                    return None;
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, command: &mut Command) -> Option<()> {
        let Command { words, .. } = std::mem::take(command);
        if !words.is_empty() {
            self.commands.push(words);
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
                    letter @ ('$' | '`') => self.expansion(letter, at, word, (depth, true))?,
                    letter => word.push(letter, at),
                }
            },
            '\\' => self.escaped(word),
            '$' | '`' => return self.expansion(letter, at, word, (depth, false)),
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

    /// What a shell puts in its place stands there as `$`; `quoted`: within double quotes.
    fn expansion(
        &mut self,
        letter: char,
        at: usize,
        word: &mut Word,
        (depth, quoted): (usize, bool),
    ) -> Option<()> {
        word.push('$', at);
        let rest = self.rest();
        if letter == '`' {
            return self.backquoted();
        }
        if rest.starts_with(['(', '{']) && depth >= DEEPEST {
            return None;
        }
        if rest.starts_with("((") {
            let from = self.at + 1;
            self.at += 2;
            if self.arithmetic(depth + 1, &[])? {
                return Some(());
            }
            // A substitution that begins with commands in brackets.
            self.at = from;
            return self.commands(depth + 1);
        }
        if rest.starts_with('(') {
            self.at += 1;
            return self.commands(depth + 1);
        }
        if rest.starts_with('{') {
            self.at += 1;
            return self.parameter(depth + 1, quoted);
        }
        if rest.starts_with('\'') && !quoted {
            // A quote behind a backslash is one for some shells, and none for others.
            let string = rest.get(1..)?;
            let string = string.get(..string.find('\'')?)?;
            let backslashes = string.len() - string.trim_end_matches('\\').len();
            return backslashes.is_multiple_of(2).then_some(());
        }
        Some(())
    }

    /// To the `}` of a parameter. Of quotes in it within others shells think differently.
    fn parameter(&mut self, depth: usize, quoted: bool) -> Option<()> {
        // Some run what stands behind it then.
        if self.rest().starts_with([' ', '\t', '\n', '|']) {
            return None;
        }
        let mut scratch = Word::default();
        loop {
            let at = self.at;
            match self.next()? {
                '}' => return Some(()),
                '\'' | '"' if quoted => return None,
                '{' => return None,
                letter @ ('$' | '`') => self.expansion(letter, at, &mut scratch, (depth, quoted))?,
                letter => self.part(letter, at, &mut scratch, depth)?,
            }
        }
    }

    /// To the end of a substitution in backquotes, whose quotes have to be pairs: not all shells look at them.
    fn backquoted(&mut self) -> Option<()> {
        let (from, mut quote) = (self.at, None);
        loop {
            match self.next()? {
                '`' => break,
                '\\' => drop(self.next()?),
                letter @ ('\'' | '"') if quote.is_none() => quote = Some(letter),
                letter if quote == Some(letter) => quote = None,
                _ => {}
            }
        }
        let text = self.text.get(from..self.at.checked_sub(1)?)?;
        if !text.contains('\\') {
            self.inner.push((from, text));
        }
        quote.is_none().then_some(())
    }

    /// The word that ends a document, and whether tabs before it are looked past.
    fn document(&mut self) -> Option<(String, bool)> {
        let rest = self.rest();
        let tabs = rest.starts_with('-');
        let named = rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let length = named.find(|letter: char| letter.is_whitespace() || ";&|<>()".contains(letter));
        let name = named.get(..length.unwrap_or(named.len()))?;
        self.at += rest.len() - named.len() + name.len();
        let bare = name.strip_prefix('\\').unwrap_or(name).trim_matches(['\'', '"']).to_owned();
        let known = bare.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.!".contains(letter));
        let quote = name.chars().next().filter(|letter| "'\"".contains(*letter));
        let whole = quote.is_none_or(|quote| name.len() == bare.len() + 2 && name.ends_with(quote));
        (known && whole && !bare.is_empty()).then_some((bare, tabs))
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
