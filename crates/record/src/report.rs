//! `ringfence run --report FILE`: one JSON object about one run, for a program to read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::event::Degraded;

const NOT_A_FILE: &str = "is not a regular file";

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
    /// Different things that were refused, as `ringfence explain` lists them.
    pub refusals: u64,
    /// Refusals beyond those, which are told of only as a number.
    #[serde(default)]
    pub others: u64,
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
    /// Changes may wait: why they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<String>,
    /// Why nothing ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The file it goes to, opened before anything of the run can be in its way.
#[derive(Debug)]
pub struct ReportFile {
    file: File,
    path: PathBuf,
}

impl ReportFile {
    /// Opens or makes it; until the run has ended it says that it did not. A symlink in the last component and what is no
    /// regular file are refused.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(Error::not_ours(path, NOT_A_FILE)),
            Err(errno) => return Err(Error::system("open", path)(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(Error::system("stat", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::not_ours(path, NOT_A_FILE));
        }
        let own = Self { file: File::from(file), path: path.to_owned() };
        let unfinished = "the run did not come to its end".to_owned();
        own.write(&Report { exit: 125, error: Some(unfinished), ..Report::default() })?;
        Ok(own)
    }

    /// Writes it. Whatever is at its path by now, the file is the one that was opened.
    pub fn write(&self, report: &Report) -> Result<(), Error> {
        let mut text =
            serde_json::to_vec_pretty(report).map_err(|error| Error::malformed(&self.path, error))?;
        text.push(b'\n');
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(&text, 0))
            .map_err(Error::io("write", &self.path))?;
        let (own, there) = (rustix::fs::fstat(&self.file), rustix::fs::lstat(&self.path));
        match (own, there) {
            (Ok(own), Ok(there)) if (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino) => Ok(()),
            _ => Err(Error::not_ours(&self.path, "was removed or replaced while the run went on")),
        }
    }
}
