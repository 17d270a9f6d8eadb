//! One thing that is open, and how bad that is.

use std::fmt;
use std::str::FromStr;

use ringfence_policy::Origin;
use serde::Serialize;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// So by intent; to be known.
    Note,
    /// A way that needs something else to be used.
    Low,
    /// A way around a part of the boundary.
    Medium,
    /// A way around the boundary, or a policy that does not run.
    High,
}

impl Level {
    /// Each, the worst first.
    pub const ALL: [Self; 4] = [Self::High, Self::Medium, Self::Low, Self::Note];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.word() == text);
        found.ok_or_else(|| "one of `high`, `medium`, `low`, `note`".to_owned())
    }
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which does not change.
    pub id: &'static str,
    /// The worst that a finding of it is.
    pub level: Level,
    /// What it finds, in one sentence.
    pub about: &'static str,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Of which kind.
    #[serde(serialize_with = "id")]
    pub rule: &'static Rule,
    /// How bad.
    pub level: Level,
    /// What is open.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// The document that says so: a path as the caller wrote it, or `preset NAME`.
    pub file: String,
    /// 1-based line there; 0 where no line says it.
    pub line: u32,
    /// What to do.
    pub remedy: String,
    /// The caller named its rule with `--accept`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
}

fn id<S: serde::Serializer>(rule: &&'static Rule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.id)
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Found(pub(crate) Vec<Finding>);

/// More of one kind helps nobody, and a hostile policy has ten thousand rules.
const MOST: usize = 100;

impl Found {
    /// Adds one at the rule's own level.
    pub(crate) fn add(
        &mut self,
        rule: &'static Rule,
        at: Option<&Origin>,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add_as(rule, rule.level, at, what, why, remedy);
    }

    /// Adds one at a level of its own.
    pub(crate) fn add_as(
        &mut self,
        rule: &'static Rule,
        level: Level,
        at: Option<&Origin>,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.0.iter().filter(|one| one.rule.id == rule.id).count() >= MOST {
            return;
        }
        self.0.push(Finding {
            rule,
            level,
            what: what.into(),
            why: why.into(),
            file: at.map(|at| at.source.to_string()).unwrap_or_default(),
            line: at.map_or(0, |at| at.line),
            remedy: remedy.into(),
            accepted: false,
        });
    }
}
