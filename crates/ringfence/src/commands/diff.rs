//! `ringfence diff`: what a run changed in its workspace.

use clap::Args;

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
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    run.whole()?;
    let changes = ringfence_workspace::diff(&run.layers).context("looking at the changes")?;
    if arguments.json {
        super::print_json(&ringfence_workspace::render_json(&changes))?;
        return Ok(0);
    }
    terminal::print(&ringfence_workspace::render_stat(&changes));
    Ok(0)
}
