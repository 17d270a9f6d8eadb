//! `ringfence discard`: throws the changes of a run away.

use clap::Args;
use ringfence_record::{Event, Status};

use crate::commands::waiting;
use crate::failure::{Context, Failure};
use crate::{environment, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here
    run: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    let mut log = run.directory.resume_events(run.record.identity.clone()).context("the run's log")?;
    let event = Event::WorkspaceDiscard { workspace: run.record.workspace.display().to_string() };
    run.record.head = Some(log.append(&event).context("the run's log")?);
    run.record.status = Status::Discarded;
    run.write()?;
    run.remove_layers()?;
    terminal::print(&format!("the changes of {} are gone", run.record.id));
    Ok(0)
}
