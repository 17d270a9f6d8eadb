//! `ringfence run --report FILE`: one JSON object about one run, for a program to read.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::Error;
use crate::event::Degraded;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Report {
    /// The run; `None` if none began.
    pub run: Option<String>,
    /// Exit status of `ringfence run`.
    pub exit: i32,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// The limit that ended it.
    pub limit: Option<String>,
    /// Refusals known so far.
    pub refusals: u64,
    /// How long it took, start-up included.
    pub duration_ms: u64,
    /// `namespace` or `landlock`; `None` if nothing ran.
    pub tier: Option<String>,
    /// What this host could not do.
    pub degraded: Vec<Degraded>,
    /// SHA-256 of the merged policy.
    pub policy: Option<String>,
    /// `review`, `discard`, `direct`, `read` or `temporary`.
    pub mode: Option<String>,
    /// Paths changed in the workspace, where that is known.
    pub changes: Option<u64>,
    /// Why nothing ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// Writes it as a whole, or not at all. A symlink in the last component is refused.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| Error::malformed(path, error))?;
        text.push(b'\n');
        atomic::replace(path, &text, false)
    }
}
