//! What may be granted while a sandbox runs.

use std::path::Path;

use crate::decision::{Access, Decision, Judge};
use crate::destination::Destination;
use crate::diagnostic::{Invalid, Report};
use crate::document::{ApprovalsTable, GrantableTable, NetworkRule, ON_REFUSAL};
use crate::guarded;
use crate::merge::{Merged, replace_by, valid};
use crate::model::{Policy, Rule};
use crate::path::{Scope, normal};
use crate::pattern::PathPattern;
use crate::reader::choice;
use crate::secrets::{known_secrets, why_secret};

impl Merged {
    pub(crate) fn add_approvals(&mut self, table: &ApprovalsTable, scope: &Scope<'_>, report: &mut Report) {
        if let Some(written) = &table.on_refusal {
            let read =
                choice("approvals.on_refusal", written, &ON_REFUSAL, report).map(|ask| written.with(ask));
            replace_by(&mut self.ask, read.as_ref());
        }
        if let Some(grantable) = &table.grantable {
            self.add_grantable(grantable, scope, report);
        }
    }

    fn add_grantable(&mut self, table: &GrantableTable, scope: &Scope<'_>, report: &mut Report) {
        if let Some(list) = &table.read {
            self.lists.insert("approvals.grantable.read", list.place);
            for text in &list.value {
                let read = PathPattern::parse(&text.value, scope.context);
                let read = read.and_then(|read| match read.is_absolute() {
                    true => Ok(read),
                    false => {
                        Err(Invalid::new("what may be granted while a sandbox runs is an absolute path")
                            .help("the workspace is granted as it is; begin with `/` or `~`"))
                    }
                });
                if let Some(read) = valid(text, read, report) {
                    self.grantable.add(read);
                }
            }
        }
        if let Some(list) = &table.commands {
            self.lists.insert("approvals.grantable.commands", list.place);
            for entry in &list.value {
                match guarded::program(entry, scope) {
                    Ok(read) => drop(self.grantable_commands.add(entry.with(read))),
                    Err(problem) => report.push(problem),
                }
            }
        }
        if let Some(list) = &table.credentials {
            self.lists.insert("approvals.grantable.credentials", list.place);
            self.grantable_credentials.extend(list.value.iter().cloned());
        }
        if let Some(list) = &table.hosts {
            self.lists.insert("approvals.grantable.hosts", list.place);
            for entry in &list.value {
                match Destination::read(&entry.with(NetworkRule::Text(entry.value.clone()))) {
                    Ok(read) => self.grantable_hosts.push(entry.with(read)),
                    Err(problem) => report.push(problem),
                }
            }
        }
    }
}

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
        if let Some(decoy) = self.policy.files.decoy.iter().find(|decoy| decoy.value.starts_with(&path)) {
            return Err(format!("a decoy stands at `{}`: grant what is beside it", decoy.value.display()));
        }
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
        if self.of_secrets(&path) {
            return Err(format!("`{shown}` is a directory of secrets, which no grant opens as a whole"));
        }
        let named = || self.policy.approvals.read.iter().any(|rule| rule.value.literal() == Some(&path));
        if let Some((place, secret)) = self.led(&path).filter(|(place, _)| *place == path || !named()) {
            let (place, why) = (place.display(), why_secret(secret));
            return Err(format!(
                "`{shown}` is a known secret by another name: `{secret}` ({why}) leads to `{place}`"
            ));
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
