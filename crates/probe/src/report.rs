//! What was found.

use std::collections::BTreeMap;
use std::io::Write;

use ringfence_audit::Level;
use serde::{Deserialize, Serialize};

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was tried, and can be reached.
    Open,
    /// It was tried, and cannot.
    Closed,
    /// It could not be tried.
    Unknown,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which area looked.
    pub area: String,
    /// Its name, which does not change.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// How bad it is if it is open.
    #[serde(with = "level")]
    pub level: Level,
    /// What is so.
    pub what: String,
    /// Why that matters; empty unless it is open.
    pub why: String,
    /// Paths, names, numbers: the first of them.
    pub names: Vec<String>,
    /// How many there are.
    pub count: usize,
}

mod level {
    use ringfence_audit::Level;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(level.word())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Everything that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What is known to be around, the innermost first.
    pub around: Vec<String>,
    /// How many things are open, by level.
    pub open: BTreeMap<&'static str, usize>,
    /// The worst first; what is closed last.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(around: Vec<String>, mut findings: Vec<Finding>) -> Self {
        let rank = |state: State| match state {
            State::Open => 0,
            State::Unknown => 1,
            State::Closed => 2,
        };
        findings.sort_by(|a, b| rank(a.state).cmp(&rank(b.state)).then_with(|| b.level.cmp(&a.level)));
        let mut open: BTreeMap<&str, usize> = Level::ALL.iter().map(|level| (level.word(), 0)).collect();
        for finding in findings.iter().filter(|finding| finding.state == State::Open) {
            *open.entry(finding.level.word()).or_default() += 1;
        }
        Self { around, open, findings }
    }

    /// The worst level of what is open.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().filter(|finding| finding.state == State::Open).map(|finding| finding.level).max()
    }
}

/// Names that are told of each thing, and bytes of each.
const NAMES: (usize, usize) = (16, 200);

/// Where an area tells what it found: a line each, at once, so that nothing is lost with it.
pub(crate) struct Out<'a> {
    area: &'a str,
    to: &'a mut dyn Write,
}

impl<'a> Out<'a> {
    pub(crate) fn new(area: &'a str, to: &'a mut dyn Write) -> Self {
        Self { area, to }
    }

    /// Open if there are names, which are told; else closed.
    pub(crate) fn list(
        &mut self,
        id: &str,
        level: Level,
        names: Vec<String>,
        open: &str,
        closed: &str,
        why: &str,
    ) {
        if names.is_empty() {
            self.tell(id, State::Closed, level, closed, "", names);
        } else {
            self.tell(id, State::Open, level, open, why, names);
        }
    }

    /// Open or closed.
    pub(crate) fn either(&mut self, id: &str, level: Level, open: bool, words: (&str, &str), why: &str) {
        if open {
            self.tell(id, State::Open, level, words.0, why, Vec::new());
        } else {
            self.tell(id, State::Closed, level, words.1, "", Vec::new());
        }
    }

    /// Nobody could try.
    pub(crate) fn unknown(&mut self, id: &str, level: Level, what: &str) {
        self.tell(id, State::Unknown, level, what, "", Vec::new());
    }

    pub(crate) fn tell(
        &mut self,
        id: &str,
        state: State,
        level: Level,
        what: &str,
        why: &str,
        names: Vec<String>,
    ) {
        let finding = finding(self.area, id, state, level, what, why, names);
        if let Ok(mut line) = serde_json::to_vec(&finding) {
            line.push(b'\n');
            let _ = self.to.write_all(&line);
        }
    }
}

/// One finding, with as many names as are told.
pub(crate) fn finding(
    area: &str,
    id: &str,
    state: State,
    level: Level,
    what: &str,
    why: &str,
    names: Vec<String>,
) -> Finding {
    let count = names.len();
    let cut = |name: String| match name.char_indices().nth(NAMES.1) {
        Some((at, _)) => format!("{}…", name.get(..at).unwrap_or_default()),
        None => name,
    };
    Finding {
        area: area.to_owned(),
        id: id.to_owned(),
        state,
        level,
        what: what.to_owned(),
        why: why.to_owned(),
        names: names.into_iter().take(NAMES.0).map(cut).collect(),
        count,
    }
}
