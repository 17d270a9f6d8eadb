//! What git's index says, without what it remembers of files' times and numbers: every look at a repository (`git status`) may write
//! that anew, and changes nothing by it.
//!
//! The format is gitformat-index(5): versions 2 to 4.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::beneath::Tree;
use crate::content::fill;
use crate::layer::{Identity, Layer, Timestamp};

/// A larger one is compared byte by byte: it has some half a million entries.
pub(crate) const LARGEST: u64 = 64 << 20;
/// The longest path of a file (PATH_MAX), and how many bytes all of them have at most: each may repeat the one before in two bytes.
const LONGEST: usize = 4096;
const PATHS: usize = 64 << 20;
/// Remembered to be quicker, and made anew when they are not there.
const CACHES: [&[u8]; 5] = [b"TREE", b"UNTR", b"FSMN", b"EOIE", b"IEOT"];

/// Could this be one? What it holds decides.
pub(crate) fn named_so(layer: &str, path: &Path) -> bool {
    let inside = || Layer::named_git(layer) || path.iter().any(|name| name == ".git");
    path.file_name().is_some_and(|name| name == "index") && inside()
}

/// A digest of what an open file of this size says; `None`: no index, or one that is not understood.
pub(crate) fn meaning_of(file: impl AsFd, size: u64) -> Option<String> {
    let mut text = vec![0; usize::try_from(size).ok().filter(|_| size <= LARGEST)?];
    fill(file, 0, &mut text).ok().filter(|whole| *whole)?;
    meaning(&text)
}

/// The same of a file beneath a directory.
pub(crate) fn meaning_at(tree: &Tree, path: &Path, size: u64) -> Result<Option<String>, Errno> {
    Ok(meaning_of(tree.file(path)?, size))
}

fn meaning(text: &[u8]) -> Option<String> {
    Some(read(text, |(), _| {})?.1)
}

/// A digest of what an index says, and what was made of its entries one by one; `None`: no index, or one that is not understood.
pub(crate) fn read<T: Default>(text: &[u8], mut seen: impl FnMut(&mut T, &Known<'_>)) -> Option<(T, String)> {
    // The names of objects are as long as the repository's hash, which the index does not say: SHA-1, or SHA-256.
    [20, 32].into_iter().find_map(|hash| {
        let mut made = T::default();
        let digest = Index { rest: text, hash }.digest(&mut |known| seen(&mut made, known))?;
        Some((made, digest))
    })
}

/// An entry.
pub(crate) struct Known<'a> {
    pub(crate) path: &'a [u8],
    stat: &'a [u8],
    pub(crate) object: &'a [u8],
    /// Of no merge, and looked at by git as any other.
    pub(crate) plain: bool,
}

impl Known<'_> {
    /// Did git see the file as it is now, when it wrote this?
    pub(crate) fn describes(&self, found: &Identity) -> bool {
        self.seen().describes(found)
    }

    /// What git saw of it.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.stat.to_vec())
    }
}

/// What git saw of a file when it wrote an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen(Vec<u8>);

impl Seen {
    /// Is it this one, as it is now? All numbers are their lower 32 bits.
    pub(crate) fn describes(&self, found: &Identity) -> bool {
        self.describes_content(found) && self.moment(0, found.changed)
    }

    /// The same but for the time of its last change, which a rename sets too.
    pub(crate) fn describes_content(&self, found: &Identity) -> bool {
        let low = |whole: u64| Some(whole & 0xffff_ffff);
        self.moment(8, found.modified)
            && self.number(20) == low(found.inode)
            && self.number(36) == low(found.size)
    }

    fn moment(&self, at: usize, of: Timestamp) -> bool {
        let low = |part: i64| u64::try_from(part).ok().map(|part| part & 0xffff_ffff);
        self.number(at) == low(of.sec) && self.number(at + 4) == low(of.nsec)
    }

    fn number(&self, at: usize) -> Option<u64> {
        let bytes = self.0.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_be_bytes(bytes)))
    }
}

struct Index<'a> {
    rest: &'a [u8],
    hash: usize,
}

impl<'a> Index<'a> {
    fn digest(mut self, seen: &mut dyn FnMut(&Known<'_>)) -> Option<String> {
        let whole = self.rest.len();
        let mut digest = Sha1::new();
        let known = self.take(4)? == b"DIRC";
        let version = self.number()?;
        if !known || !(2..=4).contains(&version) {
            return None;
        }
        let (count, mut path, mut paths) = (self.number()?, Vec::new(), 0);
        for _ in 0..count {
            let start = whole - self.rest.len();
            let stat = self.take(40)?;
            digest.update(stat.get(24..28)?);
            let object = self.take(self.hash)?;
            digest.update(object);
            let flags = self.take(2)?;
            // Whether the path is longer than fits is of no matter: it follows.
            digest.update([flags.first()? & 0xf0]);
            if flags.first()? & 0x40 != 0 {
                digest.update(self.take(2)?);
            }
            if version == 4 {
                let strip = self.varint()?;
                path.truncate(path.len().checked_sub(strip)?);
            } else {
                path.clear();
            }
            let end = self.rest.iter().position(|byte| *byte == 0)?;
            path.extend(self.take(end)?);
            paths += path.len();
            if path.len() > LONGEST || paths > PATHS {
                return None;
            }
            // Only a plain file that git neither leaves unlooked at nor has in several versions.
            let plain =
                flags.first()? & 0xf0 == 0 && stat.get(24..26)? == [0, 0] && stat.get(26)? & 0xf0 == 0x80;
            seen(&Known { path: &path, stat, object, plain });
            digest.update(&path);
            digest.update(self.take(1)?);
            if version < 4 {
                // One to eight of them end the path, so that the next entry begins at a multiple of eight.
                let length = whole - self.rest.len() - start;
                self.take(length.next_multiple_of(8) - length)?;
            }
        }
        while self.rest.len() > self.hash {
            let name = self.take(4)?;
            let size = usize::try_from(self.number()?).ok()?;
            let data = self.take(size)?;
            if !CACHES.contains(&name) {
                digest.update(name);
                digest.update(data);
            }
        }
        let name = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (self.rest.len() == self.hash).then(|| name(&digest.finalize()))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// An offset as in packs: each further byte adds one, so that no number has two forms.
    fn varint(&mut self) -> Option<usize> {
        let mut byte = *self.take(1)?.first()?;
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = *self.take(1)?.first()?;
            value = value.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(place: &Path, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(place).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(command.status().unwrap().success(), "{script}");
        meaning(&std::fs::read(place.join(".git/index")).unwrap()).expect("not understood")
    }

    #[test]
    fn a_look_means_nothing_and_an_add_does() {
        for (format, version) in [("sha1", 2), ("sha1", 4), ("sha256", 2), ("sha256", 4)] {
            let home = tempfile::tempdir().unwrap();
            let place = home.path();
            let made = git(
                place,
                &format!(
                    "git init -q --object-format={format} .; git config index.version {version}; mkdir -p d/e
                     for i in 1 2 3 4 5 6 7 8 9; do echo $i > d/e/file-$i; done; echo x > a; echo '#' > {}; git add -A",
                    "n".repeat(250)
                ),
            );
            let text = std::fs::read(place.join(".git/index")).unwrap();
            assert_eq!(text[7], version);
            // As after a restart, a copy, or in a prompt.
            let looked =
                git(place, "touch -d '1 hour' a d/e/*; git status > /dev/null; git write-tree > /dev/null");
            assert_ne!(text, std::fs::read(place.join(".git/index")).unwrap());
            assert_eq!(made, looked, "{format} {version}");
            let mut seen = vec![made];
            for change in [
                "echo y > a; git add a",
                "chmod +x a; git add a",
                "git mv a b",
                "git rm -q --cached d/e/file-1",
                "echo n > new; git add -N new",
                "git update-index --assume-unchanged b",
                "git update-index --skip-worktree b",
            ] {
                let now = git(place, change);
                assert!(!seen.contains(&now), "{format} {version}: {change}");
                seen.push(now);
            }
        }
        // Paths that grow with each entry.
        let mut growing = [&b"DIRC"[..], &4_u32.to_be_bytes(), &5000_u32.to_be_bytes()].concat();
        for _ in 0..5000 {
            growing.extend([&[0; 62][..], b"\0x\0"].concat());
        }
        growing.extend([0; 20]);
        assert_eq!(meaning(&growing), None);
        for broken in [&b""[..], b"DIRC", b"DIRC\0\0\0\x02\xff\xff\xff\xff", b"DIRC\0\0\0\x05\0\0\0\0"] {
            assert_eq!(meaning(broken), None);
        }
    }
}
