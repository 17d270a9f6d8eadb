//! One run: its directory and the file that says what it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::chain::Head;
use crate::error::Error;
use crate::event::Identity;
use crate::process::Process;
use crate::time::Timestamp;
use crate::writer::Writer;

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

impl RunDir {
    /// Its id: sorts by time.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its events.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// Where its applies keep their journals and what they replaced, the first one first.
    pub fn journals(&self) -> impl Iterator<Item = PathBuf> {
        let number = |number: u32| if number == 1 { "apply".into() } else { format!("apply-{number}") };
        (1..).map(move |at| self.path.join(number(at)))
    }

    /// Starts its events.
    pub fn create_events(&self, identity: Option<Identity>) -> Result<Writer, Error> {
        Writer::create(&self.events(), &self.id, identity)
    }

    /// Continues its events.
    pub fn resume_events(&self, identity: Option<Identity>) -> Result<Writer, Error> {
        Writer::resume(&self.events(), &self.id, identity)
    }

    /// Reads `run.json`.
    pub fn record(&self) -> Result<RunRecord, Error> {
        let path = self.record_path();
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| Error::malformed(&path, error))
    }

    /// Writes `run.json` as a whole; `durable` waits for the disk, which a start does not.
    pub fn write_record(&self, record: &RunRecord, durable: bool) -> Result<(), Error> {
        let path = self.record_path();
        let text = serde_json::to_vec(record).map_err(|error| Error::malformed(&path, error))?;
        atomic::replace(&path, &text, durable)
    }

    /// When `run.json` was written last.
    pub fn recorded(&self) -> Option<SystemTime> {
        std::fs::metadata(self.record_path()).and_then(|found| found.modified()).ok()
    }

    fn record_path(&self) -> PathBuf {
        self.path.join("run.json")
    }
}

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub id: String,
    /// The name it was started under, if it holds many commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// The command and its arguments, made printable.
    pub command: Vec<String>,
    /// Who it ran as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The workspace on the host.
    pub workspace: PathBuf,
    /// `review`, `discard`, `direct`, `read` or `temporary`.
    pub mode: String,
    /// The copy-on-write layers, as the workspace crate writes them.
    #[serde(default)]
    pub layers: serde_json::Value,
    /// What is done about secrets in what its commands write, if they are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputScan>,
    /// Bytes that one of its commands may write to its streams (`limits.output`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_output: Option<u64>,
    /// Files and directories that its policy denies, whose secrets are looked for in what it changed or wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<PathBuf>,
    /// Its owner asked for it to be kept: no clean-up takes its changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// How far it is.
    pub status: Status,
    /// Who supervises it.
    pub supervisor: Option<Process>,
    /// The last event: what its log is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
}

/// How the output of a run's commands is looked through for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputScan {
    /// `block`, `mask` or `warn`.
    pub action: String,
    /// Variables that its policy itself gives to the task, with what they hold: that is not looked for.
    pub given: BTreeMap<String, String>,
}

impl RunRecord {
    /// Does it still run? Its supervisor may have died without a word.
    pub fn running(&self) -> bool {
        self.status == Status::Running && self.supervisor.is_some_and(Process::alive)
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Its command runs, or its supervisor died.
    Running,
    /// Its command ended.
    Ended,
    /// Its changes landed.
    Applied,
    /// Its changes landed, and what they replaced was put back.
    Undone,
    /// Its changes were thrown away.
    Discarded,
}
