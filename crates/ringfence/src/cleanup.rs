//! What runs leave in the state directory goes when it is old, or too much: changes that nobody decided about, and what
//! applies replaced. Records and events stay.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ringfence_record::{Event, RunDir, RunRecord, State, Status};

use crate::commands::waiting;
use crate::failure::Failure;
use crate::terminal;

/// What is older goes.
pub(crate) const OLDER: Duration = Duration::from_secs(30 * 86_400);
/// Where all is more, what applies replaced goes, the oldest first.
pub(crate) const LARGER: u64 = 20 << 30;
/// Its time is that of the last clean-up.
const STAMP: &str = "cleaned";

/// What one run takes of the disk.
pub(crate) struct Taken {
    pub(crate) directory: RunDir,
    pub(crate) record: RunRecord,
    /// Directories of changes that wait, and their bytes.
    pub(crate) layers: (Vec<PathBuf>, u64),
    /// Directories of what its applies replaced, and their bytes.
    pub(crate) kept: (Vec<PathBuf>, u64),
    /// An apply or undo stands half done.
    pub(crate) interrupted: bool,
    /// When it ended, or something of it landed or was undone.
    pub(crate) last: Option<SystemTime>,
    /// Something that landed was not undone.
    pub(crate) landed: bool,
}

impl Taken {
    pub(crate) fn bytes(&self) -> u64 {
        self.layers.1 + self.kept.1
    }
}

/// Of every run that does not live, the oldest first.
pub(crate) fn taken(state: &State) -> Result<Vec<Taken>, Failure> {
    let runs = state.runs().map_err(|error| Failure::new(error.to_string()))?;
    Ok(runs
        .into_iter()
        .filter_map(|(directory, record)| Some((directory, record.ok()?)))
        .filter(|(_, record)| !record.running())
        .map(|(directory, record)| of(directory, record))
        .collect())
}

fn of(directory: RunDir, record: RunRecord) -> Taken {
    let layers = waiting::layers(&record).unwrap_or_default();
    let waits = layers.iter().any(|layer| layer.upper.exists());
    let above = layers.iter().filter(|_| waits).filter_map(|layer| layer.upper.parent());
    let layers: Vec<_> =
        above.filter(|above| above.starts_with(directory.path())).map(Path::to_owned).collect();
    let applies: Vec<_> = directory.journals().take_while(|journal| journal.exists()).collect();
    // An apply that failed has a journal too, and so has an undo.
    let stands = |journal: &PathBuf| {
        ringfence_workspace::landed(journal)
            && !ringfence_workspace::landed(&ringfence_workspace::reverted(journal))
    };
    let landed = applies.iter().any(stands);
    let journals: Vec<_> = applies
        .into_iter()
        .flat_map(|journal| [ringfence_workspace::reverted(&journal), journal])
        .filter(|journal| journal.exists())
        .collect();
    let interrupted = journals.iter().any(|journal| ringfence_workspace::unfinished(journal));
    let mut kept: Vec<_> = journals.iter().flat_map(|journal| ringfence_workspace::kept(journal)).collect();
    let written = journals.iter().filter_map(|journal| ringfence_workspace::written(journal));
    let last = written.chain(directory.recorded()).max();
    kept.extend(crate::snapshot::place(directory.path()));
    let sum = |paths: &[PathBuf]| paths.iter().map(|path| ringfence_workspace::disk_used(path).0).sum();
    let (waiting, replaced) = (sum(&layers), sum(&kept));
    Taken { directory, record, layers: (layers, waiting), kept: (kept, replaced), interrupted, landed, last }
}

/// Once a day, and only where a verb looks at every run anyway.
pub(crate) fn daily(state: &State) {
    let stamp = state.path().join(STAMP);
    let last = std::fs::metadata(&stamp).and_then(|stamp| stamp.modified());
    let due = last.map_or(true, |last| {
        SystemTime::now().duration_since(last).is_ok_and(|since| since.as_secs() >= 86_400)
    });
    if due && std::fs::write(&stamp, "").is_ok() {
        // What fails is tried again tomorrow, and `prune` says why.
        let _ = prune(state, OLDER, LARGER, false);
    }
}

/// Removes it, and says each time what goes. The bytes that it freed, or would.
pub(crate) fn prune(state: &State, older: Duration, larger: u64, dry: bool) -> Result<u64, Failure> {
    let mut all: Vec<_> = taken(state)?.into_iter().filter(|one| !one.interrupted).collect();
    let mut freed = 0;
    for one in &mut all {
        // What cannot be told is young.
        let age = one.last.and_then(|last| last.elapsed().ok()).unwrap_or_default();
        if age < older || one.record.keep {
            continue;
        }
        if !one.layers.0.is_empty() {
            freed += remove(&mut one.layers, &one.record, "its changes, which nobody applied", dry)?;
            if !dry {
                note(one)?;
            }
        }
        freed += remove(&mut one.kept, &one.record, "what its applies replaced", dry)?;
    }
    let mut rest: u64 = all.iter().map(Taken::bytes).sum();
    for one in all.iter_mut().filter(|one| !one.record.keep) {
        if rest <= larger {
            break;
        }
        let bytes = remove(&mut one.kept, &one.record, "what its applies replaced", dry)?;
        (freed, rest) = (freed + bytes, rest - bytes.min(rest));
    }
    if rest > larger {
        terminal::error(&format!(
            "{} {} of changes wait: `ringfence ps -a` lists them, `ringfence discard RUN` throws them away",
            terminal::label("note:"),
            size(rest)
        ));
    }
    Ok(freed)
}

fn remove(
    (paths, bytes): &mut (Vec<PathBuf>, u64),
    record: &RunRecord,
    what: &str,
    dry: bool,
) -> Result<u64, Failure> {
    if paths.is_empty() {
        return Ok(0);
    }
    let verb = if dry { "would remove" } else { "removes" };
    let text = format!("{verb} of run {} {what}, {}", record.id, size(*bytes));
    terminal::error(&format!("{} {text}", terminal::label("clean-up:")));
    for path in paths.iter().filter(|_| !dry) {
        ringfence_workspace::remove_tree(path).map_err(|failures| {
            Failure::new(failures.first().map_or_else(String::new, ToString::to_string))
        })?;
    }
    paths.clear();
    Ok(std::mem::take(bytes))
}

fn note(one: &mut Taken) -> Result<(), Failure> {
    let wrong = |error: ringfence_record::Error| Failure::new(error.to_string());
    let mut log = one.directory.resume_events(one.record.identity.clone()).map_err(wrong)?;
    let event = Event::WorkspaceDiscard { workspace: one.record.workspace.display().to_string() };
    one.record.head = Some(log.append(&event).map_err(wrong)?);
    one.record.status = Status::Discarded;
    one.directory.write_record(&one.record, true).map_err(wrong)
}

/// For people.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}
