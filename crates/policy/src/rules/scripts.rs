//! Interpreters that may run for the scripts alone that a list names.

use serde::{Deserialize, Serialize};

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
            if !script.before.is_empty() && reads_on(execution.file, more) {
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

/// Programs that take a script as the value of an option (`awk -f`), and go on reading options behind it, until `--`.
const UNTIL_DASHES: &[&str] = &[
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "original-awk",
    "sed",
    "gsed",
    "make",
    "gmake",
    "bmake",
    "jq",
    "nft",
    "psql",
    "expect",
];
/// The same, to the end.
const TO_THE_END: &[&str] =
    &["gdb", "gdb-multiarch", "lldb", "emacs", "emacs-nox", "emacs-gtk", "mysql", "sqlite3"];

/// Whether an interpreter whose own arguments stand before the script would take some of these, behind it, for options.
#[must_use]
pub fn reads_on(interpreter: &[u8], arguments: &[&[u8]]) -> bool {
    let is = |names: &[&str]| names.iter().any(|name| name.as_bytes() == last(interpreter));
    let option = |word: &&[u8]| word.starts_with(b"-");
    let dashes = |word: &&&[u8]| **word != b"--";
    is(TO_THE_END) && arguments.iter().any(option)
        || is(UNTIL_DASHES) && arguments.iter().take_while(dashes).any(option)
}
