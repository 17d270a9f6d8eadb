//! One change that a task made, as it is shown and judged.

use std::path::PathBuf;

use serde::Serialize;

use crate::attributes::{Attribute, Setting};
use crate::danger::Danger;
use crate::escape::escape;
use crate::layer::Identity;
use crate::name;
use crate::refuse::Reason;

/// A path that differs between the host's directory and what the task sees.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Name of the layer.
    pub layer: String,
    /// Relative to the layer's directory.
    #[serde(with = "name")]
    pub path: PathBuf,
    /// In what way.
    pub kind: Kind,
    /// Type now, or of what was deleted.
    pub file_type: FileType,
    /// Type on the host, where that was another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_type: Option<FileType>,
    /// Permission bits on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_mode: Option<u32>,
    /// Permission bits now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_mode: Option<u32>,
    /// Bytes on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_size: Option<u64>,
    /// Bytes now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_size: Option<u64>,
    /// Where a symlink points now.
    #[serde(serialize_with = "name::optional::serialize", skip_serializing_if = "Option::is_none")]
    pub target: Option<PathBuf>,
    /// Where it pointed on the host, if it was a symlink.
    #[serde(serialize_with = "name::optional::serialize", skip_serializing_if = "Option::is_none")]
    pub old_target: Option<PathBuf>,
    /// Where it was on the host, if it seems to be the same file under another name; that one is `Deleted` beside it.
    #[serde(serialize_with = "name::optional::serialize", skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<PathBuf>,
    /// For what is `Deleted`: where it seems to be now.
    #[serde(serialize_with = "name::optional::serialize", skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<PathBuf>,
    /// Extended attributes of the user that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// How the content changed, where `diff` looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Why it does not land with the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HoldReason>,
    /// Lands, but deserves a look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<Flag>,
    /// Why nothing lands as long as this is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reason>,
    /// For a directory that stays: the attributes with their values.
    #[serde(skip)]
    pub(crate) settings: Vec<Setting>,
    /// A change of a directory above brings this one about.
    #[serde(skip)]
    pub(crate) covered: bool,
    /// Index of the layer.
    #[serde(skip)]
    pub(crate) index: usize,
    /// What is on the host.
    #[serde(skip)]
    pub(crate) old: Option<Identity>,
    /// What is in the upper.
    #[serde(skip)]
    pub(crate) new: Option<Identity>,
    /// The host's directory it is in; absent below a covering change.
    #[serde(skip)]
    pub(crate) parent: Option<Identity>,
    /// The upper says that it was copied from the host.
    #[serde(skip)]
    pub(crate) origin: bool,
    /// The upper gives it file capabilities.
    #[serde(skip)]
    pub(crate) capabilities: bool,
    /// It inherited the set-group-id bit from its directory.
    #[serde(skip)]
    pub(crate) inherited_group: bool,
    /// Values of the attributes that differ.
    #[serde(skip)]
    pub(crate) values: Vec<u8>,
    /// The secret that is in it.
    #[serde(skip)]
    pub(crate) secret: Option<String>,
}

impl Change {
    /// Would something new stand at this path?
    pub(crate) fn brings(&self) -> bool {
        self.kind != Kind::Deleted
    }

    /// Bytes of a file that it brings.
    pub(crate) fn content_brought(&self) -> u64 {
        let same = matches!(self.kind, Kind::Deleted | Kind::ModeChanged | Kind::AttributesChanged);
        self.new_size.filter(|_| self.file_type == FileType::File && !same).unwrap_or(0)
    }

    /// Is it a directory where there was nothing?
    pub(crate) fn is_new_directory(&self) -> bool {
        self.kind == Kind::Created && self.file_type == FileType::Directory
    }
}

/// In what way a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Not on the host.
    Created,
    /// Other content.
    Modified,
    /// Only on the host.
    Deleted,
    /// A file where a directory was, a symlink where a file was, and so on.
    TypeChanged,
    /// Other permission bits, the same content.
    ModeChanged,
    /// Other extended attributes, the same content and permission bits.
    AttributesChanged,
}

impl Kind {
    /// One letter, as in `git diff --name-status`; `m` is a change of the mode alone, `x` of extended attributes alone.
    pub fn letter(self) -> char {
        match self {
            Self::Created => 'A',
            Self::Modified => 'M',
            Self::Deleted => 'D',
            Self::TypeChanged => 'T',
            Self::ModeChanged => 'm',
            Self::AttributesChanged => 'x',
        }
    }
}

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Device, or whatever else there may be.
    Device,
}

impl FileType {
    pub(crate) fn of(mode: u32) -> Self {
        match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => Self::File,
            rustix::fs::FileType::Directory => Self::Directory,
            rustix::fs::FileType::Symlink => Self::Symlink,
            rustix::fs::FileType::Fifo => Self::Fifo,
            rustix::fs::FileType::Socket => Self::Socket,
            _ => Self::Device,
        }
    }
}

/// How the content of a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text.
    Text {
        /// Lines that are new.
        added: u64,
        /// Lines that are gone.
        removed: u64,
    },
    /// Not text, or too much of it to look at.
    Binary {
        /// The media type on the host, as far as the content tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        old: Option<&'static str>,
        /// The media type now.
        #[serde(skip_serializing_if = "Option::is_none")]
        new: Option<&'static str>,
    },
}

/// Why a change is held back while the rest lands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum HoldReason {
    /// `workspace.protect` names it.
    Protected {
        /// The pattern.
        pattern: String,
    },
    /// It would run on the host by itself, or holds a secret.
    RunsOnHost {
        /// What kind of thing it is.
        kind: Danger,
        /// Why.
        reason: String,
    },
    /// The user left it out.
    LeftOut,
}

impl HoldReason {
    /// In one sentence.
    pub fn text(&self) -> String {
        match self {
            Self::Protected { pattern } => format!("protected by `{}`", escape(pattern)),
            Self::RunsOnHost { kind, reason } => format!("{kind}: {reason}"),
            Self::LeftOut => "left out".into(),
        }
    }
}

/// Lands, but deserves a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flag {
    /// Why, in one sentence.
    pub reason: String,
    /// It comes after all others, and bulk of it is summed up.
    #[serde(skip)]
    pub(crate) minor: bool,
}

impl Flag {
    /// One reason takes no other's place.
    pub(crate) fn add(flag: &mut Option<Self>, why: &str, minor: bool) {
        match flag {
            Some(one) => *one = Self { reason: format!("{}; {why}", one.reason), minor: one.minor && minor },
            None => *flag = Some(Self { reason: why.to_owned(), minor }),
        }
    }
}
