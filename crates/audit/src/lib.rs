//! What a policy would leave open, ranked; and the lists that say so, which `probe` uses as well.
//!
//! [`audit`] works on a policy that was loaded: what a policy may never do is refused before (`ringfence_policy::load`). It decides
//! nothing for `run`. With [`Subject::look`] it reads files of the host that the task could read, never more of them than are bounded here.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]

mod commands;
mod credentials;
mod data;
mod files;
mod finding;
mod history;
mod network;
mod rules;
mod sarif;
mod secrets;
#[cfg(test)]
mod tests;
mod texts;

use std::path::{Path, PathBuf};

use ringfence_policy::{Origin, Policy};

pub use data::{Later, Socket, Variable, places, sockets, variables};
pub use finding::{Finding, Level, Rule};
pub use sarif::sarif;
pub use secrets::names_in_trees;

use finding::Found;

/// What is looked at.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The directory that is worked on.
    pub workspace: &'a Path,
    /// Directories of the invoker's PATH.
    pub search: &'a [PathBuf],
    /// Also look at the host's files.
    pub look: bool,
}

/// All kinds of findings.
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    rules::ALL
}

/// Looks, and ranks: the worst first, then in the order of documents and lines.
#[must_use]
pub fn audit(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    secrets::look(subject, &mut found);
    files::look(subject, &mut found);
    network::look(subject.policy, &mut found);
    commands::look(subject.policy, &mut found);
    credentials::look(subject.policy, subject.workspace, &mut found);
    let mut found = found.0;
    rank(&mut found);
    found
}

/// The worst first.
pub fn rank(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        b.level.cmp(&a.level).then_with(|| (&a.file, a.line, a.rule.id).cmp(&(&b.file, b.line, b.rule.id)))
    });
}

/// What `run` would refuse on this host.
#[must_use]
pub fn would_not_run(at: Option<&Origin>, what: String, remedy: String) -> Finding {
    let mut found = Found::default();
    found.add(&rules::WOULD_NOT_RUN, at, what, "`run` refuses the policy on this host", remedy);
    // It was just put there.
    found.0.remove(0)
}

/// What is wrong with a policy that does not load.
#[must_use]
pub fn invalid(diagnostics: &ringfence_policy::Diagnostics) -> Vec<Finding> {
    let one = |diagnostic: &ringfence_policy::Diagnostic| Finding {
        rule: &rules::INVALID,
        level: Level::High,
        what: diagnostic.title.clone(),
        why: "the policy is refused as a whole".to_owned(),
        file: diagnostic.source.name.to_string(),
        line: diagnostic.line(),
        remedy: diagnostic.help.clone().unwrap_or_default(),
        accepted: false,
    };
    diagnostics.list().iter().map(one).collect()
}
