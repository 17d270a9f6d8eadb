//! Which directory a task worked on: told again when its file system was mounted anew, and its device number is another.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::beneath::{by_descriptor, named};
use crate::layer::Timestamp;
use crate::refuse::{Reason, Refused};

/// What tells a directory of the host from another one at its path.
///
/// Device numbers are given out at each mount (loop devices, device-mapper, btrfs, overlays), and the numbers of removed inodes are used
/// again: a birth time survives the first and tells the second. On an overlay it is that of the upper layer's directory: what lies in a
/// lower one is copied up before it is looked at, see [`Root::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Device number, as long as the file system stays mounted.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// When it was made; `None`: the file system does not keep that.
    #[serde(default)]
    pub born: Option<Timestamp>,
    /// The file system it is on.
    #[serde(default)]
    pub file_system: Option<FileSystem>,
}

/// A file system, as statfs(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Its magic number.
    pub kind: u64,
    /// Its identity, where the kernel makes that of what is on the disk and not of the device.
    pub id: Option<u64>,
}

/// EXT4_SUPER_MAGIC and BTRFS_SUPER_MAGIC (linux/magic.h): `f_fsid` is made of the UUID, on btrfs of the subvolume too.
const LASTING: [u64; 2] = [0xef53, 0x9123_683e];

/// OVERLAYFS_SUPER_MAGIC (linux/magic.h).
const OVERLAY: u64 = 0x794c_7630;

impl Root {
    /// Has an overlay copy a directory up now, which gives it another birth time: later that would tell that it was replaced. Its time of
    /// access is set to what it is (a mode would lose its set-group-id bit by that); who may not do that is told nothing of its birth by
    /// [`Root::of`] either.
    pub fn settle(path: &Path) {
        if let Ok(directory) = named(path)
            && is_overlay(directory.as_fd())
            && let Ok(found) = rustix::fs::fstat(&directory)
        {
            let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
            let same = Timestamps {
                last_access: time(found.st_atime, found.st_atime_nsec as _),
                last_modification: time(0, UTIME_OMIT),
            };
            // One that cannot be written has no upper layer.
            let _ = rustix::fs::utimensat(
                CWD,
                by_descriptor(directory.as_fd(), OsStr::new("")),
                &same,
                AtFlags::empty(),
            );
        }
    }

    /// What stands at a path.
    pub fn of(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self::look(rustix::fs::open(path, flags, Mode::empty())?.as_fd())
    }

    pub(crate) fn look(directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::UID | StatxFlags::BTIME;
        let found = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, wanted)?;
        let keeps = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let me = rustix::process::geteuid();
        let settled = || me.is_root() || me.as_raw() == found.stx_uid || !is_overlay(directory);
        let born = (keeps && settled())
            .then(|| Timestamp { sec: found.stx_btime.tv_sec, nsec: i64::from(found.stx_btime.tv_nsec) });
        Ok(Self {
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born,
            file_system: file_system(directory),
        })
    }

    /// Refuses where something else stands at a path by now.
    ///
    /// # Errors
    /// The reason: replaced, or not to be told.
    pub fn must_be_at(&self, path: &Path) -> Result<(), Refused> {
        let refused = |reason| Refused::one("workspace", Path::new(""), reason);
        let found = named(path).map_err(|errno| refused(Reason::failed("open the workspace")(errno)))?;
        self.expect(found.as_fd(), None).map_err(refused)
    }

    /// Is an open directory this one? An error is why not, or why that cannot be told. `stage` is a name of ours that nobody could
    /// guess: where it stands, the directory is the one in which we made it.
    pub(crate) fn expect(&self, directory: BorrowedFd<'_>, stage: Option<&str>) -> Result<(), Reason> {
        let found = Self::look(directory).map_err(Reason::failed("look at the workspace"))?;
        let born = self.born.zip(found.born).map(|(then, now)| then == now);
        let kind = self.file_system.zip(found.file_system).map(|(then, now)| then.kind == now.kind);
        let id = self.file_system.and_then(|then| then.id).zip(found.file_system.and_then(|now| now.id));
        if self.inode != found.inode || born == Some(false) {
            return Err(Reason::WorkspaceReplaced);
        }
        if self.device == found.device {
            return Ok(());
        }
        if kind == Some(false) || id.is_some_and(|(then, now)| then != now) {
            return Err(Reason::WorkspaceReplaced);
        }
        let ours = || stage.is_some_and(|name| rustix::fs::statat(directory, name, AtFlags::empty()).is_ok());
        match born == Some(true) && kind == Some(true) || ours() {
            true => Ok(()),
            false => Err(Reason::DeviceChanged),
        }
    }
}

/// Is it on an overlay?
pub(crate) fn is_overlay(directory: BorrowedFd<'_>) -> bool {
    file_system(directory).is_some_and(|found| found.kind == OVERLAY)
}

#[expect(clippy::cast_sign_loss, reason = "bits, not a number")]
fn file_system(directory: BorrowedFd<'_>) -> Option<FileSystem> {
    let kind = rustix::fs::fstatfs(directory).ok()?.f_type as u64;
    let id = || Some(rustix::fs::fstatvfs(directory).ok()?.f_fsid).filter(|id| *id != 0);
    Some(FileSystem { kind, id: if LASTING.contains(&kind) { id() } else { None } })
}
