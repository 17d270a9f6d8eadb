//! Whose home directories hold secrets that a task must not see.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use rustix::fs::{CWD, Dir, DirEntry, Mode, OFlags, openat};
use rustix::io::Errno;

/// The invoker's, by $HOME and by the user database; the workspace owner's, whose private files a sandbox of root's can read;
/// for root everybody's. Directories of the system that serve as homes of its users are none.
pub(super) fn known(invoker: &Invoker, owner: u32) -> Vec<PathBuf> {
    homes(invoker, |uid| uid == invoker.uid || uid == owner || invoker.root)
}

/// Of those who work in the workspace: the invoker and its owner.
pub(super) fn workers(invoker: &Invoker, owner: u32) -> Vec<PathBuf> {
    homes(invoker, |uid| uid == invoker.uid || uid == owner)
}

fn homes(invoker: &Invoker, meant: impl Fn(u32) -> bool) -> Vec<PathBuf> {
    let mut homes = vec![invoker.home.clone()];
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for (uid, home) in users.lines().filter_map(entry) {
        if meant(uid) && !system(home) && !homes.iter().any(|known| known == home) {
            homes.push(home.to_path_buf());
        }
    }
    homes
}

/// What lies directly in a home, so that the hundred places where secrets may lie are not all looked up.
pub(super) enum Names {
    Listed(HashSet<Vec<u8>>),
    /// It cannot be listed, or not in little time, and may have anything.
    Unknown,
}

/// Listing more costs as much as looking up all places.
const MOST_NAMES: usize = 300;

impl Names {
    /// `None`: there is no such home.
    pub(super) fn of(home: &Path) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let listing = match openat(CWD, home, flags, Mode::empty()) {
            Err(Errno::NOENT) => return None,
            listing => listing.and_then(Dir::new),
        };
        let names = |entry: Result<DirEntry, Errno>| entry.map(|entry| entry.file_name().to_bytes().to_vec());
        let listed: Result<HashSet<_>, Errno> =
            listing.and_then(|listing| listing.take(MOST_NAMES).map(names).collect());
        Some(match listed {
            Ok(listed) if listed.len() < MOST_NAMES => Self::Listed(listed),
            _ => Self::Unknown,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Listed(names) => names.contains(name.as_bytes()),
            Self::Unknown => true,
        }
    }
}

/// User id and home of a line (passwd(5)).
fn entry(line: &str) -> Option<(u32, &Path)> {
    let mut fields = line.split(':');
    let uid = fields.nth(2)?.parse().ok()?;
    let home = Path::new(fields.nth(2)?);
    home.is_absolute().then_some((uid, home))
}

fn system(home: &Path) -> bool {
    let below = ["/bin", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr", "/nonexistent"];
    home == Path::new("/") || below.iter().any(|place| home.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_have_homes_and_services_have_not() {
        assert_eq!(
            entry("alice:x:1000:1000:Alice:/home/alice:/bin/sh"),
            Some((1000, Path::new("/home/alice")))
        );
        assert_eq!(entry("broken:x:y:0::/:"), None);
        assert!(
            system(Path::new("/")) && system(Path::new("/usr/sbin")) && !system(Path::new("/home/alice"))
        );
    }
}
