//! The workspace that is meant, and what a grant may lead to.

use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, Survey};
use ringfence_policy::{Mode, Policy};

use crate::environment;
use crate::failure::Failure;

/// What no policy may grant, it may not grant through a link either.
pub(crate) fn check_resolved(policy: &Policy, survey: &Survey, invoker: &Invoker) -> Result<(), Failure> {
    let context = environment::context(invoker);
    let forbidden =
        |invalid: ringfence_policy::Invalid, what: &str| Failure::new(format!("{what}: {invalid}"));
    if policy.workspace.mode != Mode::Temporary
        && let Some(invalid) = ringfence_policy::check_workspace(&survey.workspace.real, &context)
    {
        return Err(forbidden(invalid, "workspace")
            .hint("change to the project's directory, or name it with `--workspace`"));
    }
    for (list, writable) in [(&survey.read, false), (&survey.exec, false), (&survey.write, true)] {
        for found in list {
            let Some(place) = found.place.as_ref().filter(|place| !place.links.is_empty()) else { continue };
            if let Some(invalid) = ringfence_policy::check_grant(&place.real, writable, &context) {
                let origin = &found.grant.origin;
                return Err(forbidden(invalid, &format!("{}:{}", origin.source, origin.line)));
            }
        }
    }
    Ok(())
}

/// The directory that is worked on. `named`: on the command line.
pub(crate) fn workspace(policy: &Policy, invoker: &Invoker, named: Option<&Path>) -> PathBuf {
    match (named, &policy.workspace.path) {
        (Some(path), _) => invoker.cwd.join(path),
        (None, Some(rule)) => rule.value.clone(),
        (None, None) => invoker.cwd.clone(),
    }
}
