//! What git cannot do in a workspace whose repository lies elsewhere.

use ringfence_policy::{Mode, Policy};

use crate::survey::Survey;

/// In one sentence, with the remedy; `None`: nothing that it can do elsewhere.
pub(crate) fn fails(policy: &Policy, survey: &Survey, hosted: bool) -> Option<String> {
    let apart = survey.git_apart.as_ref()?;
    let directory = apart.directory.display();
    let copied = hosted && matches!(policy.workspace.mode, Mode::Review | Mode::Discard);
    Some(match (policy.workspace.git, hosted) {
        (_, true) if copied && apart.submodule => format!(
            "the workspace is a submodule of the repository at {directory}, and git finds none in a copy (tier `landlock`): \
             `ringfence apply --branch NAME` makes the commit, or run where tier `namespace` can be had"
        ),
        (true, true) => format!(
            "git's directory {directory} can be read, not written (tier `landlock`), so that git adds and commits nothing: \
             `ringfence apply --branch NAME` makes the commit, or run where tier `namespace` can be had"
        ),
        (false, _) => format!(
            "git's directory {directory} lies outside of the workspace and is not shown, so that git fails: \
             `workspace.git = true` in the policy shows it"
        ),
        (true, false) => return None,
    })
}
