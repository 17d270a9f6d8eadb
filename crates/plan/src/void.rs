//! What the root shows where nothing is mounted on it, if it is the kind of root that sees who looks.

use std::path::PathBuf;

/// One node of it. The directories above are implied.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// Where.
    #[serde(with = "crate::wire::path")]
    pub path: PathBuf,
    /// What is there.
    pub content: Content,
}

/// What a node is. Nobody can change it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// What it holds; empty for a mount point.
        bytes: Vec<u8>,
        /// Opening it is told of.
        decoy: bool,
    },
    /// What lies inside of a grant and is hidden there: whatever is asked of it is refused, and told. It is bound over what it
    /// hides, which lies below the same name; here a grant covers it.
    Hidden {
        /// A directory or a file.
        directory: bool,
    },
    /// What the owner is asked about as soon as somebody uses it. Nothing is there until it is granted, and mounted.
    Asked {
        /// A directory or a file.
        directory: bool,
    },
    /// What was refused so far, a line each.
    Refusals,
    /// A symbolic link.
    Link {
        /// What it says.
        #[serde(with = "crate::wire::path")]
        target: PathBuf,
    },
}
