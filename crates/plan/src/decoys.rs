//! Baits: files of the void whose opening is an incident.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_policy::Policy;

use crate::mounts::Builder;
use crate::void::{Content, Node};
use crate::{Host, Refused, Request};

/// Directories that homes have, of whatever program: what lies over the void there remembers names that are not there, and below a name
/// that is remembered nothing is seen.
const USUAL: [&str; 4] = [".cache", ".config", ".local", ".local/share"];

impl Builder {
    /// Shows those of the sandbox's own home.
    pub(crate) fn usual_directories(&mut self) {
        let Some(home) = self.over.clone() else { return };
        for path in USUAL.map(|name| home.join(name)) {
            if self.free(&path) {
                self.directory(&path, 0o700);
            }
        }
    }

    /// Shows each decoy of the policy. Only the void tells who opens a file, so nowhere else can one stand.
    pub(crate) fn decoys(&mut self, policy: &Policy, request: &Request, host: &Host) -> Result<(), Refused> {
        for rule in &policy.files.decoy {
            if let Some(cause) = &host.no_fuse {
                let remedy = "make /dev/fuse usable (`ringfence doctor`), or remove `files.decoy`";
                return Err(Refused::host("decoys that tell who opens them", cause, remedy));
            }
            let path = &rule.value;
            if !self.free(path) {
                return Err(Refused::rule(
                    &rule.origin,
                    format!(
                        "`{}` lies in what the sandbox shows: a decoy stands only where nothing is granted",
                        path.display()
                    ),
                    "name a place outside of the workspace and of every grant, /tmp, /dev and /proc",
                ));
            }
            if let Some(parent) = path.parent() {
                let hidden = parent.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
                self.directory(parent, if hidden { 0o700 } else { 0o755 });
            }
            let bytes = request.decoys.get(path).map(|text| text.clone().into_bytes()).unwrap_or_default();
            if let Some(void) = self.void_at(path) {
                let content = Content::File { mode: 0o600, bytes, decoy: true };
                void.push(Node { path: path.clone(), content });
            }
        }
        Ok(())
    }

    /// Whether a file can be shown there: on the void, and neither there nor above is anything but a directory.
    fn free(&mut self, path: &Path) -> bool {
        let taken = |node: &Node| {
            node.path == path
                || (path.starts_with(&node.path) && !matches!(node.content, Content::Directory { .. }))
        };
        let below = |node: &Node| node.path.starts_with(path);
        self.void_at(path).is_some_and(|void| !void.iter().any(|node| taken(node) || below(node)))
            && !self.shown(path)
    }
}
