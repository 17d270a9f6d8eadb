//! What is hidden in a tree that is granted while a sandbox runs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_plan::{DENIED, Kind, Secrets};
use ringfence_policy::{PathPattern, PatternSet, Policy};
use rustix::fs::FileType;

use super::Shown;
use super::hidden::{Hidden, known};
use super::walk::read;

/// Paths below `root`, each with whether it is a directory: what is hidden in a tree that a rule grants, by the same code, and what
/// was found to be a secret when the run began, since whoever grants may list and read less than then. Relative patterns count from
/// `root` and from the workspace. A directory that cannot be looked through, and may be passed through all the same, is one of them.
///
/// # Errors
/// Patterns that are too large, or `root` itself is hidden or such a directory: nothing is known of what lies in it.
pub fn hidden_below(
    policy: &Policy,
    secrets: &Secrets,
    workspace: &Path,
    root: &Path,
) -> io::Result<Vec<(PathBuf, bool)>> {
    let shown = Shown::only(root);
    let mut hidden = Hidden::new(workspace);
    known(policy, &secrets.homes, &shown, &mut hidden)
        .map_err(|refused| io::Error::other(refused.to_string()))?;
    hidden.hide_literal(policy, &[]);
    hidden.hide(&secrets.state, "ringfence's own state");
    denied(policy, root, &mut hidden)?;
    hidden.hide_other_names(&shown, std::iter::empty());
    let named = policy.approvals.read.iter().any(|rule| rule.value.literal() == Some(root));
    let mut all = BTreeMap::new();
    for secret in hidden.found().iter().chain(&secrets.found) {
        if let Some(why) = secret.refuses(root, named) {
            return Err(io::Error::other(why));
        }
        let path = &secret.marked.path;
        let gone = path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if path.starts_with(root) && path != root && !gone {
            all.insert(path.clone(), secret.marked.kind == Kind::Directory);
        }
    }
    // Below what is hidden nothing is left to hide.
    let covered = |path: &Path| path.ancestors().skip(1).any(|above| all.contains_key(above));
    Ok(all.iter().filter(|(path, _)| !covered(path)).map(|(path, kind)| (path.clone(), *kind)).collect())
}

/// What `files.deny` matches there.
fn denied(policy: &Policy, root: &Path, hidden: &mut Hidden) -> io::Result<()> {
    let rules: Vec<&PathPattern> = policy.files.deny.iter().map(|rule| &rule.value).collect();
    if rules.is_empty() {
        return Ok(());
    }
    let because = |number: usize| {
        let text = rules.get(number).map_or("", |pattern| pattern.text());
        format!("{DENIED}`{text}`")
    };
    let set = PatternSet::new(rules.iter().copied(), root).map_err(io::Error::other)?;
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let Some((_, entries)) = read(&directory) else {
            if directory == root {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let because = format!("{DENIED}it cannot be looked through");
            hidden.hide_found(&directory, FileType::Directory, &because);
            continue;
        };
        for (path, file_type) in entries {
            let directory = file_type == FileType::Directory;
            // A directory whose every child is denied is hidden itself.
            let below = || set.matching_all_in(&path).filter(|_| directory);
            match set.matching_itself(&path).or_else(below) {
                Some(number) => hidden.hide_found(&path, file_type, &because(number)),
                None if directory => pending.push(path),
                None => {}
            }
        }
    }
    Ok(())
}
