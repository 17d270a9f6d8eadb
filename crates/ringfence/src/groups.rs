//! Control groups of runs: where they can be made, and a note of each for whoever cleans up after a kill.

use std::path::Path;

use ringfence_confine::Boundary;
use ringfence_limits::{Group, Place};
use ringfence_plan::{Limits, Plan};
use ringfence_policy::Policy;
use ringfence_record::{RunDir, State};
use ringfence_supervise::Limiter;

use crate::failure::{Context, Failure};

/// A file for each group, below the state directory: its directories.
const NOTES: &str = "groups";

/// The place for this policy's limits; the error says why there is none.
pub(crate) fn place(policy: &Policy) -> Result<Option<Place>, String> {
    let value = |rule: &Option<ringfence_policy::Rule<u64>>| rule.as_ref().map(|rule| rule.value);
    let limits = Limits {
        memory: value(&policy.limits.memory),
        cpu: value(&policy.limits.cpu),
        processes: value(&policy.limits.processes),
        ..Limits::default()
    };
    let controllers = Group::controllers(&limits);
    if controllers.is_empty() {
        return Ok(None);
    }
    let hidden = std::env::var(ringfence_confine::probe::TEST_VARIABLE).unwrap_or_default();
    if cfg!(debug_assertions) && hidden.split(',').any(|word| word == "no-cgroup") {
        return Err("no control group may be made here (hidden by a test)".into());
    }
    ringfence_limits::probe(&controllers).map(Some)
}

/// Whether init looks at memory and processes, for want of a group.
pub(crate) fn watched(plan: &Plan) -> bool {
    !plan.limits.exact && (plan.limits.memory.is_some() || plan.limits.processes.is_some())
}

/// Holds the sandbox to its limits, if it has any that the supervisor sees to.
pub(crate) fn limiter(
    policy: &Policy,
    plan: &Plan,
    boundary: &Boundary,
    state: &State,
    run: &RunDir,
    begun: bool,
) -> Result<Option<Limiter>, Failure> {
    let limits = &plan.limits;
    let counted = limits.memory.is_some() || limits.processes.is_some() || limits.cpu.is_some();
    if !counted
        && limits.time.is_none()
        && limits.output.is_none()
        && limits.quota.or(limits.temporary).is_none()
    {
        return Ok(None);
    }
    let place = if limits.exact { place(policy).map_err(Failure::new)? } else { None };
    let limiter = Limiter::new(limits, place.as_ref(), boundary, run.id()).context("the limits")?;
    if let Some(group) = limiter.group() {
        note(state, run, group).context("the note of the control group")?;
    }
    Ok(Some(limiter.with(crate::quota::disk(plan, begun)?)))
}

fn note(state: &State, run: &RunDir, group: &Group) -> std::io::Result<()> {
    let notes = state.path().join(NOTES);
    std::fs::create_dir_all(&notes)?;
    let lines: Vec<String> = group.directories().iter().map(|path| path.display().to_string()).collect();
    std::fs::write(notes.join(run.id()), lines.join("\n"))
}

/// After the sandbox is gone: its group goes too.
pub(crate) fn release(limiter: Option<Limiter>, state: &State, run: &RunDir) {
    if limiter.is_some_and(|limiter| limiter.group().is_some()) {
        let _ = std::fs::remove_file(state.path().join(NOTES).join(run.id()));
    }
}

/// Removes the groups of runs whose supervisor was killed.
pub(crate) fn sweep(state: &State) {
    let Ok(notes) = std::fs::read_dir(state.path().join(NOTES)) else { return };
    for note in notes.filter_map(Result::ok) {
        let name = note.file_name().to_string_lossy().into_owned();
        // One that is just being made has no record yet, but is young.
        let young = || {
            let made = note.metadata().and_then(|data| data.modified());
            made.is_ok_and(|time| time.elapsed().map_or(true, |age| age < std::time::Duration::from_secs(10)))
        };
        let needed = match state.find(&name, None) {
            Ok((_, record)) => record.running(),
            Err(_) => young(),
        };
        if needed {
            continue;
        }
        for line in std::fs::read_to_string(note.path()).unwrap_or_default().lines() {
            ringfence_limits::sweep(Path::new(line));
        }
        let _ = std::fs::remove_file(note.path());
    }
}
