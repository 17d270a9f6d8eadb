//! Which words of a command are programs that it calls: the first one, and what a known program starts that stands behind its options.

use super::programs::base;
use crate::wrappers::{COMPOSE, Wrapper, is_variable};

/// Programs that are looked for in one command: what is long is nobody's intent.
const MOST: usize = 16;

/// Words of a shell's own before a command.
const BEFORE: &[&str] = &["then", "do", "else", "elif", "if", "while", "until", "{", "!"];

/// Where programs stand that these words call, in order.
pub(super) fn called(words: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut next = begin(words);
    while let Some(at) = next.filter(|at| *at < words.len() && found.len() < MOST) {
        found.push(at);
        let name = words.get(at).map_or("", |word| base(word));
        next = Wrapper::of(name).and_then(|wrapper| starts(wrapper, words, at));
        if next.is_none() && ENGINES.contains(&name) {
            next = command(words, at).filter(|at| words.get(*at).is_some_and(|word| *word == "compose"));
        }
    }
    found
}

/// Behind words of a shell's own and its variables.
fn begin(words: &[&str]) -> Option<usize> {
    words.iter().position(|word| !BEFORE.contains(word) && !is_variable(word))
}

/// Where its program stands, if all words before it are understood.
fn starts(wrapper: &Wrapper, words: &[&str], program: usize) -> Option<usize> {
    let mut at = program + 1;
    if !wrapper.with.is_empty() {
        at = command(words, program)
            .filter(|at| words.get(*at).is_some_and(|word| wrapper.with.contains(word)))?
            + 1;
    }
    let (mut left, mut ended) = (wrapper.operands, false);
    loop {
        let word = words.get(at)?;
        let options = !ended && (left == wrapper.operands || wrapper.again);
        if options && *word == "--" {
            at += 1;
            ended = true;
            if wrapper.dashes {
                return (left == 0).then_some(at);
            }
        } else if options && word.len() > 1 && word.starts_with('-') {
            at += if wrapper.takes(word)? { 2 } else { 1 };
        } else if wrapper.variables && (*word == "-" || is_variable(word)) {
            at += 1;
            ended |= *word != "-";
        } else if left > 0 {
            (at, left) = (at + 1, left - 1);
        } else {
            return (!wrapper.dashes).then_some(at);
        }
    }
}

/// Options of programs with many commands that stand before the command's name: those that take the next word, and those that take nothing.
const VALUED: &[&str] = &[
    "-C",
    "-c",
    "-w",
    "-Z",
    "--git-dir",
    "--work-tree",
    "--prefix",
    "--registry",
    "--profile",
    "--region",
    "--endpoint-url",
    "--output",
    "--project",
    "--account",
    "--configuration",
    "--directory",
    "--namespace",
    "--context",
    "--node",
    "--host",
    "--color",
    "--config",
    "--working-dir",
    "--cwd",
];
const NOTHING: &[&str] = &[
    "-q",
    "--quiet",
    "-s",
    "--silent",
    "-g",
    "--global",
    "-v",
    "-vv",
    "--verbose",
    "--no-pager",
    "--bare",
    "--json",
    "-y",
    "--yes",
    "--debug",
    "--offline",
    "--locked",
    "--frozen",
    "--no-interaction",
    "--longnames",
    "--isolated",
];
/// Options that take the next word, and those that take nothing.
type Before = (&'static [&'static str], &'static [&'static str]);
/// Of those that work on containers, these too.
const ENGINES: &[&str] = &["docker", "podman", "nerdctl"];
const CONTAINED: Before = (
    &[
        "-H",
        "-l",
        "--log-level",
        "--tlscacert",
        "--tlscert",
        "--tlskey",
        "--connection",
        "--url",
        "--address",
    ],
    &["-D", "--tls", "--tlsverify"],
);
/// And of what COMPOSE names, these.
const COMPOSED: Before = (
    &[
        "-f",
        "-p",
        "--file",
        "--project-name",
        "--project-directory",
        "--env-file",
        "--ansi",
        "--parallel",
        "--progress",
        "--workdir",
    ],
    &["--compatibility", "--dry-run", "--all-resources", "--no-ansi", "--skip-hostname-check"],
);
/// Of these, `-n` takes the next word.
const NAMESPACED: &[&str] = &["kubectl", "oc", "helm", "rabbitmqctl"];

/// Where the name of the command stands that this program has to do, if all options before it are understood.
pub(super) fn command(words: &[&str], program: usize) -> Option<usize> {
    let name = base(words.get(program)?);
    let composed = COMPOSE.contains(&name);
    let contained = composed || ENGINES.contains(&name);
    let lists: Vec<Before> =
        contained.then_some(CONTAINED).into_iter().chain(composed.then_some(COMPOSED)).collect();
    let valued = |word: &str| VALUED.contains(&word) || lists.iter().any(|own| own.0.contains(&word));
    let nothing = |word: &str| NOTHING.contains(&word) || lists.iter().any(|own| own.1.contains(&word));
    let mut at = program + 1;
    loop {
        let word = words.get(at)?;
        // Of rustup, which of its toolchains.
        if word.starts_with('+') || nothing(word) || word.starts_with("--") && word.contains('=') {
            at += 1;
        } else if valued(word) || *word == "-n" && NAMESPACED.contains(&name) {
            at += 2;
        } else {
            return (!word.starts_with('-') || *word == "-m").then_some(at);
        }
    }
}
