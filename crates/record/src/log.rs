//! The events of one run: append-only JSON lines, each with the hash of the line before.

use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{self, CWD, Mode, OFlags};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::Event;

/// What the first line links to.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: std::fs::File,
    run: String,
    next: u64,
    previous: String,
}

/// What a log's chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every line follows from the one before, and the run's end is recorded.
    Whole {
        /// Number of lines.
        lines: u64,
    },
    /// Every line follows, but the end is missing: the run goes on, or its last lines were lost.
    Open {
        /// Number of lines.
        lines: u64,
    },
    /// This line (1-based) does not follow from the one before.
    Altered {
        /// The first that does not.
        line: u64,
    },
}

impl Log {
    /// Opens a run's log to append; continues an existing one only if it ends in a whole line that parses.
    ///
    /// # Errors
    /// The file's; `InvalidData` for a torn or foreign end.
    pub fn open(path: &Path, run: &str) -> std::io::Result<Self> {
        let flags = OFlags::APPEND | OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = std::fs::File::from(fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?);
        let mut log = Self { file, run: run.to_owned(), next: 0, previous: BEGINNING.to_owned() };
        if log.file.metadata()?.len() > 0 {
            let text = std::fs::read_to_string(path)?;
            let torn = || std::io::Error::new(std::io::ErrorKind::InvalidData, "the log does not end in a whole line");
            let last = text.strip_suffix('\n').ok_or_else(torn)?.rsplit('\n').next().ok_or_else(torn)?;
            let value: Value = serde_json::from_str(last).map_err(|_| torn())?;
            log.next = value.get("seq").and_then(Value::as_u64).ok_or_else(torn)? + 1;
            log.previous = digest(last.as_bytes());
        }
        Ok(log)
    }

    /// Hands one event to the kernel, in one write.
    ///
    /// # Errors
    /// The file's; a short write is one.
    pub fn append(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = event.to_json(&self.run, self.next, SystemTime::now());
        line.insert("prev".into(), Value::String(std::mem::take(&mut self.previous)));
        let mut text = serde_json::to_string(&line)?;
        self.previous = digest(text.as_bytes());
        self.next += 1;
        text.push('\n');
        if rustix::io::write(&self.file, text.as_bytes())? == text.len() {
            Ok(())
        } else {
            Err(std::io::Error::new(std::io::ErrorKind::WriteZero, "an event was written in part"))
        }
    }

    /// Puts everything on disk, for events that must not be lost with the power.
    ///
    /// # Errors
    /// The file's.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads a log and checks its chain.
///
/// # Errors
/// The file's.
pub fn verify(path: &Path) -> std::io::Result<Verdict> {
    let text = std::fs::read(path)?;
    let mut previous = BEGINNING.to_owned();
    let mut lines = 0;
    let mut ended = false;
    for part in text.split_inclusive(|byte| *byte == b'\n') {
        let number = lines + 1;
        let Some(line) = part.strip_suffix(b"\n") else { return Ok(Verdict::Open { lines }) };
        let value: Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(_) => return Ok(Verdict::Altered { line: number }),
        };
        let follows = value.get("prev").and_then(Value::as_str) == Some(&previous)
            && value.get("seq").and_then(Value::as_u64) == Some(lines);
        if !follows {
            return Ok(Verdict::Altered { line: number });
        }
        ended |= value.get("kind").and_then(Value::as_str) == Some("sandbox.end");
        previous = digest(line);
        lines = number;
    }
    Ok(if ended { Verdict::Whole { lines } } else { Verdict::Open { lines } })
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Severity;

    fn event(kind: &'static str) -> Event {
        Event::new(kind, Severity::Informational, json!({ "n": 1 }))
    }

    fn written() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        let mut log = Log::open(&path, "r").unwrap();
        log.append(&event("sandbox.start")).unwrap();
        log.append(&event("exec.deny")).unwrap();
        drop(log);
        // Continued by another process.
        Log::open(&path, "r").unwrap().append(&event("sandbox.end")).unwrap();
        (directory, path)
    }

    #[test]
    fn a_continued_log_is_whole() {
        let (_directory, path) = written();
        assert_eq!(verify(&path).unwrap(), Verdict::Whole { lines: 3 });
    }

    #[test]
    fn every_change_of_a_line_is_seen() {
        let (_directory, path) = written();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let check = |lines: &[&str]| {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            verify(&path).unwrap()
        };
        assert_eq!(check(&[lines[0], lines[2]]), Verdict::Altered { line: 2 });
        assert_eq!(check(&[lines[1], lines[0], lines[2]]), Verdict::Altered { line: 1 });
        let edited = lines[1].replace("\"n\":1", "\"n\":2");
        assert_eq!(check(&[lines[0], &edited, lines[2]]), Verdict::Altered { line: 3 });
        assert_eq!(check(&lines[..2]), Verdict::Open { lines: 2 });
    }

    #[test]
    fn a_torn_end_is_never_continued() {
        let (_directory, path) = written();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert!(Log::open(&path, "r").is_err());
        assert_eq!(verify(&path).unwrap(), Verdict::Open { lines: 2 });
    }
}
