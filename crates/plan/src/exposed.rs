//! What the task sees of credentials: placeholders, in variables and in files that only the sandbox has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringfence_policy::Policy;

use crate::mounts::Builder;
use crate::{Refused, Request};

/// Placeholders, where the task finds them.
#[derive(Clone, Debug, Default)]
pub struct Exposed {
    /// Variables.
    pub variables: BTreeMap<String, String>,
    /// Files and what they hold.
    pub files: BTreeMap<PathBuf, String>,
}

impl Builder {
    /// Shows the files. They stand only where the sandbox has nothing of the host: there they would lie over something.
    pub(crate) fn exposed(&mut self, policy: &Policy, request: &Request) -> Result<(), Refused> {
        for (path, text) in &request.exposed.files {
            if self.place_file(path, text) {
                continue;
            }
            let file = |rule: &&ringfence_policy::Rule<ringfence_policy::Credential>| {
                rule.value.expose.as_ref().and_then(|expose| expose.file.as_ref()) == Some(path)
            };
            let Some(rule) = policy.credentials.values().find(file) else { continue };
            return Err(Refused::rule(
                &rule.origin,
                format!(
                    "`{}` lies in what the sandbox shows of the host, or is there already",
                    path.display()
                ),
                "name a place outside of the workspace and of every grant, /tmp, /dev and /proc",
            ));
        }
        Ok(())
    }
}
