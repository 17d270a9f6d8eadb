//! What a policy of tier `landlock` may not combine.

use std::path::Path;

use ringfence_policy::{Mode, Policy};

use super::Place;
use crate::grants::{Access, Grants};
use crate::survey::{Marked, Survey};
use crate::{Refused, guard, opened};

/// Landlock adds up: what lies below a wider grant has that one's rights too. Where mounts would say less, it is refused.
pub(super) fn check(policy: &Policy, survey: &Survey, grants: &Grants, place: &Place) -> Result<(), Refused> {
    let refused = |part: &str, cause: String, remedy: &str| {
        Err(Refused { part: part.into(), cause: format!("{cause} (tier `landlock`)"), remedy: remedy.into() })
    };
    let mut written: Vec<&Path> = grants
        .mounts
        .iter()
        .filter(|granted| granted.access == Access::Write)
        .map(|granted| granted.place.real.as_path())
        .collect();
    let listed = guard::listed(policy);
    let executed = |path: &Path| {
        grants.mounts.iter().any(|granted| {
            granted.access == Access::Execute
                && !listed
                && path.starts_with(&granted.place.real)
                && path != granted.place.real
        })
    };
    if let Some(path) = written.iter().find(|path| executed(path)) {
        return refused(
            "files.write",
            format!("{} lies in an executable tree, and what is written there could be run", path.display()),
            "grant a directory outside of it",
        );
    }
    let inside = |path: &Path| written.iter().any(|tree| path.starts_with(tree));
    if let Some(program) = guard::started(survey).find(|program| inside(&program.real)) {
        return refused(
            "files.write",
            format!(
                "{} is listed in `[commands]` and lies in a tree that is written",
                program.real.display()
            ),
            "grant a directory without it, or list another program",
        );
    }
    if let Some(root) = &place.direct {
        if !place.read {
            written.push(root);
        }
        if !policy.from_workspace && executed(root) {
            return refused(
                "commands.from_workspace",
                format!("{} lies in an executable tree", root.display()),
                "set it to true, or choose `workspace.mode = \"review\"`",
            );
        }
    }
    let real = &survey.workspace.real;
    let kept = place.read || !place.copies.is_empty() && policy.workspace.mode != Mode::Temporary;
    if let Some(path) = written.iter().find(|path| kept && real.starts_with(path)) {
        return refused(
            "files.write",
            format!("it grants {}, and with it the workspace itself", path.display()),
            "grant less, or choose `workspace.mode = \"direct\"`",
        );
    }
    let inside = |marked: &&Marked| written.iter().any(|path| marked.path.starts_with(path));
    if let Some(marked) = survey.hidden.iter().find(inside) {
        return refused(
            &marked.because,
            format!(
                "{} lies in a tree that is written, where Landlock cannot hide it",
                marked.path.display()
            ),
            "choose `workspace.mode = \"review\"`, whose copy leaves it out, or grant a smaller tree",
        );
    }
    opened::directories(policy, survey).map(drop)
}
