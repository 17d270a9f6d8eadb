//! The one JSON object that `ringfence run --report` writes.

use std::path::Path;

use rustix::fs::{self, CWD, Mode, OFlags, RenameFlags};

/// What became of a run.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Its id.
    pub run: String,
    /// Exit status of `ringfence run`.
    pub exit: u8,
    /// The signal that ended the command.
    pub signal: Option<u32>,
    /// The limit that ended it.
    pub limit: Option<String>,
    /// Refusals known, at least.
    pub refusals: u64,
    /// Wall-clock time in milliseconds.
    pub duration_ms: u64,
    /// `namespace` or `landlock`.
    pub tier: String,
    /// What the host could not do.
    pub degraded: Vec<String>,
    /// SHA-256 of the policy.
    pub policy: String,
    /// Mode of the workspace.
    pub mode: String,
    /// Changed paths, where the mode is copy-on-write.
    pub changes: Option<u64>,
    /// What kept the command from running.
    pub error: Option<String>,
}

impl Report {
    /// Writes it beside the path and renames it into place; a link at that path is replaced, never followed.
    ///
    /// # Errors
    /// The file's.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        replace(path, text.as_bytes(), 0o644)
    }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = fs::openat(CWD, &name, flags, Mode::from_raw_mode(mode))?;
    let written = std::io::Write::write_all(&mut std::fs::File::from(file), bytes)
        .and_then(|()| Ok(fs::renameat_with(CWD, &name, CWD, path, RenameFlags::empty())?));
    if written.is_err() {
        let _ = std::fs::remove_file(&name);
    }
    written
}
