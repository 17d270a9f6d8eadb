//! Working on a copy, where no overlay can be mounted: [`copy`] makes it, [`capture`] turns what became of it into the upper
//! directory that an overlay would have left, so that everything else here knows only one form.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::ops::Bound;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as kernel, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::beneath::{MAX_PATH, Tree, change_mode, look_at, names};
use crate::change::FileType;
use crate::content;
use crate::layer::{Identity, Timestamp};
use crate::noted::{self, Noted};
use crate::overlay::link_target;
use crate::refuse::Failure;

/// The copy, below a layer's directory.
const COPY: &str = "copy";
/// What was copied: number, mode and path of each entry, each ended by NUL. Whatever has a later change time was changed by the task.
const MANIFEST: &str = "manifest";
const UPPER: &str = "upper";
/// How often an exact time is asked for.
const EXACT: usize = 3;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// Copies a directory of the host to `copy` below `layer`, all but what lies at or below `hidden`. Blocks are shared where the file
/// system can (ioctl_ficlone(2)). Sockets, FIFOs and devices are left out. `keep` keeps owners, which only root can.
///
/// # Errors
/// The first thing that cannot be read or written; EINTR where `progress` says that it is enough.
pub fn copy(
    host: &Path,
    layer: &Path,
    hidden: &[PathBuf],
    keep: bool,
    progress: &mut dyn FnMut(Copied) -> bool,
) -> Result<Copied, Failure> {
    let from = Tree::host(host).map_err(Failure::of("open", host))?;
    let root = layer.join(COPY);
    let to = Tree::own(&root).map_err(Failure::of("open", &root))?;
    let manifest = layer.join(MANIFEST);
    let failed = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Failure::of("write", &manifest)(errno)
    };
    let file = File::create_new(&manifest).map_err(failed)?;
    let mut copier = Copier {
        host,
        hidden,
        keep,
        from,
        to,
        links: BTreeMap::new(),
        done: Copied::default(),
        manifest: BufWriter::new(file),
    };
    let mut directories = vec![PathBuf::new()];
    let mut times = Vec::new();
    while let Some(path) = directories.pop() {
        let more = copier.directory(&path, &mut times)?;
        directories.extend(more);
        if !progress(copier.done) {
            return Err(Failure::of("copy", host)(Errno::INTR));
        }
    }
    // Children first: making them changed the times of what holds them.
    while let Some((path, identity)) = times.pop() {
        copier.finish(&path, &identity)?;
    }
    copier.manifest.flush().map_err(failed)?;
    stamp(copier.manifest.get_ref()).map_err(Failure::of("stamp", &manifest))?;
    Ok(copier.done)
}

/// Gives the manifest a change time that is later than that of every copy and not later than that of any change from now on. Times
/// of files tick every 1 to 10 ms; since Linux 6.13 a file that was looked at gets an exact one, and no file an earlier one after that
/// (Documentation/filesystems/multigrain-ts.rst).
fn stamp(manifest: &File) -> Result<(), Errno> {
    let now = clock_gettime(ClockId::Realtime);
    let now = Timestamp { sec: now.tv_sec, nsec: now.tv_nsec };
    // The exact one comes only where the tick is not newer than what was looked at: at the second time, unless it ticked in between.
    for _ in 0..EXACT {
        kernel::fstat(manifest)?;
        kernel::fchmod(manifest, Mode::RUSR | Mode::WUSR)?;
        if Identity::of(&kernel::fstat(manifest)?).changed >= now {
            return Ok(());
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(11));
    kernel::fchmod(manifest, Mode::RUSR | Mode::WUSR)
}

struct Copier<'a> {
    host: &'a Path,
    hidden: &'a [PathBuf],
    keep: bool,
    from: Tree,
    to: Tree,
    /// Where a file with several names was copied to first.
    links: BTreeMap<(u64, u64), PathBuf>,
    done: Copied,
    manifest: BufWriter<File>,
}

impl Copier<'_> {
    /// Copies what is in a directory, but for what is in its directories.
    fn directory(
        &mut self,
        path: &Path,
        times: &mut Vec<(PathBuf, Identity)>,
    ) -> Result<Vec<PathBuf>, Failure> {
        let shown = self.host.join(path);
        let read = |errno| Failure::of("read", &shown)(errno);
        let from = self.from.directory(path).map_err(&read)?;
        let to = self.to.directory(path).map_err(&read)?;
        times.push((path.to_owned(), Identity::of(&kernel::fstat(&from).map_err(&read)?)));
        let mut directories = Vec::new();
        for name in names(&from).map_err(&read)? {
            let path = path.join(&name);
            let shown = self.host.join(&path);
            let failed = |errno| Failure::of("copy", &shown)(errno);
            if self.hidden.contains(&self.host.join(&path)) {
                continue;
            }
            let Some(found) = look_at(&from, &name).map_err(&failed)? else { continue };
            match FileType::of(found.mode) {
                FileType::Directory => {
                    kernel::mkdirat(&to, &name, Mode::RWXU).map_err(&failed)?;
                    directories.push(path.clone());
                }
                FileType::File => self.file(&from, &to, &name, &path, &found).map_err(&failed)?,
                FileType::Symlink => {
                    let handle = self.from.handle(&path).map_err(&failed)?;
                    let target = link_target(handle).map_err(&failed)?;
                    kernel::symlinkat(target.as_os_str(), &to, &name).map_err(&failed)?;
                    self.own(&to, &name, &found).map_err(&failed)?;
                }
                _ => continue,
            }
            self.done.entries += 1;
            let made = look_at(&to, &name).map_err(&failed)?.ok_or(Errno::NOENT).map_err(&failed)?;
            let line =
                [format!("{} {}\0", made.inode, found.mode).as_bytes(), path.as_os_str().as_bytes(), b"\0"]
                    .concat();
            self.manifest
                .write_all(&line)
                .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        }
        Ok(directories)
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &OsStr,
        path: &Path,
        found: &Identity,
    ) -> Result<(), Errno> {
        let key = (found.device, found.inode);
        if let Some(first) = self.links.get(&key) {
            let parent = self.to.parent(first)?;
            return kernel::linkat(&parent, first.file_name().unwrap_or(name), to, name, AtFlags::empty());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let source = kernel::openat(from, name, flags, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let target = kernel::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        let found = Identity::of(&kernel::fstat(&source)?);
        self.done.bytes += content::copy_whole(&source, &target)?;
        attributes(&source, &target);
        self.own(to, name, &found)?;
        kernel::fchmod(&target, Mode::from_raw_mode(found.mode & 0o1777))?;
        kernel::futimens(&target, &times(&found))?;
        if kernel::fstat(&source)?.st_nlink > 1 {
            self.links.insert(key, path.to_owned());
        }
        Ok(())
    }

    fn own(&self, to: &OwnedFd, name: &OsStr, found: &Identity) -> Result<(), Errno> {
        if !self.keep {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(found.uid), Gid::from_raw(found.gid));
        kernel::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn finish(&self, path: &Path, found: &Identity) -> Result<(), Failure> {
        let shown = self.host.join(path);
        let failed = |errno| Failure::of("copy", &shown)(errno);
        let directory = self.to.directory(path).map_err(&failed)?;
        if self.keep {
            let (uid, gid) = (Uid::from_raw(found.uid), Gid::from_raw(found.gid));
            kernel::fchown(&directory, Some(uid), Some(gid)).map_err(&failed)?;
        }
        kernel::fchmod(&directory, Mode::from_raw_mode(found.mode & 0o1777)).map_err(&failed)?;
        kernel::futimens(&directory, &times(found)).map_err(&failed)
    }
}

/// Those of the user, as far as the other file system takes them.
fn attributes(source: &OwnedFd, target: &OwnedFd) {
    let mut list = vec![0; 1 << 16];
    let length = kernel::flistxattr(source, &mut list).unwrap_or(0);
    for name in list.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0; 1 << 16];
        if name.as_bytes().starts_with(b"user.")
            && let Ok(length) = kernel::fgetxattr(source, name, &mut value)
        {
            let value = value.get(..length).unwrap_or_default();
            let _ = kernel::fsetxattr(target, name, value, kernel::XattrFlags::empty());
        }
    }
}

fn times(found: &Identity) -> Timestamps {
    let time = |at: Timestamp| Timespec { tv_sec: at.sec, tv_nsec: at.nsec };
    Timestamps { last_access: time(found.modified), last_modification: time(found.modified) }
}

/// Whether a layer holds a copy that is not captured yet.
#[must_use]
pub fn captures(layer: &Path) -> bool {
    layer.join(MANIFEST).exists()
}

/// Moves what the task changed in the copy below `layer` to `upper`, and removes the rest. It may be repeated after a crash.
///
/// # Errors
/// The first thing that cannot be moved; then the manifest stays, and nothing is removed.
pub fn capture(layer: &Path) -> Result<(), Failure> {
    let (root, manifest) = (layer.join(COPY), layer.join(MANIFEST));
    let (known, border) = read_manifest(&manifest).map_err(Failure::of("read", &manifest))?;
    let upper = layer.join(UPPER);
    let mut capture = Capture {
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

/// What was copied, and when that was done. The file is no link and no FIFO, which its owner could have put there.
fn read_manifest(path: &Path) -> Result<(BTreeMap<PathBuf, Known>, Timestamp), Errno> {
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = kernel::open(path, flags, Mode::empty())?;
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
                None => whiteout(&parent, name)?,
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
                whiteout(&parent, name)?;
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

/// Stands for what is not there any more.
fn whiteout(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    kernel::mknodat(parent, name, kernel::FileType::CharacterDevice, Mode::empty(), 0)
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
        capture(&world.layer).unwrap();
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
