//! What a task is going to do with a file.

use serde::{Deserialize, Serialize};

/// What a task was going to do with a file, as far as its system call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Ask about it, or go through it.
    Look,
    /// Read it.
    Read,
    /// Change, make or remove it.
    Write,
    /// Start it.
    Execute,
    /// Map it as code.
    Map,
}

impl Purpose {
    /// `look`, `read`, `write`, `execute` or `map`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::Map => "map",
        }
    }
}
