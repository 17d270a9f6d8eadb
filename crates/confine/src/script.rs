//! What a process runs: its program, and the script that an interpreter was started for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::caller;

/// What a process runs; empty where that cannot be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its file.
    pub file: OsString,
    /// The script that its command line names, where the file is an interpreter: the process could have written another one there.
    pub script: OsString,
    /// Where itself runs none: the script of the nearest process above it that does, in the sandbox.
    pub starter: OsString,
    /// How many bytes at the end of those two names stand on a command line: they are joined to where the process stands now, which it
    /// may have changed since. 0 where they are whole.
    pub given: [u16; 2],
}

impl Program {
    /// Of a process, by the /proc that is mounted.
    pub(crate) fn of(process: i32) -> Self {
        Self::at(CWD, &format!("/proc/{process}"))
    }

    /// Of a process, by its directory in a /proc.
    pub(crate) fn at(proc: impl AsFd, process: &str) -> Self {
        let file = link(&proc, process, "exe");
        let script = Kind::of(&file).and_then(|kind| script(&proc, process, kind));
        let (script, given) = script.unwrap_or_default();
        Self { file, script, starter: OsString::new(), given: [given, 0] }
    }

    /// With the script that started it, where it is told of: looking is too much for what is only counted.
    pub(crate) fn started(self, process: i32) -> Self {
        self.started_by((CWD, "/proc/"), process)
    }

    /// The same by a /proc.
    pub(crate) fn started_at(self, proc: impl AsFd, process: i32) -> Self {
        self.started_by((proc, ""), process)
    }

    fn started_by(mut self, (proc, place): (impl AsFd, &str), process: i32) -> Self {
        let (own, mut child) = (std::process::id().cast_signed(), process);
        for _ in 0..MOST_ABOVE {
            if !self.script.is_empty() || !self.starter.is_empty() {
                break;
            }
            // Above init is nothing of the sandbox's; in tier `landlock` that is this very process.
            let above = parent(&proc, &format!("{place}{child}")).filter(|above| *above > 1 && *above != own);
            let Some(above) = above else { break };
            let above_it = Self::at(&proc, &format!("{place}{above}"));
            self.starter = above_it.script;
            self.given[1] = above_it.given[0];
            child = above;
        }
        self
    }

    /// With names as they stand on the command lines, where `there` says of one that it is not what it was joined to.
    #[must_use]
    pub fn as_given(&self, there: impl Fn(&Path) -> bool) -> Self {
        let name = |whole: &OsString, given: u16| {
            let at = whole.len().checked_sub(given.into()).filter(|_| given > 0 && !there(Path::new(whole)));
            let given = at.and_then(|at| whole.as_bytes().get(at..));
            given.map_or_else(|| whole.clone(), |given| OsStr::from_bytes(given).to_owned())
        };
        let [script, starter] = self.given;
        let (script, starter) = (name(&self.script, script), name(&self.starter, starter));
        Self { file: self.file.clone(), script, starter, given: [0, 0] }
    }

    /// The same, where it still runs the file that it ran before.
    pub(crate) fn still(process: i32, file: &OsStr) -> Self {
        let own = Self::of(process);
        if own.file == file { own } else { Self { file: file.to_owned(), ..Self::default() } }
    }

    /// Tells it from others.
    pub(crate) fn key(&self) -> [&[u8]; 2] {
        [self.file.as_bytes(), self.script.as_bytes()]
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = Path::new(&self.file);
        // One line, whatever the process wrote there.
        let line = |script: &OsStr| Path::new(script).display().to_string().replace(['\n', '\r'], "\u{fffd}");
        if !self.script.is_empty() {
            let name = Path::new(file.file_name().unwrap_or(&self.file));
            return write!(f, "{} ({})", line(&self.script), name.display());
        }
        write!(f, "{}", file.display())?;
        if self.starter.is_empty() { Ok(()) } else { write!(f, ", started by {}", line(&self.starter)) }
    }
}

/// Processes above one that are looked at.
const MOST_ABOVE: usize = 16;

/// Bytes of a script's name that are told.
pub(crate) const LONGEST: usize = 1024;

/// How an interpreter reads its command line.
#[derive(Clone, Copy)]
struct Kind {
    names: &'static [&'static str],
    /// Letters behind which stands code or the name of a module.
    code: &'static str,
    /// Letters that take the next argument.
    value: &'static str,
    /// Words that do one or the other.
    words: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        names: &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"],
        code: "c",
        value: "oO",
        words: &["--rcfile", "--init-file"],
    },
    Kind { names: &["python", "pypy"], code: "cm", value: "WX", words: &["--check-hash-based-pycs"] },
    Kind {
        names: &["node", "nodejs"],
        code: "ep",
        value: "rC",
        words: &["--require", "--import", "--loader", "--conditions", "--eval", "--print"],
    },
    Kind { names: &["perl", "ruby", "lua", "luajit"], code: "eE", value: "Il", words: &[] },
    Kind { names: &["php"], code: "rRBE", value: "cdz", words: &[] },
];

impl Kind {
    /// By the name of its file, whatever version that ends with.
    fn of(file: &OsStr) -> Option<Self> {
        let name = file.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        let end = name.iter().rposition(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-'))?;
        let name = name.get(..=end)?;
        KINDS.iter().copied().find(|kind| kind.names.iter().any(|own| own.as_bytes() == name))
    }

    /// The first argument that is no option, if no code comes first.
    fn names<'a>(&self, mut words: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
        while let Some(word) = words.next() {
            let letters = match word {
                b"--" => return words.next(),
                [b'-', b'-', ..] if !self.words.iter().any(|own| own.as_bytes() == word) => continue,
                b"--eval" | b"--print" => return None,
                [b'-', b'-', ..] => {
                    words.next();
                    continue;
                }
                [b'-' | b'+', letters @ ..] if !letters.is_empty() => letters,
                [b'-'] | [] => return None,
                script => return Some(script),
            };
            if letters.iter().any(|letter| self.code.as_bytes().contains(letter)) {
                return None;
            }
            // A value may stand in the same word.
            if letters.last().is_some_and(|letter| self.value.as_bytes().contains(letter)) {
                words.next();
            }
        }
        None
    }
}

/// Of it what stands in the first page of the command line; and how many bytes of it are a relative name there.
fn script(proc: impl AsFd, process: &str, kind: Kind) -> Option<(OsString, u16)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = fs::openat(&proc, format!("{process}/cmdline"), flags, Mode::empty()).ok()?;
    let mut line = [0; 4096];
    let length = rustix::io::read(&file, &mut line).ok()?;
    let line = line.get(..length)?;
    // What is cut off names nothing.
    let line = line.get(..line.iter().rposition(|byte| *byte == 0)?)?;
    let name = kind.names(line.split(|byte| *byte == 0).skip(1))?;
    let name = Path::new(OsStr::from_bytes(name));
    let directory = if name.is_absolute() { OsString::new() } else { link(proc, process, "cwd") };
    // Without `.` in it.
    let name: PathBuf = name.components().filter(|part| *part != Component::CurDir).collect();
    let script: PathBuf = Path::new(&directory).join(&name).components().collect();
    let given = if name.is_absolute() { 0 } else { u16::try_from(name.as_os_str().len()).ok()? };
    (script.is_absolute() && script.as_os_str().len() <= LONGEST).then(|| (script.into(), given))
}

/// The process that started one, or took it over since (proc_pid_status(5)).
fn parent(proc: impl AsFd, process: &str) -> Option<i32> {
    let status = caller::text(proc, &format!("{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// What a process runs, without its script; empty where that cannot be told.
pub(crate) fn file_of(process: i32) -> OsString {
    link(CWD, &format!("/proc/{process}"), "exe")
}

fn link(proc: impl AsFd, process: &str, name: &str) -> OsString {
    fs::readlinkat(proc, format!("{process}/{name}"), Vec::new())
        .map(|name| OsString::from_vec(name.into_bytes()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, words: &[&str]) -> Option<String> {
        let words = words.iter().map(|word| word.as_bytes());
        let name = Kind::of(OsStr::new(file))?.names(words)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    #[test]
    fn the_first_argument_that_is_no_option() {
        for (file, words, script) in [
            ("/usr/bin/node", &["install.js", "-e"][..], "install.js"),
            ("/usr/bin/node", &["--require", "a.js", "--no-warnings", "b.js"], "b.js"),
            ("/usr/bin/node", &["-r", "a.js", "--", "-b.js"], "-b.js"),
            ("/usr/bin/python3.13", &["-W", "error", "-u", "setup.py"], "setup.py"),
            ("/usr/bin/python3.13", &["-Werror", "setup.py"], "setup.py"),
            ("/bin/bash", &["-eu", "-o", "pipefail", "x"], "x"),
            ("/usr/bin/perl5.40.1", &["-w", "-I", "lib", "configure.pl"], "configure.pl"),
        ] {
            assert_eq!(named(file, words).as_deref(), Some(script), "{file} {words:?}");
        }
    }

    #[test]
    fn code_and_modules_are_no_scripts() {
        for (file, words) in [
            ("/usr/bin/node", &["-pe", "1", "x.js"][..]),
            ("/usr/bin/node", &["--eval", "1", "x.js"]),
            ("/usr/bin/python3", &["-m", "pip", "install"]),
            ("/bin/sh", &["-ec", "node x.js"]),
            ("/bin/sh", &["-"]),
            ("/bin/sh", &[]),
            ("/bin/cat", &["x"]),
            ("", &["x"]),
        ] {
            assert_eq!(named(file, words), None, "{file} {words:?}");
        }
    }

    #[test]
    fn it_is_told_with_its_interpreter() {
        let told = |file: &str, script: &str| {
            Program { file: file.into(), script: script.into(), ..Program::default() }.to_string()
        };
        assert_eq!(told("/usr/bin/node", "/w/install.js"), "/w/install.js (node)");
        assert_eq!(told("/usr/bin/cat", ""), "/usr/bin/cat");
        let cat = Program { file: "/usr/bin/cat".into(), starter: "/w/a\nb.sh".into(), ..Program::default() };
        assert_eq!(cat.to_string(), "/usr/bin/cat, started by /w/a\u{fffd}b.sh");
        assert_eq!(told("/usr/bin/node", "/a\nringfence: b"), "/a\u{fffd}ringfence: b (node)");
    }

    #[test]
    fn a_name_that_is_joined_to_nothing_is_told_as_it_was_given() {
        let program = Program {
            file: "/usr/bin/sh".into(),
            script: "/usr/lib/../a/x.sh".into(),
            starter: "/w/y.sh".into(),
            given: [9, 4],
        };
        let told = |there: &dyn Fn(&Path) -> bool| {
            let told = program.as_given(there);
            [told.script, told.starter].map(|name| name.into_string().unwrap())
        };
        assert_eq!(told(&|_| false), ["../a/x.sh", "y.sh"].map(|name| name[..].to_owned()));
        assert_eq!(told(&|path| path.starts_with("/w")), ["../a/x.sh", "/w/y.sh"]);
        assert_eq!(told(&|_| true), ["/usr/lib/../a/x.sh", "/w/y.sh"]);
        let whole = Program { given: [0, 0], ..program.clone() };
        assert_eq!(whole.as_given(|_| false), whole);
    }
}
