//! Which words of a command are programs that it calls: the first one, and what a known program starts that stands behind its options.

use super::programs::base;

/// Programs that are looked for in one command: what is long is nobody's intent.
const MOST: usize = 16;

/// Words of a shell's own before a command.
const BEFORE: &[&str] = &["then", "do", "else", "elif", "if", "while", "until", "{", "!"];

/// A program that starts what stands behind its options. Behind one that is not here nothing is known to be a program.
struct Wrapper {
    names: &'static [&'static str],
    /// Words of which the first one has to be, so that it starts anything.
    with: &'static [&'static str],
    /// Letters that take nothing, and those that take the rest of their word or the next one.
    flags: &'static str,
    valued: &'static str,
    /// Long options that take nothing, and those that take what stands behind `=` or the next word.
    long: &'static [&'static str],
    long_valued: &'static [&'static str],
    /// Words that come before the program.
    operands: usize,
    /// More options may stand behind those.
    again: bool,
    /// `-` and `NAME=VALUE` may come first.
    variables: bool,
    /// It starts what stands behind `--` only.
    dashes: bool,
}

const PLAIN: Wrapper = Wrapper {
    names: &[],
    with: &[],
    flags: "",
    valued: "",
    long: &[],
    long_valued: &[],
    operands: 0,
    again: false,
    variables: false,
    dashes: false,
};

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["env"],
        flags: "i0v",
        valued: "uC",
        long: &["--ignore-environment", "--null", "--debug"],
        long_valued: &["--unset", "--chdir"],
        variables: true,
        ..PLAIN
    },
    Wrapper {
        names: &["timeout"],
        flags: "fpv",
        valued: "ks",
        long: &["--foreground", "--preserve-status", "--verbose"],
        long_valued: &["--kill-after", "--signal"],
        operands: 1,
        ..PLAIN
    },
    Wrapper { names: &["nice"], valued: "n", long_valued: &["--adjustment"], ..PLAIN },
    Wrapper { names: &["nohup", "eval", "builtin", "unbuffer"], ..PLAIN },
    Wrapper { names: &["command"], flags: "p", ..PLAIN },
    Wrapper { names: &["exec"], flags: "cl", valued: "a", ..PLAIN },
    Wrapper { names: &["setsid"], flags: "cfw", long: &["--ctty", "--fork", "--wait"], ..PLAIN },
    Wrapper { names: &["stdbuf"], valued: "ioe", long_valued: &["--input", "--output", "--error"], ..PLAIN },
    Wrapper {
        names: &["ionice"],
        flags: "t",
        valued: "cn",
        long: &["--ignore"],
        long_valued: &["--class", "--classdata"],
        ..PLAIN
    },
    Wrapper {
        names: &["time"],
        flags: "apqvl",
        valued: "fo",
        long: &["--append", "--portability", "--quiet", "--verbose"],
        long_valued: &["--format", "--output"],
        ..PLAIN
    },
    Wrapper {
        names: &["xargs"],
        flags: "0oprtx",
        valued: "adEILnPs",
        long: &["--null", "--no-run-if-empty", "--verbose", "--open-tty", "--interactive", "--exit"],
        long_valued: &["--arg-file", "--delimiter", "--max-args", "--max-procs", "--max-chars"],
        ..PLAIN
    },
    Wrapper {
        names: &["sudo"],
        flags: "AbBEHknPS",
        valued: "CDghpRrTtuU",
        long: &["--background", "--non-interactive", "--preserve-env", "--set-home", "--stdin"],
        long_valued: &["--user", "--group", "--host", "--prompt", "--chdir"],
        variables: true,
        ..PLAIN
    },
    Wrapper { names: &["python", "python3"], with: &["-m"], ..PLAIN },
    Wrapper { names: &["doas"], flags: "n", valued: "uC", ..PLAIN },
    Wrapper { names: &["sshpass"], flags: "ve", valued: "pfdP", ..PLAIN },
    Wrapper {
        names: &["ssh"],
        flags: "46AaCfGgKkMNnqsTtVvXxYy",
        valued: "BbcDEeFIiJLlmOoPpQRSWw",
        operands: 1,
        again: true,
        ..PLAIN
    },
    Wrapper {
        names: &["docker", "podman", "nerdctl"],
        with: &["exec", "run"],
        flags: "itdP",
        valued: "euvwplh",
        long: &["--rm", "--interactive", "--tty", "--detach", "--privileged", "--init"],
        long_valued: &["--env", "--user", "--volume", "--workdir", "--name", "--network", "--env-file"],
        operands: 1,
        ..PLAIN
    },
    Wrapper {
        names: &["kubectl", "oc"],
        with: &["exec", "run"],
        flags: "itq",
        valued: "ncs",
        long: &["--stdin", "--tty", "--quiet", "--rm"],
        long_valued: &["--namespace", "--container", "--context", "--image", "--restart"],
        operands: 1,
        again: true,
        dashes: true,
        ..PLAIN
    },
];

/// Where programs stand that these words call, in order.
pub(super) fn called(words: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut next = begin(words);
    while let Some(at) = next.filter(|at| *at < words.len() && found.len() < MOST) {
        found.push(at);
        let name = words.get(at).map_or("", |word| base(word));
        let wrapper = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name));
        next = wrapper.and_then(|wrapper| wrapper.starts(words, at));
    }
    found
}

/// Behind words of a shell's own and its variables.
fn begin(words: &[&str]) -> Option<usize> {
    words.iter().position(|word| !BEFORE.contains(word) && !is_variable(word))
}

fn is_variable(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(part) && name.starts_with(|first: char| !first.is_ascii_digit())
}

impl Wrapper {
    /// Where its program stands, if all words before it are understood.
    fn starts(&self, words: &[&str], program: usize) -> Option<usize> {
        let mut at = program + 1;
        if !self.with.is_empty() {
            at = command(words, program)
                .filter(|at| words.get(*at).is_some_and(|word| self.with.contains(word)))?
                + 1;
        }
        let (mut left, mut ended) = (self.operands, false);
        loop {
            let word = words.get(at)?;
            let options = !ended && (left == self.operands || self.again);
            if options && *word == "--" {
                at += 1;
                ended = true;
                if self.dashes {
                    return (left == 0).then_some(at);
                }
            } else if options && word.len() > 1 && word.starts_with('-') {
                at += if self.takes(word)? { 2 } else { 1 };
            } else if self.variables && (*word == "-" || is_variable(word)) {
                at += 1;
                ended |= *word != "-";
            } else if left > 0 {
                (at, left) = (at + 1, left - 1);
            } else {
                return (!self.dashes).then_some(at);
            }
        }
    }

    /// Whether an option takes the next word. `None`: it is not known.
    fn takes(&self, word: &str) -> Option<bool> {
        if word.starts_with("--") {
            let (name, glued) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
            let valued = self.long_valued.contains(&name);
            return (valued || !glued && self.long.contains(&name)).then_some(valued && !glued);
        }
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            if self.valued.contains(letter) {
                return Some(letters.next().is_none());
            }
            if !self.flags.contains(letter) {
                return None;
            }
        }
        Some(false)
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
/// Of these, `-n` takes the next word.
const NAMESPACED: &[&str] = &["kubectl", "oc", "helm", "rabbitmqctl"];

/// Where the name of the command stands that this program has to do, if all options before it are understood.
pub(super) fn command(words: &[&str], program: usize) -> Option<usize> {
    let namespaced = NAMESPACED.contains(&base(words.get(program)?));
    let mut at = program + 1;
    loop {
        let word = words.get(at)?;
        // Of rustup, which of its toolchains.
        if word.starts_with('+') || NOTHING.contains(word) || word.starts_with("--") && word.contains('=') {
            at += 1;
        } else if VALUED.contains(word) || namespaced && *word == "-n" {
            at += 2;
        } else {
            return (!word.starts_with('-') || *word == "-m").then_some(at);
        }
    }
}
