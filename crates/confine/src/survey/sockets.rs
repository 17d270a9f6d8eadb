//! Sockets of the host that the gateway connects to, by their paths: the task must not decide what is there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ringfence_plan::{Place, Refused, Survey};
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
    let engine = policy.containers.as_ref().map(|containers| &containers.engine);
    for rule in policy.network.unix.iter().chain(engine) {
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

/// Every place that decides where the path leads: links on the way, and its end, which need not exist: a server may make it later.
pub fn way(path: &Path) -> Vec<PathBuf> {
    let mut way = Vec::new();
    let mut whole = path.to_path_buf();
    // As many links as the kernel follows (path_resolution(7)).
    for _ in 0..40 {
        let (place, rest) = nearest(&whole);
        let Some(place) = place else { break };
        way.extend(place.links.into_iter().map(|link| link.path));
        let mut rest = rest.into_iter().rev();
        let Some(missing) = rest.next().map(|name| place.real.join(name)) else {
            whole = place.real;
            break;
        };
        let rest: PathBuf = rest.collect();
        let Ok(target) = std::fs::read_link(&missing) else {
            whole = missing.join(rest);
            break;
        };
        // A link to what does not exist.
        whole = place.real.join(target).join(rest);
        way.push(missing);
    }
    way.push(whole);
    way
}

/// What exists of a path, and the names behind it, the last one first.
fn nearest(path: &Path) -> (Option<Place>, Vec<OsString>) {
    let mut rest = Vec::new();
    for at in path.ancestors() {
        if let Ok(place) = resolve(at, false) {
            return (Some(place), rest);
        }
        rest.extend(at.file_name().map(OsString::from));
    }
    (None, rest)
}
