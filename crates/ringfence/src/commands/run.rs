//! `ringfence run`: the grammar; what is done is in `crate::run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::cli::PolicyArguments;
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence run -- cargo test
  ringfence run --preset coding-agent -- ./agent --task fix-the-build
  ringfence run --policy ci.toml --report report.json -- make check

Without --policy or --preset: a trusted ringfence.toml here or above, otherwise the preset `default`.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// Write one JSON object about the run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Say nothing after the run; what a substitute on this host cannot do is said all the same
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Throw the changes away when the run ends
    #[arg(long, conflicts_with = "keep")]
    pub(crate) rm: bool,
    /// Keep the changes until they are applied or discarded: no clean-up takes them
    #[arg(long)]
    pub(crate) keep: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    crate::run::run(arguments)
}
