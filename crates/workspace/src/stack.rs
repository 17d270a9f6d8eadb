//! Several upper directories that lay one over the other, made one: what a sandbox with checkpoints left is then what an overlay
//! without them would have left, so that everything else here knows only one form. The layers themselves stay as they are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self as kernel, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::attributes;
use crate::beneath::{MAX_PATH, Tree, by_descriptor, look_at, names};
use crate::change::FileType;
use crate::content;
use crate::copy::Copied;
use crate::layer::{Identity, Timestamp};
use crate::overlay::{Upper, link_target};
use crate::refuse::Failure;
use crate::remove::remove_tree;

/// Marks of the kernel that mean the same in the result (Documentation/filesystems/overlayfs.rst).
const OPAQUE: &[u8] = b"user.overlay.opaque";
/// What a task set under a name of the overlay's own.
const ESCAPED: &[u8] = b"user.overlay.overlay.";

/// How files come into the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As further names of the same files: nobody writes to the layers any more.
    Link,
    /// As files of their own, blocks shared where the file system can: the layers may be written meanwhile.
    Copy,
}

/// Makes in `into`, an empty directory of ours, the upper directory that says the same as `layers`, the lowest first. It costs what
/// they hold. A path that is too long is left out.
///
/// # Errors
/// The first thing that cannot be read or made.
pub fn flatten(layers: &[PathBuf], into: &Path, how: How) -> Result<Copied, Failure> {
    let to = Tree::own(into).map_err(Failure::of("open", into))?;
    let root = rustix::process::geteuid().is_root();
    let mut flatten = Flatten {
        to,
        into,
        how,
        root,
        directories: BTreeMap::new(),
        links: BTreeMap::new(),
        done: Copied::default(),
    };
    for (index, layer) in layers.iter().enumerate() {
        let upper = Upper::open(layer).map_err(Failure::of("open", layer))?;
        flatten.links.clear();
        let mut queue = vec![(PathBuf::new(), index == 0)];
        while let Some((path, fresh)) = queue.pop() {
            let at = || layer.join(&path);
            match flatten.directory(&upper, &path, fresh) {
                Ok(more) => queue.extend(more),
                // Gone while it was looked at.
                Err(Errno::NOENT) if how == How::Copy && !path.as_os_str().is_empty() => {}
                Err(errno) => return Err(Failure::of("read the layer's", &at())(errno)),
            }
        }
    }
    flatten.finish()?;
    Ok(flatten.done)
}

struct Flatten<'a> {
    to: Tree,
    into: &'a Path,
    how: How,
    root: bool,
    /// What each directory is in the end: only its maker may enter it until all is there.
    directories: BTreeMap<PathBuf, Identity>,
    /// Where a file with several names was copied to first, within one layer.
    links: BTreeMap<(u64, u64), PathBuf>,
    done: Copied,
}

impl Flatten<'_> {
    /// Lays what is in a directory over what is there; `fresh`: nothing is. Its directories are left to the caller.
    fn directory(&mut self, upper: &Upper, path: &Path, fresh: bool) -> Result<Vec<(PathBuf, bool)>, Errno> {
        let from = upper.directory(path)?;
        let to = self.to.directory(path)?;
        self.marks(upper, path, &from, &to)?;
        let mut further = Vec::new();
        for name in names(&from)? {
            let path = path.join(&name);
            if path.as_os_str().len() > MAX_PATH {
                continue;
            }
            let Some(found) = look_at(&from, &name)? else { continue };
            let there = if fresh { None } else { look_at(&to, &name)? };
            if FileType::of(found.mode) == FileType::Directory {
                let merged = self.below(upper, &from, &to, &path, &found, there)?;
                further.push((path, !merged));
                continue;
            }
            if let Some(there) = there {
                self.remove(&path)?;
                if FileType::of(there.mode) == FileType::Directory {
                    self.directories.retain(|known, _| !known.starts_with(&path));
                }
            }
            match self.entry(upper, &from, &to, &path, &found) {
                Err(Errno::NOENT) if self.how == How::Copy => {}
                other => other?,
            }
            self.done.entries += 1;
        }
        Ok(further)
    }

    /// Makes a directory, or takes the one that is there: then it is merged.
    fn below(
        &mut self,
        upper: &Upper,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &Path,
        found: &Identity,
        there: Option<Identity>,
    ) -> Result<bool, Errno> {
        let name = path.file_name().unwrap_or(OsStr::new(""));
        let opaque = upper.marks(path, from, found)?.opaque;
        let directory = there.map(|there| FileType::of(there.mode) == FileType::Directory);
        if directory == Some(true) && !opaque {
            return Ok(true);
        }
        if there.is_some() {
            self.remove(path)?;
            self.directories.retain(|known, _| !known.starts_with(path));
        }
        kernel::mkdirat(to, name, Mode::RWXU)?;
        self.done.entries += 1;
        if directory == Some(false) {
            // What it stands on hid what the host has there.
            let made = self.to.directory(path)?;
            attributes::set(&by_descriptor(made.as_fd(), OsStr::new("")), OPAQUE, Some(b"y"))?;
        }
        Ok(false)
    }

    /// The attributes of a directory: the user's, and that nothing shows through.
    fn marks(&mut self, upper: &Upper, path: &Path, from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
        let (from_path, to_path) =
            (by_descriptor(from.as_fd(), OsStr::new("")), by_descriptor(to.as_fd(), OsStr::new("")));
        let kept = attributes::names(&from_path)?;
        for name in attributes::names(&to_path)?.iter().filter(|name| carried(name) && *name != OPAQUE) {
            if !kept.contains(name) {
                attributes::set(&to_path, name, None)?;
            }
        }
        for name in kept.iter().filter(|name| carried(name)) {
            let value = attributes::value(&from_path, name)?;
            attributes::set(&to_path, name, value.as_deref())?;
        }
        let found = upper.as_left(path, Identity::of(&kernel::fstat(from)?));
        self.directories.insert(path.to_owned(), found);
        Ok(())
    }

    fn entry(
        &mut self,
        upper: &Upper,
        from: &OwnedFd,
        to: &OwnedFd,
        path: &Path,
        found: &Identity,
    ) -> Result<(), Errno> {
        let name = path.file_name().unwrap_or(OsStr::new(""));
        if self.how == How::Link {
            match kernel::linkat(from, name, to, name, AtFlags::empty()) {
                // Too many names, or a file system that gives none.
                Err(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::OPNOTSUPP) => {}
                other => return other,
            }
        }
        let kind = FileType::of(found.mode);
        match kind {
            FileType::File => return self.file(upper, to, path, found),
            FileType::Symlink => {
                let target = link_target(kernel::openat(
                    from,
                    name,
                    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?)?;
                kernel::symlinkat(target.as_os_str(), to, name)?;
            }
            _ => {
                let kind = kernel::FileType::from_raw_mode(found.mode);
                // A whiteout is the only device that a task can make.
                kernel::mknodat(to, name, kind, Mode::from_raw_mode(found.mode & 0o777), 0)?;
            }
        }
        self.own(to, name, found)?;
        if kind == FileType::Device {
            return Ok(());
        }
        kernel::utimensat(to, name, &times(found), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn file(&mut self, upper: &Upper, to: &OwnedFd, path: &Path, found: &Identity) -> Result<(), Errno> {
        let name = path.file_name().unwrap_or(OsStr::new(""));
        let key = (found.device, found.inode);
        if let Some(first) = self.links.get(&key) {
            let parent = self.to.parent(first)?;
            return kernel::linkat(&parent, first.file_name().unwrap_or(name), to, name, AtFlags::empty());
        }
        let source = upper.file(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let target = kernel::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.done.bytes += content::copy_whole(&source, &target)?;
        let (from_path, to_path) =
            (by_descriptor(source.as_fd(), OsStr::new("")), by_descriptor(target.as_fd(), OsStr::new("")));
        for name in attributes::names(&from_path)?.iter().filter(|name| carried(name)) {
            attributes::set(&to_path, name, attributes::value(&from_path, name)?.as_deref())?;
        }
        self.own(to, name, found)?;
        kernel::fchmod(&target, Mode::from_raw_mode(found.mode & 0o7777))?;
        kernel::futimens(&target, &times(found))?;
        if kernel::fstat(&source)?.st_nlink > 1 {
            self.links.insert(key, path.to_owned());
        }
        Ok(())
    }

    fn own(&self, to: &OwnedFd, name: &OsStr, found: &Identity) -> Result<(), Errno> {
        if !self.root {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(found.uid), Gid::from_raw(found.gid));
        kernel::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn remove(&self, path: &Path) -> Result<(), Errno> {
        let parent = self.to.parent(path)?;
        match kernel::unlinkat(&parent, path.file_name().unwrap_or(OsStr::new("")), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove_tree(&self.into.join(path)).map_err(|_| Errno::IO),
            other => other,
        }
    }

    /// Children first: making them changed the times of what holds them.
    fn finish(&mut self) -> Result<(), Failure> {
        while let Some((path, found)) = self.directories.pop_last() {
            let done = || -> Result<(), Errno> {
                let directory = self.to.directory(&path)?;
                if self.root {
                    kernel::fchown(
                        &directory,
                        Some(Uid::from_raw(found.uid)),
                        Some(Gid::from_raw(found.gid)),
                    )?;
                }
                kernel::futimens(&directory, &times(&found))?;
                kernel::fchmod(&directory, Mode::from_raw_mode(found.mode & 0o7777))
            };
            done().map_err(Failure::of("finish", &path))?;
        }
        Ok(())
    }
}

fn carried(name: &[u8]) -> bool {
    attributes::ours(name) || name == OPAQUE || name.starts_with(ESCAPED)
}

fn times(found: &Identity) -> Timestamps {
    let time = |at: Timestamp| Timespec { tv_sec: at.sec, tv_nsec: at.nsec };
    Timestamps { last_access: time(found.modified), last_modification: time(found.modified) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn whiteout(at: &Path) {
        kernel::mknodat(kernel::CWD, at, kernel::FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn opaque(at: &Path) -> bool {
        attributes::value(at, OPAQUE).unwrap().as_deref() == Some(b"y")
    }

    #[test]
    fn what_hides_goes_on_hiding() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for path in ["one/merged", "one/stood", "two/merged/in", "two/gone", "two/was", "three/stood", "into"]
        {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("one/merged/kept"), "1").unwrap();
        fs::write(at("one/merged/replaced"), "1").unwrap();
        fs::write(at("one/was"), "a file").unwrap();
        fs::write(at("one/stood/hidden"), "1").unwrap();
        whiteout(&at("one/gone"));
        fs::write(at("two/merged/replaced"), "2").unwrap();
        fs::write(at("two/merged/in/x"), "2").unwrap();
        symlink("/etc", at("two/link")).unwrap();
        fs::set_permissions(at("two/merged"), fs::Permissions::from_mode(0o500)).unwrap();
        attributes::set(&at("three/stood"), OPAQUE, Some(b"y")).unwrap();
        whiteout(&at("three/link"));
        let layers = ["one", "two", "three"].map(&at);
        for how in [How::Link, How::Copy] {
            let into = at("into");
            flatten(&layers, &into, how).unwrap();
            let text = |path: &str| fs::read_to_string(into.join(path)).unwrap();
            assert_eq!((text("merged/kept").as_str(), text("merged/replaced").as_str()), ("1", "2"));
            assert_eq!(text("merged/in/x"), "2");
            assert_eq!(fs::metadata(into.join("merged")).unwrap().mode() & 0o7777, 0o500);
            // Directories where a whiteout or a file hid what the host has.
            assert!(opaque(&into.join("gone")) && opaque(&into.join("was")) && !opaque(&into.join("merged")));
            assert!(opaque(&into.join("stood")) && !into.join("stood/hidden").exists());
            let gone = fs::symlink_metadata(into.join("link")).unwrap();
            assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
            let shared = fs::metadata(into.join("merged/kept")).unwrap().ino()
                == fs::metadata(at("one/merged/kept")).unwrap().ino();
            assert_eq!(shared, how == How::Link);
            fs::set_permissions(into.join("merged"), fs::Permissions::from_mode(0o700)).unwrap();
            fs::remove_dir_all(&into).unwrap();
            fs::create_dir(&into).unwrap();
        }
    }
}
