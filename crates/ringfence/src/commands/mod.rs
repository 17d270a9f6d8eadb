//! One file a verb.

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod checkpoint;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod discard;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod fork;
pub(crate) mod grant;
mod hints;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod man;
mod paths;
pub(crate) mod pick;
pub(crate) mod plan;
pub(crate) mod presets;
pub(crate) mod probe;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod trust;
pub(crate) mod undo;
pub(crate) mod waiting;

use crate::failure::{Context, Failure};
use crate::terminal;

/// The JSON Schema of policy files, generated from the model by `cargo xtask generate`.
const SCHEMA: &str = include_str!("../../../../docs/policy.schema.json");

/// Prints the schema.
pub(crate) fn schema() -> Result<u8, Failure> {
    terminal::print(SCHEMA);
    Ok(0)
}

/// A value as JSON on stdout.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    terminal::print(&serde_json::to_string_pretty(value).context("writing JSON")?);
    Ok(())
}
