//! A directory and what is beneath it: every path is resolved by the kernel below the root's descriptor, along no
//! symlink and onto no other mount (`man 2 openat2`), so that nothing that moves meanwhile can lead outside.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::layer::Identity;
use crate::root::is_overlay;

/// A longer path is not walked further: with one more name it must stay below PATH_MAX.
pub(crate) const MAX_PATH: usize = 3800;

/// An open root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    pub(crate) identity: Identity,
}

impl Tree {
    /// Opens the host's directory: its path must not have become a symlink anywhere.
    pub(crate) fn host(path: &Path) -> Result<Self, Errno> {
        let root = openat2(CWD, path, directory(), Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        Self::of(root)
    }

    /// Opens a directory of ours.
    pub(crate) fn own(path: &Path) -> Result<Self, Errno> {
        Self::of(rustix::fs::open(path, directory() | OFlags::NOFOLLOW, Mode::empty())?)
    }

    pub(crate) fn of(root: OwnedFd) -> Result<Self, Errno> {
        let identity = Identity::of(&rustix::fs::fstat(&root)?);
        Ok(Self { root, identity })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a directory; the empty path is the root.
    pub(crate) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, directory())
    }

    /// Opens the directory that holds an entry.
    pub(crate) fn parent(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.directory(path.parent().unwrap_or(Path::new("")))
    }

    /// A descriptor that only names the object, a symlink too.
    pub(crate) fn handle(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)
    }

    /// Opens a regular file for reading. The caller knows its type; a FIFO in its place does not block.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.open(
            path,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        )
    }

    /// What is at a path; `None`: nothing.
    pub(crate) fn look(&self, path: &Path) -> Result<Option<Identity>, Errno> {
        match self.handle(path) {
            Ok(handle) => Ok(Some(Identity::of(&rustix::fs::fstat(&handle)?))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether what was found at a path is of another mount or subvolume. An overlay of several file systems shows files with device
    /// numbers of theirs (Documentation/filesystems/overlayfs.rst, "Inode properties"): there the kernel is asked.
    pub(crate) fn is_foreign(&self, path: &Path, found: &Identity) -> bool {
        found.device != self.identity.device
            && !(is_overlay(self.root())
                && FileType::from_raw_mode(found.mode) != FileType::Directory
                && self.handle(path).is_ok())
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        openat2(&self.root, path, flags, Mode::empty(), resolve)
    }
}

/// What is at a name of an open directory; `None`: nothing.
pub(crate) fn look_at(directory: impl AsFd, name: &OsStr) -> Result<Option<Identity>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Identity::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The names of the symlinks in a directory; an entry is looked at only where the file system does not say what it is.
pub(crate) fn links(directory: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut links = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
        let kind = match entry.file_type() {
            FileType::Unknown => look_at(&directory, &name)?.map(|found| FileType::from_raw_mode(found.mode)),
            known => Some(known),
        };
        if kind == Some(FileType::Symlink) {
            links.push(name);
        }
    }
    Ok(links)
}

/// The path of an entry by way of a descriptor, for calls that take no directory descriptor. It is borrowed, since the
/// path means nothing once the descriptor is closed.
pub(crate) fn by_descriptor(directory: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    if !name.is_empty() {
        path.push(name);
    }
    path
}

/// Changes the mode of what a descriptor names, also one that cannot be opened for reading.
pub(crate) fn change_mode(handle: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmod(by_descriptor(handle, OsStr::new("")), Mode::from_raw_mode(mode & 0o7777))
}

/// A descriptor that only names the host's directory, also one that is closed to everybody; its path must not have become a symlink
/// anywhere.
pub(crate) fn named(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Gives the host's directory this mode, if it has another one; its path must not have become a symlink anywhere.
pub(crate) fn reopen(path: &Path, mode: u32) -> Result<(), Errno> {
    let handle = named(path)?;
    match rustix::fs::fstat(&handle)?.st_mode & 0o1777 == mode & 0o1777 {
        true => Ok(()),
        false => change_mode(handle.as_fd(), mode & 0o1777),
    }
}

/// `openat2` that a concurrent rename made give up is repeated (`man 2 openat2`, EAGAIN).
fn openat2(
    at: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    for _ in 0..64 {
        match rustix::fs::openat2(&at, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_symlink_leads_on() {
        let home = tempfile::tempdir().unwrap();
        let (root, outside) = (home.path().join("root"), home.path().join("outside"));
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "x").unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("in", root.join("inner")).unwrap();
        let tree = Tree::host(&root).unwrap();
        for path in ["out", "inner", "out/secret", "../outside", "/"] {
            assert!(tree.directory(Path::new(path)).is_err(), "{path}");
            assert!(tree.file(Path::new(path)).is_err(), "{path}");
        }
        assert!(tree.handle(Path::new("out")).is_ok());
        assert!(tree.directory(Path::new("in")).is_ok());
        symlink(&root, home.path().join("alias")).unwrap();
        assert!(Tree::host(&home.path().join("alias")).is_err());
        assert!(Tree::host(&home.path().join("alias/in")).is_err());
    }
}
