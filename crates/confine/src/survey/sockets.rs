//! Sockets of the host that the gateway connects to, by their paths: the task must not decide what is there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ringfence_plan::{Refused, Survey};
use ringfence_policy::{Mode, Policy};

use super::resolve;

/// Refuses those that lie, or are led to, where the task writes the host's files: a link put there would lead the gateway,
/// which has the invoker's rights, to any other socket.
pub(super) fn check(policy: &Policy, survey: &Survey) -> Result<(), Refused> {
    let direct = policy.workspace.mode == Mode::Direct;
    let own = std::iter::once(&survey.workspace)
        .chain(survey.git.iter().filter(|git| !git.read_only).map(|git| &git.place));
    let written: Vec<&Path> = survey
        .write
        .iter()
        .filter_map(|found| found.place.as_ref())
        .chain(own.filter(|_| direct))
        .map(|place| place.real.as_path())
        .collect();
    for rule in &policy.network.unix {
        let way = way(&rule.value);
        let Some(tree) = written.iter().find(|tree| way.iter().any(|place| place.starts_with(tree))) else {
            continue;
        };
        return Err(Refused::rule(
            &rule.origin,
            format!(
                "the socket {} is found by way of {}, where the task writes: it could put a link to another socket there",
                rule.value.display(),
                tree.display()
            ),
            "have its server listen in a directory that the task cannot write, or grant the directory for reading, \
             or choose `workspace.mode = \"review\"`",
        ));
    }
    Ok(())
}

/// Every place that decides where the path leads: links on the way, and its end.
fn way(path: &Path) -> Vec<PathBuf> {
    let (mut at, mut rest) = (path, Vec::<OsString>::new());
    loop {
        if let Ok(place) = resolve(at, false) {
            let end = rest.iter().rev().fold(place.real, |end, name| end.join(name));
            return place.links.into_iter().map(|link| link.path).chain([end]).collect();
        }
        // Its server does not run yet.
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return vec![path.to_path_buf()];
        };
        rest.push(name.to_os_string());
        at = parent;
    }
}
