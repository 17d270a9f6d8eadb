//! What happened: the events of a run as a hash chain, its report, and the directory that holds both.
//!
//! An [`Event`] is written by a [`Writer`] with one `write(2)`, so that it is with the kernel before its effect is
//! visible and no death of ours loses it (promise 5). [`verify`] reads the file back and says whether it is whole. The
//! files live in a [`RunDir`] of the [`State`] directory, beside the [`RunRecord`] that says what the run was.

#![forbid(unsafe_code)]

mod atomic;
mod chain;
mod error;
mod event;
mod kind;
mod ocsf;
mod process;
mod report;
mod run;
mod state;
mod time;
mod writer;

pub use chain::{Head, Line, MAX_LINE, Verdict, read, verify, verify_against};
pub use error::Error;
pub use event::{Change, Degraded, Event, Identity, Source};
pub use kind::{Kind, Severity};
pub use ocsf::{Class, SCHEMA_VERSION, class_of};
pub use process::Process;
pub use report::{Report, ReportFile};
pub use run::{OutputScan, RunDir, RunRecord, Status};
pub use state::{Found, State, like_id};
pub use time::Timestamp;
pub use writer::Writer;
