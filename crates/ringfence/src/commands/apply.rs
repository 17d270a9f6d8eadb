//! `ringfence apply`: lets the changes of a run land, all or nothing.

use std::path::PathBuf;

use clap::Args;
use ringfence_record::{Change, Event, Status};
use ringfence_workspace::{Applied, Options, Reason, Refused};

use crate::commands::waiting::{self, Waiting};
use crate::failure::{Context, Failure};
use crate::{environment, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here
    run: Option<String>,
    /// Land this path too, although it runs on the host by itself (a hook, git's configuration); what the policy
    /// protects stays held back
    #[arg(long, value_name = "PATH")]
    accept: Vec<PathBuf>,
    /// Do not land this path, nor what is below it: it stays with the run
    #[arg(long, value_name = "PATH")]
    leave: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    run.whole()?;
    let mut log = run.directory.resume_events(run.record.identity.clone()).context("the run's log")?;
    let workspace = run.record.workspace.display().to_string();
    let refuse = |log: &mut ringfence_record::Writer, refused: &Refused| {
        let event = Event::ApplyRefuse { workspace: workspace.clone(), changes: reasons(refused) };
        log.append(&event).context("the run's log")
    };
    let options =
        Options { named: arguments.accept.clone(), left: arguments.leave.clone(), journals: run.journals() };
    let plan = match ringfence_workspace::plan_apply_with(&run.layers, &options) {
        Ok(plan) => plan,
        Err(refused) => {
            run.record.head = Some(refuse(&mut log, &refused)?);
            run.write()?;
            return Err(with_way_out(refusal(&refused, arguments.json), &run, &refused));
        }
    };
    // On disk before the first file lands.
    let held = plan.changes().iter().filter(|change| change.held.is_some()).count() as u64;
    let event = Event::WorkspaceApply {
        workspace: workspace.clone(),
        landed: plan.changes().len() as u64 - held,
        held,
        undo: run.journal.display().to_string(),
    };
    run.record.head = Some(log.append(&event).context("the run's log")?);
    run.write()?;
    match ringfence_workspace::apply(plan, &run.journal) {
        Ok(applied) => finish(&mut run, &applied, arguments.json),
        Err(refused) => {
            run.record.head = Some(refuse(&mut log, &refused)?);
            run.write()?;
            Err(refusal(&refused, arguments.json))
        }
    }
}

fn finish(run: &mut Waiting, applied: &Applied, json: bool) -> Result<u8, Failure> {
    run.record.status = Status::Applied;
    run.write()?;
    // What was held back stays to be looked at.
    if applied.held.is_empty() && applied.left.is_empty() {
        run.remove_layers()?;
    }
    if json {
        super::print_json(&serde_json::json!({
            "run": run.record.id,
            "landed": ringfence_workspace::render_json(&applied.landed),
            "held": ringfence_workspace::render_json(&applied.held),
            "undo": applied.undo,
        }))?;
        return Ok(0);
    }
    let replaced = if applied.landed.len() == 1 { "it" } else { "they" };
    terminal::print(&format!(
        "{} landed; what {replaced} replaced is kept in {}; `ringfence undo {}` puts it back",
        changes(applied.landed.len()),
        applied.undo.display(),
        run.record.id
    ));
    if !applied.held.is_empty() {
        terminal::print(&format!("{} held back:", changes(applied.held.len())));
        terminal::print(&ringfence_workspace::render_held(&applied.held));
        let id = &run.record.id;
        let accepted = |change: &&ringfence_workspace::Change| {
            matches!(change.held, Some(ringfence_workspace::HoldReason::RunsOnHost { .. }))
        };
        if let Some(change) = applied.held.iter().find(accepted) {
            let path = ringfence_workspace::escape(&change.path);
            terminal::print(&format!(
                "to land one after a look: `ringfence apply {id} --accept {path}`; to drop the rest: `ringfence discard {id}`"
            ));
        } else {
            terminal::print(&format!("to drop them: `ringfence discard {id}`"));
        }
    }
    Ok(0)
}

fn changes(number: usize) -> String {
    if number == 1 { "1 change".into() } else { format!("{number} changes") }
}

pub(crate) fn reasons(refused: &Refused) -> Vec<Change> {
    refused
        .refusals
        .iter()
        .map(|refusal| Change {
            path: ringfence_workspace::escape(&refusal.path),
            reason: refusal.text.clone(),
        })
        .collect()
}

/// What is refused for its own sake may stay behind.
fn with_way_out(failure: Failure, run: &Waiting, refused: &Refused) -> Failure {
    let mut own = refused.refusals.iter().filter(|refusal| {
        !refusal.path.as_os_str().is_empty() && !matches!(refusal.reason, Reason::Failed { .. })
    });
    let Some(first) = own.next() else { return failure };
    let more = if own.next().is_some() { " --leave ..." } else { "" };
    failure.hint(format!(
        "to land the rest: `ringfence apply {} --leave {}{more}`",
        run.record.id,
        ringfence_workspace::escape(&first.path)
    ))
}

fn refusal(refused: &Refused, json: bool) -> Failure {
    if json && let Ok(text) = serde_json::to_string_pretty(refused) {
        terminal::print(&text);
    }
    // What the host could not do is no refusal.
    let broken = refused.refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Failed { .. }));
    let status = if broken { Failure::OURS } else { Failure::REFUSED };
    Failure::new(refused.to_string().trim_end()).with_status(status)
}
