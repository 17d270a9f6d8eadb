//! Which program an execution means, where one file is many.

use std::ops::Range;
use std::rc::Rc;

use crate::argv::As;
use crate::verbs::is_built_in;

use super::{CommandRules, Execution, inner, last};

/// One file that holds many programs: what it is called says which. An entry for one of them is none for the others. With each, whether
/// it is one of them by its first argument as well.
pub const MULTICALL: &[(&str, bool)] = &[
    ("busybox", true),
    ("busybox-static", true),
    ("busybox.static", true),
    ("busybox-extras", true),
    ("busybox.nosuid", true),
    ("busybox.suid", true),
    ("toybox", true),
    ("coreutils", true),
    ("gnu-coreutils", true),
    ("llvm", true),
    ("sbase-box", true),
    ("ubase-box", true),
    ("rustup", false),
    ("rustup-init", false),
];

/// One of many programs, and whether it is one of them by its first argument; by the name of their file. Builds of busybox and toybox
/// have names that go on with a version or a machine.
fn multicall(file: &[u8]) -> Option<bool> {
    let name = last(file);
    let known = MULTICALL.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, by_word)| *by_word);
    known.or_else(|| (name.starts_with(b"busybox") || name.starts_with(b"toybox")).then_some(true))
}

pub(super) fn many(file: &[u8]) -> bool {
    multicall(file).is_some()
}

/// Whether it may be toybox, which knows its programs otherwise than busybox does.
pub(super) fn may_be_toybox(file: &[u8]) -> bool {
    last(file).starts_with(b"toybox")
}

/// Whether the first argument is the name of a program.
pub(super) fn by_word(file: &[u8]) -> bool {
    multicall(file) == Some(true)
}

/// Whether a program of this name is many in one file.
#[must_use]
pub fn is_multicall(name: &str) -> bool {
    many(name.as_bytes())
}

/// Whether programs in this file may run others of it without an execve(2), as far as its name says: all of toybox, and of busybox what is
/// built to prefer its own (busybox's `FEATURE_PREFER_APPLETS`). Distributions' dynamic ones are not; of a file that is called `busybox`
/// alone nothing is known by that.
pub(super) fn prefers_own(file: &[u8]) -> Option<bool> {
    let name = last(file);
    if name == b"busybox" {
        return None;
    }
    Some(name.starts_with(b"toybox") || name.starts_with(b"busybox"))
}

/// One thing that an execution may mean: a name, and the arguments of that program.
#[derive(Clone)]
pub(super) struct Meaning<'a> {
    pub(super) called: &'a [u8],
    words: Rc<[&'a [u8]]>,
    from: usize,
    to: usize,
    /// What stands for a file's name (`{}`) is among its arguments, or more follow on them.
    pub(super) open: bool,
    /// The whole word that toybox itself takes for a program.
    pub(super) sought: Option<&'a [u8]>,
    /// It stands where the file has options of its own.
    pub(super) option: bool,
    /// By a name that is none of git's, of a file that is no link to git as far as is known.
    pub(super) foreign: bool,
}

impl<'a> Meaning<'a> {
    fn of(called: &'a [u8], words: Vec<&'a [u8]>) -> Self {
        let (to, words) = (words.len(), words.into());
        Self { called, words, from: 0, to, open: false, sought: None, option: false, foreign: false }
    }

    pub(super) fn arguments(&self) -> &[&'a [u8]] {
        self.words.get(self.from..self.to).unwrap_or_default()
    }

    /// The program that some of its own arguments name, and what is left of them for that one.
    pub(super) fn within(&self, file: &[u8], at: Range<usize>, open: bool) -> Option<Self> {
        let to = self.from + at.end;
        let mut from = self.from + at.start;
        let mut word = *self.words.get(from..to)?.first()?;
        from += 1;
        let toybox = may_be_toybox(file);
        let own: &[u8] = if toybox { b"toybox" } else { b"busybox" };
        let (mut sought, mut option) = (None, false);
        // toybox is in no list of its own: what stands behind it may be a link.
        while last(word) == own && from < to && sought.is_none() {
            word = self.words.get(from)?;
            (sought, option) = (toybox.then_some(word), true);
            from += 1;
        }
        let words = Rc::clone(&self.words);
        Some(Self { called: last(word), words, from, to, open, sought, option, foreign: false })
    }
}

/// What an execution may mean. The first is what it means, as far as can be told.
pub(super) struct Meanings<'a> {
    pub(super) all: Vec<Meaning<'a>>,
    /// It may be any other program of its file as well.
    pub(super) any: bool,
}

impl<'a> Meanings<'a> {
    /// What a list has to permit: what is known to be no program of the file starts where it is seen.
    pub(super) fn judged(&self, file: &[u8]) -> impl Iterator<Item = &Meaning<'a>> {
        let judged = |(at, one): &(usize, &Meaning<'_>)| *at == 0 || inner::may_be_theirs(file, one.called);
        self.all.iter().enumerate().filter(judged).map(|(_, one)| one)
    }
}

pub(super) fn meanings<'a>(execution: &Execution<'a>) -> Meanings<'a> {
    let rest = execution.arguments.get(1..).unwrap_or_default();
    let (file, name) = (last(execution.file), last(execution.arguments.first().copied().unwrap_or_default()));
    if many(execution.file) {
        let mut all =
            if may_be_toybox(file) { vec![of_toybox(file, name, rest)] } else { part(file, name, rest) };
        let any = execution.within && inner::follow(file, &mut all);
        return Meanings { all, any };
    }
    let one = |all| Meanings { all, any: false };
    // git does by its name what it does by its first argument, whatever its file is called; and keeps programs under such names.
    let dashed = |name: &'a [u8]| name.strip_prefix(b"git-");
    if !is_git(file) {
        return one(vec![Meaning::of(file, rest.to_vec())]);
    }
    let git = |command: Option<&'a [u8]>| command.into_iter().chain(rest.iter().copied()).collect::<Vec<_>>();
    let (by_name, by_file) = (git(dashed(name)), git(dashed(file)));
    let of_git = |words| Meaning::of(b"git", words);
    if dashed(file).is_none() || by_name == by_file {
        return one(vec![of_git(by_name)]);
    }
    let foreign = !is_git(name) && !dashed(file).is_some_and(is_built_in);
    one(vec![of_git(by_file), Meaning { foreign, ..of_git(by_name) }])
}

/// Whether a file is git, or a program that is a command of git's, as far as its name says.
pub(super) fn is_git(file: &[u8]) -> bool {
    last(file) == b"git" || last(file).starts_with(b"git-")
}

/// Which program of a file of many it means, as far as can be told.
pub(super) fn part_of<'a>(execution: &Execution<'a>) -> Option<&'a [u8]> {
    many(execution.file).then(|| Some(meanings(execution).all.first()?.called)).flatten()
}

impl CommandRules {
    /// Whether a file may run other programs of its own without an execve(2): not, where its name or the survey says so.
    #[must_use]
    pub fn runs_own(&self, file: &[u8]) -> bool {
        many(file) && prefers_own(file).unwrap_or_else(|| !self.starting.contains(file))
    }

    /// What an entry has to hold that means this: a program and its arguments. `named` is the path that was called, `real` the file without
    /// links. Nothing where no entry could name it by what it was called.
    #[must_use]
    pub fn wanted(&self, execution: &Execution<'_>, named: &[u8], real: &[u8]) -> Vec<Vec<u8>> {
        let rest = execution.arguments.get(1..).unwrap_or_default();
        let entry = |program: &[u8], words: &[&[u8]]| {
            std::iter::once(program).chain(words.iter().copied()).map(<[u8]>::to_vec).collect()
        };
        let Meanings { all, any } = meanings(execution);
        if !many(execution.file) {
            let git = all.first().filter(|_| last(execution.file) == b"git");
            return match git {
                Some(git) => entry(real, git.arguments()),
                // By its name another command of git's than by its file: an entry by that name means both.
                None if all.len() > 1
                    && execution.arguments.first().copied().map(last) != Some(last(named)) =>
                {
                    Vec::new()
                }
                None if all.len() > 1 => entry(named, rest),
                None => entry(real, rest),
            };
        }
        let place = self.place(execution.directory);
        let lists = self.in_force(execution);
        // What it starts by itself needs an entry too, once it has its own; and none will do where that may be anything.
        let missing = |one: &Meaning<'_>| {
            lists.iter().all(|list| list.find_as(execution, one, place, As::Allow).is_err())
        };
        let Some(meant) = all.into_iter().find(missing).filter(|meant| !any && !meant.open) else {
            return Vec::new();
        };
        let (called, words) = (meant.called, meant.arguments());
        // An entry means one of many by the name in it.
        let by_name = words.len() == rest.len() && named.starts_with(b"/") && last(named) == called;
        if by_word(execution.file) && !by_name {
            let applet: Vec<&[u8]> = std::iter::once(called).chain(words.iter().copied()).collect();
            return entry(execution.file, &applet);
        }
        // As a list spells it, if one does: what stands there for an applet is no name that PATH has.
        let lists = self.allow.iter().chain(&self.children).filter(|_| !by_word(execution.file));
        let spelled = lists.filter_map(|list| list.program_of(execution.file, called)).next();
        match spelled.map(str::as_bytes).or_else(|| by_name.then_some(named)) {
            Some(program) => entry(program, words),
            None => Vec::new(),
        }
    }
}

/// Which part of toybox runs, by its main(): what it is called, or the one word behind its own name. Of all else it reads links.
fn of_toybox<'a>(file: &[u8], name: &'a [u8], arguments: &[&'a [u8]]) -> Meaning<'a> {
    let itself = name == b"toybox" || name == file;
    let (word, rest, option) = match arguments {
        // Nothing is looked up.
        [] if itself => return Meaning::of(name, Vec::new()),
        [word, rest @ ..] if itself => (*word, rest, true),
        _ => (name, arguments, false),
    };
    Meaning { sought: Some(word), option, ..Meaning::of(last(word), rest.to_vec()) }
}

/// Which part of another file of many programs runs. One that is called as the file is the part that the next word names, and so on: by
/// busybox's main(), every name that begins so, and a `-` before it says nothing; coreutils has an option for it.
fn part<'a>(file: &[u8], name: &'a [u8], arguments: &[&'a [u8]]) -> Vec<Meaning<'a>> {
    const WORDS: [&[u8]; 2] = [b"--coreutils-prog=", b"--coreutils-prog-shebang="];
    let busybox = file.starts_with(b"busybox");
    let whole = |name: &[u8]| if busybox { name.starts_with(b"busybox") } else { by_word(name) };
    let mut name = name.strip_prefix(b"-").filter(|_| busybox).unwrap_or(name);
    let (mut rest, mut option) = (arguments, false);
    while whole(name) {
        let [word, more @ ..] = rest else { break };
        name = WORDS.iter().find_map(|option| word.strip_prefix(*option)).unwrap_or_else(|| last(word));
        (rest, option) = (more, true);
    }
    let own = Meaning { option, ..Meaning::of(name, rest.to_vec()) };
    // uutils takes `any-ls` for `ls`.
    let end = name.iter().rposition(|byte| !byte.is_ascii_alphanumeric()).filter(|_| file == b"coreutils");
    let tail = end.and_then(|at| name.get(at + 1..)).filter(|tail| !tail.is_empty());
    std::iter::once(own).chain(tail.map(|tail| Meaning::of(tail, rest.to_vec()))).collect()
}
