//! A process that is not mistaken for a later one with the same number: pid and start time.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot (`man 5 proc_pid_stat`, field 22).
    pub start: u64,
}

impl Process {
    /// This one. `None` where proc cannot be read.
    pub fn own() -> Option<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// Does it still run? A zombie does not.
    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
        // The name stands in parentheses and may hold anything, so the fields are counted from the last one.
        let after = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_is_alive_and_another_start_is_not() {
        let own = Process::own().unwrap();
        assert!(own.alive());
        assert!(!Process { start: own.start + 1, ..own }.alive());
    }
}
