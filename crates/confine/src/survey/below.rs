//! What `files.deny` hides in a tree that is granted while a sandbox runs.

use std::io;
use std::path::{Path, PathBuf};

use ringfence_policy::{PathPattern, PatternSet, Policy};
use rustix::fs::{Access, access};

/// Paths below `root`, each with whether it is a directory. Relative patterns count from `root`.
///
/// # Errors
/// A directory that whoever asks may read was not readable after all: nothing is known of what lies in it.
pub fn denied_below(policy: &Policy, root: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let patterns: Vec<&PathPattern> = policy.files.deny.iter().map(|rule| &rule.value).collect();
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let set = PatternSet::new(patterns, root).map_err(io::Error::other)?;
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        // What its owner cannot read either, no task can.
        if access(&directory, Access::READ_OK).is_err() {
            continue;
        }
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, is_directory) = (entry.path(), entry.file_type()?.is_dir());
            // A directory whose every child is denied is hidden itself.
            let below = || is_directory && set.matching_itself(&path.join("\u{1}")).is_some();
            if set.matching_itself(&path).is_some() || below() {
                // A link is followed: what it leads to is hidden, by whichever name it is reached.
                let real = path.canonicalize().ok().filter(|real| real.starts_with(root) && *real != root);
                match real {
                    Some(real) if entry.file_type()?.is_symlink() => {
                        found.push((real.clone(), real.is_dir()));
                    }
                    _ if entry.file_type()?.is_symlink() => {}
                    _ => found.push((path, is_directory)),
                }
            } else if is_directory {
                pending.push(path);
            }
        }
    }
    Ok(found)
}
