//! Bounds on memory, processors and processes: by control groups where this user may make them, else by a watcher.
//!
//! [`probe`] says what there is, [`Group`] is a control group with limits, [`Watcher`] looks every 100 ms instead.

#![forbid(unsafe_code)]

mod group;
mod place;
mod watcher;

use std::fmt;

pub use group::{Failure, Group, sweep};
pub use place::{Place, probe};
pub use watcher::{Watcher, shown};

/// A bound that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Its key in `[limits]`.
    pub limit: &'static str,
    /// What the task did.
    pub what: String,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = if self.limit == "quota" { "workspace" } else { "limits" };
        write!(out, "{} ({table}.{})", self.what, self.limit)
    }
}

impl Exceeded {
    /// More memory than this many bytes.
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        Self { limit: "memory", what: format!("the task used more than {} of memory", size(bytes)) }
    }

    /// More processes than this.
    #[must_use]
    pub fn processes(count: u64) -> Self {
        Self { limit: "processes", what: format!("the task started more than {count} processes") }
    }

    /// More output than this many bytes.
    #[must_use]
    pub fn output(bytes: u64) -> Self {
        Self { limit: "output", what: format!("the task wrote more than {} to its output", size(bytes)) }
    }

    /// More in the workspace than this many bytes.
    #[must_use]
    pub fn quota(bytes: u64) -> Self {
        Self { limit: "quota", what: format!("the task put more than {} into its workspace", size(bytes)) }
    }

    /// More in directories for what is temporary than this many bytes.
    #[must_use]
    pub fn temporary(bytes: u64) -> Self {
        Self { limit: "tmp", what: format!("the task put more than {} into $TMPDIR and $HOME", size(bytes)) }
    }

    /// A file of more than this many bytes.
    #[must_use]
    pub fn file_size(bytes: u64) -> Self {
        Self { limit: "file_size", what: format!("the task wrote a file of more than {}", size(bytes)) }
    }

    /// More than this many milliseconds.
    #[must_use]
    pub fn time(milliseconds: u64) -> Self {
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
        let text = if rest == 0 { format!("{seconds} s") } else { format!("{seconds}.{rest:03} s") };
        Self { limit: "time", what: format!("the task ran for more than {text}") }
    }
}

fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{} {name}", bytes / factor),
        None => format!("{bytes} bytes"),
    }
}
