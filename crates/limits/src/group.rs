//! A control group with limits: made, filled, asked, removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_plan::Limits;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Exceeded, Place};

/// Every group of ours begins with this.
const PREFIX: &str = "ringfence-";
/// Length of the period of a processor quota in microseconds (Documentation/scheduler/sched-bwc.rst).
const PERIOD: u64 = 100_000;
/// Init, the root's server and the leader of a terminal's session are no processes of the task.
const OWN: u64 = 3;

/// Why a group could not be made; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct Failure {
    what: String,
    error: io::Error,
}

/// Directories of one sandbox, one for each hierarchy. Removed when dropped.
#[derive(Debug)]
pub struct Group {
    directories: Vec<PathBuf>,
    unified: bool,
    memory: Option<u64>,
    processes: Option<u64>,
}

impl Group {
    /// The controllers that these limits need.
    #[must_use]
    pub fn controllers(limits: &Limits) -> Vec<&'static str> {
        [("memory", limits.memory), ("pids", limits.processes), ("cpu", limits.cpu)]
            .into_iter()
            .filter_map(|(name, limit)| limit.map(|_| name))
            .collect()
    }

    /// Makes it. Each limit is read back: one that the kernel rounds up or ignores is an error.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn create(place: &Place, limits: &Limits, name: &str) -> Result<Self, Failure> {
        let mut group = Self {
            directories: Vec::new(),
            unified: matches!(place, Place::Unified(_)),
            memory: limits.memory,
            processes: limits.processes,
        };
        let quota = limits.cpu.map(|cpu| (cpu.saturating_mul(PERIOD) / 1000).max(1000));
        match place {
            Place::Unified(base) => {
                let at = group.directory(base, name)?;
                if let Some(bytes) = limits.memory {
                    set(&at, "memory.max", bytes)?;
                    // Without swap accounting there is no such file, and no swap to hide in.
                    set_if_there(&at, "memory.swap.max", "0")?;
                    set_if_there(&at, "memory.oom.group", "1")?;
                }
                if let Some(count) = limits.processes {
                    set(&at, "pids.max", count + OWN)?;
                }
                if let Some(quota) = quota {
                    write(&at, "cpu.max", &format!("{quota} {PERIOD}"))?;
                }
            }
            Place::Separate { memory, pids, cpu } => {
                if let (Some(bytes), Some(base)) = (limits.memory, memory) {
                    let at = group.directory(base, name)?;
                    set(&at, "memory.limit_in_bytes", bytes)?;
                    set_if_there(&at, "memory.memsw.limit_in_bytes", &bytes.to_string())?;
                }
                if let (Some(count), Some(base)) = (limits.processes, pids) {
                    let at = group.directory(base, name)?;
                    set(&at, "pids.max", count + OWN)?;
                }
                if let (Some(quota), Some(base)) = (quota, cpu) {
                    let at = group.directory(base, name)?;
                    set(&at, "cpu.cfs_period_us", PERIOD)?;
                    set(&at, "cpu.cfs_quota_us", quota)?;
                }
            }
        }
        Ok(group)
    }

    /// Where it is, for whoever has to clean up after a kill.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Moves a process into it; what it forks from now on is born there.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn add(&self, process: Pid) -> Result<(), Failure> {
        let number = process.as_raw_nonzero().to_string();
        self.directories.iter().try_for_each(|at| write(at, "cgroup.procs", &number))
    }

    /// Whether a limit was reached: memory that had to be taken back by a kill, processes that were refused.
    #[must_use]
    pub fn exceeded(&self) -> Option<Exceeded> {
        let count = |file: &str, key: &str| {
            self.directories.iter().find_map(|at| {
                let text = fs::read_to_string(at.join(file)).ok()?;
                let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
                line.trim().parse::<u64>().ok()
            })
        };
        if self.memory.is_none() && self.processes.is_none() {
            return None;
        }
        let killed = if self.unified {
            count("memory.events", "oom_kill")
        } else {
            count("memory.oom_control", "oom_kill")
        };
        if let (Some(bytes), Some(1..)) = (self.memory, killed) {
            return Some(Exceeded::memory(bytes));
        }
        match (self.processes, count("pids.events", "max")) {
            (Some(limit), Some(1..)) => Some(Exceeded::processes(limit)),
            _ => None,
        }
    }

    fn directory(&mut self, base: &Path, name: &str) -> Result<PathBuf, Failure> {
        let at = base.join(format!("{PREFIX}{name}"));
        fs::create_dir(&at).map_err(|error| Failure { what: format!("making {}", at.display()), error })?;
        self.directories.push(at.clone());
        Ok(at)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for at in &self.directories {
            remove(at, false);
        }
    }
}

/// Ends what a killed supervisor left in a group of ours, and removes the group.
pub fn sweep(directory: &Path) {
    let ours =
        directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    if ours && directory.join("cgroup.procs").exists() {
        remove(directory, true);
    }
}

/// A group whose last process is just ending is busy for a moment.
fn remove(directory: &Path, kill: bool) {
    for _ in 0..50 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                if kill {
                    end_all(directory);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return,
        }
    }
}

fn end_all(directory: &Path) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn set(at: &Path, file: &str, value: u64) -> Result<(), Failure> {
    write(at, file, &value.to_string())?;
    let path = at.join(file);
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure { what: format!("reading {}", path.display()), error })?;
    // Memory is kept in whole pages, rounded down.
    let kept = text.trim().parse::<u64>().ok().filter(|kept| *kept <= value);
    match kept {
        Some(_) => Ok(()),
        None => Err(Failure {
            what: format!("{} became {} instead of {value}", path.display(), text.trim()),
            error: io::ErrorKind::InvalidData.into(),
        }),
    }
}

fn set_if_there(at: &Path, file: &str, value: &str) -> Result<(), Failure> {
    if at.join(file).exists() { write(at, file, value) } else { Ok(()) }
}

fn write(at: &Path, file: &str, value: &str) -> Result<(), Failure> {
    let path = at.join(file);
    fs::write(&path, value)
        .map_err(|error| Failure { what: format!("writing {value} to {}", path.display()), error })
}
