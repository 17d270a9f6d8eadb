//! Copies an object with everything in it to where what is replaced is kept, for the case that a rename cannot.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::beneath::{Tree, by_descriptor, look_at, names};
use crate::change::FileType;
use crate::content;
use crate::layer::{Identity, Timestamp};
use crate::overlay::link_target;

/// Copies `path` beneath `from` to the name `to` beneath `into`. What was there is left from an earlier attempt.
pub(crate) fn copy(from: &Tree, path: &Path, into: &Tree, to: &Path) -> Result<(), Errno> {
    tree(from, path, into, to, false)
}

/// The same, but files keep their inodes where a second name can be given to them.
pub(crate) fn link(from: &Tree, path: &Path, into: &Tree, to: &Path) -> Result<(), Errno> {
    tree(from, path, into, to, true)
}

fn tree(from: &Tree, path: &Path, into: &Tree, to: &Path, link: bool) -> Result<(), Errno> {
    let name = to.file_name().ok_or(Errno::INVAL)?;
    crate::remove::remove_at(into.root(), name, to)
        .map_err(|failures| failures.first().map_or(Errno::IO, |first| first.errno))?;
    let mut queue = vec![PathBuf::new()];
    let mut directories = Vec::new();
    while let Some(below) = queue.pop() {
        // `join` with nothing would add a slash.
        let join =
            |base: &Path| if below.as_os_str().is_empty() { base.to_owned() } else { base.join(&below) };
        let (source, target) = (join(path), join(to));
        let Some(found) = look_at(from.parent(&source)?, source.file_name().ok_or(Errno::INVAL)?)? else {
            return Err(Errno::NOENT);
        };
        if !(link && linked(from, &source, &found, into, &target)) {
            one(from, &source, &found, into, &target)?;
        }
        if FileType::of(found.mode) == FileType::Directory {
            queue.extend(names(from.directory(&source)?)?.into_iter().map(|name| below.join(name)));
            directories.push((source, target, found));
        }
    }
    // The innermost first: times and modes change no more once everything inside is done.
    for (source, path, found) in directories.into_iter().rev() {
        let directory = into.directory(&path)?;
        extend(from, &source, &directory)?;
        attributes(&directory, &found)?;
        rustix::fs::fsync(&directory)?;
    }
    Ok(())
}

fn linked(from: &Tree, source: &Path, found: &Identity, into: &Tree, target: &Path) -> bool {
    let act = || {
        let (Some(name), Some(new)) = (source.file_name(), target.file_name()) else {
            return Err(Errno::INVAL);
        };
        rustix::fs::linkat(from.parent(source)?, name, into.parent(target)?, new, AtFlags::empty())
    };
    FileType::of(found.mode) != FileType::Directory && act().is_ok()
}

fn one(from: &Tree, source: &Path, found: &Identity, into: &Tree, target: &Path) -> Result<(), Errno> {
    let parent = into.parent(target)?;
    let name = target.file_name().ok_or(Errno::INVAL)?;
    match FileType::of(found.mode) {
        FileType::Directory => rustix::fs::mkdirat(&parent, name, Mode::RWXU),
        FileType::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?;
            content::copy(from.file(source)?, &file, found.size)?;
            extend(from, source, &file)?;
            attributes(&file, found)?;
            rustix::fs::fsync(&file)
        }
        FileType::Symlink => {
            let link = link_target(from.handle(source)?)?;
            rustix::fs::symlinkat(link, &parent, name)?;
            rustix::fs::utimensat(&parent, name, &times(found.modified), AtFlags::SYMLINK_NOFOLLOW)
        }
        FileType::Fifo => rustix::fs::mknodat(
            &parent,
            name,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(found.mode & 0o777),
            0,
        ),
        // Neither can be made again.
        FileType::Socket | FileType::Device => Err(Errno::OPNOTSUPP),
    }
}

/// Extended attributes and access lists.
fn extend(from: &Tree, source: &Path, to: &impl AsFd) -> Result<(), Errno> {
    let parent = from.parent(source)?;
    let source = by_descriptor(parent.as_fd(), source.file_name().ok_or(Errno::INVAL)?);
    crate::attributes::copy(&source, &by_descriptor(to.as_fd(), OsStr::new("")), |name| {
        name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
    })
}

fn attributes(file: impl AsFd, found: &Identity) -> Result<(), Errno> {
    if rustix::process::geteuid().is_root() {
        rustix::fs::fchown(&file, Some(Uid::from_raw(found.uid)), Some(Gid::from_raw(found.gid)))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(found.mode & 0o7777))?;
    rustix::fs::futimens(&file, &times(found.modified))
}

/// Only the time of the last modification.
pub(crate) fn times(modified: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.sec, tv_nsec: modified.nsec },
    }
}
