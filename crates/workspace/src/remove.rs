//! Removes whatever a hostile task left, however deep it is and whatever modes it has.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::beneath::{Tree, change_mode, names};
use crate::layer::Layer;
use crate::refuse::Failure;

/// Throws the changes of a run away: every layer's upper directory and the overlay's `work` beside it. It goes on where
/// something cannot be removed, and reports every such path.
pub fn discard(layers: &[Layer]) -> Result<(), Vec<Failure>> {
    let mut failures = Vec::new();
    for layer in layers {
        let mut places = vec![layer.upper.clone()];
        if let Some(above) =
            layer.upper.parent().filter(|_| layer.upper.file_name() == Some(OsStr::new("upper")))
        {
            places.push(above.join("work"));
        }
        for place in places {
            if let Err(mut more) = remove_tree(&place) {
                failures.append(&mut more);
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Removes a directory with everything in it, or a file. That it is gone already is fine. The directory that holds it
/// must be ours: its path is followed.
pub fn remove_tree(path: &Path) -> Result<(), Vec<Failure>> {
    let one = |doing| move |errno| vec![Failure::of(doing, path)(errno)];
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(one("remove")(Errno::INVAL));
    };
    let above = match Tree::own(above) {
        Ok(above) => above,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(one("open the directory above")(errno)),
    };
    remove_at(above.root(), name, path)
}

/// Removes everything in a directory of ours, which stays.
pub fn empty_tree(path: &Path) -> Result<(), Vec<Failure>> {
    // A task may have closed it to everybody.
    let root =
        enter(rustix::fs::CWD, path.as_os_str()).map_err(|errno| vec![Failure::of("open", path)(errno)])?;
    let failures = empty(&root, path);
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// The same for a name in an open directory; `shown` is for messages.
pub(crate) fn remove_at(above: impl AsFd, name: &OsStr, shown: &Path) -> Result<(), Vec<Failure>> {
    let one = |doing| move |errno| vec![Failure::of(doing, shown)(errno)];
    if unlink(&above, name).map_err(one("remove"))? {
        return Ok(());
    }
    let root = enter(&above, name).map_err(one("open"))?;
    let failures = empty(&root, shown);
    if !failures.is_empty() {
        return Err(failures);
    }
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).map_err(one("remove"))
}

/// Empties a directory without ever going deeper than two levels: a directory found in a directory is moved up beside
/// it. So neither depth nor the number of descriptors matters.
fn empty(root: &OwnedFd, shown: &Path) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut queue: VecDeque<OsString> = match names(root) {
        Ok(names) => names.into(),
        Err(errno) => return vec![Failure::of("list", shown)(errno)],
    };
    let taken: BTreeSet<OsString> = queue.iter().cloned().collect();
    let mut next =
        (0_u64..).map(|number| OsString::from(format!("{number}"))).filter(|name| !taken.contains(name));
    while let Some(name) = queue.pop_front() {
        let outcome = remove_level(root, &name, &mut || {
            let fresh = next.next().unwrap_or_default();
            queue.push_back(fresh.clone());
            fresh
        });
        if let Err(errno) = outcome {
            failures.push(Failure::of("remove", &shown.join(&name))(errno));
        }
    }
    failures
}

/// Removes one entry of the root; the directories in it are moved up under fresh names.
fn remove_level(root: &OwnedFd, name: &OsStr, fresh: &mut dyn FnMut() -> OsString) -> Result<(), Errno> {
    if unlink(root, name)? {
        return Ok(());
    }
    let directory = enter(root, name)?;
    let mut first = None;
    for name in names(&directory)? {
        let outcome = match unlink(&directory, &name) {
            Ok(true) => Ok(()),
            Ok(false) => move_up(&directory, &name, root, &fresh()),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = outcome {
            first.get_or_insert(errno);
        }
    }
    match first {
        Some(errno) => Err(errno),
        None => rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR),
    }
}

fn move_up(from: &OwnedFd, name: &OsStr, root: &OwnedFd, fresh: &OsStr) -> Result<(), Errno> {
    // It can only be moved by an owner who may write it.
    enter(from, name)?;
    rustix::fs::renameat_with(from, name, root, fresh, RenameFlags::NOREPLACE)
}

/// Removes what is no directory, or an empty one; `false`: a directory with something in it.
fn unlink(directory: impl AsFd, name: &OsStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        // A read-only file system says so before it looks whether there is anything.
        Err(Errno::ROFS) => {
            return match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(true),
                _ => Err(Errno::ROFS),
            };
        }
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory, giving its owner the rights he needs first.
fn enter(directory: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(&directory, name, flags | OFlags::PATH, Mode::empty())?;
    let mode = rustix::fs::fstat(&handle)?.st_mode;
    if mode & 0o700 != 0o700 {
        change_mode(handle.as_fd(), mode | 0o700)?;
    }
    rustix::fs::openat(handle, ".", flags | OFlags::RDONLY, Mode::empty())
}
