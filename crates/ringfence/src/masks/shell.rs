//! Where the commands of a script hold secrets.

use std::collections::HashSet;

use super::json::{self, Readers};
use super::programs::{base, secrets};
use super::reader::{Reader, Word};
use super::{header, is_secret, is_value, name_at};

/// Bytes that are read of one script, how deep scripts and substitutions are, and commands that are held against the list.
const LONGEST: usize = 64 << 10;
pub(super) const DEEPEST: usize = 6;
pub(super) const MOST: usize = 4096;
/// So often a script is read on behind what cannot be told.
const ANEW: usize = 16;

/// A secret among the words of a script: from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) cookies: bool,
    /// A comma is part of it, whatever braces are around.
    pub(super) commas: bool,
}

/// Where options of its commands hold secrets, in order.
pub(super) fn places(script: &str) -> Vec<Place> {
    let mut found = Vec::new();
    find(script, 0, &HashSet::new(), &mut found);
    found.sort_by_key(|place| place.at);
    found
}

/// `made`: names that functions and aliases have, whose arguments may be anything.
fn find(script: &str, depth: usize, made: &HashSet<String>, found: &mut Vec<Place>) {
    let word = script.trim();
    if depth > DEEPEST || script.len() > LONGEST || !word.contains(char::is_whitespace) {
        return;
    }
    let mut made = made.clone();
    let mut from = 0;
    for count in 0..ANEW {
        let mut reader = Reader::new(script, from);
        let told = reader.commands(0).is_some();
        // An alias may be any text: nothing behind it is read as it is written.
        if reader.rewrites {
            return;
        }
        made.extend(std::mem::take(&mut reader.made));
        let mut new = Vec::new();
        for command in &reader.commands {
            of_command(command, depth, &made, &mut new);
        }
        for (from, text) in std::mem::take(&mut reader.inner) {
            let mut inner = Vec::new();
            find(text, depth + 1, &made, &mut inner);
            let outer = |place: Place| Place { at: from + place.at, end: from + place.end, ..place };
            new.extend(inner.into_iter().map(outer));
        }
        // Behind what could not be told where words begin and end is a guess.
        let sure = |place: &Place| count == 0 || is_value(script, place.at, false);
        found.extend(new.into_iter().filter(sure));
        let Some(next) = (!told).then(|| reader.next_command(from)).flatten() else { return };
        from = next;
    }
}

fn of_command(command: &[Word], depth: usize, made: &HashSet<String>, found: &mut Vec<Place>) {
    let words: Vec<&str> = command.iter().map(|word| word.text.as_str()).collect();
    if !made.is_empty() && words.iter().any(|word| made.contains(*word) || made.contains(base(word))) {
        return;
    }
    let place = |word: usize, at: usize, end: Option<usize>, cookies, commas| {
        let word = command.get(word)?;
        let end = end.map_or(Some(word.end), |end| Some(word.from.get(end.checked_sub(1)?)? + 1))?;
        Some(Place { at: *word.from.get(at)?, end, cookies, commas })
    };
    let told = secrets(&words);
    found.extend(told.iter().filter_map(|one| place(one.word, one.at, one.end, one.cookies, false)));
    let readers = Readers::new(&words);
    for (number, word) in words.iter().enumerate() {
        let option = number.checked_sub(1).and_then(|before| words.get(before)).copied().unwrap_or("");
        let header = takes_header(option).then(|| header_at(word, 0)).flatten();
        found.extend(header.and_then(|(at, cookies)| place(number, at, None, cookies, false)));
        let values = json::secrets(word, readers.of(number)).into_iter();
        found.extend(values.filter_map(|(at, end)| place(number, at, Some(end), false, true)));
    }
    for word in command.iter().filter(|word| word.text.contains(char::is_whitespace)) {
        let mut inner = Vec::new();
        find(&word.text, depth + 1, made, &mut inner);
        let outer = |place: Place| {
            let end = word.from.get(place.end.checked_sub(1)?)? + 1;
            Some(Place { at: *word.from.get(place.at)?, end, ..place })
        };
        found.extend(inner.into_iter().filter_map(outer));
    }
}

fn takes_header(option: &str) -> bool {
    let letters = option.starts_with('-') && !option.starts_with("--") && option.ends_with('H');
    letters || matches!(option, "--header" | "--proxy-header")
}

/// Where the secret begins of a header that stands in one word with what takes it: an option, or a setting (`http.extraHeader=`). What may
/// be a variable is none, since a command may be behind it.
pub(super) fn headed(word: &str) -> Option<(usize, bool)> {
    if word.starts_with("-H") {
        return header_at(word, 2);
    }
    let part = |letter: char| letter.is_ascii_alphanumeric() || "_-.:/@".contains(letter);
    let at = word
        .find(|letter| !part(letter))
        .filter(|at| word.get(*at..).is_some_and(|rest| rest.starts_with('=')))?;
    let name = word.get(..at)?;
    if !name.to_ascii_lowercase().ends_with("header") {
        return None;
    }
    let variable = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!variable).then(|| header_at(word, at + 1)).flatten()
}

fn header_at(word: &str, from: usize) -> Option<(usize, bool)> {
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
