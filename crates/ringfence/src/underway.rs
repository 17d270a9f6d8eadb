//! Applies and undos that are under way: a mark in the state directory, so that the next verb of ringfence makes whole what was
//! interrupted, without a look at every run.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{Mode, Policy};
use ringfence_record::{RunDir, State};
use ringfence_workspace::Recovered;
use rustix::fs::{CWD, FlockOperation, Mode as Bits, OFlags, flock, openat};
use rustix::io::Errno;

use crate::cli::PolicyArguments;
use crate::failure::{Context, Failure};
use crate::terminal;

/// Holds a file for each, by the run's id, below the state directory. Who works holds its lock.
const PLACE: &str = "applying";

/// One that is under way.
#[derive(Debug)]
pub(crate) struct Underway {
    mark: PathBuf,
    _lock: File,
}

/// Marks it, on disk before anything of it is.
pub(crate) fn begin(state: &Path, run: &RunDir) -> Result<Underway, Failure> {
    let place = state.join(PLACE);
    let what = || format!("the mark {}", place.join(run.id()).display());
    match std::fs::create_dir(&place) {
        Ok(()) => File::open(state).and_then(|state| state.sync_all()).context(what())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).context(what()),
    }
    let mark = place.join(run.id());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let lock = File::from(
            openat(CWD, &mark, flags, Bits::RUSR | Bits::WUSR)
                .map_err(std::io::Error::from)
                .context(what())?,
        );
        flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from).context(what())?;
        // Whoever held it before may have removed it.
        if same(&lock, &mark) {
            File::open(&place).and_then(|place| place.sync_all()).context(what())?;
            return Ok(Underway { mark, _lock: lock });
        }
    }
}

impl Underway {
    /// It is over, one way or the other; the mark stays where that is not so.
    pub(crate) fn end(self, run: &RunDir) {
        if !journals(run).any(|journal| ringfence_workspace::unfinished(&journal)) {
            let _ = std::fs::remove_file(&self.mark);
        }
    }
}

/// Finishes or takes back whatever was interrupted; what could not be is told. The directories that stand half done.
pub(crate) fn recover(state: &State) -> Vec<PathBuf> {
    let mut half_done = Vec::new();
    let marks = std::fs::read_dir(state.path().join(PLACE)).into_iter().flatten().flatten();
    for mark in marks {
        let (path, id) = (mark.path(), mark.file_name());
        let Ok(lock) = openat(CWD, &path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Bits::empty())
        else {
            continue;
        };
        let lock = File::from(lock);
        let free = flock(&lock, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK);
        if !free || !same(&lock, &path) {
            continue;
        }
        let Ok((run, record)) = state.find(&id.to_string_lossy(), None) else { continue };
        let mut whole = journals(&run).all(|journal| tell(&run, &journal));
        if whole && let Err(failure) = crate::snapshot::close_again(&run, &record) {
            terminal::error(&format!("{} run {}: {}", terminal::label("note:"), run.id(), failure.text()));
            whole = false;
        }
        if whole {
            let _ = std::fs::remove_file(&path);
        } else {
            let layers = crate::commands::waiting::layers(&record).unwrap_or_default();
            half_done.extend(layers.into_iter().map(|layer| layer.host).chain([record.workspace]));
        }
    }
    half_done
}

/// The same, before a task works in a directory: what waits there to be put back must be nobody's to change.
pub(crate) fn before_run(
    state: &State,
    policy: &Policy,
    arguments: &PolicyArguments,
    invoker: &Invoker,
) -> Result<(), Failure> {
    let half_done = recover(state);
    let workspace = arguments.workspace.as_ref().unwrap_or(&invoker.cwd);
    let workspace = workspace.canonicalize().unwrap_or_else(|_| workspace.clone());
    let overlaps = |path: &PathBuf| path.starts_with(&workspace) || workspace.starts_with(path);
    match policy.workspace.mode == Mode::Direct && half_done.iter().any(overlaps) {
        false => Ok(()),
        true => {
            let text =
                "an apply or undo stands half done in this workspace, and the task would work on its files";
            Err(Failure::new(text)
                .hint("mend what is said above; the next call of ringfence goes on with it"))
        }
    }
}

fn tell(run: &RunDir, journal: &Path) -> bool {
    let (id, note) = (run.id(), terminal::label("note:"));
    match ringfence_workspace::recover(journal) {
        Ok(Recovered::Nothing) => {}
        Ok(Recovered::RolledBack) => terminal::error(&format!(
            "{note} an apply or undo of run {id} was interrupted: what it had done is taken back"
        )),
        Ok(Recovered::Finished) => terminal::error(&format!(
            "{note} an apply or undo of run {id} was interrupted when all of it stood: it is finished"
        )),
        Err(refused) => {
            terminal::error(&format!(
                "{note} an apply or undo of run {id} stands half done; {}",
                refused.to_string().trim_end()
            ));
            for hint in refused.hints() {
                terminal::error(&format!("{} {}", terminal::label("hint:"), terminal::escape(&hint)));
            }
            return false;
        }
    }
    true
}

fn journals(run: &RunDir) -> impl Iterator<Item = PathBuf> {
    run.journals()
        .take_while(|journal| journal.exists())
        .flat_map(|journal| [ringfence_workspace::reverted(&journal), journal])
        .filter(|journal| journal.exists())
}

fn same(file: &File, path: &Path) -> bool {
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    file.metadata().ok().map(identity) == std::fs::symlink_metadata(path).ok().map(identity)
}
