//! Entries of a list, found by the file and the first argument.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::inner::may_be_theirs;
use super::program::{Meaning, Meanings, by_word, is_git, many, meanings};
use super::{Execution, bytes, last, told};
use crate::argv::{As, CommandPattern, Place};
use crate::leading;
use crate::model::Rule;
use crate::verbs;

/// Entries, found by the file and the first argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
    pub(super) files: BTreeMap<Vec<u8>, Index>,
    /// By the last name of a file.
    names: BTreeMap<Vec<u8>, Index>,
    /// An entry names paths, which may be relative.
    pub(super) paths: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) words: BTreeMap<Vec<u8>, Vec<u32>>,
    pub(super) others: Vec<u32>,
}

/// Whether these permit all that it means, each by some entry; if not, whether one names the program at least.
pub(super) fn permitted(
    tables: &[&Table],
    execution: &Execution<'_>,
    meant: &Meanings<'_>,
    place: Place<'_>,
) -> Result<(), bool> {
    for one in meant.judged(execution.file) {
        let mut named = false;
        let mut fits = tables.iter().map(|table| table.find_as(execution, one, place, As::Allow));
        if !fits.any(|found| found.map_err(|some| named |= some).is_ok()) {
            return Err(named);
        }
    }
    match meant.any && !tables.iter().any(|table| table.holds_all(execution.file)) {
        true => Err(true),
        false => Ok(()),
    }
}

impl Index {
    fn numbers(&self) -> impl Iterator<Item = &u32> {
        self.words.values().flatten().chain(&self.others)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) pattern: CommandPattern,
    /// The same in git's words, of a program that is called `git-NAME`.
    of_git: Option<CommandPattern>,
    /// The program as it is written: of `busybox cat FILE`, whose pattern is one of `cat`, the file.
    pub(super) written: String,
    /// For messages.
    pub(super) told: String,
}

impl Entry {
    /// What it says of a program that is called so in this file: of git in git's words, by the name of the file as well. A file by a
    /// `foreign` name is meant whole where its arguments are any; by one of git's it may be a link to git, and another command.
    fn meant(&self, file: &[u8], called: &[u8], foreign: bool) -> Vec<Cow<'_, CommandPattern>> {
        let own = last(file).strip_prefix(b"git-");
        let whole = foreign && self.pattern.any_arguments();
        let Some(git) = self.of_git.as_ref().filter(|_| called == b"git" && !whole) else {
            return vec![Cow::Borrowed(&self.pattern)];
        };
        let other = own.filter(|own| git.first_word() != Some(own));
        let other = other.map(|own| Cow::Owned(self.pattern.of_command(own)));
        std::iter::once(Cow::Borrowed(git)).chain(other).collect()
    }

    /// Whether it is one for `git-NAME`.
    pub(super) fn is_of_git(&self) -> bool {
        self.of_git.is_some()
    }
}

impl Table {
    pub(super) fn add(
        &mut self,
        entry: &Rule<String>,
        key: &str,
        home: &str,
        files: &[&Path],
        by_name: bool,
    ) {
        // Every entry was read when the policy was.
        let Ok(pattern) = CommandPattern::parse(&entry.value, home) else { return };
        let written = pattern.program.clone();
        // `busybox cat FILE` is `cat FILE`.
        let pattern = if by_word(pattern.program.as_bytes()) { pattern.of_applet() } else { pattern };
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let denies = key == "commands.deny";
        let index = |index: &mut Index, pattern: &CommandPattern| match pattern.first_word() {
            Some(word) => {
                index.words.entry(word.to_vec()).or_default().push(number);
                let verb = denies.then(|| verbs::of([pattern.name().as_bytes()])).flatten();
                // It is found by all that it means.
                let meant = verb.map(|verb| verb.meant(word)).unwrap_or_default();
                for other in meant.into_iter().filter(|other| other.as_bytes() != word) {
                    index.words.entry(other.into_bytes()).or_default().push(number);
                }
            }
            None => index.others.push(number),
        };
        let told = told(&entry.value, key, &entry.origin);
        let entry = Entry { of_git: pattern.of_git(), pattern, written, told };
        for file in files {
            let file = bytes(file);
            let called = if is_git(file) { b"git" } else { last(file) };
            // Of one that is called otherwise than git too.
            let foreign = called == b"git" && last(file) != called;
            let all = [false, foreign].into_iter().flat_map(|foreign| entry.meant(file, called, foreign));
            for pattern in all {
                index(self.files.entry(file.to_vec()).or_default(), &pattern);
            }
        }
        if by_name {
            let name = last(entry.pattern.program.as_bytes()).to_vec();
            index(self.names.entry(name).or_default(), &entry.pattern);
            if let Some(of_git) = &entry.of_git {
                index(self.names.entry(b"git".to_vec()).or_default(), of_git);
            }
        }
        self.paths |= entry.pattern.names_paths();
        self.entries.push(entry);
    }

    /// The first entry that denies this, in a sentence: a denial of one of what it may mean is one of all.
    pub(super) fn denial(&self, execution: &Execution<'_>, place: Place<'_>) -> Option<String> {
        let (meant, file) = (meanings(execution), execution.file);
        let denies = |one: &Meaning<'_>| {
            let entry = self.find_as(execution, one, place, As::Deny).ok()?;
            let verb = verbs::of([one.called, last(file)]).zip(entry.pattern.first_word());
            let misread = verb.and_then(|(verb, meant)| Some((verb, verb.misread(one.arguments(), meant)?)));
            Some(misread.map_or_else(|| entry.told.clone(), |(verb, word)| verb.told(&entry.told, word)))
        };
        let found = meant.all.iter().find_map(denies);
        if found.is_some() || !meant.any {
            return found;
        }
        let applets = self.names.iter().filter(|(name, _)| may_be_theirs(file, name)).map(|(_, index)| index);
        let mut any = self.files.get(file).into_iter().chain(applets).flat_map(Index::numbers);
        any.find_map(|number| self.entries.get(*number as usize)).map(|entry| entry.told.clone())
    }

    /// An entry that may be meant because a word of this line may be anything to its program: that word, and why, unless `named`.
    pub(super) fn guess(
        &self,
        execution: &Execution<'_>,
        named: impl Fn(&Meaning<'_>, &[u8]) -> bool,
    ) -> Option<String> {
        let file = execution.file;
        meanings(execution).all.iter().find_map(|one| {
            let indices = self.indices(file, one.called);
            indices.iter().any(Option::is_some).then_some(())?;
            let verb = verbs::of([one.called, last(file)])?;
            let word = verb.unknown(one.arguments(), many(file))?;
            let mut entries = indices.into_iter().flatten().flat_map(Index::numbers);
            let own = |entry: &&Entry| !many(file) || last(entry.pattern.program.as_bytes()) == one.called;
            let entry = entries.find_map(|number| self.entries.get(*number as usize).filter(own))?;
            (!named(one, word)).then(|| verb.told(&entry.told, word))
        })
    }

    /// Whether an entry is one of all that this file is.
    pub(super) fn holds_all(&self, file: &[u8]) -> bool {
        let mut entries = self.files.get(file).into_iter().flat_map(Index::numbers);
        entries.any(|number| {
            self.entries.get(*number as usize).is_some_and(|entry| {
                by_word(entry.pattern.program.as_bytes()) && entry.pattern.any_arguments()
            })
        })
    }

    /// What an entry calls the program of this name in a file of many.
    pub(super) fn program_of(&self, file: &[u8], called: &[u8]) -> Option<&str> {
        let index = self.files.get(file)?;
        let programs =
            index.numbers().filter_map(|at| Some(self.entries.get(*at as usize)?.pattern.program.as_str()));
        programs.into_iter().find(|program| last(program.as_bytes()) == called)
    }

    /// Where the entries stand that may be meant by a file and what it is called.
    fn indices(&self, file: &[u8], called: &[u8]) -> [Option<&Index>; 3] {
        [self.files.get(file), self.names.get(called), self.names.get(last(file))]
    }

    pub(super) fn find_as(
        &self,
        execution: &Execution<'_>,
        meaning: &Meaning<'_>,
        place: Place<'_>,
        how: As,
    ) -> Result<&Entry, bool> {
        let (called, arguments) = (meaning.called, meaning.arguments());
        let indices = self.indices(execution.file, called);
        // Most programs have no entry: how they read their words is not looked up.
        if indices.iter().all(Option::is_none) {
            return Err(false);
        }
        let verb = (how == As::Deny).then(|| verbs::of([called, last(execution.file)])).flatten();
        let read = verb.map(|verb| verb.line(arguments));
        let place = Place { program: [b"", last(execution.file), called], read: read.as_ref(), ..place };
        let mut named = false;
        for index in indices.into_iter().flatten() {
            let at: Vec<usize> = match how {
                As::Allow => vec![0],
                // Each entry says itself which of them its program knows.
                As::Deny => leading::words("", arguments),
            };
            let words = at.iter().filter_map(|at| index.words.get(*arguments.get(*at)?)).flatten();
            let words = words.chain(read.iter().flat_map(|read| read.among(&index.words)).flatten());
            // Each once: as many options as arguments may be the same word.
            let mut tried = BTreeSet::new();
            // Any word may stand for `{}`.
            let all = index.words.values().flatten().filter(|_| meaning.open && how == As::Deny);
            for number in words.chain(all).chain(&index.others).filter(|number| tried.insert(**number)) {
                let Some(entry) = self.entries.get(*number as usize) else { continue };
                let program = last(entry.pattern.program.as_bytes());
                // An entry of the file itself is one of all that it is.
                let whole = by_word(program) && (how == As::Deny || entry.pattern.any_arguments());
                let of_git = how == As::Deny && called == b"git" && entry.is_of_git();
                let own = program == called || whole || of_git || !many(execution.file);
                named |= own;
                if whole {
                    return Ok(entry);
                }
                let fits =
                    entry.meant(execution.file, called, meaning.foreign).iter().any(|pattern| match meaning
                        .open
                    {
                        true => how == As::Deny || pattern.any_arguments(),
                        false => pattern.matches(arguments, place, how),
                    });
                if own && fits {
                    return Ok(entry);
                }
            }
            let mut others = index.words.values().flatten().filter_map(|at| self.entries.get(*at as usize));
            named |= match many(execution.file) {
                true => !named && others.any(|entry| last(entry.pattern.program.as_bytes()) == called),
                false => others.next().is_some(),
            };
        }
        Err(named)
    }
}
