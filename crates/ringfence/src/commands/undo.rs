//! `ringfence undo`: puts back what an apply replaced, all or nothing.

use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_plan::Invoker;
use ringfence_record::{Event, RunDir, RunRecord, Status, Writer};
use ringfence_workspace::{Applied, Reason, Refused, escape};

use crate::commands::waiting::{self, Landed};
use crate::failure::{Context, Failure};
use crate::{environment, found, snapshot, terminal, underway};

#[derive(Args, Debug)]
#[command(
    after_help = "What landed must be on the host as it landed: where it was changed since, nothing is undone. A run that was applied in
parts is undone part by part, the last one first."
)]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here that was applied
    run: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let found = waiting::find_landed(&invoker, arguments.run.as_deref())?;
    if found.snapshot {
        return put_back(&invoker, found, arguments.json);
    }
    let Landed { directory, mut record, journal, later, .. } = found;
    let mut log = directory.resume_events(record.identity.clone()).context("the run's log")?;
    let workspace = record.workspace.display().to_string();
    let refuse = |refused: Refused, log: &mut Writer, record: &mut RunRecord| {
        let refused = &refused.of_undo("it landed");
        let event =
            Event::ApplyRefuse { workspace: workspace.clone(), changes: super::apply::reasons(refused) };
        record.head = Some(log.append(&event).context("the run's log")?);
        directory.write_record(record, true).context("the run's record")?;
        let broken = refused.refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Failed { .. }));
        let status = if broken { Failure::OURS } else { Failure::REFUSED };
        Err(Failure::from(refused).with_status(status))
    };
    let others = others(&invoker, &record)?;
    let undo = match ringfence_workspace::plan_undo(&journal, &later, &others) {
        Ok(undo) => undo,
        Err(refused) => return refuse(refused, &mut log, &mut record),
    };
    let (paths, kept) = (undo.paths(), undo.kept());
    for path in undo.others_modes() {
        keeps_its_mode(path);
    }
    let restored = paths.len();
    // On disk before the first file is put back.
    let event = Event::WorkspaceUndo {
        workspace: workspace.clone(),
        restored: u64::try_from(restored).unwrap_or(u64::MAX),
        kept: kept.display().to_string(),
    };
    record.head = Some(log.append(&event).context("the run's log")?);
    directory.write_record(&record, true).context("the run's record")?;
    let underway = underway::begin(&invoker.state, &directory)?;
    let outcome = undo.carry_out(&mut |_| {});
    underway.end(&directory);
    if let Err(refused) = outcome {
        return refuse(refused, &mut log, &mut record);
    }
    let layers = waiting::layers(&record)?;
    let waits = layers.iter().any(|layer| layer.upper.exists());
    record.status = match record.status {
        _ if waits => Status::Ended,
        // What had put a snapshot back is itself taken back: what the task did stands again.
        Status::Undone => Status::Applied,
        _ => Status::Undone,
    };
    directory.write_record(&record, true).context("the run's record")?;
    if arguments.json {
        let paths: Vec<_> = paths.iter().map(|(_, path)| escape(path)).collect();
        super::print_json(&serde_json::json!({ "run": record.id, "restored": paths, "kept": kept }))?;
        return Ok(0);
    }
    let entries = if restored == 1 { "1 entry is".into() } else { format!("{restored} entries are") };
    // What had put a snapshot back was no apply.
    let rest = match waits {
        true => format!("; `ringfence apply {}` lands it again", record.id),
        false if layers.is_empty() => String::new(),
        false => "; the run has no more than that, and cannot be applied again".to_owned(),
    };
    let (then, there) = match layers.is_empty() {
        true => ("as they were at the end", "stood there in between"),
        false => ("as before the apply", "had landed"),
    };
    terminal::print(&format!(
        "{entries} {then} of {}{}; what {there} is kept in {}{rest}",
        record.id,
        found::elsewhere(&record, &invoker.cwd),
        kept.display()
    ));
    Ok(0)
}

/// What somebody set since is no work of the run.
fn keeps_its_mode(path: &Path) {
    terminal::error(&format!(
        "{} {}: its mode was changed since, and stays as it is",
        terminal::label("note:"),
        escape(path)
    ));
}

/// Journals of applies of other runs to the same workspace that were undone, in the order of that.
pub(super) fn others(invoker: &Invoker, of: &RunRecord) -> Result<Vec<PathBuf>, Failure> {
    let state = environment::open_state(invoker)?;
    let mut undone = Vec::new();
    for (directory, record) in state.runs().context("the state directory")? {
        if record.is_ok_and(|record| record.workspace == of.workspace && record.id != of.id) {
            for journal in directory.journals().take_while(|journal| journal.exists()) {
                if let Ok(found) = std::fs::metadata(ringfence_workspace::reverted(&journal)) {
                    undone.push((found.modified().context("the run's journal")?, journal));
                }
            }
        }
    }
    undone.sort();
    Ok(undone.into_iter().map(|(_, journal)| journal).collect())
}

/// What was there before a task worked on the host's own files: an apply of what it was, which is undone as any other.
fn put_back(invoker: &Invoker, found: Landed, json: bool) -> Result<u8, Failure> {
    let Landed { directory, mut record, journal, .. } = found;
    // Directories are opened for it: where it is killed, the next verb closes them again.
    let underway = underway::begin(&invoker.state, &directory)?;
    let outcome = reversed(&directory, &mut record, &journal);
    match snapshot::close_again(&directory, &record) {
        Ok(()) => underway.end(&directory),
        // The next verb tries again.
        Err(failure) => terminal::error(&format!("{} {}", terminal::label("note:"), failure.text())),
    }
    let (restored, applied) = outcome?;
    record.status = Status::Undone;
    directory.write_record(&record, true).context("the run's record")?;
    snapshot::remove(&directory);
    if json {
        let paths: Vec<_> = applied.landed.iter().map(|change| escape(&change.path)).collect();
        super::print_json(&serde_json::json!({ "run": record.id, "restored": paths, "kept": applied.undo }))?;
    } else {
        let entries = if restored == 1 { "1 entry is".into() } else { format!("{restored} entries are") };
        terminal::print(&format!(
            "{entries} as before {}{}; what it had made of them is kept in {}, and `ringfence undo {}` brings it back",
            record.id,
            found::elsewhere(&record, &invoker.cwd),
            applied.undo.display(),
            record.id
        ));
    }
    Ok(0)
}

fn reversed(directory: &RunDir, record: &mut RunRecord, journal: &Path) -> Result<(usize, Applied), Failure> {
    let Some(snapshot::Reverse { layer, options, others_modes }) = snapshot::reverse(directory, record)?
    else {
        return Err(Failure::new(format!("nothing is kept of run {}", record.id)));
    };
    let refused = |refused: Refused| {
        let refused = refused.of_undo("the run ended");
        Failure::from(&refused).with_status(Failure::REFUSED).hint(
            "what was changed since the run is not overwritten: put that aside first; what was there is in the run's `snapshot`",
        )
    };
    let plan = ringfence_workspace::plan_apply_with(&[layer], &options).map_err(refused)?;
    let restored = plan.changes().len();
    for path in others_modes {
        keeps_its_mode(&path);
    }
    let mut log = directory.resume_events(record.identity.clone()).context("the run's log")?;
    let event = Event::WorkspaceUndo {
        workspace: record.workspace.display().to_string(),
        restored: u64::try_from(restored).unwrap_or(u64::MAX),
        kept: journal.display().to_string(),
    };
    record.head = Some(log.append(&event).context("the run's log")?);
    directory.write_record(record, true).context("the run's record")?;
    Ok((restored, ringfence_workspace::apply(plan, journal).map_err(refused)?))
}
