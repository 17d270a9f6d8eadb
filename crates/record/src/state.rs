//! The state directory: one directory a run, its record, its log and its layers.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{self, CWD, Mode, OFlags};

use crate::log::Log;

/// Letters of a run's id: no vowels that make words, none that look alike.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Where runs are recorded; only the invoker may look into it.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// What is known of a run without its log.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct RunRecord {
    /// Its id.
    pub id: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// The command.
    pub command: Vec<String>,
    /// The host's directory it worked on.
    pub workspace: PathBuf,
    /// How: `review`, `discard`, ...
    pub mode: String,
    /// Its copy-on-write layers, as the workspace crate describes them.
    pub layers: serde_json::Value,
    /// The supervisor's process id.
    pub supervisor: u32,
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    /// The run's id.
    pub id: String,
    /// Absolute path.
    pub path: PathBuf,
}

impl State {
    /// Opens the state directory, making it if need be.
    ///
    /// # Errors
    /// The file system's; `PermissionDenied` if it is a link, another user's, or open to others.
    pub fn open(directory: &Path) -> std::io::Result<Self> {
        let runs = directory.join("runs");
        if !runs.is_dir() {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&runs)?;
        }
        let metadata = std::fs::symlink_metadata(directory)?;
        let bad = |why: &str| Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, format!("{} {why}", directory.display())));
        if !metadata.is_dir() {
            return bad("is not a directory");
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return bad("belongs to another user");
        }
        if metadata.mode() & 0o077 != 0 {
            return bad("is open to others: chmod 700 it");
        }
        Ok(Self { directory: directory.to_path_buf() })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory of a new run. Ids sort by time.
    ///
    /// # Errors
    /// The file system's.
    pub fn new_run(&self) -> std::io::Result<RunDirectory> {
        for _ in 0..16 {
            let id = new_id();
            let path = self.directory.join("runs").join(&id);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(RunDirectory { id, path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(std::io::Error::other("no free run id"))
    }

    /// Every run, oldest first.
    ///
    /// # Errors
    /// The file system's.
    pub fn runs(&self) -> std::io::Result<Vec<RunDirectory>> {
        let mut runs = Vec::new();
        for entry in std::fs::read_dir(self.directory.join("runs"))? {
            let entry = entry?;
            if let Ok(id) = entry.file_name().into_string() {
                runs.push(RunDirectory { id, path: entry.path() });
            }
        }
        runs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(runs)
    }

    /// The run whose id begins so.
    ///
    /// # Errors
    /// The file system's; `NotFound`, `InvalidInput` where several begin so.
    pub fn find(&self, prefix: &str) -> std::io::Result<RunDirectory> {
        let mut runs: Vec<_> = self.runs()?.into_iter().filter(|run| run.id.starts_with(prefix)).collect();
        let error = |kind, text: String| Err(std::io::Error::new(kind, text));
        match (runs.pop(), runs.len()) {
            (Some(run), 0) => Ok(run),
            (None, _) => error(std::io::ErrorKind::NotFound, format!("no run begins with `{prefix}`")),
            (Some(_), more) => error(std::io::ErrorKind::InvalidInput, format!("{} runs begin with `{prefix}`", more + 1)),
        }
    }
}

impl RunDirectory {
    /// The run's log.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn log(&self) -> std::io::Result<Log> {
        Log::open(&self.log_path(), &self.id)
    }

    /// Where the log is.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// Writes the run's record, once.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, record: &RunRecord) -> std::io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(CWD, self.path.join("run.json"), flags, Mode::from_raw_mode(0o600))?;
        std::io::Write::write_all(&mut std::fs::File::from(file), serde_json::to_string(record)?.as_bytes())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The file system's; `InvalidData`.
    pub fn read(&self) -> std::io::Result<RunRecord> {
        let text = std::fs::read_to_string(self.path.join("run.json"))?;
        serde_json::from_str(&text).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// Nine letters of milliseconds since the epoch, four of chance.
fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0u8; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let time = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let letter = |value: u64| LETTERS.get((value & 31) as usize).map_or('0', |byte| char::from(*byte));
    let time = (0..9).rev().map(|place| letter(time >> (place * 5)));
    let chance = random.iter().map(|byte| letter(u64::from(*byte)));
    time.chain(chance).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_directory_open_to_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        State::open(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(State::open(&path).is_err());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(State::open(&link).is_err());
    }

    #[test]
    fn runs_sort_by_time_and_are_found_by_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(&directory.path().join("s")).unwrap();
        let first = state.new_run().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let second = state.new_run().unwrap();
        assert_eq!(state.runs().unwrap().last().unwrap().id, second.id);
        assert_eq!(state.find(&first.id).unwrap().id, first.id);
        assert!(state.find("").is_err());
        assert!(state.find("zz").is_err());
    }
}
