//! Interpreters that may run for the scripts alone that a list names.

use serde::{Deserialize, Serialize};

use super::program::many;
use super::{CommandRules, Execution, last};

/// A script, and how its interpreter is started for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Script {
    /// What the interpreter is called by.
    pub(super) name: Vec<u8>,
    pub(super) before: Vec<Vec<u8>>,
    pub(super) file: Vec<u8>,
}

impl CommandRules {
    /// Whether an interpreter is started as the kernel, or what that started, runs a script that is allowed.
    pub(super) fn runs_script(
        &self,
        execution: &Execution<'_>,
        leads: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), ()> {
        let (own, arguments) = execution.arguments.split_first().ok_or(())?;
        let mut led: Option<(&[u8], Option<Vec<u8>>)> = None;
        let scripts = self.scripts.get(execution.file).into_iter().flatten();
        // A shell is a login shell by its name, Python has the modules beside it, and many programs in one file are told apart so.
        for script in scripts.filter(|script| *own == script.name || *own == last(&script.name)) {
            let given = arguments.get(..script.before.len()).unwrap_or_default();
            let same = given.iter().zip(&script.before).all(|(given, own)| given == own);
            let Some(rest @ [named, more @ ..]) = arguments.get(script.before.len()..).filter(|_| same)
            else {
                continue;
            };
            if runs_alone(execution.file, own, given, more).is_err() {
                continue;
            }
            // One look will do: what stands before is the same for most.
            if led.as_ref().is_none_or(|(word, _)| word != named) {
                led = Some((named, leads(named)));
            }
            let file = led.as_ref().and_then(|(_, file)| file.as_ref());
            let as_script = Execution { file: &script.file, arguments: rest, ..*execution };
            if file == Some(&script.file) && self.script(&as_script).is_ok() {
                return Ok(());
            }
        }
        Err(())
    }
}

/// Interpreters that run one file and hand it all that stands behind it. Each with the letters and words that take the next argument, or
/// read code from elsewhere: what stands behind one is not what runs. `*`: any.
const STOP: &[(&[&str], &[&str])] = &[
    (&["sh", "ash", "dash", "bash", "rbash", "ksh", "mksh", "posh", "yash", "zsh"], &["c", "s", "o", "O"]),
    (&["csh", "tcsh", "bsd-csh"], &["c", "s", "t", "d", "-"]),
    (&["fish"], &["c", "C", "d", "D", "f", "o", "-"]),
    (&["python", "pypy"], &["c", "i", "m", "W", "X", "-"]),
    (&["perl"], &["e", "E", "I", "d", "-"]),
    (&["ruby"], &["e", "I", "C", "E", "r", "-"]),
    (&["node", "nodejs"], &["e", "p", "i", "r", "C", "--require", "--import", "-"]),
    (&["php"], &["f", "r", "B", "R", "F", "E", "a", "c", "d", "z", "S", "t", "--file", "--"]),
    (&["lua"], &["e", "i", "l", "-"]),
    (&["tclsh"], &["*"]),
    (&["guile"], &["c", "e", "l", "L", "C", "x", "-ds"]),
    (&["env"], &[]),
];
/// Those that take the script as the value of an option, and go on reading options behind it, until `--`.
const UNTIL_DASHES: &[&str] =
    &["awk", "gawk", "mawk", "nawk", "original-awk", "bwk", "sed", "gsed", "jq", "gojq"];

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
        _ => (plain(last(file)), before),
    };
    let is = |names: &[&str]| names.iter().any(|own| own.as_bytes() == name);
    if is(UNTIL_DASHES) {
        let options = behind.iter().take_while(|word| **word != b"--");
        return match options.into_iter().any(|word| word.len() > 1 && word.starts_with(b"-")) {
            true => Err("takes options behind its script for its own"),
            false => Ok(()),
        };
    }
    let Some((_, valued)) = STOP.iter().find(|(names, _)| is(names)) else {
        return Err("is not known to run nothing but its script");
    };
    let takes = |word: &&[u8]| {
        valued.iter().any(|valued| match valued.as_bytes() {
            b"*" => true,
            [letter] if *letter != b'-' => {
                word.starts_with(b"-") && !word.starts_with(b"--") && word.ends_with(&[*letter])
            }
            valued => *word == valued,
        })
    };
    match before.last().is_some_and(takes) {
        true => Err("takes its script for the value of an option"),
        false => Ok(()),
    }
}

/// A name without its version.
fn plain(name: &[u8]) -> &[u8] {
    let end = name.iter().position(u8::is_ascii_digit).unwrap_or(name.len());
    let name = name.get(..end).unwrap_or(name);
    name.strip_suffix(b"-").unwrap_or(name)
}
