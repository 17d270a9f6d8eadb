//! What `files.deny` hides in a tree that is granted while a sandbox runs.

use std::io;
use std::path::{Path, PathBuf};

use ringfence_policy::{PathPattern, PatternSet, Policy};
use rustix::fs::FileType;

use super::walk::read;

/// Paths below `root`, each with whether it is a directory. Relative patterns count from `root`. A directory that cannot be looked
/// through, and may be passed through all the same, is one of them.
///
/// # Errors
/// Patterns that are too large, or `root` itself is such a directory: nothing is known of what lies in it.
pub fn denied_below(policy: &Policy, root: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let patterns: Vec<&PathPattern> = policy.files.deny.iter().map(|rule| &rule.value).collect();
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let set = PatternSet::new(patterns, root).map_err(io::Error::other)?;
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let Some((_, entries)) = read(&directory) else {
            if directory == root {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            found.push((directory, true));
            continue;
        };
        for (path, file_type) in entries {
            let is_directory = file_type == FileType::Directory;
            // A directory whose every child is denied is hidden itself.
            let below = || is_directory && set.matching_itself(&path.join("\u{1}")).is_some();
            if set.matching_itself(&path).is_some() || below() {
                if file_type != FileType::Symlink {
                    found.push((path, is_directory));
                    continue;
                }
                // A link is followed: what it leads to is hidden, by whichever name it is reached.
                let real = path.canonicalize().ok().filter(|real| real.starts_with(root) && *real != root);
                found.extend(real.map(|real| (real.clone(), real.is_dir())));
            } else if is_directory {
                pending.push(path);
            }
        }
    }
    Ok(found)
}
