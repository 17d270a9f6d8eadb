//! What `apply` says of what did not land, and the commands that would land it: each can be pasted as it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_workspace::{Change, FileType, HoldReason, Reason, Refused, WORKSPACE, escape};

use crate::commands::apply::{Arguments, changes};
use crate::commands::paths;
use crate::commands::waiting::Waiting;
use crate::failure::Failure;
use crate::terminal;

/// More are summed up by kind.
const DOZEN: usize = 12;

/// What was held back, and how it would land.
pub(super) fn held(held: &[Change], run: &Waiting, arguments: &Arguments) {
    let id = &run.record.id;
    // Whoever names what lands did not ask for a list of the rest.
    let beside = |change: &&Change| !arguments.paths.is_empty() && change.held == Some(HoldReason::LeftOut);
    let (rest, held): (Vec<_>, Vec<_>) = held.iter().partition(beside);
    if !rest.is_empty() {
        let stay = if rest.len() == 1 { "stays" } else { "stay" };
        terminal::print(&format!("{} {stay} with the run: `ringfence diff {id}`", changes(rest.len())));
    }
    if held.is_empty() {
        return;
    }
    let held: Vec<_> = held.into_iter().cloned().collect();
    terminal::print(&format!("{} held back:", changes(held.len())));
    let shown = some(&held);
    terminal::print(&ringfence_workspace::render_held(&shown));
    if shown.len() < held.len() {
        terminal::print(&format!("in all: {}; `ringfence diff {id} --stat` lists them", sums(&held)));
    }
    let runs = |change: &&Change| matches!(change.held, Some(HoldReason::RunsOnHost { .. }));
    // A directory would land with all that is in it.
    let one = |change: &&Change| runs(change) && change.file_type != FileType::Directory;
    match held
        .iter()
        .find(one)
        .or_else(|| held.iter().find(runs))
        .and_then(|change| Some((change, kind(change)?)))
    {
        Some((change, kind)) => {
            let accept = paths::option("--accept", &change.layer, &change.path, run.places());
            // A path of that name waits too.
            let both = held.iter().any(|other| other.layer == WORKSPACE && other.path.starts_with(kind));
            let kind = if both { format!("kind:{kind}") } else { kind.to_owned() };
            terminal::print(&format!(
                "to land one after a look: `ringfence apply {id} {accept}`, or all of its kind: `--accept {kind}`; to drop the rest: `ringfence discard {id}`"
            ));
        }
        None => terminal::print(&format!("to drop them: `ringfence discard {id}`")),
    }
}

/// A dozen of them, where there are more; bulk of one kind pushes no other kind away.
fn some(held: &[Change]) -> Vec<Change> {
    // What was left out above it takes no line of its own.
    if ringfence_workspace::render_held(held).lines().count() <= DOZEN + 1 {
        return held.to_vec();
    }
    let kinds: BTreeSet<&str> = held.iter().filter_map(kind).collect();
    let each = (DOZEN / kinds.len().max(1)).max(1);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let few = held.iter().filter(|change| {
        let count = seen.entry(kind(change).unwrap_or_default()).or_default();
        *count += 1;
        *count <= each
    });
    few.cloned().collect()
}

/// What kind of thing is held back.
fn kind(change: &Change) -> Option<&'static str> {
    match change.held.as_ref()? {
        HoldReason::RunsOnHost { kind, .. } => Some(kind.name()),
        HoldReason::LeftOut => Some("left out"),
        HoldReason::Protected { .. } => Some("protected"),
    }
}

/// How many of each kind.
fn sums(held: &[Change]) -> String {
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in held.iter().filter_map(kind) {
        *sums.entry(kind).or_default() += 1;
    }
    let sums: Vec<_> = sums.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    sums.join(", ")
}

/// Where the task's version of a file is, that does not land.
fn kept(failure: Failure, run: &Waiting, layer: &str, path: &Path) -> Failure {
    match run.layers.iter().find(|one| one.name == layer) {
        Some(one) => failure.hint(format!(
            "the task's version of {} is kept: {}",
            escape(path),
            escape(one.upper.join(path))
        )),
        None => failure,
    }
}

/// Both sides of a file do not become one.
pub(super) fn unmerged(path: &Path, why: &str, run: &Waiting, arguments: &Arguments) -> Failure {
    let failure = Failure::new(format!("{} cannot be merged: {why}", escape(path)));
    let leave = paths::option("--leave", WORKSPACE, path, run.places());
    kept(failure.with_status(Failure::REFUSED), run, WORKSPACE, path)
        .hint(format!("to land the rest: `{}`", arguments.without(run, " --merge", &leave)))
}

/// What is refused for its own sake may stay behind.
pub(super) fn way_out(
    mut failure: Failure,
    run: &Waiting,
    refused: &Refused,
    arguments: &Arguments,
) -> Failure {
    let own = refused.refusals.iter().filter(|refusal| {
        !refusal.path.as_os_str().is_empty() && !matches!(refusal.reason, Reason::Failed { .. })
    });
    let own: Vec<_> = own.collect();
    let Some(first) = own.first() else { return failure };
    for one in own.iter().filter(|one| one.reason == Reason::ChangedOnHost).take(DOZEN) {
        failure = kept(failure, run, &one.layer, &one.path);
    }
    // Of what was named nothing would be left.
    if own.len() == 1 && matches!(arguments.paths.as_slice(), [only] if *only == first.path) {
        return failure;
    }
    if own.len() > DOZEN {
        return failure.hint(format!(
            "to land the rest: leave each of the {} out with `--leave PATH`, or name what is to land: `ringfence apply {} -- PATH`",
            own.len(),
            run.record.id
        ));
    }
    let leave: Vec<_> =
        own.iter().map(|one| paths::option("--leave", &one.layer, &one.path, run.places())).collect();
    failure.hint(format!("to land the rest: `{}`", arguments.without(run, "", &leave.join(" "))))
}

impl Arguments {
    /// The same command, without these paths too.
    fn without(&self, run: &Waiting, flag: &str, leave: &str) -> String {
        // As they were given; `=` where that begins like an option.
        let all = |flag: &str, paths: &[PathBuf]| -> String {
            let one = |path: &PathBuf| {
                let sign = if path.as_os_str().as_bytes().starts_with(b"-") { '=' } else { ' ' };
                format!(" {flag}{sign}{}", terminal::path(path))
            };
            paths.iter().map(one).collect()
        };
        let (accepted, left) = (all("--accept", &self.accept), all("--leave", &self.leave));
        let paths: String = self.paths.iter().map(|path| format!(" {}", terminal::path(path))).collect();
        let dashes = if self.paths.is_empty() { "" } else { " --" };
        format!("ringfence apply {}{flag}{accepted}{left} {leave}{dashes}{paths}", run.record.id)
    }
}
