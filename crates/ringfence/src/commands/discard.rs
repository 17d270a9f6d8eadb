//! `ringfence discard`: throws the changes of a run away.

use clap::Args;
use ringfence_record::{Error, Event, Status, Writer};

use crate::commands::waiting::{self, Waiting};
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
    // Held to the end: whoever has it works on the run.
    let mut log = run.directory.resume_events(run.record.identity.clone());
    if let Err(busy @ Error::Busy { .. }) = log {
        let failure = Failure::new(format!("run {}: {busy}: nothing was thrown away", run.record.id));
        return Err(failure.hint("wait for its end, and look again"));
    }
    // Somebody may have landed it, or thrown it away, between the look and the lock.
    if !run.layers.iter().any(|layer| layer.upper.exists()) {
        let failure = Failure::new(format!("the changes of run {} are not there any more", run.record.id));
        return Err(failure.hint("`ringfence ps -a` says what became of them"));
    }
    // A full disk takes no word about it before the changes are gone.
    let noted = log.as_mut().is_ok_and(|log| note(&mut run, log).is_ok());
    run.remove_layers()?;
    if !noted {
        note(&mut run, &mut log.context("the run's log")?)?;
    }
    terminal::print(&format!("the changes of {}{} are gone", run.record.id, run.elsewhere));
    // Nothing that it left on the host is lost with the layer: the journal is elsewhere.
    run.whole()
        .map_err(|failure| failure.hint(format!("to try again: `ringfence discard {}`", run.record.id)))?;
    Ok(0)
}

fn note(run: &mut Waiting, log: &mut Writer) -> Result<(), Failure> {
    let event = Event::WorkspaceDiscard { workspace: run.record.workspace.display().to_string() };
    run.record.head = Some(log.append(&event).context("the run's log")?);
    run.record.status = Status::Discarded;
    run.write()
}
