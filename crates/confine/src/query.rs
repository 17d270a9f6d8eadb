//! What the keeper of a sandbox tells its clients of somebody who waits for the owner.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::purpose::Purpose;
use crate::report::LONGEST;
use crate::script::Program;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What it is about.
    pub path: OsString,
    /// Who waits.
    pub process: i32,
    /// What it runs.
    pub program: Program,
    /// What for.
    pub purpose: Purpose,
    /// It can be granted to later sandboxes too.
    pub lasting: bool,
}

impl Query {
    /// Whether a message holds it; the owner answers a longer one from elsewhere.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.path.len() + self.program.file.len() + self.program.script.len() + 64 <= LONGEST
    }
}
