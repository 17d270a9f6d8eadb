//! What became of a copy, see `copy`, as the upper directory that an overlay would have left.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as kernel, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{MAX_PATH, Tree, change_mode, look_at, names};
use crate::change::FileType;
use crate::copy::{COPY, MANIFEST, UPPER};
use crate::layer::{Identity, Timestamp};
use crate::noted::{self, Noted};
use crate::overlay::whiteout;
use crate::refuse::Failure;

/// Whether a layer holds a copy that is not captured yet.
#[must_use]
pub fn captures(layer: &Path) -> bool {
    layer.join(MANIFEST).exists()
}

/// The copy below `layer` is kept to its holder, who waits until nobody works on it and then captures it. It is held until all that
/// came of the descriptor is closed.
///
/// # Errors
/// EWOULDBLOCK while another holds it, ENOENT where it is captured by now, or what the manifest cannot be opened for.
pub fn hold(layer: &Path) -> Result<OwnedFd, Errno> {
    let path = layer.join(MANIFEST);
    let manifest = open_manifest(&path)?;
    kernel::flock(&manifest, FlockOperation::NonBlockingLockExclusive)?;
    // Whoever held it before may have removed it.
    let (held, named) = (kernel::fstat(&manifest)?, kernel::lstat(&path)?);
    if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino) { Ok(manifest) } else { Err(Errno::NOENT) }
}

/// Moves what the task changed in the copy below `layer` to `upper`, and removes the rest. It may be repeated after a crash. One does
/// it at a time: who [`hold`]s it.
///
/// # Errors
/// The first thing that cannot be moved; then the manifest stays, and nothing is removed.
pub fn capture(layer: &Path) -> Result<(), Failure> {
    let (root, manifest) = (layer.join(COPY), layer.join(MANIFEST));
    let (known, border) = read_manifest(&manifest).map_err(Failure::of("read", &manifest))?;
    let upper = layer.join(UPPER);
    let mut capture = Capture {
        own: Tree::own(layer).map_err(Failure::of("open", layer))?,
        copy: unlocked(&root).map_err(Failure::of("open", &root))?,
        upper: Tree::own(&upper).map_err(Failure::of("open", &upper))?,
        border,
        known,
        noted: Noted::open(layer).map_err(Failure::of("note modes below", layer))?,
    };
    let mut directories = vec![PathBuf::new()];
    while let Some(path) = directories.pop() {
        let more = capture.directory(&path).map_err(Failure::of("keep what changed in", &path))?;
        directories.extend(more);
    }
    capture.close()?;
    std::fs::remove_file(&manifest).map_err(|error| {
        Failure::of("remove", &manifest)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    })?;
    noted::forget(layer);
    // What is left of it is as on the host.
    let _ = crate::remove_tree(&root);
    Ok(())
}

struct Known {
    inode: u64,
    mode: u32,
}

/// No link and no FIFO, which its owner could have put there.
fn open_manifest(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    kernel::open(path, flags, Mode::empty())
}

/// What was copied, and when that was done.
fn read_manifest(path: &Path) -> Result<(BTreeMap<PathBuf, Known>, Timestamp), Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let file = open_manifest(path)?;
    let found = Identity::of(&kernel::fstat(&file)?);
    if FileType::of(found.mode) != FileType::File {
        return Err(Errno::INVAL);
    }
    let mut bytes = Vec::new();
    BufReader::new(File::from(file)).read_to_end(&mut bytes).map_err(io)?;
    let mut known = BTreeMap::new();
    let mut parts = bytes.split(|byte| *byte == 0);
    while let (Some(numbers), Some(path)) = (parts.next(), parts.next()) {
        let numbers = std::str::from_utf8(numbers).map_err(|_| Errno::INVAL)?;
        let (inode, mode) = numbers.split_once(' ').ok_or(Errno::INVAL)?;
        let one = Known {
            inode: inode.parse().map_err(|_| Errno::INVAL)?,
            mode: mode.parse().map_err(|_| Errno::INVAL)?,
        };
        known.insert(PathBuf::from(OsString::from_vec(path.to_vec())), one);
    }
    Ok((known, found.changed))
}

struct Capture {
    /// The layer's directory.
    own: Tree,
    copy: Tree,
    upper: Tree,
    border: Timestamp,
    known: BTreeMap<PathBuf, Known>,
    noted: Noted,
}

impl Capture {
    /// Gives directories the modes that the task gave them.
    fn close(&self) -> Result<(), Failure> {
        self.noted.inside_out().try_for_each(|(path, mode)| match self.upper.handle(path) {
            // Otherwise it did not change, or something else stands there.
            Ok(handle) if directory_of(&handle).is_err() => Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            handle => handle
                .and_then(|handle| change_mode(handle.as_fd(), mode))
                .map_err(Failure::of("close", path)),
        })
    }

    /// Opens a directory of the copy to its owner.
    fn unlock(&mut self, path: &Path, found: &Identity) -> Result<(), Errno> {
        if found.owner_may_enter() {
            return Ok(());
        }
        self.noted.note(path, found.mode)?;
        let handle = self.copy.handle(path)?;
        directory_of(&handle)?;
        change_mode(handle.as_fd(), found.mode | 0o700)
    }

    fn directory(&mut self, path: &Path) -> Result<Vec<PathBuf>, Errno> {
        let directory = self.copy.directory(path)?;
        let mut further = Vec::new();
        let present = names(&directory)?;
        for name in &present {
            let path = path.join(name);
            let Some(found) = look_at(&directory, name)? else { continue };
            let known = self.known.get(&path).filter(|known| {
                known.inode == found.inode && FileType::of(known.mode) == FileType::of(found.mode)
            });
            match known {
                Some(known) if FileType::of(found.mode) == FileType::Directory => {
                    if known.mode & 0o7777 != found.mode & 0o7777 {
                        self.place(&path)?;
                    }
                    self.unlock(&path, &found)?;
                    if path.as_os_str().len() < MAX_PATH {
                        further.push(path);
                    }
                }
                Some(_) if found.changed < self.border => {}
                _ => self.take(&directory, name, &path, &found)?,
            }
        }
        let gone: Vec<PathBuf> = self
            .children(path)
            .filter(|child| {
                child.file_name().is_some_and(|name| {
                    present.binary_search_by(|known| known.as_os_str().cmp(name)).is_err()
                })
            })
            .cloned()
            .collect();
        for child in gone {
            let parent = self.place(path)?;
            let name = child.file_name().unwrap_or_default();
            match look_at(&parent, name)? {
                None => whiteout(&self.own, &parent, name)?,
                // It was taken before a crash.
                Some(taken) if FileType::of(taken.mode) == FileType::Directory => self.hide_below(&child)?,
                Some(_) => {}
            }
        }
        Ok(further)
    }

    /// What was copied into a directory.
    fn children<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.below(path).filter(move |child| child.parent() == Some(path))
    }

    /// What was copied into it and what is in it.
    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let from = self.known.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded));
        from.map(|(child, _)| child).take_while(move |child| child.starts_with(path))
    }

    /// Moves what is new or changed. A directory that stands where another was hides what is not in it.
    fn take(&mut self, from: &OwnedFd, name: &OsStr, path: &Path, found: &Identity) -> Result<(), Errno> {
        let to = self.place(path.parent().unwrap_or(Path::new("")))?;
        let directory = FileType::of(found.mode) == FileType::Directory;
        if directory {
            self.unlock(path, found)?;
        }
        kernel::renameat(from, name, &to, name)?;
        if directory { self.hide_below(path) } else { Ok(()) }
    }

    /// What was copied there and is not in the directory that stands there now.
    fn hide_below(&self, path: &Path) -> Result<(), Errno> {
        for child in self.below(path) {
            // Below what is hidden, or no directory any more, nothing is to be hidden.
            if let (Some(parent), Some(name)) = (child.parent(), child.file_name())
                && let Ok(parent) = self.upper.directory(parent)
                && look_at(&parent, name)?.is_none()
            {
                whiteout(&self.own, &parent, name)?;
            }
        }
        Ok(())
    }

    /// The same directory of the upper one, with those above it, each with the mode that the task's has.
    fn place(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if let Ok(there) = self.upper.directory(path) {
            return Ok(there);
        }
        let parent = self.place(path.parent().ok_or(Errno::NOENT)?)?;
        let name = path.file_name().ok_or(Errno::NOENT)?;
        kernel::mkdirat(&parent, name, Mode::RWXU)?;
        let made = self.upper.directory(path)?;
        let like = self.copy.look(path)?.ok_or(Errno::NOENT)?;
        // The owner must be able to work in it until all is moved.
        kernel::fchmod(&made, Mode::from_raw_mode(like.mode & 0o1777 | 0o700))?;
        // As an overlay marks what it copied up: the host had it. Not every file system keeps that.
        let _ = kernel::fsetxattr(&made, c"user.overlay.origin", b"", kernel::XattrFlags::empty());
        Ok(made)
    }
}

/// Opens the copy, which its task may have closed to everybody.
fn unlocked(root: &Path) -> Result<Tree, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = kernel::open(root, flags, Mode::empty())?;
    change_mode(handle.as_fd(), kernel::fstat(&handle)?.st_mode | 0o700)?;
    Tree::own(root)
}

/// Root may do this where the layer is somebody else's, who could put another name of a file of root's there meanwhile.
fn directory_of(handle: &OwnedFd) -> Result<(), Errno> {
    let mode = kernel::fstat(handle)?.st_mode;
    if FileType::of(mode) == FileType::Directory { Ok(()) } else { Err(Errno::NOTDIR) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;
    use crate::copy::copy;
    use crate::layer::Layer;

    struct World {
        _home: tempfile::TempDir,
        host: PathBuf,
        layer: PathBuf,
    }

    fn world() -> World {
        let home = tempfile::tempdir().unwrap();
        let (host, layer) = (home.path().join("host"), home.path().join("layer"));
        for path in [
            &host,
            &layer.join(COPY),
            &layer.join(UPPER),
            &host.join("d/e"),
            &host.join("gone"),
            &host.join("away/info"),
            &host.join("away/hooks"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        for name in [
            "same",
            "changed",
            "removed",
            "d/e/f",
            "d/g",
            "gone/x",
            "secret",
            "away/info/x",
            "away/hooks/old",
        ] {
            fs::write(host.join(name), name).unwrap();
        }
        fs::hard_link(host.join("same"), host.join("twin")).unwrap();
        symlink("same", host.join("link")).unwrap();
        fs::set_permissions(host.join("same"), fs::Permissions::from_mode(0o741)).unwrap();
        World { _home: home, host, layer }
    }

    fn changes(world: &World, started: Timestamp) -> Vec<String> {
        let layer = Layer {
            name: "workspace".into(),
            host: world.host.clone(),
            upper: world.layer.join(UPPER),
            started,
            root: crate::root::Root::of(&world.host).unwrap(),
            protect: vec![],
            outputs: None,
            scan: None,
            secrets: Default::default(),
            began: Default::default(),
            obeyed: vec![],
        };
        let changes = crate::diff(&[layer]).unwrap();
        changes.iter().map(|change| format!("{:?} {}", change.kind, change.path.display())).collect()
    }

    #[test]
    fn a_copy_is_the_same_but_for_what_is_hidden() {
        let world = world();
        let secret = [world.host.join("secret")];
        let done = copy(&world.host, &world.layer, &secret, false, &mut |_| true).unwrap();
        assert_eq!(done.entries, 16);
        let copy = world.layer.join(COPY);
        assert!(!copy.join("secret").exists());
        assert_eq!(fs::read(copy.join("d/e/f")).unwrap(), b"d/e/f");
        let (same, twin) =
            (fs::metadata(copy.join("same")).unwrap(), fs::metadata(copy.join("twin")).unwrap());
        assert_eq!((same.ino(), same.mode() & 0o777), (twin.ino(), 0o741));
        let old = fs::metadata(world.host.join("same")).unwrap();
        assert_eq!((same.mtime(), same.mtime_nsec()), (old.mtime(), old.mtime_nsec()));
        assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("same"));
    }

    #[test]
    fn what_became_of_it_is_an_upper_directory() {
        let world = world();
        let started = Timestamp::now();
        std::thread::sleep(std::time::Duration::from_millis(11));
        copy(&world.host, &world.layer, &[], false, &mut |_| true).unwrap();
        let at = |name: &str| world.layer.join(COPY).join(name);
        fs::write(at("changed"), "new").unwrap();
        fs::remove_file(at("removed")).unwrap();
        fs::remove_dir_all(at("gone")).unwrap();
        fs::create_dir(at("made")).unwrap();
        fs::write(at("made/file"), "x").unwrap();
        fs::rename(at("d/g"), at("moved")).unwrap();
        // Another directory of the same name, without what was in it.
        fs::rename(at("d/e"), at("aside")).unwrap();
        fs::create_dir(at("d/e")).unwrap();
        fs::write(at("d/e/h"), "x").unwrap();
        fs::set_permissions(at("d"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::rename(at("away"), at("elsewhere")).unwrap();
        fs::create_dir_all(at("away/hooks")).unwrap();
        fs::write(at("away/hooks/new"), "x").unwrap();
        // As often as it is killed before its end.
        let taken = |name: &str| fs::rename(at(name), world.layer.join(UPPER).join(name)).unwrap();
        taken("away");
        taken("made");
        let held = hold(&world.layer).unwrap();
        assert_eq!(hold(&world.layer).unwrap_err(), Errno::WOULDBLOCK);
        drop(held);
        capture(&world.layer).unwrap();
        assert_eq!(hold(&world.layer).unwrap_err(), Errno::NOENT);
        assert!(!captures(&world.layer) && !world.layer.join(COPY).exists());
        let changes = changes(&world, started);
        for expected in [
            "changed",
            "removed",
            "gone",
            "gone/x",
            "made",
            "made/file",
            "moved",
            "d/g",
            "aside/f",
            "d/e/h",
            "d/e/f",
            "away/info",
            "away/info/x",
            "away/hooks/old",
            "away/hooks/new",
            "elsewhere/info/x",
        ] {
            let found = changes.iter().any(|change| change.ends_with(&format!(" {expected}")));
            assert!(found, "{expected}: {changes:#?}");
        }
        for same in ["same", "twin", "link", "secret"] {
            assert!(
                !changes.iter().any(|change| change.ends_with(&format!(" {same}"))),
                "{same}: {changes:#?}"
            );
        }
    }
}
