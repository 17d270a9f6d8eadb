//! What a policy would have to say to allow what it refuses.

use std::path::Path;

use crate::decision::{Access, Judge};
use crate::model::Mode;
use crate::print::{quoted, spelled};

/// The lines that grant a file for reading.
#[must_use]
pub fn read_remedy(path: &Path) -> Vec<String> {
    vec!["[files]".to_owned(), format!("read = [{}]", quoted(&spelled(path)))]
}

impl Judge<'_> {
    /// The fewest lines of policy, as TOML, that allow this; none if it is allowed, or if a rule has to go first.
    pub fn remedy(&self, path: &Path, access: Access) -> Vec<String> {
        let decision = self.file(path, access);
        if decision.is_allow() || decision.reason().stands() {
            return Vec::new();
        }
        let workspace = self.holds(path);
        let (table, line) = match access {
            Access::Write if workspace && self.policy.workspace.mode == Mode::Read => {
                ("[workspace]", "mode = \"review\"".to_owned())
            }
            Access::Exec if workspace => ("[commands]", "from_workspace = true".to_owned()),
            Access::Read => ("[files]", format!("read = [{}]", self.quoted(path))),
            Access::Write => ("[files]", format!("write = [{}]", self.quoted(path))),
            Access::Exec => ("[files]", format!("exec = [{}]", self.quoted(path))),
        };
        vec![table.to_owned(), line]
    }

    /// A path as a TOML string, from the home if it lies there.
    fn quoted(&self, path: &Path) -> String {
        match path.strip_prefix(&self.policy.home) {
            Ok(rest) if !rest.as_os_str().is_empty() => quoted(&format!("~/{}", spelled(rest))),
            _ => quoted(&spelled(path)),
        }
    }
}
