//! The binary: grammar, dispatch, terminal. What a run does, in order, is in `run.rs`.

#![forbid(unsafe_code)]

mod approvals;
mod chain;
mod chosen;
mod cleanup;
mod cli;
mod clock;
mod commands;
mod copies;
mod decoys;
mod described;
mod environment;
mod executions;
mod explanation;
mod failure;
mod git;
mod groups;
mod host;
mod ids;
mod inspection;
mod lasting;
mod layers;
mod lived;
mod named;
mod not_executed;
mod outcome;
mod points;
mod quota;
mod refusals;
mod registries;
mod run;
mod snapshot;
mod source;
mod terminal;
mod trust;

use std::process::ExitCode;

/// musl's own is slow, and made for threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    cli::main()
}
