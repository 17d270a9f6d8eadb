//! One argument of a pattern, and what fits it.

use serde::{Deserialize, Serialize};

use super::signs::is_option;
use super::{As, Place};
use crate::verbs::{Readings, Verb};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    Literal(Vec<u8>),
    Glob(Vec<Piece>),
    /// Absolute, or below the workspace; the argument is made absolute before it is compared.
    Path {
        absolute: bool,
        pieces: Vec<Piece>,
    },
    /// `~/` in quotes, as it stands; a denial means the home as well.
    Tilde {
        pieces: Vec<Piece>,
        home: Option<Box<Self>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Piece {
    Text(Vec<u8>),
    /// `?`: one byte, no slash.
    One,
    /// `*`: bytes without a slash.
    Name,
    /// `**`: any bytes.
    Any,
}

impl Word {
    /// How it begins, where that is neither an option's beginning, a variable's (`V=1`), a path's nor a wildcard.
    pub(super) fn no_option(&self) -> Option<&[u8]> {
        let text = match self {
            Self::Literal(text) => text,
            Self::Glob(pieces) => match pieces.first() {
                Some(Piece::Text(text)) => text,
                _ => return None,
            },
            Self::Path { .. } | Self::Tilde { .. } => return None,
        };
        (!text.starts_with(b"-") && !text.starts_with(b"+") && !text.contains(&b'=')).then_some(text)
    }

    /// Whether it means one of these, as this program reads words.
    pub(super) fn is_among(&self, verb: &Verb, read: &Readings, place: Place<'_>) -> bool {
        match self {
            Self::Literal(text) => verb.means(read, text),
            _ => read.is_any() || read.words().any(|word| self.matches(word, place, As::Deny)),
        }
    }

    pub(super) fn matches(&self, argument: &[u8], place: Place<'_>, how: As) -> bool {
        // No wildcard turns a name into an option. What denies means all that a word may be.
        let is_option = || match how {
            As::Allow => is_option(argument, place.program),
            As::Deny => argument.starts_with(b"-"),
        };
        match self {
            Self::Literal(text) => text == argument,
            Self::Glob(pieces) => {
                let leads = matches!(pieces.first(), Some(Piece::Text(_)));
                fits(pieces, argument) && (leads || !is_option())
            }
            Self::Tilde { pieces, home } => {
                let home = home.as_ref().filter(|_| how == As::Deny);
                fits(pieces, argument) || home.is_some_and(|home| home.matches(argument, place, how))
            }
            Self::Path { absolute, pieces } => {
                let Some(path) = normal(argument, place, how).filter(|_| !is_option()) else { return false };
                let means = |path: &[u8]| {
                    if *absolute {
                        return fits(pieces, path);
                    }
                    let Some(below) = path.strip_prefix(place.workspace) else { return false };
                    match below.strip_prefix(b"/") {
                        Some(below) => fits(pieces, below),
                        // The workspace itself.
                        None => below.is_empty() && fits(pieces, b""),
                    }
                };
                // What links in the task's own home lead to is its own choice: no name in there is one that an entry permits.
                let homely = place.home.filter(|_| how == As::Deny);
                means(&path)
                    || homely.and_then(|(home, own)| moved(&path, own, home)).is_some_and(|path| means(&path))
            }
        }
    }
}

/// An argument as an absolute path without `.`; one with `..` may lead anywhere through links, so it fits no permission,
/// and every denial that it may mean.
fn normal(argument: &[u8], place: Place<'_>, how: As) -> Option<Vec<u8>> {
    if argument.is_empty() || argument.starts_with(b"-") {
        return None;
    }
    let whole = match argument.starts_with(b"/") {
        true => argument.to_vec(),
        false => [place.directory, b"/", argument].concat(),
    };
    let mut names: Vec<&[u8]> = Vec::new();
    for name in whole.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if how == As::Allow => return None,
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut path = Vec::with_capacity(whole.len());
    for name in names {
        path.push(b'/');
        path.extend(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    place.copy.and_then(|copy| moved(&path, copy, place.workspace)).or(Some(path))
}

/// A path in one directory as the one of that name in another.
fn moved(path: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let below = path.strip_prefix(from).filter(|below| matches!(below, [] | [b'/', ..]))?;
    Some([to, below].concat())
}

fn fits(pieces: &[Piece], text: &[u8]) -> bool {
    // As many states as bytes: no pattern costs more than its length times the argument's.
    let mut at = vec![false; text.len() + 1];
    if let Some(first) = at.first_mut() {
        *first = true;
    }
    for piece in pieces {
        let mut next = vec![false; text.len() + 1];
        let mut open = false;
        for (index, reached) in at.iter().enumerate() {
            let slash = index.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'/');
            let mut mark = |at: usize| {
                if let Some(cell) = next.get_mut(at) {
                    *cell = true;
                }
            };
            match piece {
                Piece::Text(bytes) if *reached => {
                    if text.get(index..).is_some_and(|rest| rest.starts_with(bytes)) {
                        mark(index + bytes.len());
                    }
                }
                Piece::One if *reached => {
                    if text.get(index).is_some_and(|byte| *byte != b'/') {
                        mark(index + 1);
                    }
                }
                Piece::Text(_) | Piece::One => {}
                Piece::Name => {
                    open = *reached || open && !slash;
                    if open {
                        mark(index);
                    }
                }
                Piece::Any => {
                    open |= *reached;
                    if open {
                        mark(index);
                    }
                }
            }
        }
        at = next;
    }
    at.last() == Some(&true)
}
