//! What a policy would have to say to allow what it refuses.

use std::path::Path;

use crate::decision::{Access, Judge};
use crate::model::{Grant, Mode, Rule};
use crate::path::{check_characters, first_wildcard, normal};
use crate::print::{quoted, spelled};

/// The lines that grant a file for reading.
#[must_use]
pub fn read_remedy(path: &Path) -> Vec<String> {
    vec!["[files]".to_owned(), format!("read = [{}]", quoted(&spelled(path)))]
}

impl Judge<'_> {
    /// The fewest lines of policy, as TOML, that allow this; none if it is allowed, if a rule has to go first, or if no policy with these
    /// lines would load.
    pub fn remedy(&self, path: &Path, access: Access) -> Vec<String> {
        let decision = self.file(path, access);
        if decision.is_allow() || decision.reason().stands() {
            return Vec::new();
        }
        self.lines(path, access)
    }

    /// The lines that grant it, whatever is said of it now; none if no policy takes them.
    pub fn lines(&self, path: &Path, access: Access) -> Vec<String> {
        let Ok(path) = &normal(path) else { return Vec::new() };
        let workspace = self.holds(path);
        let (table, line) = match access {
            Access::Write if workspace && self.policy.workspace.mode == Mode::Read => {
                ("[workspace]", "mode = \"review\"".to_owned())
            }
            Access::Exec if workspace => ("[commands]", "from_workspace = true".to_owned()),
            _ if !self.takes(path, access) => return Vec::new(),
            Access::Read => ("[files]", format!("read = [{}]", self.quoted(path))),
            Access::Write => ("[files]", format!("write = [{}]", self.quoted(path))),
            Access::Exec => ("[files]", format!("exec = [{}]", self.quoted(path))),
        };
        vec![table.to_owned(), line]
    }

    /// Whether a grant can name it beside the others: it is no pattern, and nothing may be written and executed.
    fn takes(&self, path: &Path, access: Access) -> bool {
        let written = path.to_str().filter(|written| check_characters(written).is_ok());
        if written.is_none_or(|written| first_wildcard(written).is_some()) || path.components().count() < 2 {
            return false;
        }
        let meets = |rule: &Rule<Grant>| {
            let other = &rule.value.path;
            let own = self.holds(path) && self.holds(other);
            !own && (path.starts_with(other) || other.starts_with(path))
        };
        match access {
            Access::Read => true,
            Access::Write => !self.policy.files.exec.iter().any(meets),
            Access::Exec => !self.policy.files.write.iter().any(meets),
        }
    }

    /// A path as a TOML string, from the home if it lies there.
    fn quoted(&self, path: &Path) -> String {
        match path.strip_prefix(&self.policy.home) {
            Ok(rest) if !rest.as_os_str().is_empty() => quoted(&format!("~/{}", spelled(rest))),
            _ => quoted(&spelled(path)),
        }
    }
}
