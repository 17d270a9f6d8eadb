//! Files in which secrets lie, read for the leak guard: known places of the home, and what the policy denies. Bounded, whoever wrote them.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat};
use zeroize::Zeroizing;

/// Bytes of a file, files of one place, and files and entries altogether.
const LARGEST: u64 = 256 << 10;
const OF_ONE: usize = 64;
const MOST: (usize, usize) = (512, 8192);
/// Directories below one another.
const DEEPEST: usize = 5;
/// Places in which nothing lies in the clear, or far too much.
const UNREAD: &[&str] = &[
    "~/.gnupg",
    "~/.password-store",
    "~/.local/share/keyrings",
    "~/.local/share/kwalletd",
    "~/.mozilla",
    "~/.thunderbird",
    "~/.config/google-chrome",
    "~/.config/chromium",
    "~/.config/BraveSoftware",
    "~/.config/microsoft-edge",
    "~/.docker/run",
    "~/.docker/desktop",
    "/run/user",
    "/var/run/user",
    "/run/containerd",
    "/var/run/containerd",
    "/run/podman",
    "/var/run/podman",
    "/run/crio",
    "/var/run/crio",
    "/var/lib/kubelet",
];
/// What everybody may know, and what is long and holds none.
const DULL: &[&str] = &["logs", "log", "known_hosts", "known_hosts.old", "authorized_keys"];

/// What was read so far.
#[derive(Default)]
pub(crate) struct Files {
    read: BTreeSet<PathBuf>,
    entries: usize,
}

impl Files {
    /// Known places, but for patterns.
    pub(crate) fn known(&mut self, home: &Path, take: &mut dyn FnMut(&Path, &[u8])) {
        for pattern in ringfence_policy::known_secrets(home) {
            let text = pattern.text();
            if !text.contains('*') && !UNREAD.contains(&text) {
                let path =
                    text.strip_prefix("~/").map_or_else(|| PathBuf::from(text), |rest| home.join(rest));
                self.place(&path, take);
            }
        }
    }

    /// A file, or what is in a directory: what is nearest first. Links to files are followed, others lead out of the place.
    pub(crate) fn place(&mut self, path: &Path, take: &mut dyn FnMut(&Path, &[u8])) {
        let (mut waiting, mut left) = (VecDeque::from([(path.to_path_buf(), 0)]), OF_ONE);
        while let Some((path, depth)) = waiting.pop_front() {
            if left == 0 || self.read.len() >= MOST.0 || self.entries >= MOST.1 {
                return;
            }
            let Ok(found) = std::fs::metadata(&path) else { continue };
            if found.is_dir() && depth < DEEPEST {
                let mut names = self.names(&path);
                names.sort();
                waiting.extend(names.into_iter().map(|path| (path, depth + 1)));
            } else if found.is_file() && self.read.insert(path.clone()) {
                left -= 1;
                if let Some(text) = text(&path) {
                    take(&path, &text);
                }
            }
        }
    }

    /// What is worth a look in a directory.
    fn names(&mut self, path: &Path) -> Vec<PathBuf> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(entries) = openat(CWD, path, flags, Mode::empty()).and_then(Dir::new) else {
            return Vec::new();
        };
        let mut names = Vec::new();
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries >= MOST.1 {
                break;
            }
            let Ok(name) = entry.file_name().to_str() else { continue };
            let child = path.join(name);
            let linked = entry.file_type() == FileType::Symlink && child.is_dir();
            if !matches!(name, "." | "..") && !name.ends_with(".pub") && !DULL.contains(&name) && !linked {
                names.push(child);
            }
        }
        names
    }
}

/// What a regular file holds; a FIFO of that name would be waited at for ever.
fn text(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, path, flags, Mode::empty()).ok()?);
    let mut text = Zeroizing::new(Vec::new());
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    (regular && file.take(LARGEST).read_to_end(&mut text).is_ok()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_within_bounds() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        let write = |path: &str, text: &str| {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), text).unwrap();
        };
        for path in [
            ".aws/credentials",
            ".aws/sso/cache/x",
            ".config/gh/hosts.yml",
            ".netrc",
            ".ssh/id_x",
            ".ssh/id_x.pub",
            ".ssh/known_hosts",
            ".mozilla/cookies",
            ".kube/a/b/c/d/e/f/deep",
            "dotfiles/kube",
            "apart/other",
        ] {
            write(path, path);
        }
        (0..200).for_each(|number| write(&format!(".azure/{number}"), "x"));
        std::os::unix::fs::symlink(at("dotfiles/kube"), at(".kube/config")).unwrap();
        std::os::unix::fs::symlink(at("apart"), at(".kube/apart")).unwrap();
        std::os::unix::fs::symlink(at(".kube"), at(".kube/loop")).unwrap();
        rustix::fs::mkfifoat(CWD, at(".vault-token"), Mode::RUSR).unwrap();
        let mut found = Vec::new();
        Files::default().known(home.path(), &mut |path, text| {
            if let Ok(path) = path.strip_prefix(home.path()) {
                found.push((path.display().to_string(), String::from_utf8_lossy(text).into_owned()));
            }
        });
        let of = |directory: &str| found.iter().filter(|(path, _)| path.starts_with(directory)).count();
        assert_eq!(of(".azure/"), OF_ONE);
        found.retain(|(path, _)| !path.starts_with(".azure/"));
        found.sort();
        let expected = [
            (".aws/credentials", ".aws/credentials"),
            (".aws/sso/cache/x", ".aws/sso/cache/x"),
            (".config/gh/hosts.yml", ".config/gh/hosts.yml"),
            (".kube/config", "dotfiles/kube"),
            (".netrc", ".netrc"),
            (".ssh/id_x", ".ssh/id_x"),
        ];
        assert_eq!(found, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
}
