//! What git cannot do in a workspace whose repository lies elsewhere.

use ringfence_policy::{Mode, Policy};

use crate::print::escape;
use crate::survey::{Found, Survey};

/// In one sentence, with the remedy; `None`: nothing that it can do elsewhere, as far as the policy tells.
pub(crate) fn fails(policy: &Policy, survey: &Survey, hosted: bool) -> Option<String> {
    let apart = survey.git_apart.as_ref()?;
    let covers =
        |found: &Found| found.place.as_ref().is_some_and(|place| apart.directory.starts_with(&place.real));
    let directory = escape(&apart.directory);
    let copied = hosted && matches!(policy.workspace.mode, Mode::Review | Mode::Discard);
    if copied && apart.submodule {
        return Some(format!(
            "the workspace is a submodule of the repository at {directory}, and git finds none in a copy (tier `landlock`): \
             `ringfence apply --branch NAME` makes the commit, or run where tier `namespace` can be had"
        ));
    }
    if survey.write.iter().any(covers) || policy.workspace.git && !hosted {
        return None;
    }
    let shown = survey.git.iter().any(|git| apart.directory.starts_with(&git.place.real));
    let remedy = match hosted {
        true => "`ringfence apply --branch NAME` makes the commit, or run where tier `namespace` can be had",
        false => "`workspace.git = true` in the policy lets it be worked on",
    };
    Some(match shown || survey.read.iter().any(covers) {
        true => format!(
            "git's directory {directory} can be read, not written, so that git adds and commits nothing: {remedy}"
        ),
        false => format!(
            "git's directory {directory} lies outside of the workspace and is not shown, so that git fails: \
             `workspace.git = true` in the policy shows it"
        ),
    })
}

/// What `apply` holds back of a git directory outside the workspace: what git executes or obeys there
/// (gitrepository-layout(5), git-config(1), gitattributes(5)).
pub(crate) fn protect() -> Vec<String> {
    let names = [
        "hooks",
        "config",
        "config.worktree",
        "info/attributes",
        "objects/info/alternates",
        "worktrees/*/commondir",
        "worktrees/*/gitdir",
        "worktrees/*/config.worktree",
        "modules/**/hooks",
        "modules/**/config",
    ];
    names.map(str::to_owned).to_vec()
}
