//! The binary: grammar, dispatch, terminal. What a run does, in order, is in `run.rs`.

#![forbid(unsafe_code)]

mod approvals;
mod aws;
mod branch;
mod bus;
mod cautions;
mod chain;
mod chosen;
mod cleanup;
mod cli;
mod clock;
mod commands;
mod copies;
mod counted;
mod credentials;
mod custody;
mod decoys;
mod detail;
mod ended;
mod engine;
mod environment;
mod executions;
mod explanation;
mod failure;
mod foretold;
mod found;
mod git;
mod git_session;
mod git_ssh;
mod gpg;
mod groups;
mod host;
mod ids;
mod ignored;
mod inspection;
mod keeper;
mod keystore;
mod lasting;
mod layers;
mod leaks;
mod lived;
mod masks;
mod named;
mod not_executed;
mod oauth;
mod offered;
mod outcome;
mod outgoing;
mod own_files;
mod parts;
mod points;
mod quota;
mod recorded;
mod refusals;
mod registries;
mod remedies;
mod rooms;
mod run;
mod scribe;
mod secret_files;
mod secret_service;
mod snapshot;
mod source;
mod spiffe;
mod ssh;
mod strongest;
mod summary;
mod terminal;
mod trust;
mod underway;
mod unreached;
mod unwise;
mod wrappers;

use std::process::ExitCode;

use ringfence_sys::secret::Wiping;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: Wiping<ringfence_sys::heap::Heap> = Wiping(ringfence_sys::heap::Heap::new());

#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: Wiping<std::alloc::System> = Wiping(std::alloc::System);

fn main() -> ExitCode {
    cli::main()
}
