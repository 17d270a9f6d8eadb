//! How much of a disk a directory takes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use crate::beneath::{MAX_PATH, Tree, names};
use crate::change::FileType;

/// A look at more than fits in this time is an estimate from below.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a directory takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes on disk.
    pub bytes: u64,
    /// Names.
    pub entries: u64,
    /// That is all: no directory was closed to its owner or too deep, and nobody said that it is enough.
    pub whole: bool,
}

/// Looks at all that is below a directory; `on` is told of each step, and says whether to go on.
pub fn taken(path: &Path, on: &mut dyn FnMut(&Taken) -> bool) -> Taken {
    let mut taken = Taken { whole: true, ..Taken::default() };
    let Ok(tree) = Tree::own(path) else { return Taken { whole: !path.exists(), ..taken } };
    let mut queue = vec![PathBuf::new()];
    while let Some(path) = queue.pop() {
        let listed = tree.directory(&path).and_then(|directory| Ok((names(&directory)?, directory)));
        let (inside, directory) = match listed {
            Ok(listed) => listed,
            Err(Errno::NOENT) => continue,
            // What the kernel works in is nobody's to look into.
            Err(_) if of_kernel(&path) => continue,
            Err(_) => {
                taken.whole = false;
                continue;
            }
        };
        for name in inside {
            if !on(&taken) {
                return Taken { whole: false, ..taken };
            }
            let Ok(stat) = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            taken.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            taken.entries += 1;
            let below = path.join(&name);
            if FileType::of(stat.st_mode) == FileType::Directory {
                match below.as_os_str().len() < MAX_PATH {
                    true => queue.push(below),
                    false => taken.whole = false,
                }
            }
        }
    }
    taken
}

/// `work/work`, or `work-1/work`: the kernel's own, below a layer's directory.
fn of_kernel(path: &Path) -> bool {
    let mut parts = path.iter().map(|part| part.as_encoded_bytes());
    parts.next().is_some_and(|first| first == b"work" || first.starts_with(b"work-"))
        && parts.next() == Some(b"work")
        && parts.next().is_none()
}

/// Bytes on disk, and whether that is all: a directory closed to its owner, or too many files, count as seen so far.
pub fn disk_used(path: &Path) -> (u64, bool) {
    let end = Instant::now() + PATIENCE;
    let taken = taken(path, &mut |_| Instant::now() <= end);
    (taken.bytes, taken.whole)
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
