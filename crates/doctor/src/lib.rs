//! What this host can do, what it cannot, why, and what would change it.
//!
//! Each check tries the thing itself in a child of its own, with a time limit; the files of /proc only explain a
//! refusal. Whether `run` works is not deduced from them: the last check runs `true` and sees.

#![forbid(unsafe_code)]

mod attempt;
mod identity;
mod kernel;
mod limits;
mod locks;
mod mounts;
mod namespaces;
mod remedy;
mod scratch;
mod surroundings;
mod trial;

use std::path::Path;

use ringfence_confine::probe;
use ringfence_plan::{Host, Invoker};

use crate::scratch::Scratch;
use crate::surroundings::Surroundings;

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// ringfence does without, and says so.
    Degraded,
    /// ringfence cannot do without.
    Missing,
    /// It could not be tried.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What is so, and why.
    pub found: String,
    /// What ringfence does then; empty where nothing is different.
    pub effect: String,
    /// Commands, or the text of a file, that would change it.
    pub remedy: Vec<String>,
}

impl Check {
    fn new(name: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { name, state, found: found.into(), effect: String::new(), remedy: Vec::new() }
    }

    fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Good, found)
    }

    fn degraded(name: &'static str, found: impl Into<String>, effect: impl Into<String>) -> Self {
        Self::new(name, State::Degraded, found).with_effect(effect)
    }

    fn missing(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Missing, found).with_effect("`ringfence run` is refused")
    }

    /// What tier `namespace` cannot do without. Where the other one can be had, that is used.
    fn of_namespaces(host: &Host, name: &'static str, found: impl Into<String>) -> Self {
        if ringfence_plan::possible(host) {
            let effect = "tier `landlock` is used: the same policy, less of it seen (docs/tiers.md)";
            return Self::degraded(name, found, effect);
        }
        Self::missing(name, found)
    }

    fn unknown(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, found)
    }

    fn with_effect(mut self, effect: impl Into<String>) -> Self {
        self.effect = effect.into();
        self
    }

    fn with_remedy(mut self, remedy: Vec<String>) -> Self {
        self.remedy = remedy;
        self
    }
}

/// Everything that was looked at, and what follows.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Whether `ringfence run --preset default` works here.
    pub works: bool,
    /// The tier that a run has, or `None` where it does not work.
    pub tier: Option<String>,
    /// In the order in which one thing needs the other.
    pub checks: Vec<Check>,
}

impl Report {
    /// A report of one thing that keeps everything else from being looked at.
    #[must_use]
    pub fn of_one(name: &'static str, found: &str, remedy: &[String]) -> Self {
        let check = Check::missing(name, found).with_remedy(remedy.to_vec());
        Self { works: false, tier: None, checks: vec![check] }
    }

    /// One sentence: whether it works and, if not, the first cause.
    #[must_use]
    pub fn verdict(&self) -> String {
        if self.works {
            let tier = self.tier.as_deref().unwrap_or("namespace");
            return format!("`ringfence run` works here (tier `{tier}`)");
        }
        let cause = self.checks.iter().find(|check| check.state == State::Missing);
        match cause {
            Some(check) if check.name == trial::NAME => {
                format!("`ringfence run` does not work here: {}", check.found)
            }
            Some(check) => format!("`ringfence run` does not work here: {}: {}", check.name, check.found),
            None => "`ringfence run` does not work here".to_owned(),
        }
    }
}

/// What is known to be around this process, the innermost first.
#[must_use]
pub fn surroundings() -> Vec<&'static str> {
    surroundings::around().into_iter().map(surroundings::Around::text).collect()
}

/// Looks at everything. `binary` is what `run` would be run as. The caller must have one thread.
#[must_use]
pub fn examine(binary: &Path, invoker: &Invoker) -> Report {
    let around = Surroundings::look(invoker);
    let host = probe::host();
    let scratch = Scratch::new(&invoker.state);
    let mut checks = vec![kernel::check(&host), around.check()];
    let namespaces = namespaces::check(&around, &host, binary, &mut checks);
    mounts::check(&around, &host, invoker, namespaces, scratch.as_ref().ok(), &mut checks);
    locks::check(&around, &host, invoker, namespaces, &mut checks);
    checks.push(limits::check());
    checks.push(identity::check(invoker));
    let (trial, tier) = match &scratch {
        Ok(scratch) => trial::check(binary, scratch),
        Err(cause) => (scratch::missing(cause), None),
    };
    let works = trial.state == State::Good;
    checks.push(trial);
    Report { works, tier, checks }
}
