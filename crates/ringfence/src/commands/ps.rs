//! `ringfence ps`: the sandboxes that live, and what runs in them.

use std::collections::BTreeMap;

use clap::Args;
use ringfence_record::{RunDir, RunRecord, State, Status, Timestamp};
use serde::Serialize;

use crate::cleanup::size;
use crate::commands::print_json;
use crate::failure::{Context, Failure};
use crate::terminal::escape;
use crate::{ended, environment, found, lived, named, terminal};

/// How init calls the process that waits for the next command.
const READY: &str = "[ringfence-ready]";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence ps
  ringfence ps --all
  ringfence ps --tree
  ringfence ps --tree dev
  ringfence ps --tree last          what runs in it; of one that has ended, which program started which, how long, and how it ended

What a run's programs were is known where each start was judged (docs/commands.md).
`[ringfence-ready]` is the process that the next `ringfence exec` becomes.")]
pub(crate) struct Arguments {
    /// A sandbox's name, a run's id, or `last`; without one, all that live
    run: Option<String>,
    /// List too what ended: changes that wait for review, what applies replaced, and the disk they use
    #[arg(short, long, conflicts_with = "tree")]
    all: bool,
    /// Show the processes of each
    #[arg(long)]
    tree: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A sandbox that lives.
#[derive(Serialize)]
struct Shown {
    run: String,
    name: Option<String>,
    supervisor: i32,
    seconds: i64,
    mode: String,
    workspace: String,
    command: Vec<String>,
    /// The status of that command, where it has ended and the sandbox lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i64>,
    /// Who waits for the owner, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<String>,
    processes: Vec<Process>,
}

/// A process of it, by its number on the host.
#[derive(Serialize)]
struct Process {
    pid: i32,
    parent: i32,
    command: String,
    #[serde(skip)]
    depth: usize,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let _ = crate::underway::recover(&state);
    crate::layers::sweep_unrecorded(&state);
    crate::groups::sweep(&state);
    let runs = state.runs().context("the state directory")?;
    let children = children();
    let mut shown: Vec<Shown> = runs
        .into_iter()
        .filter_map(|(run, record)| Some((run, record.ok().filter(RunRecord::running)?)))
        .filter_map(|(run, record)| describe(&run, record, &children))
        .collect();
    shown.sort_by(|one, other| one.run.cmp(&other.run));
    if let Some(wanted) = &arguments.run {
        let named = |one: &Shown| one.run == *wanted || one.name.as_ref() == Some(wanted);
        // `last`, and the beginning of an id, may mean one that lives.
        let meant = if shown.iter().any(named) { None } else { found::find(&state, &invoker, wanted).ok() };
        shown.retain(|one| named(one) || meant.as_ref().is_some_and(|(run, _)| run.id() == one.run));
        if shown.is_empty() && !arguments.all {
            if arguments.tree {
                return of_record(&found::find(&state, &invoker, wanted)?.0, arguments.json);
            }
            return Err(Failure::new(format!("no sandbox `{wanted}` lives"))
                .hint("`ringfence ps` lists those that do; `ringfence ps --tree RUN` shows what one that has ended ran"));
        }
    }
    let ended = if arguments.all { ended(&state, arguments.run.as_deref())? } else { Vec::new() };
    if arguments.json && arguments.all {
        print_json(&serde_json::json!({ "live": shown, "ended": ended }))?;
    } else if arguments.json {
        print_json(&shown)?;
    } else if arguments.all {
        terminal::print(&format!("{}\n{}", table(&shown, false), ended_table(&ended)));
    } else {
        terminal::print(&table(&shown, arguments.tree));
    }
    Ok(0)
}

/// What ran in a run that has ended.
fn of_record(run: &RunDir, json: bool) -> Result<u8, Failure> {
    let lived = lived::tree(run)?;
    if json {
        print_json(&lived)?;
    } else if lived.is_empty() {
        terminal::print(
            "nothing is known of its programs: no rule of its policy needed each start to be judged",
        );
    } else {
        terminal::print(lived::render(&lived).trim_end());
    }
    Ok(0)
}

/// A run that ended and left something.
#[derive(Serialize)]
struct Ended {
    run: String,
    seconds: i64,
    /// `waits`, `interrupted`, `landed`, `undone` or `discarded`.
    state: &'static str,
    /// Started with `--keep`.
    keep: bool,
    /// Bytes of the changes, and of what applies replaced.
    changes: u64,
    replaced: u64,
    workspace: String,
    /// Of a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    command: Vec<String>,
}

fn ended(state: &State, wanted: Option<&str>) -> Result<Vec<Ended>, Failure> {
    let left = crate::cleanup::taken(state)?.into_iter().filter(|one| {
        let meant =
            |wanted: &str| one.record.id.starts_with(wanted) || one.record.name.as_deref() == Some(wanted);
        let wanted = wanted.is_none_or(meant);
        wanted && (one.interrupted || !one.layers.0.is_empty() || !one.kept.0.is_empty())
    });
    Ok(left
        .map(|one| Ended {
            seconds: (Timestamp::now().milliseconds() - one.record.started.milliseconds()) / 1000,
            state: match one.layers.0.is_empty() {
                // Its supervisor was killed, or an apply was.
                _ if one.interrupted || one.record.status == Status::Running => "interrupted",
                false => "waits",
                true if one.record.status == Status::Undone => "undone",
                true if one.record.status == Status::Discarded && !one.landed => "discarded",
                true => "landed",
            },
            keep: one.record.keep,
            changes: one.layers.1,
            replaced: one.kept.1,
            workspace: one.record.workspace.display().to_string(),
            run: one.record.id,
            name: one.record.name,
            command: one.record.command,
        })
        .collect())
}

fn ended_table(ended: &[Ended]) -> String {
    let mut out = format!(
        "{:<13} {:>9} {:<12} {:>11} {:>11}  {}\n",
        "RUN", "AGE", "STATE", "CHANGES", "REPLACED", "WORKSPACE: COMMAND"
    );
    let (mut changes, mut replaced) = (0, 0);
    for one in ended {
        let age = match one.seconds {
            seconds if seconds >= 86_400 => format!("{} d", seconds / 86_400),
            seconds => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        };
        let state = format!("{}{}", one.state, if one.keep { " kept" } else { "" });
        out.push_str(&format!(
            "{:<13} {age:>9} {state:<12} {:>11} {:>11}  {}: {}\n",
            one.run,
            size(one.changes),
            size(one.replaced),
            line(&one.workspace),
            line(&match &one.name {
                Some(name) => format!("`{name}` {}", one.command.join(" ")),
                None => one.command.join(" "),
            })
        ));
        (changes, replaced) = (changes + one.changes, replaced + one.replaced);
    }
    out.push_str(&format!(
        "{} on disk: {} of changes, {} replaced\n",
        size(changes + replaced),
        size(changes),
        size(replaced)
    ));
    out
}

fn describe(run: &RunDir, record: RunRecord, children: &BTreeMap<i32, Vec<(i32, String)>>) -> Option<Shown> {
    let supervisor = record.supervisor?.pid;
    let mut processes = Vec::new();
    // Init itself is no command.
    for (init, _) in children.get(&supervisor).into_iter().flatten() {
        below(*init, 0, children, &mut processes);
    }
    Some(Shown {
        exit: ended::first(run, &record),
        waiting: named::waiting(run),
        run: record.id,
        name: record.name,
        supervisor,
        seconds: (Timestamp::now().milliseconds() - record.started.milliseconds()) / 1000,
        mode: record.mode,
        workspace: record.workspace.display().to_string(),
        command: record.command,
        processes,
    })
}

fn below(parent: i32, depth: usize, children: &BTreeMap<i32, Vec<(i32, String)>>, found: &mut Vec<Process>) {
    // A tree that is changing while it is read has no end for sure.
    if depth > 256 {
        return;
    }
    for (pid, command) in children.get(&parent).into_iter().flatten() {
        found.push(Process { pid: *pid, parent, command: command.clone(), depth });
        below(*pid, depth + 1, children, found);
    }
}

/// Every process by its parent, with its command line.
fn children() -> BTreeMap<i32, Vec<(i32, String)>> {
    let mut children: BTreeMap<i32, Vec<(i32, String)>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return children };
    for entry in entries.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let Some(parent) = rest.split_whitespace().nth(1).and_then(|field| field.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let command = if words.is_empty() { format!("[{name}]") } else { words.join(" ") };
        children.entry(parent).or_default().push((pid, command));
    }
    children
}

fn table(shown: &[Shown], tree: bool) -> String {
    let mut out = format!(
        "{:<16} {:<13} {:>7} {:>9} {:>5}  {:<9}  {}\n",
        "NAME", "RUN", "PID", "TIME", "PROCS", "MODE", "COMMAND"
    );
    for one in shown {
        let (hours, minutes, seconds) = (one.seconds / 3600, one.seconds / 60 % 60, one.seconds % 60);
        out.push_str(&format!(
            "{:<16} {:<13} {:>7} {:>9} {:>5}  {:<9}  {}\n",
            one.name.as_deref().unwrap_or("-"),
            one.run,
            one.supervisor,
            format!("{hours}:{minutes:02}:{seconds:02}"),
            one.processes.len(),
            one.mode,
            match one.exit {
                Some(exit) => format!("(ended with status {exit}) {}", line(&one.command.join(" "))),
                None => line(&one.command.join(" ")),
            }
        ));
        for waits in &one.waiting {
            // Whole: what is waited for stands at its end.
            out.push_str(&format!("    {}: `ringfence explain {}`\n", terminal::line(waits), one.run));
        }
        for process in one.processes.iter().filter(|_| tree) {
            let indent = "  ".repeat(process.depth + 1);
            let waits = if process.command == READY { " (the next `ringfence exec` becomes it)" } else { "" };
            out.push_str(&format!("{indent}{} {}{waits}\n", process.pid, line(&process.command)));
        }
    }
    out
}

/// One line that acts on no terminal.
fn line(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    escape(short.replace('\n', " "))
}
