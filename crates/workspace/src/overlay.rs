//! The upper directory of an overlay, as the kernel left it: whiteouts, opaque directories, copies
//! (Documentation/filesystems/overlayfs.rst; marks are `user.overlay.*`, since the mount has `userxattr`).
//!
//! A task cannot forge the marks: what it sets as `user.overlay.X` is stored as `user.overlay.overlay.X` since Linux 6.7
//! and refused before; in tier `landlock` init sets none. Marks that the mount's options rule out mean that something else wrote here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, XattrFlags};
use rustix::io::Errno;

use crate::attributes;
use crate::beneath::{Tree, by_descriptor, change_mode};
use crate::change::FileType;
use crate::layer::Identity;
use crate::operation::enterable;

/// Where a whiteout that is a file is made.
const MARKED: &str = "marked";

/// An upper directory. Directories and files that their owner may not read are opened to him and closed again when this
/// is dropped.
pub(crate) struct Upper {
    tree: Tree,
    unlocked: RefCell<BTreeMap<PathBuf, u32>>,
}

impl Upper {
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        match Tree::own(path) {
            Ok(tree) => Ok(Self { tree, unlocked: RefCell::default() }),
            // A task may change the mode of its workspace too.
            Err(Errno::ACCESS) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = rustix::fs::open(path, flags, Mode::empty())?;
                let mode = rustix::fs::fstat(&handle)?.st_mode;
                change_mode(handle.as_fd(), mode | 0o700)?;
                Ok(Self {
                    tree: Tree::own(path)?,
                    unlocked: RefCell::new(BTreeMap::from([(PathBuf::new(), mode)])),
                })
            }
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let directory = self.with_access(path, |tree| tree.directory(path))?;
        // One that may be read and not searched opens, and nothing in it can be looked at.
        if !rustix::process::geteuid().is_root() && !enterable(rustix::fs::fstat(&directory)?.st_mode) {
            self.unlock(path)?;
        }
        Ok(directory)
    }

    /// What stands at a path, with the mode that the task gave it.
    pub(crate) fn as_left(&self, path: &Path, found: Identity) -> Identity {
        let unlocked = self.unlocked.borrow();
        unlocked.get(path).map_or(found, |mode| Identity { mode: *mode, ..found })
    }

    /// Opens a regular file.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.with_access(path, |tree| tree.file(path))
    }

    pub(crate) fn look(&self, path: &Path) -> Result<Option<Identity>, Errno> {
        self.with_access(path, |tree| tree.look(path))
    }

    /// Where a symlink points.
    pub(crate) fn target(&self, path: &Path) -> Result<PathBuf, Errno> {
        let handle = self.with_access(path, |tree| tree.handle(path))?;
        link_target(handle)
    }

    /// The marks on an entry of an open directory.
    pub(crate) fn marks(&self, path: &Path, directory: impl AsFd, found: &Identity) -> Result<Marks, Errno> {
        let kind = FileType::of(found.mode);
        if kind != FileType::File && kind != FileType::Directory {
            return Ok(Marks::default());
        }
        let entry = by_descriptor(directory.as_fd(), path.file_name().unwrap_or(OsStr::new("")));
        let names = attributes::names(&entry)?;
        let has = |name: &str| names.iter().any(|known| known == name.as_bytes());
        let opaque = match has("user.overlay.opaque") {
            true => self.with_access(path, |_| attribute(&entry, "user.overlay.opaque"))?,
            false => None,
        };
        Ok(Marks {
            opaque: opaque.as_deref() == Some(b"y"),
            origin: has("user.overlay.origin"),
            capabilities: kind == FileType::File && has("security.capability"),
            whiteout: kind == FileType::File && found.size == 0 && has("user.overlay.whiteout"),
            // `x` says that a directory may hold whiteouts made of attributes.
            strange: has("user.overlay.redirect")
                || has("user.overlay.metacopy")
                || !matches!(opaque.as_deref(), None | Some(b"y" | b"x")),
            attributes: names.into_iter().filter(|name| attributes::ours(name)).collect(),
        })
    }

    /// Gives a file or directory what is the user's of the attributes of an entry here.
    pub(crate) fn copy_attributes(&self, path: &Path, to: &Path) -> Result<(), Errno> {
        let name = path.file_name().unwrap_or(OsStr::new(""));
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        let entry = by_descriptor(parent.as_fd(), name);
        self.with_access(path, |_| attributes::copy(&entry, to, attributes::ours))
    }

    fn with_access<T>(
        &self,
        path: &Path,
        mut act: impl FnMut(&Tree) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match act(&self.tree) {
            Err(Errno::ACCESS) => {
                self.unlock(path)?;
                act(&self.tree)
            }
            other => other,
        }
    }

    /// Gives the owner what he needs to read this path, from the root down.
    fn unlock(&self, path: &Path) -> Result<(), Errno> {
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        for step in way {
            let handle = match step.as_os_str().is_empty() {
                true => {
                    rustix::fs::openat(self.tree.root(), ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
                }
                false => self.tree.handle(step)?,
            };
            let found = Identity::of(&rustix::fs::fstat(&handle)?);
            let needed = match FileType::of(found.mode) {
                FileType::Directory => 0o700,
                FileType::File => 0o400,
                _ => continue,
            };
            if found.mode & needed != needed {
                change_mode(handle.as_fd(), found.mode | needed)?;
                self.unlocked.borrow_mut().entry(step.to_owned()).or_insert(found.mode);
            }
        }
        Ok(())
    }
}

impl Drop for Upper {
    /// What is inside is closed first, so that each can still be reached.
    fn drop(&mut self) {
        while let Some((path, mode)) = self.unlocked.get_mut().pop_last() {
            let handle = match path.as_os_str().is_empty() {
                true => self.tree.directory(&path),
                false => self.tree.handle(&path),
            };
            // It was ours a moment ago. If it cannot be closed again it is merely readable to its owner.
            let _ = handle.and_then(|handle| change_mode(handle.as_fd(), mode));
        }
    }
}

/// What an entry's extended attributes say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// The names of those that are the user's.
    pub(crate) attributes: Vec<Vec<u8>>,
    /// Nothing of the lower directory shows through.
    pub(crate) opaque: bool,
    /// It was copied up.
    pub(crate) origin: bool,
    /// It has file capabilities.
    pub(crate) capabilities: bool,
    /// A whiteout made of an attribute.
    pub(crate) whiteout: bool,
    /// A mark that this mount never sets.
    pub(crate) strange: bool,
}

/// Stands for what is not there any more: a device, or where nobody may make that one, which is on an overlay, a file with a mark
/// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"). `own` is a directory of ours on the same file system:
/// without the mark it would be an empty file of the task's, so it gets its place last.
pub(crate) fn whiteout(own: &Tree, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let device = rustix::fs::FileType::CharacterDevice;
    match rustix::fs::mknodat(parent, name, device, Mode::empty(), 0) {
        Err(Errno::PERM) => {}
        made => return made,
    }
    match rustix::fs::unlinkat(own.root(), MARKED, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(own.root(), MARKED, flags, Mode::RUSR | Mode::WUSR)?;
    let marked = rustix::fs::fsetxattr(&made, c"user.overlay.whiteout", b"y", XattrFlags::empty())
        .and_then(|()| rustix::fs::renameat_with(own.root(), MARKED, parent, name, RenameFlags::NOREPLACE));
    if marked.is_err() {
        let _ = rustix::fs::unlinkat(own.root(), MARKED, AtFlags::empty());
    }
    marked
}

/// Whether the file system of a directory of ours can hold what was removed.
///
/// # Errors
/// Why not.
pub fn holds_removals(directory: &Path) -> Result<(), Errno> {
    let own = Tree::own(directory)?;
    let name = OsStr::new("removed");
    whiteout(&own, &own.directory(Path::new(""))?, name)?;
    rustix::fs::unlinkat(own.root(), name, AtFlags::empty())
}

/// A whiteout made of a device file.
pub(crate) fn is_whiteout(directory: impl AsFd, name: &OsStr) -> Result<bool, Errno> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    Ok(kind == rustix::fs::FileType::CharacterDevice && stat.st_rdev == 0)
}

/// Where the symlink behind a descriptor points.
pub(crate) fn link_target(handle: impl AsFd) -> Result<PathBuf, Errno> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let target = rustix::fs::readlinkat(handle, "", Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// An extended attribute of a path whose last component is not followed. Only its first bytes matter here.
fn attribute(path: &Path, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0_u8; 64];
    match rustix::fs::lgetxattr(path, name, &mut value) {
        Ok(length) => Ok(Some(value.get(..length).unwrap_or(&[]).to_vec())),
        Err(Errno::RANGE) => Ok(Some(b"long".to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
