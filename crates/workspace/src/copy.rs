//! Working on a copy, where no overlay can be mounted: [`copy`] makes it, [`crate::capture()`] turns what became of it into the upper
//! directory that an overlay would have left, so that everything else here knows only one form.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as kernel, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::beneath::{Tree, look_at, names};
use crate::change::FileType;
use crate::content;
use crate::layer::{Identity, Timestamp};
use crate::overlay::link_target;
use crate::refuse::Failure;

/// The copy, below a layer's directory.
pub(crate) const COPY: &str = "copy";
/// What was copied: number, mode and path of each entry, each ended by NUL. Whatever has a later change time was changed by the task.
pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const UPPER: &str = "upper";
/// How often an exact time is asked for.
const EXACT: usize = 3;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// Sockets, FIFOs and devices, which are left out.
    pub left_out: u64,
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
                _ => {
                    self.done.left_out += 1;
                    continue;
                }
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
