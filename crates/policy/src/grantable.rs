//! What may be granted while a sandbox runs.

use std::path::Path;

use crate::decision::{Access, Decision, Judge};
use crate::model::{Policy, Rule};
use crate::path::normal;
use crate::pattern::PathPattern;
use crate::secrets::{known_secrets, why_secret};

impl Judge<'_> {
    /// The rule that lets `path` (absolute, as the host names it, free of links) be granted for reading.
    ///
    /// # Errors
    /// Why it may not, in a sentence.
    pub fn grantable(&self, path: &Path) -> Result<&Rule<PathPattern>, String> {
        let path = normal(path).map_err(|invalid| invalid.message)?;
        let shown = path.display();
        let none = || format!("no rule of `approvals.grantable.read` covers `{shown}`");
        let covering =
            || self.policy.approvals.read.iter().filter(|rule| rule.value.matches(Path::new("/"), &path));
        let rule = covering().next().ok_or_else(none)?;
        if self.policy.approvals.read.iter().all(|rule| rule.value.literal() != Some(&path)) {
            // As a grant of the policy does, only the very path opens a known secret.
            let secrets = known_secrets(&self.policy.home);
            if let Some(secret) = secrets.iter().find(|secret| secret.matches(Path::new("/"), &path)) {
                let why = why_secret(secret);
                return Err(format!(
                    "`{shown}` is a known secret ({why}): only a rule that names it makes it grantable"
                ));
            }
            if let Some(below) = secrets
                .iter()
                .map(|secret| secret.base(Path::new("/")))
                .find(|base| base.starts_with(&path) && base.symlink_metadata().is_ok())
            {
                return Err(format!(
                    "`{}` lies in it, where secrets are known to be: grant what is beside it",
                    below.display()
                ));
            }
        }
        // It would be a tree of its own, from which relative patterns count as well.
        let wild = self.policy.files.deny.iter().filter(|rule| rule.value.literal().is_none());
        let denies =
            |rule: &&Rule<PathPattern>| path.ancestors().skip(1).any(|root| rule.value.matches(root, &path));
        if let Some(rule) = wild.into_iter().find(denies) {
            return Err(format!("refused: `{}` in `files.deny` ({})", rule.value.text(), rule.origin));
        }
        match self.file(&path, Access::Read) {
            Decision::Allow { by } => Err(format!("`{shown}` is granted already: {by}")),
            Decision::Refuse { by } if by.stands() => Err(format!("refused: {by}")),
            Decision::Refuse { .. } => Ok(rule),
        }
    }
}

/// Directories below which something may be granted.
pub fn grantable_bases(policy: &Policy) -> impl Iterator<Item = std::path::PathBuf> {
    policy.approvals.read.iter().map(|rule| rule.value.base(Path::new("/")))
}
