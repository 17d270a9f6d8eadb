//! How much of a disk a directory takes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, statat};

use crate::beneath::{MAX_PATH, Tree, names};
use crate::change::FileType;

/// A look at more than fits in this time is an estimate from below.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes on disk, and whether that is all: a directory closed to its owner, or too many files, count as seen so far.
pub fn disk_used(path: &Path) -> (u64, bool) {
    let Ok(tree) = Tree::own(path) else { return (0, !path.exists()) };
    let end = Instant::now() + PATIENCE;
    let (mut bytes, mut whole) = (0, true);
    let mut queue = vec![PathBuf::new()];
    while let Some(path) = queue.pop() {
        let Ok((directory, inside)) = tree
            .directory(&path)
            .and_then(|directory| Ok((names(&directory)?, directory)))
            .map(|(names, directory)| (directory, names))
        else {
            whole = false;
            continue;
        };
        for name in inside {
            if Instant::now() > end {
                return (bytes, false);
            }
            let Ok(stat) = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            let below = path.join(&name);
            if FileType::of(stat.st_mode) == FileType::Directory && below.as_os_str().len() < MAX_PATH {
                queue.push(below);
            }
        }
    }
    (bytes, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_take_nothing() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("a/b")).unwrap();
        std::fs::write(home.path().join("a/b/full"), vec![1; 1 << 20]).unwrap();
        std::fs::File::create(home.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
        let (bytes, whole) = disk_used(home.path());
        assert!(whole && (1 << 20..2 << 20).contains(&bytes), "{bytes}");
    }
}
