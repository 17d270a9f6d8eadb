//! Which program an execution means, where one file is many.

use super::{CommandRules, Execution, last};

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

/// Programs of toybox that start others of it without an execve(2), which nobody would see.
const STARTS: [&[u8]; 23] = [
    b"chroot",
    b"chrt",
    b"env",
    b"find",
    b"inotifyd",
    b"ionice",
    b"nc",
    b"netcat",
    b"nice",
    b"nohup",
    b"nsenter",
    b"oneit",
    b"setsid",
    b"sh",
    b"su",
    b"sudo",
    b"taskset",
    b"tcpsvd",
    b"time",
    b"timeout",
    b"unshare",
    b"watch",
    b"xargs",
];

pub(super) fn many(file: &[u8]) -> bool {
    MULTICALL.iter().any(|(name, _)| name.as_bytes() == last(file))
}

/// Whether the first argument is the name of a program.
pub(super) fn by_word(file: &[u8]) -> bool {
    MULTICALL.iter().any(|(name, by_word)| *by_word && name.as_bytes() == last(file))
}

/// What an execution may mean: each a name, and arguments. The first is what it means, as far as can be told.
pub(super) fn meanings<'a>(execution: &Execution<'a>) -> Vec<(&'a [u8], Vec<&'a [u8]>)> {
    let rest = execution.arguments.get(1..).unwrap_or_default();
    let (file, name) = (last(execution.file), last(execution.arguments.first().copied().unwrap_or_default()));
    if many(execution.file) {
        let mut meant: Vec<_> = part(file, name, rest).collect();
        if file == b"toybox"
            && let Some((_, words)) = meant.first().filter(|(name, _)| STARTS.contains(name)).cloned()
        {
            // Each further word may be another of its programs.
            let tails = (0..words.len()).filter_map(|at| words.get(at..)?.split_first());
            let tails = tails.filter(|(name, _)| !name.starts_with(b"-"));
            meant.extend(tails.map(|(name, rest)| (last(name), rest.to_vec())));
        }
        return meant;
    }
    // git does by its name what it does by its first argument, whatever its file is called; and keeps programs under such names.
    let dashed = |name: &'a [u8]| name.strip_prefix(b"git-");
    if file != b"git" && dashed(file).is_none() {
        return vec![(file, rest.to_vec())];
    }
    let git =
        |command: Option<&'a [u8]>| (&b"git"[..], command.into_iter().chain(rest.iter().copied()).collect());
    let by_name: (&[u8], Vec<_>) = git(dashed(name));
    let by_file = git(dashed(file));
    if dashed(file).is_none() || by_name == by_file { vec![by_name] } else { vec![by_file, by_name] }
}

/// Which program of a file of many it means, as far as can be told.
pub(super) fn part_of<'a>(execution: &Execution<'a>) -> Option<&'a [u8]> {
    let meant = || meanings(execution).into_iter().next();
    many(execution.file).then(meant).flatten().map(|(name, _)| name)
}

impl CommandRules {
    /// What an entry has to hold that means this: a program and its arguments. `named` is the path that was called, `real` the file without
    /// links. Nothing where no entry could name it by what it was called.
    #[must_use]
    pub fn wanted(&self, execution: &Execution<'_>, named: &[u8], real: &[u8]) -> Vec<Vec<u8>> {
        let rest = execution.arguments.get(1..).unwrap_or_default();
        let entry = |program: &[u8], words: &[&[u8]]| {
            std::iter::once(program).chain(words.iter().copied()).map(<[u8]>::to_vec).collect()
        };
        let Some((called, words)) = meanings(execution).into_iter().next().filter(|_| many(execution.file))
        else {
            return entry(real, rest);
        };
        // An entry means one of many by the name in it.
        let by_name = words.len() == rest.len() && named.starts_with(b"/") && last(named) == called;
        if by_word(execution.file) && !by_name {
            let applet: Vec<&[u8]> = std::iter::once(called).chain(words).collect();
            return entry(execution.file, &applet);
        }
        // As a list spells it, if one does: what stands there for an applet is no name that PATH has.
        let lists = self.allow.iter().chain(&self.children).filter(|_| !by_word(execution.file));
        let spelled = lists.filter_map(|list| list.program_of(execution.file, called)).next();
        match spelled.map(str::as_bytes).or_else(|| by_name.then_some(named)) {
            Some(program) => entry(program, &words),
            None => Vec::new(),
        }
    }
}

/// Which part of a file of many programs runs. One that is called as the file is the part that the next word names, and so on: by busybox's
/// main(), every name that begins so, and a `-` before it says nothing; coreutils has an option for it.
fn part<'a>(
    file: &[u8],
    name: &'a [u8],
    arguments: &[&'a [u8]],
) -> impl Iterator<Item = (&'a [u8], Vec<&'a [u8]>)> + use<'a> {
    const WORDS: [&[u8]; 2] = [b"--coreutils-prog=", b"--coreutils-prog-shebang="];
    let mut name = name.strip_prefix(b"-").unwrap_or(name);
    let mut rest = arguments;
    let whole = |name: &[u8]| {
        let own = MULTICALL.iter().any(|(own, by_word)| *by_word && name == own.as_bytes());
        own || name.starts_with(b"busybox")
    };
    while whole(name) {
        let [word, more @ ..] = rest else { break };
        name = WORDS.iter().find_map(|option| word.strip_prefix(*option)).unwrap_or_else(|| last(word));
        rest = more;
    }
    // uutils takes `any-ls` for `ls`.
    let end = name.iter().rposition(|byte| !byte.is_ascii_alphanumeric()).filter(|_| file == b"coreutils");
    let tail = end.and_then(|at| name.get(at + 1..)).filter(|tail| !tail.is_empty());
    let (rest, own) = (rest.to_vec(), (name, rest.to_vec()));
    std::iter::once(own).chain(tail.map(|tail| (tail, rest)))
}
