//! Which run a word means: `last`, a sandbox that lives, a run's id or the beginning of one, or a sandbox that has ended.

use std::path::Path;

use ringfence_plan::Invoker;
use ringfence_record::{Error, RunDir, RunRecord, State};

use crate::failure::Failure;
use crate::{named, terminal};

/// The word for the last run.
pub(crate) const LAST: &str = "last";

/// The run that is meant, whether it lives or not.
pub(crate) fn find(state: &State, invoker: &Invoker, word: &str) -> Result<(RunDir, RunRecord), Failure> {
    if word == LAST {
        // Where this directory has had none, the last of all.
        let here = state.last(|record| invoker.cwd.starts_with(&record.workspace));
        return here.or_else(|_| state.find(LAST, None)).map_err(|error| unknown(&error, invoker, word));
    }
    if let Ok(Some(found)) = named::living(state, word) {
        return Ok(found);
    }
    let error = match state.find(word, None) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    // The newest of that name that ended in this workspace: an older one has only its id.
    let of_name = |record: &RunRecord| record.name.as_deref() == Some(word);
    let here = |record: &RunRecord| of_name(record) && invoker.cwd.starts_with(&record.workspace);
    if let Ok(found) = state.last(here) {
        return Ok(found);
    }
    Err(match state.last(of_name) {
        Ok((run, record)) => {
            let place = terminal::escape(&record.workspace);
            Failure::new(format!("no sandbox `{word}` ended in this directory"))
                .hint(format!("one did in {place}: go there, or name it by its id, {}", run.id()))
        }
        Err(_) => unknown(&error, invoker, word),
    })
}

fn unknown(error: &Error, invoker: &Invoker, word: &str) -> Failure {
    let failure = Failure::new(terminal::escape(error.to_string()));
    let failure = match error {
        Error::NoRun(_) if word == LAST => return failure.hint("`ringfence run -- COMMAND` makes one"),
        Error::NoRun(_) | Error::Ambiguous { .. } => failure.hint(
            "a run is named by the beginning of its id, a sandbox by its name: `ringfence ps -a` lists them",
        ),
        _ => return failure,
    };
    if Path::new(word).file_name().is_some() && invoker.cwd.join(word).symlink_metadata().is_ok() {
        let word = terminal::path(word);
        return failure
            .hint(format!("`{word}` is a path here, and paths come after `--`: `ringfence diff -- {word}`"));
    }
    failure
}

/// Says in which workspace something is done, where the caller does not stand in it.
pub(crate) fn elsewhere(record: &RunRecord, cwd: &Path) -> String {
    match cwd.starts_with(&record.workspace) {
        true => String::new(),
        false => format!(" in {}", terminal::escape(&record.workspace)),
    }
}
