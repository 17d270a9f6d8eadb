//! Interpreters that run a script and nothing else.

use super::inner::is_link;
use super::last;
use super::program::many;
use crate::shells::{Taken, Takes, letters, plain};

/// An interpreter that runs one file, hands it all that stands behind that, and reads no code of anybody else's on its own.
struct Interpreter {
    names: &'static [&'static str],
    /// Options of one letter that take nothing and change nothing of that.
    flags: &'static str,
    /// Those that take what stands behind them in the same word, or the next word.
    valued: &'static str,
    /// Those that take the rest of the word, if there is one.
    glued: &'static str,
    /// Long options; `*` at the end: whatever follows.
    long: &'static [&'static str],
    /// One of these letters has to be there, or it reads a file of its user's first.
    needs: &'static str,
    /// Options are read behind the script too, until `--`.
    goes_on: bool,
}

const PLAIN: Interpreter =
    Interpreter { names: &[], flags: "", valued: "", glued: "", long: &[], needs: "", goes_on: false };
const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["bash", "rbash"],
        flags: "abefhkmnpuvxBCEHPT",
        valued: "oO",
        long: &["--posix", "--norc", "--noprofile"],
        ..PLAIN
    },
    Interpreter {
        names: &["sh", "ash", "dash", "mksh", "lksh", "posh"],
        flags: "abefhmnuvxC",
        valued: "o",
        ..PLAIN
    },
    // Not zsh, yash and ksh93: variables hold code for them (REPORTTIME, COMMAND_NOT_FOUND_HANDLER), or directories of PATH do (.paths).
    Interpreter { names: &["csh", "tcsh", "bsd-csh"], flags: "efnvxVX", needs: "f", ..PLAIN },
    Interpreter { names: &["python", "pypy"], flags: "bBdEIOPqRsSuvx", valued: "WX", ..PLAIN },
    Interpreter { names: &["perl"], flags: "acflnpstTuUwWX0123456789", valued: "I", glued: "iCFMm", ..PLAIN },
    Interpreter {
        names: &["node", "nodejs"],
        long: &[
            "--no-*",
            "--harmony*",
            "--enable-source-maps",
            "--expose-gc",
            "--expose_gc",
            "--max-old-space-size=*",
            "--max_old_space_size=*",
            "--stack-size=*",
            "--trace-*",
            "--throw-deprecation",
            "--unhandled-rejections=*",
            "--use-*",
            "--preserve-symlinks*",
            "--experimental-modules",
            "--experimental-vm-modules",
            "--experimental-json-modules",
            "--experimental-strip-types",
            "--experimental-transform-types",
            "--experimental-fetch",
            "--experimental-sqlite",
            "--experimental-wasm-modules",
            "--experimental-specifier-resolution=*",
            "--disable-*",
        ],
        ..PLAIN
    },
    Interpreter { names: &["tclsh"], ..PLAIN },
    Interpreter {
        names: &["awk", "gawk", "mawk", "nawk", "original-awk", "bwk"],
        valued: "fFv",
        goes_on: true,
        ..PLAIN
    },
    Interpreter { names: &["sed", "gsed"], flags: "nErsuz", valued: "f", goes_on: true, ..PLAIN },
];

const OTHER: &str = "may do more than run its script with these options";

/// What `-o` of shells may say, and change nothing of that (sh(1), set): not `stdin`, `rc` or `login`.
const SETTINGS: [&[u8]; 13] = [
    b"errexit",
    b"nounset",
    b"pipefail",
    b"noglob",
    b"noclobber",
    b"allexport",
    b"monitor",
    b"notify",
    b"noexec",
    b"verbose",
    b"xtrace",
    b"errtrace",
    b"functrace",
];

/// Whether an interpreter, by its file and by what it is called, with its own arguments before a script and these behind it, runs that
/// script and nothing else.
///
/// # Errors
/// Why not, in words that follow on its name.
pub fn runs_alone(
    file: &[u8],
    called: &[u8],
    before: &[&[u8]],
    behind: &[&[u8]],
) -> Result<(), &'static str> {
    let (name, before) = match before {
        [applet, before @ ..] if many(file) && last(called) == last(file) => (last(applet), before),
        _ if many(file) => (last(called), before),
        _ => (known(last(file)), before),
    };
    if is_link(file, name) {
        return Err("may be another program by a link");
    }
    // What it starts is judged, with the script for an argument.
    if name == b"env" {
        return Ok(());
    }
    let is = |one: &&Interpreter| one.names.iter().any(|own| own.as_bytes() == name);
    let Some(interpreter) = INTERPRETERS.iter().find(is) else {
        return Err("is not known to run nothing but its script");
    };
    if name == b"tclsh" && !called.contains(&b'/') {
        return Err("reads code beside what PATH has by its name, where `env` starts it");
    }
    interpreter.takes(before)?;
    let options = behind.iter().take_while(|word| **word != b"--");
    let mut options = options.filter(|word| word.len() > 1 && word.starts_with(b"-"));
    match interpreter.goes_on && options.next().is_some() {
        true => Err("takes options behind its script for its own"),
        false => Ok(()),
    }
}

impl Interpreter {
    /// Whether it reads these, and then the script, as getopt(3) does.
    fn takes(&self, before: &[&[u8]]) -> Result<(), &'static str> {
        let mut words = before.iter();
        let mut needed = self.needs.is_empty();
        // What stands behind the last option is the script: of these it is meant to be.
        let mut value = self.goes_on;
        while let Some(word) = words.next() {
            let Some(rest) = word.strip_prefix(b"-") else { return Err(OTHER) };
            match rest {
                // The end of options; for others than shells, code from their input.
                b"" if self.valued.contains('o') && words.as_slice().is_empty() => break,
                b"-" if words.as_slice().is_empty() && !self.goes_on => break,
                [b'-', ..] => {
                    let fits = |own: &&str| match own.strip_suffix('*') {
                        Some(head) => word.starts_with(head.as_bytes()),
                        None => own.as_bytes() == *word,
                    };
                    if !self.long.iter().any(fits) {
                        return Err(OTHER);
                    }
                }
                letters => needed |= self.takes_letters(letters, &mut words, &mut value)?,
            }
        }
        if value {
            return Err("takes its script for something else");
        }
        if needed { Ok(()) } else { Err("reads a file of its user's first, without `-f`") }
    }

    /// The same of one word of letters: whether what is needed is among them. `value`: whether the script is to be the last one's value.
    fn takes_letters(
        &self,
        word: &[u8],
        words: &mut std::slice::Iter<'_, &[u8]>,
        value: &mut bool,
    ) -> Result<bool, &'static str> {
        let word = String::from_utf8_lossy(word);
        let takes = |letter, _: &str| match letter {
            letter if self.glued.contains(letter) => Takes::ToBlank,
            letter if self.valued.contains(letter) => Takes::Value,
            _ => Takes::Nothing,
        };
        let mut needed = false;
        let all = letters(&word, takes);
        if all.is_empty() {
            return Err(OTHER);
        }
        for (letter, taken) in all {
            needed |= self.needs.contains(letter);
            match taken {
                Taken::Nothing if self.glued.contains(letter) || self.flags.contains(letter) => {}
                Taken::Nothing => return Err(OTHER),
                // Shells read such a word in more than one way.
                Taken::Glued(_) if letter == 'o' => return Err(OTHER),
                Taken::Glued(_) => {}
                Taken::NextWord => match words.next() {
                    Some(setting) if letter == 'o' && !SETTINGS.contains(setting) => return Err(OTHER),
                    None if self.goes_on && letter == 'f' => *value = false,
                    None => return Err("takes its script for the value of an option"),
                    Some(_) if letter == 'f' => return Err(OTHER),
                    Some(_) => {}
                },
            }
        }
        Ok(needed)
    }
}

/// A name as the list has it: of builds, and of versions by a number alone.
fn known(name: &[u8]) -> &[u8] {
    let Ok(name) = std::str::from_utf8(name) else { return name };
    let name = plain(name).trim_end_matches(|letter: char| letter.is_ascii_digit());
    name.strip_suffix('-').unwrap_or(name).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_script_is_read_as_interpreters_read_it() {
        let takes = |line: &str| {
            let mut words = line.split(' ');
            let program = words.next().unwrap_or_default().as_bytes();
            let before: Vec<&[u8]> = words.map(str::as_bytes).collect();
            runs_alone(program, program, &before, &[b"-x"]).is_ok()
        };
        for line in [
            "/bin/sh",
            "sh -",
            "bash -euo pipefail",
            "bash --norc -o errexit --",
            "/usr/bin/mksh -e",
            "busybox sh -e",
            "tcsh -f",
            "python3.11 -I -Wignore -X utf8",
            "perl5.36-x86_64-linux-gnu -wT",
            "perl -w -I/opt/x/lib -Mstrict -l0",
            "node --no-warnings --max-old-space-size=100",
            "/usr/bin/tclsh8.6",
            "env -S python3 -i",
        ] {
            assert!(takes(line), "{line}");
        }
        for line in [
            "sh -s",
            "sh -se",
            "bash -l",
            "bash --login",
            "bash -o",
            "bash --rcfile",
            "bash -c",
            "bash /x",
            "zsh",
            "zsh -",
            "zsh -f",
            "zsh -f -o rcs",
            "ksh",
            "ksh93 -e",
            "yash",
            "mksh -E",
            "mksh -o rc",
            "dash -o stdin",
            "bash -ostdin",
            "tcsh",
            "fish",
            "python3 -iu",
            "python3 -i -u",
            "python3 -W",
            "python3 -m x",
            "python3 -",
            "perl -dw",
            "perl -le",
            "perl -I",
            "ruby3.1",
            "lua5.4",
            "node -r",
            "node --require",
            "node --inspect",
            "php",
            "guile -s",
            "lua -i",
            "tclsh -x",
            "make -f",
            "busybox fish",
            "busybox",
            "awk -f",
            "jq -f",
        ] {
            assert!(!takes(line), "{line}");
        }
        let behind = |program: &[u8], before: &[&[u8]], behind: &[&[u8]]| {
            runs_alone(program, program, before, behind).is_ok()
        };
        assert!(behind(b"awk", &[b"-f"], &[b"a", b"-", b"--", b"-x"]) && behind(b"sed", &[b"-nf"], &[b"a"]));
        assert!(behind(b"awk", &[b"-F:", b"-v", b"x=1", b"-f"], &[]));
        assert!(!behind(b"awk", &[], &[]) && !behind(b"awk", &[b"-f", b"x", b"-f"], &[]));
        assert!(!behind(b"sed", &[b"-f"], &[b"a", b"-e"]) && !behind(b"sed", &[b"-i"], &[]));
    }
}
