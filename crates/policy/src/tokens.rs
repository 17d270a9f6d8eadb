//! The words, groups and quotes of an entry of `commands.allow` or `commands.deny`.

use std::iter::Peekable;
use std::str::Chars;

use crate::diagnostic::Invalid;

pub(crate) const QUOTE: &str = "put single quotes around `(`, `|`, `)`, `*`, `?` and blanks that are meant as they are; within them '' is one quote";

/// It divides the options of a group, and nothing else.
const BAR: &str = "write an entry for each of several commands (`git status`, `git log`); nothing is piped, for no shell reads this; quote a `|` that is meant as it is: '|'";

/// Where a shell would end a command or send its streams elsewhere: a denial of that would hold for nothing.
const OPERATORS: &str = ";&<>";
const OPERATOR: &str = "write an entry for each of several commands; where they go is no part of an entry; quote one that is meant as it is: ';'";

/// To a shell it would.
const DOUBLE: &str =
    "single quotes do that: 'a b'; a double quote that is meant as it is stands in them: '\"'";

const APART: &str = "put a blank behind `)`; a `)` that is meant as it is stands in single quotes: ')'";

/// A character of a word: as it is, or a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Plain(char),
    /// A `~` at its beginning, outside of quotes: a slash follows.
    Home,
    Star,
    Question,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Vec<Mark>),
    Open,
    Bar,
    Close,
}

/// Whether a shell would read it as more than a character of the word: `&` stands in addresses, `>=` in versions.
fn ends(operator: char, within: bool, next: Option<&char>) -> bool {
    let alone = !within || next.is_none_or(|next| next.is_whitespace());
    alone
        || match operator {
            '&' => next == Some(&'&'),
            '<' | '>' => next != Some(&'='),
            _ => true,
        }
}

/// Whether behind a `$` comes the variable of the home.
fn is_home(rest: &Peekable<Chars<'_>>) -> bool {
    let rest: String = rest.clone().take_while(|next| !next.is_whitespace() && *next != '/').collect();
    rest == "HOME" || rest == "{HOME}"
}

/// Whether braces hold a list, as `{push,fetch}` does.
fn listed(word: Option<&[Mark]>) -> bool {
    let word = word.unwrap_or_default();
    let open = word.iter().rposition(|mark| *mark == Mark::Plain('{'));
    open.is_some_and(|open| word.iter().skip(open).any(|mark| *mark == Mark::Plain(',')))
}

pub(crate) struct Tokens;

impl Tokens {
    pub(crate) fn of(text: &str) -> Result<Vec<Token>, Invalid> {
        let (mut tokens, mut word, mut quoted, mut depth) = (Vec::new(), None::<Vec<Mark>>, false, 0_u32);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '\'' {
                // Two of them, within quotes, are one that is meant as it is.
                if quoted && characters.next_if_eq(&'\'').is_some() {
                    word.get_or_insert_default().push(Mark::Plain('\''));
                    continue;
                }
                quoted = !quoted;
                word.get_or_insert_default();
                continue;
            }
            if quoted {
                word.get_or_insert_default().push(Mark::Plain(character));
                continue;
            }
            let token = match character {
                '(' if word.is_none() && depth == 0 => Token::Open,
                '|' if depth == 1 => Token::Bar,
                ')' if depth == 1 => Token::Close,
                '|' => {
                    let invalid = Invalid::new(format!("`|` in `{text}` is out of place"));
                    return Err(invalid.help(BAR));
                }
                operator
                    if OPERATORS.contains(operator) && ends(operator, word.is_some(), characters.peek()) =>
                {
                    let invalid =
                        Invalid::new(format!("`{operator}` in `{text}` means something to a shell alone"));
                    return Err(invalid.help(OPERATOR));
                }
                '}' if listed(word.as_deref()) => {
                    let invalid = Invalid::new(format!("braces in `{text}` list words for a shell alone"));
                    return Err(invalid.help(OPERATOR));
                }
                '"' => {
                    let invalid = Invalid::new(format!("`\"` in `{text}` holds no word together"));
                    return Err(invalid.help(DOUBLE));
                }
                '(' | ')' => {
                    return Err(
                        Invalid::new(format!("`{character}` in `{text}` is out of place")).help(QUOTE)
                    );
                }
                '$' if word.is_none() && is_home(&characters) => {
                    let invalid =
                        Invalid::new(format!("`$HOME` in `{text}` means something to a shell alone"));
                    return Err(invalid.help("write `~/` for the home"));
                }
                // As a shell reads it: the home itself.
                '~' if word.is_none() && characters.peek().is_none_or(|next| next.is_whitespace()) => {
                    word = Some(vec![Mark::Home, Mark::Plain('/')]);
                    continue;
                }
                '~' if word.is_none() && characters.peek() == Some(&'/') => {
                    word = Some(vec![Mark::Home]);
                    continue;
                }
                character if character.is_whitespace() => {
                    tokens.extend(word.take().map(Token::Word));
                    continue;
                }
                '*' => {
                    word.get_or_insert_default().push(Mark::Star);
                    continue;
                }
                '?' => {
                    word.get_or_insert_default().push(Mark::Question);
                    continue;
                }
                character => {
                    word.get_or_insert_default().push(Mark::Plain(character));
                    continue;
                }
            };
            tokens.extend(word.take().map(Token::Word));
            match token {
                Token::Open => depth += 1,
                // What is written as one would be read as two.
                Token::Close if characters.peek().is_some_and(|next| !next.is_whitespace()) => {
                    let invalid = Invalid::new(format!("a group of `{text}` goes on behind its `)`"));
                    return Err(invalid.help(APART));
                }
                Token::Close => depth -= 1,
                _ => {}
            }
            tokens.push(token);
        }
        if quoted || depth > 0 {
            let what = if quoted { "a quote" } else { "a group" };
            return Err(Invalid::new(format!("`{text}` leaves {what} open")).help(QUOTE));
        }
        tokens.extend(word.map(Token::Word));
        Ok(tokens)
    }
}
