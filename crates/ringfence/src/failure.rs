//! Errors of ours: what was refused or broken, why, what to do, and with which exit status.

use std::fmt::Display;
use std::process::ExitCode;

use ringfence_plan::Refused;
use rustix::io::Errno;

use crate::terminal::{self, escape};

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
    hints: Vec<String>,
    /// The text is a finished report with its own lines and colours.
    report: bool,
}

impl Failure {
    /// An error of ringfence: its input, its host, itself.
    pub(crate) const OURS: u8 = 125;
    /// Refused by policy, or not executable.
    pub(crate) const REFUSED: u8 = 126;
    /// The command does not exist.
    pub(crate) const NOT_FOUND: u8 = 127;

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { status: Self::OURS, text: text.into(), hints: Vec::new(), report: false }
    }

    pub(crate) fn report(text: String) -> Self {
        Self { report: true, ..Self::new(text) }
    }

    pub(crate) fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What was wrong, for a record.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same without colours, for a line in another text.
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    pub(crate) fn print(&self) -> ExitCode {
        if self.report {
            terminal::error(self.text.trim_end());
        } else {
            terminal::error(&format!("{} {}", terminal::label("error:"), escape(&self.text)));
        }
        for hint in &self.hints {
            terminal::error(&format!("{} {}", terminal::label("hint:"), escape(hint)));
        }
        // Whatever was being done.
        if self.hints.is_empty() && self.text.ends_with(&Errno::MFILE.to_string()) {
            let hint = "this process may have too few files open: raise that, as by `ulimit -n 1024`";
            terminal::error(&format!("{} {hint}", terminal::label("hint:")));
        }
        ExitCode::from(self.status)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(format!("{}: {}", refused.part, refused.cause)).hint(refused.remedy)
    }
}

impl From<&ringfence_workspace::Refused> for Failure {
    fn from(refused: &ringfence_workspace::Refused) -> Self {
        refused.hints().into_iter().fold(Self::new(refused.to_string().trim_end()), Self::hint)
    }
}

/// Names what was being done when something failed.
pub(crate) trait Context<T> {
    /// `what` reads like "reading /x".
    fn context(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
