//! Runs whose changes wait for a decision: which one is meant, and its layers.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_record::{RunDir, RunRecord, State, Status};
use ringfence_workspace::{Apply, Began, Layer, Options, Reason, Refused, Review, Timestamp};

use crate::failure::{Context, Failure};
use crate::{environment, terminal};

/// A run with its layers.
pub(crate) struct Waiting {
    pub(crate) directory: RunDir,
    /// Of the next apply.
    pub(crate) journal: PathBuf,
    /// Why an interrupted apply could neither be finished nor taken back.
    interrupted: Option<Failure>,
    pub(crate) record: RunRecord,
    pub(crate) layers: Vec<Layer>,
    /// What the task began with.
    pub(crate) began: Began,
    /// ` in /its/workspace`, where the caller does not stand there.
    pub(crate) elsewhere: String,
    /// Where the caller stands.
    cwd: PathBuf,
}

/// The run that is named, or the last one here whose changes wait.
pub(crate) fn find(invoker: &Invoker, name: Option<&str>) -> Result<Waiting, Failure> {
    let state = environment::open_state(invoker)?;
    let _ = crate::underway::recover(&state);
    let (directory, mut record) = match name {
        Some(name) => super::checkpoint::find(invoker, name)?,
        None => last(&state, invoker)?,
    };
    if record.running() {
        return Err(goes_on(&record));
    }
    let mut layers = layers(&record)?;
    crate::copies::catch_up(&layers)?;
    crate::points::settle(&directory, &mut record, &mut layers)?;
    crate::leaks::arm(&mut layers, invoker, &record.denied);
    let began = crate::layers::began(&directory);
    for layer in &mut layers {
        layer.began.clone_from(&began);
    }
    let journal =
        directory.journals().find(|journal| !ringfence_workspace::landed(journal)).unwrap_or_default();
    // An apply that was interrupted comes first: all of it, or nothing.
    let interrupted = match recover(&directory, &journal) {
        Ok(()) => None,
        // What another process lands just now is not there to be decided about, nor to be thrown away.
        Err(refused) if refused.refusals.iter().any(|one| one.reason == Reason::Busy) => {
            return Err(not_recovered(&refused));
        }
        Err(refused) => Some(not_recovered(&refused)),
    };
    if !layers.iter().any(|layer| layer.upper.exists()) {
        if let Some(interrupted) = interrupted {
            return Err(interrupted);
        }
        if layers.is_empty() && record.mode == DIRECT && record.status != Status::Undone {
            return Err(directly(&directory, &record));
        }
        let changes = |state: &str| format!("the changes of run {} {state}", record.id);
        let failure = Failure::new(match record.status {
            Status::Applied => changes("have landed already"),
            Status::Undone => changes("had landed, and were undone"),
            Status::Discarded => changes("were thrown away"),
            _ => format!("run {} left no changes", record.id),
        });
        return Err(told(failure, kept_by_undo(&directory), &record.id));
    }
    let elsewhere = crate::found::elsewhere(&record, &invoker.cwd);
    Ok(Waiting {
        directory,
        journal,
        interrupted,
        record,
        layers,
        began,
        elsewhere,
        cwd: invoker.cwd.clone(),
    })
}

/// Nothing of it waits yet.
fn goes_on(record: &RunRecord) -> Failure {
    let failure = Failure::new(format!("run {} goes on", record.id));
    match &record.name {
        Some(name) => failure.hint(format!(
            "`ringfence checkpoint {name} POINT` takes a point, which `ringfence diff {name} --at POINT` shows; it lands after `ringfence stop {name}`"
        )),
        None => failure.hint("wait for its end"),
    }
}

/// As its record has it.
const DIRECT: &str = "direct";

/// What it did is there, and waits for nothing.
fn directly(directory: &RunDir, record: &RunRecord) -> Failure {
    let id = &record.id;
    let failure = Failure::new(format!(
        "run {id} worked on the files themselves (`workspace.mode = \"direct\"`): nothing waits"
    ));
    match crate::snapshot::place(directory.path()) {
        Some(_) => failure.hint(format!("`ringfence undo {id}` puts back what was there before")),
        None => failure.hint("`workspace.snapshot = true` keeps what was there before, `mode = \"review\"` shows what is to land"),
    }
}

/// Finishes or takes back what was interrupted: an undo of the last apply that landed, and the apply after it.
fn recover(directory: &RunDir, next: &Path) -> Result<(), Refused> {
    let last = directory.journals().take_while(|journal| journal != next).last();
    for journal in last.map(|last| ringfence_workspace::reverted(&last)).into_iter().chain([next.to_owned()])
    {
        ringfence_workspace::recover(&journal)?;
    }
    Ok(())
}

fn not_recovered(refused: &Refused) -> Failure {
    Failure::from(refused)
}

/// Where what had landed is kept since it was undone, the last of it.
fn kept_by_undo(directory: &RunDir) -> Option<PathBuf> {
    let applied: Vec<_> =
        directory.journals().take_while(|journal| ringfence_workspace::landed(journal)).collect();
    let undone = applied.iter().rev().map(|journal| ringfence_workspace::reverted(journal));
    undone
        .filter(|undo| ringfence_workspace::landed(undo))
        .find_map(|undo| ringfence_workspace::kept(&undo).into_iter().next())
}

/// The same with the way to what an undo took away.
fn told(failure: Failure, kept: Option<PathBuf>, id: &str) -> Failure {
    match kept {
        Some(kept) => failure.hint(format!(
            "run {id} was applied and undone: what had landed is kept in {}, to be taken by hand",
            kept.display()
        )),
        None => failure,
    }
}

/// The journals of an apply and of its undo.
fn with_undo(journal: PathBuf) -> [PathBuf; 2] {
    let undo = ringfence_workspace::reverted(&journal);
    [journal, undo]
}

/// A run with an apply that can be undone.
pub(crate) struct Landed {
    pub(crate) directory: RunDir,
    pub(crate) record: RunRecord,
    /// Of the last such apply.
    pub(crate) journal: PathBuf,
    /// Of the undos that came after it.
    pub(crate) later: Vec<PathBuf>,
    /// There is none: it worked on the host's own files, and what was there before is kept.
    pub(crate) snapshot: bool,
}

/// The run that is named, or the last one here with an apply that landed and was not undone.
pub(crate) fn find_landed(invoker: &Invoker, name: Option<&str>) -> Result<Landed, Failure> {
    let state = environment::open_state(invoker)?;
    let _ = crate::underway::recover(&state);
    if let Some(name) = name {
        let (directory, record) = super::checkpoint::find(invoker, name)?;
        let id = directory.id().to_owned();
        let direct = layers(&record).is_ok_and(|layers| layers.is_empty());
        return with_snapshot(directory.clone(), record)?.ok_or_else(|| {
            let back = kept_by_undo(&directory).filter(|_| direct);
            if let Some(kept) = back {
                return Failure::new(format!(
                    "run {id} was undone, and brought back: no more than that is kept"
                ))
                .hint(format!("what stood there in between is in {}, to be taken by hand", kept.display()));
            }
            let failure = Failure::new(format!("nothing of run {id} stands on the host"));
            match kept_by_undo(&directory) {
                Some(kept) => told(failure, Some(kept), &id),
                None => failure.hint("what waits is applied with `ringfence apply`"),
            }
        });
    }
    let mut runs = state.runs().context("the state directory")?;
    let mut undone = None;
    while let Some((directory, record)) = runs.pop() {
        let Ok(record) = record else { continue };
        if !invoker.cwd.starts_with(&record.workspace) {
            continue;
        }
        if undone.is_none() && record.status == Status::Undone {
            undone = Some((directory.clone(), record.clone()));
        }
        // What worked on the host's own files and was undone is brought back by its name alone: this goes one further back.
        let first = || directory.journals().next().is_some_and(|first| ringfence_workspace::undoable(&first));
        let back = layers(&record).is_ok_and(|layers| layers.is_empty()) && first();
        if !back && let Some(found) = with_snapshot(directory, record)? {
            return Ok(found);
        }
    }
    let failure = Failure::new("no apply in this directory can be undone");
    Err(match undone {
        Some((_, record)) if layers(&record).is_ok_and(|layers| layers.is_empty()) => failure.hint(format!(
            "run {0} was undone already: `ringfence undo {0}` brings back what it had done",
            record.id
        )),
        Some((directory, record)) => told(failure, kept_by_undo(&directory), &record.id),
        None => failure.hint("a run of another directory is undone there"),
    })
}

/// A run that worked on the host's own files is one whose every change has landed.
fn with_snapshot(directory: RunDir, record: RunRecord) -> Result<Option<Landed>, Failure> {
    let kept = crate::snapshot::place(directory.path()).is_some() && !record.running();
    if let Some(found) = landed(directory.clone(), record.clone())? {
        return Ok(Some(found));
    }
    let journal = directory.journals().next().unwrap_or_default();
    Ok(kept.then_some(Landed { directory, record, journal, later: Vec::new(), snapshot: true }))
}

fn landed(directory: RunDir, record: RunRecord) -> Result<Option<Landed>, Failure> {
    if !directory.journals().next().is_some_and(|first| first.exists()) {
        return Ok(None);
    }
    let next = directory.journals().find(|journal| !ringfence_workspace::landed(journal)).unwrap_or_default();
    recover(&directory, &next).map_err(|refused| not_recovered(&refused))?;
    // An apply that was interrupted may have landed just now.
    let all: Vec<_> =
        directory.journals().take_while(|journal| ringfence_workspace::landed(journal)).collect();
    let Some(at) = all.iter().rposition(|journal| ringfence_workspace::undoable(journal)) else {
        return Ok(None);
    };
    let Some(journal) = all.get(at).cloned() else { return Ok(None) };
    let later = all.iter().skip(at + 1).cloned().flat_map(with_undo).collect();
    Ok(Some(Landed { directory, record, journal, later, snapshot: false }))
}

fn last(state: &State, invoker: &Invoker) -> Result<(RunDir, RunRecord), Failure> {
    let of_layers = |record: &RunRecord| layers(record).is_ok_and(|layers| !layers.is_empty());
    let waits = |record: &RunRecord| {
        layers(record).is_ok_and(|layers| layers.iter().any(|layer| layer.upper.exists()))
    };
    crate::layers::sweep_unrecorded(state);
    let mut runs = state.runs().context("the state directory")?;
    let (mut newer, mut undone, mut direct, mut running) = (None, None, None, None);
    while let Some((directory, record)) = runs.pop() {
        let Some(record) = record.ok().filter(|record| invoker.cwd.starts_with(&record.workspace)) else {
            continue;
        };
        if record.running() {
            running = running.or_else(|| of_layers(&record).then_some(record));
            continue;
        }
        if newer.is_none() && direct.is_none() && record.mode == DIRECT {
            direct = Some(directly(&directory, &record));
        }
        if !of_layers(&record) {
            continue;
        }
        if !waits(&record) {
            if newer.is_none() && record.status == Status::Undone {
                undone = Some((directory, record.clone()));
            }
            newer.get_or_insert(record);
            continue;
        }
        // What waits from before is landed or thrown away by its name alone.
        let Some(newer) = newer else { return Ok((directory, record)) };
        return Err(Failure::new(format!(
            "the last run here ({}: {}) has no changes that wait",
            newer.id,
            called(&newer)
        ))
        .hint(format!(
            "those of an earlier one do: `ringfence diff {}` ({})",
            record.id,
            called(&record)
        )));
    }
    if let Some(direct) = direct {
        return Err(direct);
    }
    if let Some(running) = running {
        return Err(goes_on(&running));
    }
    let failure = Failure::new("no run in this directory has changes that wait");
    Err(match undone {
        Some((directory, record)) => told(failure, kept_by_undo(&directory), &record.id),
        None => failure.hint("name the run, by the beginning of its id"),
    })
}

/// When the task of a run had ended; `None`: nobody was there to write that down.
fn ended(run: &RunDir) -> Option<Timestamp> {
    let events = BufReader::new(File::open(run.events()).ok()?).lines().map_while(Result::ok);
    let ends = events.filter(|line| line.contains("sandbox.end")).filter_map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).ok()?;
        (event.get("kind")?.as_str()? == "sandbox.end").then(|| event.get("time")?.as_i64())?
    });
    // Whole milliseconds are written.
    let end = ends.last()?.checked_add(1)?;
    Some(Timestamp { sec: end.div_euclid(1000), nsec: end.rem_euclid(1000) * 1_000_000 })
}

/// Its command, or its name where it has many.
fn called(record: &RunRecord) -> String {
    match &record.name {
        Some(name) if record.command.is_empty() => format!("`{name}`"),
        _ => terminal::escape(record.command.join(" ")),
    }
}

/// The layers of a run's record.
pub(crate) fn layers(record: &RunRecord) -> Result<Vec<Layer>, Failure> {
    serde_json::from_value(record.layers.clone()).context(format!("the record of run {}", record.id))
}

impl Waiting {
    /// Of all applies so far, and of the next.
    pub(crate) fn journals(&self) -> Vec<PathBuf> {
        let earlier = self.directory.journals().take_while(|journal| *journal != self.journal);
        earlier.chain([self.journal.clone()]).flat_map(with_undo).collect()
    }

    /// The changes, judged.
    pub(crate) fn review(&self, invoker: &Invoker) -> Result<Review, Failure> {
        let review = self.review_beside(&[])?;
        let refused = review.changes().iter().filter_map(|change| change.refused.as_ref());
        let others = self.others(invoker, refused)?;
        if others.is_empty() { Ok(review) } else { self.review_beside(&others) }
    }

    /// The same, beside what these journals of other runs tell.
    pub(crate) fn review_beside(&self, others: &[PathBuf]) -> Result<Review, Failure> {
        Review::open(&self.layers, &self.journals(), others).context("looking at the changes")
    }

    /// An apply, judged likewise.
    pub(crate) fn plan(
        &self,
        options: &mut Options,
        invoker: &Invoker,
    ) -> Result<Result<Apply, Refused>, Failure> {
        let plan = ringfence_workspace::plan_apply_with(&self.layers, options);
        let refusals = plan.as_ref().err().into_iter().flat_map(|refused| &refused.refusals);
        let others = self.others(invoker, refusals.map(|refusal| &refusal.reason))?;
        if others.is_empty() || !options.others.is_empty() {
            return Ok(plan);
        }
        options.others = others;
        Ok(ringfence_workspace::plan_apply_with(&self.layers, options))
    }

    /// Of other runs of this workspace that landed and were undone since this one ended: what they put back is no change. Where one landed
    /// before, the task may have seen that.
    pub(crate) fn others_since(&self, invoker: &Invoker) -> Result<Vec<PathBuf>, Failure> {
        let Some(end) = ended(&self.directory) else { return Ok(Vec::new()) };
        let mut others = super::undo::others(invoker, &self.record)?;
        others.retain(|journal| ringfence_workspace::begun(journal).is_some_and(|begun| begun > end));
        Ok(others)
    }

    /// The same, where the host seems to have changed.
    fn others<'a>(
        &self,
        invoker: &Invoker,
        mut refused: impl Iterator<Item = &'a Reason>,
    ) -> Result<Vec<PathBuf>, Failure> {
        let host = |reason: &Reason| {
            matches!(reason, Reason::ChangedOnHost | Reason::GoneFromHost | Reason::DirectoryReplaced)
        };
        if refused.any(host) { self.others_since(invoker) } else { Ok(Vec::new()) }
    }

    /// The workspace, and where the caller stands: what paths are relative to.
    pub(crate) fn places(&self) -> (&Path, &Path) {
        (&self.record.workspace, &self.cwd)
    }

    /// Stops where an earlier apply is in between.
    pub(crate) fn whole(&mut self) -> Result<(), Failure> {
        self.interrupted.take().map_or(Ok(()), Err)
    }

    /// Writes the record, and waits for the disk.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        self.directory.write_record(&self.record, true).context("the run's record")
    }

    /// Whether it has checkpoints.
    pub(crate) fn has_points(&self) -> bool {
        self.directory.path().join(crate::points::POINTS).exists()
    }

    /// Removes the layers with everything in them.
    pub(crate) fn remove_layers(&self) -> Result<(), Failure> {
        for layer in &self.layers {
            let Some(path) = layer.upper.parent() else { continue };
            ringfence_workspace::remove_tree(path).map_err(|failures| {
                Failure::new(failures.first().map_or_else(String::new, ToString::to_string))
            })?;
            // One that was made for another user lies elsewhere.
            if let Some(base) = path.parent().filter(|base| *base != self.directory.path()) {
                let _ = std::fs::remove_dir(base);
            }
        }
        Ok(())
    }
}
