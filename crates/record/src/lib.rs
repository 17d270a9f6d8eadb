//! What is written down: the state directory, the events of a run, and its report.
//!
//! Events are JSON lines in OCSF classes, each carrying the hash of the line before it.

#![forbid(unsafe_code)]

mod event;
mod log;
mod report;
mod state;
mod time;

pub use event::{Event, Severity};
pub use log::{Log, Verdict, digest, verify};
pub use report::Report;
pub use state::{RunDirectory, RunRecord, State};
pub use time::rfc3339;
