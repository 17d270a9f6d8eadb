//! Directories of the host that a task closed and that an undo has to look into: they are opened to their owner, which is written down
//! first, and closed again where the undo does not take place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{Tree, change_mode};
use crate::change::FileType;
use crate::layer::Identity;
use crate::operation::enterable;
use crate::refuse::Failure;
use crate::restored::Restored;

/// Number, mode and whether somebody else had changed it, of each, before its path, ended by NUL.
const FILE: &str = "opened";
/// How those stand that were closed again.
const AGAIN: &str = "again";

/// Those of one undo.
pub(crate) struct Opened {
    file: File,
    /// Number and mode of what is written down and not opened yet.
    noted: BTreeMap<PathBuf, (u64, u32)>,
}

impl Opened {
    pub(crate) fn new(place: &Path) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(place.join(FILE), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { file: File::from(file), noted: BTreeMap::new() })
    }

    /// Writes down several, which is on disk before the first of them is opened.
    pub(crate) fn note(&mut self, found: &[(PathBuf, Identity, bool)]) -> Result<(), Errno> {
        let mut text = Vec::new();
        for (path, found, nobodys) in found {
            let numbers = format!("{} {} {} ", found.inode, found.mode & 0o7777, u8::from(*nobodys));
            text.extend([numbers.as_bytes(), path.as_os_str().as_bytes(), b"\0"].concat());
            self.noted.insert(path.clone(), (found.inode, found.mode));
        }
        if text.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Opens a directory beneath the host's, after it was opened to its owner where it is closed to him: then its mode was another one.
    /// `nobodys`: its change time is of the task's or our own doing, and so is what it gets by this.
    pub(crate) fn directory(
        &mut self,
        host: &Tree,
        path: &Path,
        nobodys: bool,
    ) -> Result<(OwnedFd, bool), Errno> {
        match host.directory(path) {
            Ok(directory) => {
                if !is_closed(&Identity::of(&rustix::fs::fstat(&directory)?)) {
                    return Ok((directory, false));
                }
            }
            Err(Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
        let handle = host.handle(path)?;
        let found = Identity::of(&rustix::fs::fstat(&handle)?);
        if FileType::of(found.mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if self.noted.remove(path) != Some((found.inode, found.mode)) {
            self.note(&[(path.to_owned(), found, nobodys)])?;
            self.noted.remove(path);
        }
        change_mode(handle.as_fd(), found.mode | 0o700)?;
        Ok((host.directory(path)?, true))
    }
}

/// Is it a directory that is opened before it is looked into?
pub(crate) fn is_closed(found: &Identity) -> bool {
    let user = rustix::process::geteuid();
    let ours = !user.is_root() && found.uid == user.as_raw();
    FileType::of(found.mode) == FileType::Directory && ours && !enterable(found.mode)
}

/// Closes what an undo opened for itself, as far as it is what that made of it.
///
/// # Errors
/// The first directory that cannot be closed: a later call goes on.
pub fn close_again(host: &Path, place: &Path) -> Result<(), Failure> {
    let file = place.join(FILE);
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::of("read", &file)(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
    };
    let tree = Tree::host(host).map_err(Failure::of("open", host))?;
    // After the last NUL stands what was cut: nothing was done of it. What is inside is closed first.
    let whole = text.iter().rposition(|byte| *byte == 0).map_or(&[][..], |end| &text[..end]);
    let mut traces = closed_again(place);
    for line in whole.split(|byte| *byte == 0).rev() {
        let Some((inode, mode, nobodys, path)) = parsed(line) else { continue };
        let mut close = || {
            let handle = match tree.handle(&path) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
                other => other?,
            };
            let found = Identity::of(&rustix::fs::fstat(&handle)?);
            if found.inode == inode && found.mode & 0o7777 == mode | 0o700 {
                change_mode(handle.as_fd(), mode)?;
                if nobodys {
                    traces.know(0, &path, Identity::of(&rustix::fs::fstat(&handle)?));
                }
            }
            Ok(())
        };
        close().map_err(Failure::of("close", &host.join(&path)))?;
    }
    // Without them the next undo is refused, which loses nothing.
    let _ = std::fs::create_dir(place.join(AGAIN));
    let _ = traces.save(&place.join(AGAIN));
    opened_for_good(place);
    Ok(())
}

/// What earlier undos closed again, by the word of which it is nobody's work.
pub(crate) fn closed_again(place: &Path) -> Restored {
    Restored::load(&place.join(AGAIN))
}

/// The undo took place: what it opened is as it was before the task, or gone.
pub fn opened_for_good(place: &Path) {
    let _ = std::fs::remove_file(place.join(FILE));
}

fn parsed(line: &[u8]) -> Option<(u64, u32, bool, PathBuf)> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok();
    let (inode, mode, nobodys) = (number()?.parse().ok()?, number()?.parse().ok()?, number()? == "1");
    Some((inode, mode, nobodys, PathBuf::from(OsString::from_vec(parts.next()?.to_vec()))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_a_killed_undo_opened_is_closed_again() {
        // Nothing is closed to root.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let (host, place) = (home.path().join("host"), home.path().join("place"));
        for path in [&host.join("d/e"), &host.join("link"), &place] {
            fs::create_dir_all(path).unwrap();
        }
        let close = |path: &str, mode| fs::set_permissions(host.join(path), fs::Permissions::from_mode(mode));
        let mode = |path: &str| fs::symlink_metadata(host.join(path)).unwrap().mode() & 0o7777;
        for (path, mode) in [("d/e", 0o000), ("d", 0o111), ("link", 0o644)] {
            close(path, mode).unwrap();
        }
        let tree = Tree::host(&host).unwrap();
        let mut opened = Opened::new(&place).unwrap();
        for path in ["d", "d/e", "link"] {
            assert!(opened.directory(&tree, Path::new(path), true).unwrap().1);
        }
        assert_eq!(["d", "d/e", "link"].map(mode), [0o711, 0o700, 0o744]);
        // Cut in the midst of a line; and another object stands at a path.
        opened.file.write_all(b"12 3").unwrap();
        fs::remove_dir(host.join("link")).unwrap();
        symlink("d", host.join("link")).unwrap();
        close_again(&host, &place).unwrap();
        assert_eq!(mode("d"), 0o111);
        let found = tree.look(Path::new("d")).unwrap().unwrap();
        assert!(closed_again(&place).knows(0, Path::new("d"), &found) && !place.join(FILE).exists());
        close("d", 0o755).unwrap();
        assert_eq!(mode("d/e"), 0);
        close_again(&host, &place).unwrap();
        assert_eq!(mode("d"), 0o755);
    }
}
