//! `ringfence shell`: an interactive run.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::cli::PolicyArguments;
use crate::commands::run;
use crate::failure::Failure;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence shell
  ringfence shell --preset coding-agent

Starts $SHELL, or /bin/sh where that is not set or not visible inside.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArguments,
    /// Write one JSON object about the run to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    // A shell of the home is rarely granted; one of the system always is.
    let usual = |shell: &OsString| {
        let path = PathBuf::from(shell);
        ["/bin", "/usr", "/nix"].iter().any(|place| path.starts_with(place)) && path.is_file()
    };
    let shell = std::env::var_os("SHELL").filter(usual).unwrap_or_else(|| "/bin/sh".into());
    let (policy, report) = (arguments.policy, arguments.report);
    run::run(run::Arguments { policy, report, quiet: false, rm: false, keep: false, command: vec![shell] })
}
