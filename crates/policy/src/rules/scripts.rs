//! Interpreters that may run for the scripts alone that a list names.

use serde::{Deserialize, Serialize};

use super::interpreters::runs_alone;
use super::{CommandRules, Execution};

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
        // And those look beside what PATH has by that name: only env(1) leaves out where it found one.
        for script in scripts.filter(|script| *own == script.name) {
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
