//! The vocabulary of a plan: each step is one thing the kernel is told.

use std::path::{Path, PathBuf};

use crate::survey::Kind;

/// Flags of a mount. nosuid is always set; nodev everywhere but on the device files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flags {
    /// Nothing can be written.
    pub read_only: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

/// A tree of the host, opened before the task's ids are taken, verified by device and inode.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tree {
    /// Resolved path on the host.
    #[serde(with = "crate::wire::path")]
    pub host: PathBuf,
    /// What it must be.
    pub kind: Kind,
    /// Device number it must have; 0: made by ringfence for this run, not checked.
    pub device: u64,
    /// Inode number it must have.
    pub inode: u64,
    /// Mounts below it come along.
    pub recursive: bool,
    /// Idmapped from the workspace's owner to the task.
    pub mapped: bool,
}

/// One step. Paths are absolute inside the sandbox; none leads through a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A directory on a file system of our own.
    Directory {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// A file on a file system of our own.
    File {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// What it holds; empty for a mount point.
        contents: Vec<u8>,
    },
    /// A symbolic link on a file system of our own.
    Symlink {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// What it says.
        #[serde(with = "crate::wire::path")]
        target: PathBuf,
    },
    /// A new tmpfs.
    Tmpfs {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Bytes.
        size: u64,
        /// Permission bits of its root.
        mode: u32,
        /// Flags.
        flags: Flags,
        /// It lies over what is there, which sees names that are not in it looked for.
        over: bool,
    },
    /// One of the plan's trees.
    Bind {
        /// Index into [`crate::Plan::trees`].
        tree: usize,
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Flags.
        flags: Flags,
    },
    /// A device file of the host.
    Device {
        /// Where; the same on the host.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
    },
    /// A new devpts.
    Terminals {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
    },
    /// A new proc of this pid namespace.
    Processes {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// What tells of the host is covered. Then nobody inside can mount another one.
        masked: bool,
    },
    /// An overlay: the lower tree is only read.
    Overlay {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Index of the lower tree.
        lower: usize,
        /// Index of the tree that holds `upper` and `work`.
        layer: usize,
        /// Names in it of what lies between: changes that another sandbox began with, or that this one keeps; the topmost first.
        between: Vec<String>,
        /// A task with mounts of its own began it: what the plan mounts something on may be gone there, or of another kind.
        loose: bool,
        /// Flags.
        flags: Flags,
    },
    /// Binds a directory of the root over what lies over it, so that the root sees who looks there.
    Watch {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
    },
    /// Shows an empty, unreadable file or directory in place of what is there.
    Hide {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// What is there.
        kind: Kind,
        /// The rule.
        because: String,
    },
    /// Shows a file of the sandbox's own in place of one of the host's.
    Cover {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// The file.
        #[serde(with = "crate::wire::path")]
        with: PathBuf,
    },
    /// Binds a path onto itself, so that it can be neither renamed nor removed, and with flags.
    Pin {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Flags; none: only its name is held.
        flags: Flags,
    },
    /// Sets flags on what is mounted at a path.
    Seal {
        /// Where.
        #[serde(with = "crate::wire::path")]
        path: PathBuf,
        /// Flags.
        flags: Flags,
    },
}

impl Step {
    /// Where it makes something.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory { path, .. }
            | Self::File { path, .. }
            | Self::Symlink { path, .. }
            | Self::Tmpfs { path, .. }
            | Self::Bind { path, .. }
            | Self::Device { path }
            | Self::Terminals { path }
            | Self::Processes { path, .. }
            | Self::Overlay { path, .. }
            | Self::Watch { path }
            | Self::Hide { path, .. }
            | Self::Cover { path, .. }
            | Self::Pin { path, .. }
            | Self::Seal { path, .. } => path,
        }
    }
}
