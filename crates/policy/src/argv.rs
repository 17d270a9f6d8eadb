//! Patterns for a program and its arguments: the entries of `commands.allow` and `commands.deny`. The grammar is written
//! down in `docs/commands.md`; this is all of it.

mod signs;
mod word;

use serde::{Deserialize, Serialize};

use self::word::{Piece, Word};
use crate::diagnostic::Invalid;
use crate::leading;
use crate::tokens::{Mark, QUOTE, Token, Tokens};
use crate::verbs::Line;

/// Items of one pattern, and words of one group: more is nobody's intent.
const MOST_ITEMS: usize = 64;

/// One entry, read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPattern {
    /// A name or a path, as it was written.
    pub program: String,
    /// Written with a `?` behind the program: no error where it is not installed.
    pub optional: bool,
    /// What follows; `None`: any arguments.
    items: Option<Vec<Item>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    /// One argument.
    Word(Word),
    /// `**`: any more.
    Rest,
    /// `(a|b *)`: any of these, in any order, any number of times.
    Group(Vec<Vec<Word>>),
}

/// What words are held against: which program reads them, and what relative paths in patterns and arguments are relative to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The workspace, as the policy names it.
    pub workspace: &'a [u8],
    /// Where the task finds it, if that is elsewhere.
    pub copy: Option<&'a [u8]>,
    /// The home as the policy names it, and where the task's own lies, if that is elsewhere.
    pub home: Option<(&'a [u8], &'a [u8])>,
    /// The directory of the process.
    pub directory: &'a [u8],
    /// The program as an entry names it, and by its file and what it is called, where that is known.
    pub(crate) program: [&'a [u8]; 3],
    /// As what it may read the words, for denials.
    pub(crate) read: Option<&'a Line>,
}

/// How a pattern is held against arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// All of the arguments, as they are.
    Allow,
    /// The arguments begin so; options before the first word are looked past.
    Deny,
}

impl CommandPattern {
    /// Reads an entry.
    ///
    /// # Errors
    /// What is wrong, and the mend.
    pub fn parse(text: &str, home: &str) -> Result<Self, Invalid> {
        let mut tokens = Tokens::of(text)?.into_iter();
        let (program, optional) = match tokens.next() {
            Some(Token::Word(word)) => match program(&word) {
                (Some(program), optional) if !program.is_empty() => (program, optional),
                _ => {
                    return Err(Invalid::new(format!("the program of `{text}` is a pattern"))
                        .help("list the programs one by one"));
                }
            },
            Some(_) => {
                return Err(
                    Invalid::new(format!("`{text}` names no program")).help("a program's name comes first")
                );
            }
            None => return Err(Invalid::new("a command is empty").help("remove it")),
        };
        let mut items = Vec::new();
        let mut any = true;
        while let Some(token) = tokens.next() {
            any = false;
            match token {
                Token::Word(word) if word.iter().all(|piece| *piece == Mark::Star) && word.len() == 2 => {
                    items.push(Item::Rest);
                }
                Token::Word(word) => items.push(Item::Word(read_word(&word, home, text)?)),
                Token::Open => {
                    let group = group(&mut tokens, home, text)?;
                    if !group.is_empty() {
                        items.push(Item::Group(group));
                    }
                }
                Token::Bar | Token::Close => {
                    return Err(
                        Invalid::new(format!("`{text}` closes a group that it did not open")).help(QUOTE)
                    );
                }
            }
        }
        if items.len() > MOST_ITEMS {
            return Err(Invalid::new(format!("`{text}` has more than {MOST_ITEMS} parts"))
                .help("write `**` for the rest"));
        }
        Ok(Self { program, optional, items: (!any).then_some(items) })
    }

    /// The program without a directory.
    pub(crate) fn name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or_default()
    }

    /// The same for another program.
    #[must_use]
    pub fn of_program(self, program: String) -> Self {
        Self { program, ..self }
    }

    /// The program that the first argument names, with the rest, where that is one word.
    pub(crate) fn of_applet(self) -> Self {
        match self.first_word().map(|word| String::from_utf8(word.to_vec())) {
            Some(Ok(applet)) => {
                Self { items: self.items.map(|items| items.into_iter().skip(1).collect()), ..self }
                    .of_program(applet)
            }
            _ => self,
        }
    }

    /// The same of git, where the program is called `git-NAME`: that is `git NAME`.
    pub(crate) fn of_git(&self) -> Option<Self> {
        let name = self.name().strip_prefix("git-")?;
        Some(self.of_command(name.as_bytes()))
    }

    /// The same arguments of this command of git's.
    pub(crate) fn of_command(&self, name: &[u8]) -> Self {
        let command = Item::Word(Word::Literal(name.to_vec()));
        let behind = self.items.clone().unwrap_or_else(|| vec![Item::Rest]);
        let items = Some(std::iter::once(command).chain(behind).collect());
        Self { items, optional: self.optional, program: "git".to_owned() }
    }

    /// Whether every argument list is meant.
    #[must_use]
    pub fn any_arguments(&self) -> bool {
        self.items.as_ref().is_none_or(|items| items.as_slice() == [Item::Rest])
    }

    /// The first argument, where only one is meant: patterns are found by it.
    #[must_use]
    pub fn first_word(&self) -> Option<&[u8]> {
        self.leading_words().first().copied()
    }

    /// The arguments before the first wildcard, path or group.
    pub(crate) fn leading_words(&self) -> Vec<&[u8]> {
        let word = |item| match item {
            &Item::Word(Word::Literal(ref word)) => Some(word.as_slice()),
            _ => None,
        };
        self.items.iter().flatten().map_while(word).collect()
    }

    /// The arguments, where no wildcard and no group is among them.
    pub(crate) fn literal_arguments(&self) -> Option<Vec<Vec<u8>>> {
        let text = |pieces: &[Piece]| {
            let parts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Some(text.as_slice()),
                _ => None,
            });
            parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat())
        };
        let word = |item: &Item| match item {
            Item::Word(Word::Literal(word)) => Some(word.clone()),
            Item::Word(Word::Path { absolute: true, pieces } | Word::Tilde { pieces, .. }) => text(pieces),
            Item::Word(Word::Path { absolute: false, pieces }) => {
                Some([b"./".to_vec(), text(pieces)?].concat())
            }
            _ => None,
        };
        self.items.as_ref()?.iter().map(word).collect()
    }

    /// Whether these arguments, without the program, are meant.
    #[must_use]
    pub fn matches(&self, arguments: &[&[u8]], place: Place<'_>, how: As) -> bool {
        let Some(items) = &self.items else { return true };
        let [_, file, called] = place.program;
        let place = Place { program: [self.name().as_bytes(), file, called], ..place };
        let width = arguments.len() + 1;
        // reached[item][argument]: the items before `item` can mean the arguments before `argument`.
        let mut reached = vec![vec![false; width]; items.len() + 1];
        let set = |reached: &mut Vec<Vec<bool>>, item: usize, at: usize| {
            if let Some(cell) = reached.get_mut(item).and_then(|row| row.get_mut(at)) {
                *cell = true;
            }
        };
        set(&mut reached, 0, 0);
        if how == As::Deny {
            for at in leading::words(&self.program, arguments) {
                set(&mut reached, 0, at);
            }
        }
        // A denial means each word by which the program does the same.
        let read = place.read.filter(|_| how == As::Deny);
        let named = items.iter().position(|item| matches!(item, Item::Word(_)));
        let may_be = |number: usize, at: usize, word: &Word| {
            let own = read.and_then(|line| Some((line.verb(), line.at(at, named == Some(number))?)));
            own.is_some_and(|(verb, read)| word.is_among(verb, read, place))
        };
        // Behind a command of git's a denial looks past options too: `git-lfs push` and `git lfs push` are one.
        let git = how == As::Deny && self.name() == "git";
        let past = (git && self.first_word().is_some()).then_some(1);
        for (number, item) in items.iter().enumerate() {
            for at in 0..width {
                if !reached.get(number).and_then(|row| row.get(at)).is_some_and(|cell| *cell) {
                    continue;
                }
                if past == Some(number) && arguments.get(at).is_some_and(|word| word.starts_with(b"-")) {
                    (at + 1..=at + 2).for_each(|at| set(&mut reached, number, at));
                }
                match item {
                    Item::Word(word) => {
                        if arguments.get(at).is_some_and(|argument| word.matches(argument, place, how))
                            || may_be(number, at, word)
                        {
                            set(&mut reached, number + 1, at + 1);
                        }
                    }
                    // All that follow: those of later ones are among them.
                    Item::Rest => {
                        (at..width).for_each(|at| set(&mut reached, number + 1, at));
                        break;
                    }
                    Item::Group(alternatives) => {
                        set(&mut reached, number + 1, at);
                        for words in alternatives {
                            let given = arguments.get(at..at + words.len()).unwrap_or_default();
                            let fits = given.len() == words.len()
                                && words
                                    .iter()
                                    .zip(given)
                                    .all(|(word, argument)| word.matches(argument, place, how));
                            if fits {
                                set(&mut reached, number, at + words.len());
                            }
                        }
                    }
                }
            }
        }
        let Some(last) = reached.last() else { return false };
        match how {
            As::Allow => last.last() == Some(&true),
            As::Deny => last.contains(&true),
        }
    }

    /// Whether it depends on the directory that a command runs in.
    #[must_use]
    pub fn names_paths(&self) -> bool {
        let path = |word: &Word| matches!(word, Word::Path { .. } | Word::Tilde { .. });
        self.items.iter().flatten().any(|item| match item {
            Item::Word(word) => path(word),
            Item::Rest => false,
            Item::Group(group) => group.iter().flatten().any(path),
        })
    }

    /// Whether all that `other` means is meant, as far as can be told from their text.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.program == other.program
            && (self.items == other.items || self.any_arguments() || self.means(other))
    }

    /// Whether another pattern's words, all of them literal, are meant wherever the process stands.
    fn means(&self, other: &Self) -> bool {
        let words = other.leading_words();
        if other.items.as_ref().is_none_or(|items| items.len() != words.len()) || self.names_paths() {
            return false;
        }
        let nowhere =
            Place { workspace: b"/", copy: None, home: None, directory: b"/", program: [b""; 3], read: None };
        self.matches(&words, nowhere, As::Allow)
    }
}

fn group(
    tokens: &mut impl Iterator<Item = Token>,
    home: &str,
    text: &str,
) -> Result<Vec<Vec<Word>>, Invalid> {
    let mut alternatives: Vec<Vec<Word>> = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Word(word) => {
                let word = read_word(&word, home, text)?;
                if let Some(words) = alternatives.last_mut() {
                    words.push(word);
                }
            }
            Token::Bar => alternatives.push(Vec::new()),
            Token::Close => break,
            Token::Open => return Err(Invalid::new(format!("`{text}` has a group in a group")).help(QUOTE)),
        }
    }
    if alternatives.len() > MOST_ITEMS || alternatives.iter().any(|words| words.len() > MOST_ITEMS) {
        return Err(Invalid::new(format!("a group of `{text}` has more than {MOST_ITEMS} parts")));
    }
    if alternatives.len() == 1 && alternatives.first().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    if alternatives.iter().any(Vec::is_empty) {
        return Err(Invalid::new(format!("a group of `{text}` has an empty alternative")).help(
            "a group may be left out as it is: each of its alternatives comes any number of times, or never",
        ));
    }
    // A group may be left out, so that one of subcommands would leave them all to what follows.
    if let Some(word) = alternatives.iter().find_map(|words| words.first()?.no_option()) {
        let word = String::from_utf8_lossy(word);
        return Err(Invalid::new(format!(
            "a group is options, each of them any number of times or never, and `{word}` of `{text}` is none"
        ))
        .help("write an entry for each: `git status **`, `git log **`"));
    }
    Ok(alternatives)
}

/// Its name, and whether it may be missing.
fn program(word: &[Mark]) -> (Option<String>, bool) {
    match word {
        [name @ .., Mark::Question] => (literal(name), true),
        name => (literal(name), false),
    }
}

fn literal(word: &[Mark]) -> Option<String> {
    word.iter()
        .map(|mark| match mark {
            Mark::Plain(character) => Some(*character),
            Mark::Home => Some('~'),
            Mark::Star | Mark::Question => None,
        })
        .collect()
}

fn read_word(word: &[Mark], home: &str, text: &str) -> Result<Word, Invalid> {
    if let [Mark::Plain('~'), rest @ ..] = word
        && rest.first() == Some(&Mark::Plain('/'))
    {
        let of_home = [&[Mark::Home], rest].concat();
        let home = read_word(&of_home, home, text).ok().map(Box::new);
        return Ok(Word::Tilde { pieces: pieces(word), home });
    }
    let slashes = normal_slashes(word);
    let word = slashes.as_slice();
    let (path, skipped) = match word {
        [Mark::Plain('/'), ..] => (Some(true), 0),
        [Mark::Home, ..] => (Some(true), 1),
        [Mark::Plain('.'), Mark::Plain('/'), ..] => (Some(false), 2),
        _ => (None, 0),
    };
    let mut pieces = pieces(word.get(skipped..).unwrap_or_default());
    if path.is_some() {
        let spelled: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                _ => b"*".to_vec(),
            })
            .collect();
        if spelled.split(|byte| *byte == b'/').any(|name| name == b".." || name == b".") {
            return Err(Invalid::new(format!("a path in `{text}` holds `.` or `..`"))
                .help("write the path that is meant"));
        }
    }
    match path {
        Some(absolute) => {
            if skipped == 1 {
                if pieces == [Piece::Text(b"/".to_vec())] {
                    pieces.clear();
                }
                // A home that is the root has its slash from what follows.
                let home = if home == "/" && !pieces.is_empty() { "" } else { home };
                pieces.insert(0, Piece::Text(home.as_bytes().to_vec()));
            }
            Ok(Word::Path { absolute, pieces })
        }
        None => Ok(match literal(word) {
            Some(text) => Word::Literal(text.into_bytes()),
            None => match pieces.as_slice() {
                // One argument, whatever it is, but an option.
                [Piece::Name] => Word::Glob(vec![Piece::Any]),
                _ => Word::Glob(pieces),
            },
        }),
    }
}

/// A path as arguments are brought into form: one slash for many, and none at its end.
fn normal_slashes(word: &[Mark]) -> Vec<Mark> {
    const SLASH: Mark = Mark::Plain('/');
    if !matches!(word, [SLASH, ..] | [Mark::Home, ..] | [Mark::Plain('.'), SLASH, ..] | [Mark::Plain('.')]) {
        return word.to_vec();
    }
    let mut marks = word.to_vec();
    marks.dedup_by(|one, other| *one == SLASH && *other == SLASH);
    // `./`, `~/` and `/` are what is left of the workspace, the home and the root.
    let least = if marks.first() == Some(&SLASH) { 1 } else { 2 };
    if marks.len() > least && marks.last() == Some(&SLASH) {
        marks.pop();
    }
    marks
}

fn pieces(word: &[Mark]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut marks = word.iter().peekable();
    while let Some(mark) = marks.next() {
        match mark {
            Mark::Plain(character) => {
                let mut bytes = [0; 4];
                let bytes = character.encode_utf8(&mut bytes).as_bytes();
                match pieces.last_mut() {
                    Some(Piece::Text(text)) => text.extend(bytes),
                    _ => pieces.push(Piece::Text(bytes.to_vec())),
                }
            }
            Mark::Home => pieces.push(Piece::Text(b"~".to_vec())),
            Mark::Question => pieces.push(Piece::One),
            Mark::Star if marks.next_if(|mark| **mark == Mark::Star).is_some() => pieces.push(Piece::Any),
            Mark::Star => pieces.push(Piece::Name),
        }
    }
    pieces
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
