//! The chain: one event a line, each with the hash of the line before. Reading it and judging it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::event::Identity;
use crate::kind::Severity;
use crate::time::Timestamp;

/// No line is longer. A reader does not take more of a file that may not be ours.
pub const MAX_LINE: usize = 4 << 20;

/// What the first event names as the one before it.
pub(crate) const NONE: [u8; 32] = [0; 32];

/// The last event of a file: where the next one continues. Kept elsewhere, it is what a whole file is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// SHA-256 of its line.
    #[serde(with = "hexadecimal")]
    pub hash: [u8; 32],
}

/// One event as it was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 0.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time: i64,
    /// The same time, RFC 3339 with nanoseconds.
    pub time_dt: Timestamp,
    /// The run.
    pub run: String,
    /// Kind; a string, since a newer ringfence may know more kinds.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// OCSF.
    pub class_uid: u32,
    /// OCSF.
    pub activity_id: u32,
    /// OCSF.
    pub severity_id: u32,
    /// Who was running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// OCSF: version of the schema, product, the number again.
    pub metadata: serde_json::Value,
    /// What the kind says.
    pub detail: serde_json::Value,
    /// SHA-256 of the line before.
    #[serde(with = "hexadecimal")]
    pub prev: [u8; 32],
}

/// What a file is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// From the first event to the end of the sandbox, unbroken.
    Whole {
        /// How many.
        events: u64,
    },
    /// Unbroken as far as it goes, but the end is missing: still running, cut off, or lost with the power.
    Open {
        /// How many whole ones.
        events: u64,
        /// The last line is cut in the middle.
        torn: bool,
    },
    /// Edited, reordered, or not a log of ours.
    Altered {
        /// The first line that does not fit, from 1.
        line: u64,
        /// In what way.
        why: String,
    },
}

/// Judges a file by itself. That nothing was cut off after the end of the sandbox, or that it is not an older copy, only
/// [`verify_against`] can say.
pub fn verify(path: &Path) -> Result<Verdict, Error> {
    judge(path, None)
}

/// Judges a file against a head that was kept elsewhere.
pub fn verify_against(path: &Path, head: Head) -> Result<Verdict, Error> {
    judge(path, Some(head))
}

/// Reads the whole events of a file in order, until the first that does not fit.
pub fn read(path: &Path) -> Result<Vec<Line>, Error> {
    let mut chain = Chain::open(path)?;
    let mut lines = Vec::new();
    while let Step::Event(line) = chain.step()? {
        lines.push(*line);
    }
    Ok(lines)
}

fn judge(path: &Path, expected: Option<Head>) -> Result<Verdict, Error> {
    let mut chain = Chain::open(path)?;
    let mut ended = false;
    let mut met = expected.is_none();
    let torn = loop {
        match chain.step()? {
            Step::Event(line) => {
                ended |= line.kind == "sandbox.end";
                met |= expected == chain.head;
            }
            Step::End { torn } => break torn,
            Step::Broken(why) => return Ok(Verdict::Altered { line: chain.count + 1, why }),
        }
    };
    match expected {
        Some(head) if !met && head.seq < chain.count => {
            Ok(Verdict::Altered { line: head.seq + 1, why: "not the event that was recorded".into() })
        }
        _ if torn || !ended || !met => Ok(Verdict::Open { events: chain.count, torn }),
        _ => Ok(Verdict::Whole { events: chain.count }),
    }
}

/// Walks a file, checking each line against the one before.
pub(crate) struct Chain<'a> {
    path: &'a Path,
    file: BufReader<File>,
    buffer: Vec<u8>,
    pub(crate) count: u64,
    pub(crate) head: Option<Head>,
}

pub(crate) enum Step {
    Event(Box<Line>),
    End { torn: bool },
    Broken(String),
}

impl<'a> Chain<'a> {
    fn open(path: &'a Path) -> Result<Self, Error> {
        // O_NONBLOCK: a FIFO in its place must not hold the reader.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::system("open", path))?;
        Ok(Self::of(path, File::from(file)))
    }

    pub(crate) fn of(path: &'a Path, file: File) -> Self {
        Self { path, file: BufReader::new(file), buffer: Vec::new(), count: 0, head: None }
    }

    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        self.buffer.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = self.file.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        if read.map_err(Error::io("read", self.path))? == 0 {
            return Ok(Step::End { torn: false });
        }
        let Some((b'\n', text)) = self.buffer.split_last() else {
            let cut = self.buffer.len() < MAX_LINE;
            return Ok(if cut {
                Step::End { torn: true }
            } else {
                Step::Broken("the line is too long".into())
            });
        };
        let line: Line = match serde_json::from_slice(text) {
            Ok(line) => line,
            Err(error) => return Ok(Step::Broken(format!("not an event: {error}"))),
        };
        if line.seq != self.count {
            return Ok(Step::Broken(format!("event {} stands where {} is due", line.seq, self.count)));
        }
        if line.prev != self.head.map_or(NONE, |head| head.hash) {
            return Ok(Step::Broken("it does not continue the line before".into()));
        }
        self.head = Some(Head { seq: line.seq, hash: Sha256::digest(text).into() });
        self.count += 1;
        Ok(Step::Event(Box::new(line)))
    }
}

/// A hash as 64 lowercase digits.
pub(crate) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn text(hash: &[u8; 32]) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().map_or('0', char::from);
        hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    pub(crate) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let written = String::deserialize(deserializer)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(written.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(de::Error::custom)?;
            *byte = u8::from_str_radix(pair, 16).map_err(de::Error::custom)?;
        }
        // Only one way to write a hash: no capitals, no signs, nothing more.
        if text(&hash) == written { Ok(hash) } else { Err(de::Error::custom("not a SHA-256")) }
    }
}
