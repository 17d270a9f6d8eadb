//! Builds what is new in a directory of its own inside the workspace, from where one rename brings it to its place.
//!
//! That directory has mode 0700 and belongs to whoever applies, so that nobody else gets between building and placing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::attributes as extended;
use crate::beneath::{Tree, by_descriptor};
use crate::change::{Change, FileType, Kind};
use crate::content;
use crate::keep::{self, times};
use crate::layer::Identity;
use crate::operation::{Action, Operation};
use crate::overlay::Upper;
use crate::pieces::Chosen;
use crate::refuse::Reason;
use crate::unsynced::Unsynced;

/// Makes the directory. What is there under its name is not used.
pub(crate) fn make(host: &Tree, name: &str) -> Result<Tree, Errno> {
    rustix::fs::mkdirat(host.root(), name, Mode::RWXU)?;
    open(host, name)
}

/// Opens it, and makes sure that it is ours alone.
pub(crate) fn open(host: &Tree, name: &str) -> Result<Tree, Errno> {
    let stage = Tree::of(host.directory(Path::new(name))?)?;
    let ours = stage.identity.uid == rustix::process::geteuid().as_raw() && stage.identity.mode & 0o077 == 0;
    if ours { Ok(stage) } else { Err(Errno::PERM) }
}

/// Where the new object of a step is built.
pub(crate) fn name(number: usize) -> PathBuf {
    PathBuf::from(number.to_string())
}

/// What building needs.
pub(crate) struct Site<'a> {
    pub(crate) upper: &'a Upper,
    pub(crate) host: &'a Tree,
    pub(crate) stage: &'a Tree,
    pub(crate) chosen: &'a [Chosen],
}

/// Builds the new object of a step. `changes` are those at and below its path. With `None` the caller syncs the whole
/// file system.
pub(crate) fn build(
    site: &Site<'_>,
    operation: &Operation,
    changes: &[Change],
    mut unsynced: Option<&mut Unsynced>,
) -> Result<Identity, (PathBuf, Reason)> {
    let owner = Owner::of(site.host, operation);
    let mut directories = Vec::new();
    for change in changes.iter().filter(|change| change.brings() && change.held.is_none()) {
        let failed = |doing: &'static str| {
            let path = change.path.clone();
            move |errno| (path, Reason::failed(doing)(errno))
        };
        let below = change.path.strip_prefix(&operation.path).unwrap_or(Path::new(""));
        let path = match below.as_os_str().is_empty() {
            true => name(operation.number),
            false => name(operation.number).join(below),
        };
        let file = match one(site, operation, change, &path, &owner) {
            Err(Errno::STALE) => return Err((change.path.clone(), Reason::LayerChanged)),
            other => other.map_err(failed("build the new version"))?,
        };
        if let (Some(file), Some(unsynced)) = (file, &mut unsynced) {
            unsynced.add(&change.path, file).map_err(not_synced)?;
        }
        if change.file_type == FileType::Directory {
            directories.push((path, change));
        }
    }
    let failed = |doing: &'static str| move |errno| (operation.path.clone(), Reason::failed(doing)(errno));
    for (path, change) in directories.into_iter().rev() {
        let finish = || {
            let directory = site.stage.directory(&path)?;
            let mode = change.new_mode.unwrap_or(0o700) & 0o777 | owner.directory_bits;
            if !change.attributes.is_empty() {
                let to = by_descriptor(directory.as_fd(), OsStr::new(""));
                site.upper.copy_attributes(&change.path, &to)?;
            }
            attributes(&directory, mode, change.new.as_ref(), &owner)?;
            Ok(directory)
        };
        let directory = finish().map_err(failed("build the new version"))?;
        if let Some(unsynced) = &mut unsynced {
            unsynced.add(&change.path, directory).map_err(not_synced)?;
        }
    }
    let found = site.stage.look(&name(operation.number)).map_err(failed("look at the new version"))?;
    found.ok_or_else(|| failed("find the new version")(Errno::NOENT))
}

/// What could not be brought to disk.
pub(crate) fn not_synced((path, errno): (PathBuf, Errno)) -> (PathBuf, Reason) {
    (path, Reason::failed("sync the new version")(errno))
}

/// Brings back an object that an apply replaced: it keeps its inode, or is copied where it cannot.
pub(crate) fn bring(kept: &Tree, then: usize, stage: &Tree, now: usize) -> Result<Identity, Errno> {
    keep::link(kept, &name(then), stage, &name(now))?;
    stage.look(&name(now))?.ok_or(Errno::NOENT)
}

/// Whose the new objects are.
struct Owner {
    user: Option<Uid>,
    group: Option<Gid>,
    /// Set-group-id, where the directory on the host passes it on.
    directory_bits: u32,
}

impl Owner {
    fn of(host: &Tree, operation: &Operation) -> Self {
        let root = rustix::process::geteuid().is_root();
        let inherits = operation.parent.mode & 0o2000 != 0;
        let group = match operation.old {
            Some(old) => Some(old.gid),
            None if inherits => Some(operation.parent.gid),
            None => root.then_some(host.identity.gid),
        };
        Self {
            user: root.then_some(Uid::from_raw(host.identity.uid)),
            group: group.map(Gid::from_raw),
            directory_bits: if inherits { 0o2000 } else { 0 },
        }
    }
}

/// Builds one object; a file is left open for its sync. `ESTALE`: the layer is not what was judged.
fn one(
    site: &Site<'_>,
    operation: &Operation,
    change: &Change,
    path: &Path,
    owner: &Owner,
) -> Result<Option<OwnedFd>, Errno> {
    let parent = site.stage.parent(path)?;
    let name = path.file_name().unwrap_or(OsStr::new(""));
    match change.file_type {
        FileType::Directory => rustix::fs::mkdirat(&parent, name, Mode::RWXU).map(|()| None),
        FileType::Symlink => {
            let target = site.upper.target(&change.path)?;
            if Some(&target) != change.target.as_ref() {
                return Err(Errno::STALE);
            }
            rustix::fs::symlinkat(&target, &parent, name)?;
            if owner.user.is_some() {
                rustix::fs::chownat(&parent, name, owner.user, owner.group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            let modified = change.new.map(|new| new.modified).unwrap_or_default();
            rustix::fs::utimensat(&parent, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW).map(|()| None)
        }
        FileType::File => {
            let source = site.upper.file(&change.path)?;
            unchanged(&source, change)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?;
            let chosen =
                site.chosen.iter().find(|chosen| chosen.layer == change.index && chosen.path == change.path);
            match chosen {
                Some(chosen) => content::write_all(&file, 0, &chosen.content)?,
                None => content::copy(&source, &file, change.new.map_or(0, |new| new.size))?,
            }
            unchanged(&source, change)?;
            if operation.action == Action::Replace && operation.path == change.path {
                keep_list(site.host, operation, &file)?;
            }
            if !change.attributes.is_empty() || change.kind != Kind::Created {
                site.upper.copy_attributes(&change.path, &by_descriptor(file.as_fd(), OsStr::new("")))?;
            }
            attributes(&file, change.new_mode.unwrap_or(0) & 0o777, change.new.as_ref(), owner)?;
            Ok(Some(file))
        }
        // Refused before.
        FileType::Fifo | FileType::Socket | FileType::Device => Err(Errno::INVAL),
    }
}

/// Is this still what was judged? Its mode does not count: it may have been opened up for reading.
fn unchanged(source: &OwnedFd, change: &Change) -> Result<(), Errno> {
    let now = Identity::of(&rustix::fs::fstat(source)?);
    let same = change
        .new
        .is_some_and(|new| new.same_object(&now) && (new.size, new.modified) == (now.size, now.modified));
    if same { Ok(()) } else { Err(Errno::STALE) }
}

fn attributes(file: impl AsFd, mode: u32, new: Option<&Identity>, owner: &Owner) -> Result<(), Errno> {
    if owner.user.is_some() || owner.group.is_some() {
        match rustix::fs::fchown(&file, owner.user, owner.group) {
            // Only root may give a file to any group; the file's own group stays then.
            Err(Errno::PERM) if owner.user.is_none() => {}
            other => other?,
        }
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    rustix::fs::futimens(&file, &times(new.map(|new| new.modified).unwrap_or_default()))
}

/// The access list of the file on the host stays on its new version; one that a task sets does not land.
fn keep_list(host: &Tree, operation: &Operation, file: &OwnedFd) -> Result<(), Errno> {
    if operation.old.is_none_or(|old| FileType::of(old.mode) != FileType::File) {
        return Ok(());
    }
    let (Ok(parent), Some(name)) = (host.parent(&operation.path), operation.path.file_name()) else {
        return Ok(());
    };
    let old = by_descriptor(parent.as_fd(), name);
    match extended::value(&old, b"system.posix_acl_access")? {
        Some(list) => extended::set(
            &by_descriptor(file.as_fd(), OsStr::new("")),
            b"system.posix_acl_access",
            Some(&list),
        ),
        None => Ok(()),
    }
}
