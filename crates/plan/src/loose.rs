//! What holds by a mount alone, and not for a task that has mounts of its own: who has a directory open, and leaves the mounts that lie in it
//! (pivot_root(2)), renames and removes what they lie on (rename(2): EBUSY is for mounts of the caller's own namespace).

use std::path::Path;

use ringfence_policy::Policy;

use crate::steps::Step;
use crate::{Degraded, Refused, Request};

/// Name of it for `--allow-degraded`.
pub(crate) const MASKS: &str = "masks";
/// So many paths are named.
const SHOWN: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Region {
    /// The host's files are written.
    Host,
    /// They are read, and a layer is written.
    Copy,
    Other,
}

/// Refuses `runtime.user_namespaces` where something in a tree that is written is hidden or kept from being written, unless the owner does without.
pub(crate) fn check(
    policy: &Policy,
    steps: &[Step],
    request: &Request,
    degraded: &mut Vec<Degraded>,
) -> Result<(), Refused> {
    let origin = policy.origins.get("runtime.user_namespaces");
    let Some(origin) = origin.filter(|_| policy.runtime.user_namespaces) else { return Ok(()) };
    let found = loose(steps);
    if found.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> =
        found.iter().take(SHOWN).map(|path| format!("`{}`", path.display())).collect();
    if found.len() > SHOWN {
        names.push(format!("{} more", found.len() - SHOWN));
    }
    let names = names.join(", ");
    if request.allow_degraded.contains(MASKS) {
        let effect = format!(
            "{names}: a task with mounts of its own can uncover or change what is hidden or protected in a tree that it writes to"
        );
        degraded.push(Degraded { name: MASKS.into(), effect });
        return Ok(());
    }
    Err(Refused::rule(
        origin,
        format!(
            "{names}: hidden or protected in a tree that the task writes to, which does not hold beside `runtime.user_namespaces`: a task with mounts of its own takes that away"
        ),
        "remove it, or keep these files elsewhere; `--allow-degraded masks` runs without that protection",
    ))
}

fn loose(steps: &[Step]) -> Vec<&Path> {
    let mut regions: Vec<(&Path, Region)> = Vec::new();
    let mut found = Vec::new();
    for step in steps {
        let path = step.path();
        let within = regions.iter().rev().find(|(region, _)| path.starts_with(region) && path != *region);
        let within = within.map_or(Region::Other, |(_, region)| *region);
        let (lost, region) = match step {
            Step::Bind { flags, .. } if !flags.read_only => (false, Some(Region::Host)),
            Step::Overlay { flags, .. } if !flags.read_only => (within == Region::Host, Some(Region::Copy)),
            Step::Bind { .. } | Step::Overlay { .. } | Step::Tmpfs { .. } => {
                (within == Region::Host, Some(Region::Other))
            }
            Step::Pin { flags, .. } => (flags.read_only && within == Region::Host, None),
            Step::Hide { .. } | Step::Cover { .. } => (within != Region::Other, None),
            _ => (false, None),
        };
        if lost {
            found.push(path);
        }
        regions.extend(region.map(|region| (path, region)));
    }
    found
}
