//! `ringfence diff`: what a run changed in its workspace.

use clap::Args;
use ringfence_record::RunRecord;

use crate::commands::waiting;
use crate::failure::{Context, Failure};
use crate::{environment, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here
    run: Option<String>,
    /// One line a change, with the lines added and removed (the only form so far)
    #[arg(long)]
    stat: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let run = waiting::find(&invoker, arguments.run.as_deref())?;
    let changes = ringfence_workspace::diff(&run.layers).context("looking at the changes")?;
    if arguments.json {
        super::print_json(&ringfence_workspace::render_json(&changes))?;
        return Ok(0);
    }
    terminal::print(&ringfence_workspace::render_stat(&changes));
    Ok(0)
}

/// How many changes a run's layers hold.
pub(crate) fn count(record: &RunRecord) -> Result<u64, Failure> {
    let changes = ringfence_workspace::diff(&waiting::layers(record)?).context("looking at the changes")?;
    Ok(changes.len() as u64)
}
