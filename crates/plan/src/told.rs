//! Where a task reads what it was refused.

use std::path::Path;

use crate::mounts::Builder;
use crate::void::{Content, Node};

/// The file, where the root sees who looks.
pub const REFUSALS: &str = "/run/ringfence/refusals";

impl Builder {
    /// Shows it, unless the policy shows something of the host there.
    pub(crate) fn refusals(&mut self) {
        let path = Path::new(REFUSALS);
        if self.void_at(path).is_none() || self.shown(path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent, 0o755);
        }
        if let Some(void) = self.void_at(path) {
            void.push(Node { path: path.to_path_buf(), content: Content::Refusals });
        }
    }
}
