//! `ringfence stop`: ends a named sandbox with everything in it.

use clap::Args;
use ringfence_supervise::{Ask, Sandbox};

use super::waiting;
use crate::counted::totals;
use crate::explanation::Explained;
use crate::failure::{Context, Failure};
use crate::layers::Settled;
use crate::{environment, named, summary, terminal};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence stop dev
  ringfence stop dev --grace 0      at once")]
pub(crate) struct Arguments {
    /// The sandbox
    name: String,
    /// Seconds that commands have after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=3600))]
    grace: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let (run, record) = named::find(&state, &arguments.name)?;
    let remote = named::call(&run)?;
    remote.ask(&Ask::Stop { grace: arguments.grace * 1000 }, &[]).context("asking the sandbox to end")?;
    // The connection ends with its keeper.
    while remote.report().is_some() {}
    terminal::print(&format!("sandbox `{}` has ended, run {}", arguments.name, run.id()));
    let (refused, passed, opened) = totals(&Explained::of(&run, &record, &invoker)?);
    let waiting = waiting::find(&invoker, Some(run.id())).ok();
    let changes = waiting.map_or(Settled::None, |waiting| {
        ringfence_workspace::count(&waiting.layers).map_or(Settled::Uncounted, Settled::Changes)
    });
    summary::say(run.id(), refused, passed, changes);
    summary::opened(run.id(), &opened);
    Ok(0)
}
