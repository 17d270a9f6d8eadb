//! The workspace that is meant, and what a grant may lead to.

use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, Survey};
use ringfence_policy::{Context, Mode, Policy, Source};

use crate::environment;
use crate::failure::{Context as _, Failure};

/// What no policy may grant, it may not grant through a link either.
pub(crate) fn check_resolved(policy: &Policy, survey: &Survey, invoker: &Invoker) -> Result<(), Failure> {
    let context = environment::context(invoker);
    if let Some(failure) = unfit(policy, &context, &survey.workspace.real) {
        return Err(failure);
    }
    for (list, writable) in [(&survey.read, false), (&survey.exec, false), (&survey.write, true)] {
        for found in list {
            let Some(place) = found.place.as_ref().filter(|place| !place.links.is_empty()) else { continue };
            if let Some(invalid) = ringfence_policy::check_grant(&place.real, writable, &context) {
                let origin = &found.grant.origin;
                return Err(Failure::new(format!("{}:{}: {invalid}", origin.source, origin.line)));
            }
        }
    }
    Ok(())
}

/// Why the directory that was named cannot be the workspace, if that is why it could not be looked at.
pub(crate) fn refused(policy: &Policy, invoker: &Invoker, named: &Path) -> Option<Failure> {
    unfit(policy, &environment::context(invoker), &named.canonicalize().ok()?)
}

fn unfit(policy: &Policy, context: &Context, real: &Path) -> Option<Failure> {
    let why = match policy.workspace.mode {
        // An empty directory hides what is there; the sandbox's own root is no place for one.
        Mode::Temporary if real != Path::new("/") => return None,
        Mode::Temporary => "`/` cannot be the workspace: the sandbox's own root is there".to_owned(),
        _ => ringfence_policy::check_workspace(real, context)?.to_string(),
    };
    let hint = "change to the project's directory, or name it with `--workspace`";
    Some(Failure::new(format!("workspace: {why}")).hint(hint))
}

/// The directory that is worked on. `named`: on the command line.
pub(crate) fn workspace(policy: &Policy, invoker: &Invoker, named: Option<&Path>) -> PathBuf {
    match (named, &policy.workspace.path) {
        (Some(path), _) => invoker.cwd.join(path),
        (None, Some(rule)) => rule.value.clone(),
        (None, None) => invoker.cwd.clone(),
    }
}

/// Where it is kept how a sandbox was asked for.
const ASKED: &str = "asked.json";

/// Keeps which policies were named for a sandbox, for its forks.
pub(crate) fn remember(run: &Path, named: &[Source], invoker: &Invoker) -> Result<(), Failure> {
    let one = |source: &Source| match source {
        Source::Preset(name) => ("preset", name.clone()),
        Source::File(path) => ("file", invoker.cwd.join(path).display().to_string()),
    };
    let named: Vec<_> = named.iter().map(one).collect();
    let text = serde_json::to_vec(&named).context("the policies that were named")?;
    std::fs::write(run.join(ASKED), text).context("the policies that were named")
}

/// Those of an earlier sandbox; none: one was found, or it was the default.
pub(crate) fn remembered(run: &Path) -> Result<Vec<Source>, Failure> {
    let text = match std::fs::read(run.join(ASKED)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context("the policies that were named")?,
    };
    let named: Vec<(String, String)> =
        serde_json::from_slice(&text).context("the policies that were named")?;
    let one = |(kind, name): (String, String)| match kind.as_str() {
        "preset" => Source::Preset(name),
        _ => Source::File(name.into()),
    };
    Ok(named.into_iter().map(one).collect())
}
