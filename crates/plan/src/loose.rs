//! What holds by a mount alone, and not for a task that has mounts of its own: who has a directory open, and leaves the mounts that lie in it
//! (pivot_root(2)), renames and removes what they lie on (rename(2): EBUSY is for mounts of the caller's own namespace).

use std::path::{Path, PathBuf};

use ringfence_policy::Policy;

use crate::mounts::Layout;
use crate::steps::Step;
use crate::survey::{Kind, Survey};
use crate::{Degraded, Layer, Masked, Refused, Request};

/// Name of it for `--allow-degraded`.
pub(crate) const NAME: &str = "masks";
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

/// Refuses `runtime.user_namespaces` where something in a tree that is written is hidden or kept from being written, unless the owner does
/// without. In a view that is copied on write there is something empty below what is hidden, and what is protected is held when it lands.
pub(crate) fn check(
    policy: &Policy,
    layout: &mut Layout,
    survey: &Survey,
    root: bool,
    request: &Request,
    degraded: &mut Vec<Degraded>,
) -> Result<(), Refused> {
    let origin = policy.origins.get("runtime.user_namespaces");
    let Some(origin) = origin.filter(|_| policy.runtime.user_namespaces) else { return Ok(()) };
    if policy.runtime.io_uring && root {
        return Err(Refused::rule(
            origin,
            "started by root and beside `runtime.io_uring`, it lets a task give capabilities of the host to files that it writes",
            "remove one of the two, or run it as an ordinary user",
        ));
    }
    let found = loose(layout, survey);
    if found.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> =
        found.iter().take(SHOWN).map(|path| format!("`{}`", path.display())).collect();
    if found.len() > SHOWN {
        names.push(format!("{} more", found.len() - SHOWN));
    }
    let names = names.join(", ");
    if request.allow_degraded.contains(NAME) {
        let effect = format!(
            "{names}: a task with mounts of its own can uncover, change or move what is hidden, protected or mounted in a tree that it writes to"
        );
        degraded.push(Degraded { name: NAME.into(), effect });
        return Ok(());
    }
    Err(Refused::rule(
        origin,
        format!(
            "{names}: hidden, protected or mounted in a tree that the task writes to, which does not hold beside `runtime.user_namespaces`: a task with mounts of its own takes that away"
        ),
        "remove it, or keep these files elsewhere; `--allow-degraded masks` runs without that protection",
    ))
}

/// A tree, and the view that it is a part of.
#[derive(Clone, Copy)]
struct Part<'a> {
    path: &'a Path,
    region: Region,
    view: &'a Path,
}

fn loose(layout: &mut Layout, survey: &Survey) -> Vec<PathBuf> {
    let Layout { steps, layers, .. } = layout;
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut found = Vec::new();
    for step in &*steps {
        let path = step.path();
        let within = parts.iter().rev().find(|part| path.starts_with(part.path) && path != part.path);
        let within = within.copied().unwrap_or(Part { path, region: Region::Other, view: path });
        let host = within.region == Region::Host;
        let (lost, region) = match (step, within.region) {
            (Step::Bind { flags, .. }, _) if !flags.read_only => (false, Some(Region::Host)),
            (Step::Overlay { flags, .. }, _) if !flags.read_only => (host, Some(Region::Copy)),
            (Step::Bind { .. }, Region::Copy) => (kept(layers, within, path).is_none(), Some(Region::Copy)),
            (Step::Bind { .. } | Step::Overlay { .. } | Step::Tmpfs { .. }, _) => (host, Some(Region::Other)),
            (Step::Pin { flags, .. }, _) => (flags.read_only && host, None),
            (Step::Hide { .. } | Step::Cover { .. }, Region::Copy) => {
                let directory = matches!(step, Step::Hide { kind: Kind::Directory, .. });
                let masked = kept(layers, within, path).map(|(layer, below)| {
                    layer.masked.push(Masked { path: below.to_owned(), directory });
                });
                (masked.is_none(), None)
            }
            (Step::Hide { .. } | Step::Cover { .. }, _) => (host, None),
            _ => (false, None),
        };
        if lost {
            found.push(path.to_owned());
        }
        let of_view = region == Some(Region::Copy) && within.region == Region::Copy;
        let view = if of_view && matches!(step, Step::Bind { .. }) { within.view } else { path };
        parts.extend(region.map(|region| Part { path, region, view }));
    }
    // What the host has mounted there comes along.
    let below = |mount: &&PathBuf| {
        let host = parts.iter().filter(|part| part.region == Region::Host);
        host.into_iter().any(|part| mount.starts_with(part.path) && mount.as_path() != part.path)
    };
    found.extend(survey.mounts.iter().filter(below).cloned());
    found
}

/// The layer of a view, and where in that something lies whose changes would be the host's: they are held when they land.
fn kept<'a, 'b>(
    layers: &'a mut [Layer],
    within: Part<'_>,
    path: &'b Path,
) -> Option<(&'a mut Layer, &'b Path)> {
    let below = path.strip_prefix(within.view).ok()?;
    let pattern = literal(below.to_str()?);
    let layer = layers.iter_mut().find(|layer| layer.host == within.view)?;
    layer.protect.push(pattern);
    Some((layer, below))
}

/// The pattern that means this path alone.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for letter in path.chars() {
        if "*?[]{}\\!,".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
