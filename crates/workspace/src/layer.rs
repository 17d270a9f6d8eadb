//! A directory that was worked on copy-on-write: where it is on the host, and where the changes are.

use std::path::PathBuf;

use rustix::fs::Stat;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::began::Began;
use crate::name;
use crate::root::Root;
use crate::secrets::{Scan, Secrets};

/// The name of the layer that is the workspace; the others are git directories.
pub const WORKSPACE: &str = "workspace";

/// One copy-on-write directory of a run, as `run.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `workspace`, or `git` and a number: a git directory outside the workspace.
    pub name: String,
    /// The host's directory, absolute and without symlinks.
    #[serde(with = "name")]
    pub host: PathBuf,
    /// The overlay's upper directory.
    #[serde(with = "name")]
    pub upper: PathBuf,
    /// [`Timestamp::now`] when the task started. Whatever changed on the host then or later is a conflict.
    pub started: Timestamp,
    /// Which directory that was.
    #[serde(flatten)]
    pub root: Root,
    /// Patterns, relative to the host's directory; a match covers everything below it.
    pub protect: Vec<String>,
    /// Patterns of what git executes or obeys by other names than its own: held until it is accepted.
    #[serde(default)]
    pub obeyed: Vec<String>,
    /// Patterns of all that may land, and be shown; `None`: everything may.
    #[serde(default)]
    pub outputs: Option<Vec<String>>,
    /// What is brought is looked through for secrets.
    #[serde(default)]
    pub scan: Option<Scan>,
    /// For which.
    #[serde(skip)]
    pub secrets: Secrets,
    /// What the task began with.
    #[serde(skip)]
    pub began: Began,
}

impl Layer {
    /// Is it what the task worked on, and no git directory that belongs to that?
    pub(crate) fn is_workspace(&self) -> bool {
        self.name == WORKSPACE
    }

    /// Is the directory itself a git directory?
    pub(crate) fn is_git(&self) -> bool {
        Self::named_git(&self.name)
    }

    pub(crate) fn named_git(name: &str) -> bool {
        name.starts_with("git")
    }
}

/// A moment as the kernel stamps files with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: i64,
}

impl Timestamp {
    /// The coarse clock of the kernel, from which files get their times.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Self { sec: now.tv_sec, nsec: now.tv_nsec }
    }
}

/// What says whether a file is still the one that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
}

impl Identity {
    #[expect(clippy::unnecessary_cast, reason = "the fields of stat differ between architectures")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Timestamp { sec: stat.st_mtime, nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) },
            changed: Timestamp { sec: stat.st_ctime, nsec: i64::try_from(stat.st_ctime_nsec).unwrap_or(0) },
        }
    }

    /// The same object, whatever happened to it.
    pub(crate) fn same_object(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The same object with the same content, as far as a rename leaves that visible: it sets the change time. The
    /// content of a directory is not its size and time but its entries.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        let directory = self.mode & 0o170_000 == 0o040_000;
        self.same_object(other)
            && self.mode == other.mode
            && (directory || (self.size, self.modified) == (other.size, other.modified))
    }

    /// Exactly the same, untouched. The device may have another number by now.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Self { device: other.device, ..*self } == *other
    }

    pub(crate) fn owner_may_enter(&self) -> bool {
        self.mode & 0o700 == 0o700
    }
}
