//! What a task was going to do with a file.

use serde::{Deserialize, Serialize};

/// What a task was going to do with a file, as far as its system call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Ask about it, or go through it.
    Look,
    /// Read it.
    Read,
    /// Change or make it.
    Write,
    /// Remove or rename it, which its directory has to let happen.
    Remove,
    /// Start it.
    Execute,
    /// Map it as code.
    Map,
}

impl Purpose {
    /// How much it says: of one who did several things with a file, the most is told.
    pub(crate) fn strength(self) -> u8 {
        match self {
            Self::Look => 0,
            Self::Read => 1,
            Self::Execute | Self::Map => 2,
            Self::Write | Self::Remove => 3,
        }
    }

    /// `look`, `read`, `write`, `remove`, `execute` or `map`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Execute => "execute",
            Self::Map => "map",
        }
    }
}
