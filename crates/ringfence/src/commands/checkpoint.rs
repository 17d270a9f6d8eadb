//! `ringfence checkpoint` and `ringfence rollback`: named points of a sandbox that lives.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use ringfence_confine::{Message, Stack as Mounted};
use ringfence_plan::Invoker;
use ringfence_record::{RunDir, RunRecord, Timestamp};
use ringfence_supervise::{Ask, Note, Remote, Sandbox as _};
use rustix::io::Errno;
use serde::Serialize;

use crate::failure::{Context, Failure};
use crate::points::{self, Point, Points, Stack};
use crate::{environment, found, named, terminal};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence start dev && ringfence exec dev -- ./migrate
  ringfence checkpoint dev migrated           between commands: milliseconds, whatever the size
  ringfence exec dev -- ./risky
  ringfence checkpoint dev --list             all points, and what each had changed
  ringfence diff dev --at migrated
  ringfence rollback dev migrated             the workspace is as it was then
  ringfence fork dev other --from migrated    a second sandbox that begins there

While a command runs, it is stopped for as long as copying takes what has changed since the last point.
A point is of the workspace alone: not of /tmp, of the home, or of what runs.")]
pub(crate) struct Arguments {
    /// The sandbox; without it, the one that lives here
    run: Option<String>,
    /// The point's name; without one, its number
    name: Option<String>,
    /// List the points with what each had changed
    #[arg(long, conflicts_with = "name")]
    list: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence rollback dev                      to the last point that you took
  ringfence rollback dev migrated
  ringfence rollback dev migrated --end       what runs in it is ended first

What had changed since is kept as a point of its own (`before-N`), so that a rollback can be rolled back. The host's files are not
touched: they change by `ringfence apply` alone. A run that has ended is rolled back too, as long as nothing of it was applied.")]
pub(crate) struct Rollback {
    /// The sandbox, or a run that has ended
    run: String,
    /// The point, by its name or number; without it, the last that you took
    point: Option<String>,
    /// End what runs in it first
    #[arg(long)]
    end: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A point as it is told.
#[derive(Serialize)]
struct Told<'a> {
    run: &'a str,
    point: &'a str,
    number: u32,
    /// Taken while a command ran.
    copied: bool,
    /// When, in milliseconds since 1970.
    taken: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
}

/// By the name of a sandbox, or by its id.
pub(crate) fn find(invoker: &Invoker, name: &str) -> Result<(RunDir, RunRecord), Failure> {
    let state = environment::open_state(invoker)?;
    found::find(&state, invoker, name)
}

fn here(invoker: &Invoker) -> Result<(RunDir, RunRecord), Failure> {
    let state = environment::open_state(invoker)?;
    let runs = state.runs().context("the state directory")?.into_iter();
    let mut live = runs.filter_map(|(run, record)| Some((run, record.ok()?))).filter(|(_, record)| {
        record.name.is_some() && record.running() && invoker.cwd.starts_with(&record.workspace)
    });
    match (live.next(), live.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Failure::new("no named sandbox lives here").hint("`ringfence start NAME` starts one"))
        }
        _ => Err(Failure::new("several sandboxes live here").hint("name one: `ringfence ps` lists them")),
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let (run, record) = match &arguments.run {
        Some(name) => find(&invoker, name)?,
        None => here(&invoker)?,
    };
    let mut points = Points::open(&run, &record)?;
    if arguments.list {
        return list(&run, &points, arguments.json);
    }
    let begun = Instant::now();
    let (point, text) = take(&run, &record, &mut points, arguments.name.as_deref())?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    if arguments.json {
        let told = Told { milliseconds: Some(milliseconds), ..told(&run, &point) };
        super::print_json(&told)?;
    } else {
        terminal::print(&format!(
            "checkpoint `{}` of {}: {text}, {milliseconds:.1} ms",
            point.name,
            run.id()
        ));
    }
    Ok(0)
}

fn told<'a>(run: &'a RunDir, point: &'a Point) -> Told<'a> {
    Told {
        run: run.id(),
        point: &point.name,
        number: point.number,
        copied: point.copied,
        taken: point.taken.milliseconds(),
        changes: None,
        milliseconds: None,
    }
}

fn list(run: &RunDir, points: &Points, json: bool) -> Result<u8, Failure> {
    let mut all = Vec::new();
    let mut text = String::new();
    for point in &points.all {
        let view = points.view(&point.layers)?;
        let changes = ringfence_workspace::diff(&view.layers).context("looking at the changes")?;
        all.push(Told { changes: Some(changes.len()), ..told(run, point) });
        let seconds = (Timestamp::now().milliseconds() - point.taken.milliseconds()) / 1000;
        text.push_str(&format!(
            "{:>3}  {:<24} {:>3}:{:02}:{:02} ago  {}{}\n",
            point.number,
            point.name,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            super::apply::changes(changes.len()),
            if point.copied { ", taken while a command ran" } else { "" },
        ));
        let stat = ringfence_workspace::render_stat(&changes);
        text.extend(stat.lines().map(|line| format!("     {line}\n")));
    }
    if json {
        super::print_json(&all)?;
    } else if all.is_empty() {
        terminal::print(&format!("run {} has no checkpoints", run.id()));
    } else {
        terminal::print(text.trim_end());
    }
    Ok(0)
}

/// Takes a point: the layer that was written to is written to no more, or copied.
pub(crate) fn take(
    run: &RunDir,
    record: &RunRecord,
    points: &mut Points,
    name: Option<&str>,
) -> Result<(Point, String), Failure> {
    if !record.running() {
        return Err(Failure::new(format!("run {} has ended", run.id()))
            .hint("its changes stay as they are: `ringfence fork` starts from there"));
    }
    if record.name.is_none() {
        return Err(Failure::new(format!("run {} was not started with a name", run.id()))
            .with_status(Failure::REFUSED)
            .hint(
                "checkpoints are of sandboxes that `ringfence start NAME` starts and `ringfence exec` uses",
            ));
    }
    let number = points.next();
    let name = name.map_or_else(|| number.to_string(), str::to_owned);
    points.check_name(&name)?;
    let remote = named::call(run)?;
    let sealed: BTreeMap<String, Vec<String>> = points
        .stack()?
        .into_iter()
        .map(|(layer, made)| (layer, made.between.into_iter().chain([made.upper]).collect()))
        .collect();
    let stack = points.fresh(number, &sealed)?;
    let mut point = Point { number, name, taken: Timestamp::now(), copied: false, layers: sealed };
    let note = |copied| Note::Checkpoint { point: point.name.clone(), number, copied };
    let text = match restack(&remote, points, number, (&stack, note(false)), false)? {
        true => "the layers so far are sealed".to_owned(),
        false => {
            hold(&remote, true)?;
            let copied = points.copy(number);
            hold(&remote, false)?;
            let (layers, done) = copied?;
            points::note(run, &mut record.clone(), note(true))?;
            (point.layers, point.copied) = (layers, true);
            let entries = if done.entries == 1 {
                "1 entry was".to_owned()
            } else {
                format!("{} entries were", done.entries)
            };
            format!("a command runs, so {entries} copied ({} KiB)", done.bytes >> 10)
        }
    };
    points.add(point.clone())?;
    Ok((point, text))
}

/// Asks the keeper to mount it so; `false`: something runs, and nothing changed. What was made for it is taken back then.
fn restack(
    remote: &Remote,
    points: &Points,
    number: u32,
    (stack, note): (&Stack, Note),
    end: bool,
) -> Result<bool, Failure> {
    let mounted = |layer: &ringfence_workspace::Layer| {
        let made = stack.get(&layer.name)?;
        Some(Mounted {
            name: layer.name.clone(),
            between: made.between.iter().rev().cloned().collect(),
            upper: made.upper.clone(),
            work: format!("work-{number}"),
        })
    };
    let stacks = points.layers.iter().filter_map(mounted).collect();
    let record = serde_json::to_string(stack).context("the run's layers")?;
    let outcome = remote.ask(&Ask::Restack { stacks, record, end, note }, &[]).map(|()| remote.report());
    let failure = match outcome.context("asking the sandbox")? {
        Some((Message::Answer { done: true, .. }, _)) => return Ok(true),
        Some((Message::NotExecuted { errno: Errno::BUSY, .. }, _)) => {
            points.forget(number);
            return Ok(false);
        }
        Some((Message::Answer { text, .. }, _)) => Failure::new(text),
        // It may have been done all the same: what was made for it stays.
        _ => return Err(Failure::new("the sandbox ended before it answered")),
    };
    points.forget(number);
    Err(failure)
}

fn hold(remote: &Remote, hold: bool) -> Result<(), Failure> {
    remote.ask(&Ask::Hold { hold }, &[]).context("asking the sandbox")?;
    match remote.report() {
        Some((Message::Answer { done: true, .. }, _)) => Ok(()),
        _ => Err(Failure::new("the sandbox ended before it answered")),
    }
}

pub(crate) fn rollback(arguments: &Rollback) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let (run, mut record) = find(&invoker, &arguments.run)?;
    let mut points = Points::open(&run, &record)?;
    let point = points.find(arguments.point.as_deref())?.clone();
    let number = points.next();
    let before: BTreeMap<String, Vec<String>> = points
        .stack()?
        .into_iter()
        .map(|(layer, made)| (layer, made.between.into_iter().chain([made.upper]).collect()))
        .collect();
    if !record.running() && run.journals().next().is_some_and(|journal| journal.exists()) {
        return Err(Failure::new(format!("some of run {} was applied", run.id()))
            .with_status(Failure::REFUSED)
            .hint("`ringfence undo` puts back what an apply replaced; `ringfence fork` starts a sandbox from a point"));
    }
    let stack = points.fresh(number, &point.layers)?;
    let kept = points::kept(number);
    let note = Note::Rollback { point: point.name.clone(), number: point.number, kept: kept.clone() };
    if record.running() {
        let remote = named::call(&run)?;
        if !restack(&remote, &points, number, (&stack, note), arguments.end)? {
            return Err(Failure::new("something runs in it, and would see its files change under it")
                .with_status(Failure::REFUSED)
                .hint("wait for its end, or end it: `--end`"));
        }
    } else {
        points::note(&run, &mut record, note)?;
        points::write_stack(run.path(), &stack)?;
        let layers = points.layers.clone();
        points::unsettle(&run, &mut record, &layers)?;
    }
    let kept = Point { number, name: kept, taken: Timestamp::now(), copied: false, layers: before };
    points.add(kept.clone())?;
    if arguments.json {
        super::print_json(&serde_json::json!({ "run": run.id(), "point": point.name, "kept": kept.name }))?;
    } else {
        terminal::print(&format!(
            "the workspace of {} is as at `{}`; what it was is kept as `{}`",
            run.id(),
            point.name,
            kept.name
        ));
    }
    Ok(0)
}
