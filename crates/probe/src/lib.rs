//! What can be reached from inside of any environment, tried without harm: nothing is written, sent or signalled.
//!
//! Each area is looked at by a child of its own with a time limit, since what surrounds it may be hostile: a file system that never
//! answers, a filter that ends whoever makes a call. Names are told, values never.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::string_slice))]

mod descriptors;
mod devices;
mod isolate;
mod kernel;
mod look;
mod network;
mod privileges;
mod processes;
mod report;
mod secrets;
mod sockets;
mod system;
mod terminal;
mod writable;

use std::path::PathBuf;

pub use report::{Finding, Report, State};

use report::Out;

/// Where to look from.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose secrets and settings are looked for.
    pub home: PathBuf,
    /// What may be written by intent.
    pub cwd: PathBuf,
    /// `HOST:PORT`: the only destinations that are connected to.
    pub targets: Vec<String>,
    /// What is known to be around.
    pub around: Vec<String>,
}

/// What one area looks at.
type Area = fn(&Request, &mut Out);

/// In the order in which they are told.
const AREAS: &[(&str, Area)] = &[
    ("secrets", secrets::look),
    ("writable", writable::look),
    ("processes", processes::look),
    ("sockets", sockets::look),
    ("network", network::look),
    ("privileges", privileges::look),
    ("kernel", kernel::look),
    ("devices", devices::look),
    ("system", system::look),
    ("terminal", terminal::look),
];

/// Looks at everything. The caller must have one thread.
#[must_use]
pub fn probe(request: &Request) -> Report {
    // Before anything is opened.
    let mut findings = descriptors::look();
    for (name, area) in AREAS {
        findings.extend(isolate::run(name, isolate::LIMIT, |out| area(request, out)));
    }
    Report::new(request.around.clone(), findings)
}
