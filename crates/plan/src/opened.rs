//! What the policy names in a directory of secrets that a wider grant would show: it is shown, and nothing beside it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_policy::{Mode, Policy};

use crate::steps::Step;
use crate::survey::{Marked, Survey};
use crate::{Plan, Refused};

/// Whether `path` lies below `directory`; without a look at its names, since thousands may be asked about.
pub(crate) fn below(path: &Path, directory: &Path) -> bool {
    let rest = path.as_os_str().as_bytes().strip_prefix(directory.as_os_str().as_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Whether it is named in a directory of secrets, and hidden for no other reason.
pub(crate) fn named(survey: &Survey, path: &Path) -> bool {
    let found = survey.read.iter().chain(&survey.exec).chain(&survey.write);
    let named = found.filter_map(|found| found.place.as_ref()).any(|place| place.real == path);
    let hides = |marked: &&Marked| path.starts_with(&marked.path);
    let known = |marked: &Marked| survey.shut().any(|shut| shut == marked) && marked.path != path;
    named && survey.hidden.iter().filter(hides).all(known)
}

/// Directories of secrets of which something is shown.
///
/// # Errors
/// One lies where nothing can be shown instead of it.
pub(crate) fn directories(policy: &Policy, survey: &Survey) -> Result<Vec<PathBuf>, Refused> {
    let mut opened = Vec::new();
    let workspace = &survey.workspace.real;
    for marked in survey.shut() {
        let found = survey.read.iter().chain(&survey.exec).chain(&survey.write);
        let below = |real: &Path| below(real, &marked.path);
        let mut named = found.filter(|found| found.place.as_ref().is_some_and(|place| below(&place.real)));
        let Some(found) = named.next() else { continue };
        let inside = policy.workspace.mode != Mode::Temporary && marked.path.starts_with(workspace);
        if inside || policy.runtime.user_namespaces {
            let why = match inside {
                true => "in the workspace it is hidden as a whole",
                false => "with `runtime.user_namespaces` it is hidden as a whole",
            };
            return Err(Refused::rule(
                &found.grant.origin,
                format!(
                    "{} lies in {}, a {}: {why}",
                    found.grant.value.path.display(),
                    marked.path.display(),
                    marked.because
                ),
                "remove the line, or grant no directory above that one",
            ));
        }
        opened.push(marked.path.clone());
    }
    Ok(opened)
}

impl Plan {
    /// The rule by which a path is hidden in what is shown above it, if it is.
    #[must_use]
    pub fn hides(&self, path: &Path) -> Option<&str> {
        if let Some(hosted) = &self.hosted {
            let hidden = hosted.hidden.iter().find(|hidden| path.starts_with(&hidden.path))?;
            let mut rules = self.landlock.iter().flat_map(|landlock| &landlock.rules);
            let opened = rules.any(|(_, rule)| path.starts_with(rule) && rule.starts_with(&hidden.path));
            return (!opened).then_some(hidden.because.as_str());
        }
        self.steps.iter().find_map(|step| match step {
            Step::Hide { path: hidden, because, .. } if path.starts_with(hidden) => Some(because.as_str()),
            _ => None,
        })
    }
}
