//! What may come out of a workspace that is otherwise thrown away: the named outputs, and the directories above them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::io::Errno;

use crate::change::{Change, Kind};
use crate::layer::Layer;
use crate::refuse::Failure;

/// Drops every other change.
pub(crate) fn keep(layer: &Layer, changes: &mut Vec<Change>) -> Result<(), Failure> {
    let Some(patterns) = &layer.outputs else { return Ok(()) };
    let set = compiled(patterns).map_err(|_| Failure {
        doing: "compile the outputs of",
        path: layer.host.clone(),
        errno: Errno::INVAL,
    })?;
    let wanted = |change: &Change| change.path.ancestors().any(|path| set.is_match(path));
    // What goes because something above it goes does so with it, or not at all.
    let alone: BTreeSet<PathBuf> = changes
        .iter()
        .filter(|change| {
            let fits = || match change.kind {
                Kind::Deleted => !change.covered || above_too(changes, change, &wanted),
                _ => !replaces(changes, change, &wanted),
            };
            wanted(change) && fits()
        })
        .map(|change| change.path.clone())
        .collect();
    let above: BTreeSet<PathBuf> = changes
        .iter()
        .filter(|change| change.brings() && alone.contains(&change.path))
        .flat_map(|change| change.path.ancestors().skip(1).map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    changes.retain(|change| {
        let new = change.is_new_directory() && above.contains(&change.path);
        alone.contains(&change.path) || new
    });
    Ok(())
}

/// Would it need a directory where the host has something else, which is no output?
fn replaces(changes: &[Change], change: &Change, wanted: &dyn Fn(&Change) -> bool) -> bool {
    change.path.ancestors().skip(1).any(|path| {
        let at = changes.binary_search_by(|other| other.path.as_path().cmp(path)).ok();
        let above = at.and_then(|at| changes.get(at));
        above.is_some_and(|above| above.kind == Kind::TypeChanged && !wanted(above))
    })
}

/// Is the change that takes this one along wanted as well?
fn above_too(changes: &[Change], change: &Change, wanted: &dyn Fn(&Change) -> bool) -> bool {
    let at = change.path.ancestors().skip(1).find_map(|path| {
        let at = changes.binary_search_by(|other| other.path.as_path().cmp(path)).ok()?;
        changes.get(at).filter(|above| !above.covered)
    });
    at.is_some_and(wanted)
}

fn compiled(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(GlobBuilder::new(pattern.trim_matches('/')).literal_separator(true).build()?);
    }
    set.build()
}
