//! The programs of a run, as its events tell of them: which started which, for how long, and how each ended.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use ringfence_record::RunDir;
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Context, Failure};
use crate::terminal::escape;

/// One process, by the last program that it became; without a number, a command that was refused before there was one.
#[derive(Debug, Serialize)]
pub(crate) struct Lived {
    process: i64,
    parent: i64,
    command: String,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// What it was refused to start.
    refused: Vec<String>,
    exit: Option<i64>,
    signal: Option<i64>,
    duration_ms: Option<u64>,
    user_ms: Option<u64>,
    system_ms: Option<u64>,
    memory_kib: Option<u64>,
    depth: usize,
    #[serde(skip)]
    children: Vec<usize>,
}

/// All of a run, parents first. Empty where no guard looked.
///
/// # Errors
/// The events cannot be read, or are none.
pub(crate) fn tree(run: &RunDir) -> Result<Vec<Lived>, Failure> {
    let path = run.events();
    let file = std::fs::File::open(&path).context(format!("reading {}", path.display()))?;
    let mut found: Vec<Lived> = Vec::new();
    let (mut open, mut roots) = (BTreeMap::<i64, usize>::new(), Vec::new());
    for line in BufReader::new(file).lines() {
        let line = line.context(format!("reading {}", path.display()))?;
        let event: Value = serde_json::from_str(&line).context(format!("the events of run {}", run.id()))?;
        let kind = event.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(detail) = event.get("detail") else { continue };
        let number = |name: &str| detail.get(name).and_then(Value::as_i64);
        let process = number("process").unwrap_or_default();
        match kind {
            "process.start" => {
                let parent = number("parent").unwrap_or_default();
                let began = started(detail, process, parent);
                if let Some(known) = open.get(&process).and_then(|at| found.get_mut(*at)) {
                    (known.command, known.file, known.sha256) = (began.command, began.file, began.sha256);
                    continue;
                }
                let at = found.len();
                match open.get(&parent).and_then(|at| found.get_mut(*at)) {
                    Some(parent) => parent.children.push(at),
                    None => roots.push(at),
                }
                open.insert(process, at);
                found.push(began);
            }
            "process.end" => {
                let Some(ended) = open.remove(&process).and_then(|at| found.get_mut(at)) else { continue };
                let count = |name: &str| detail.get(name).and_then(Value::as_u64);
                (ended.exit, ended.signal) = (number("exit"), number("signal"));
                ended.duration_ms = count("duration_ms");
                (ended.user_ms, ended.system_ms) = (count("user_ms"), count("system_ms"));
                ended.memory_kib = count("memory_kib");
            }
            "exec.deny" => {
                // Most programs start others from a copy of themselves.
                let asked = open.get(&process).or_else(|| open.get(&number("parent").unwrap_or_default()));
                match asked.and_then(|at| found.get_mut(*at)) {
                    Some(asked) => asked.refused.push(words(detail)),
                    // The sandbox's own command, or one of `exec`: no program of the task's asked for it.
                    None if detail.get("program").is_none_or(|program| program == "") => {
                        roots.push(found.len());
                        found.push(Lived { refused: vec![words(detail)], ..started(&Value::Null, 0, 0) });
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }
    Ok(in_order(found, roots))
}

fn started(detail: &Value, process: i64, parent: i64) -> Lived {
    let text = |name: &str| detail.get(name).and_then(Value::as_str).map(str::to_owned);
    Lived {
        process,
        parent,
        command: words(detail),
        file: text("file").unwrap_or_default(),
        sha256: text("sha256"),
        refused: Vec::new(),
        exit: None,
        signal: None,
        duration_ms: None,
        user_ms: None,
        system_ms: None,
        memory_kib: None,
        depth: 0,
        children: Vec::new(),
    }
}

fn words(detail: &Value) -> String {
    let words = detail.get("command").and_then(Value::as_array);
    ringfence_policy::command_line(words.into_iter().flatten().filter_map(Value::as_str))
}

fn in_order(found: Vec<Lived>, roots: Vec<usize>) -> Vec<Lived> {
    let mut found: Vec<Option<Lived>> = found.into_iter().map(Some).collect();
    let mut pending: Vec<(usize, usize)> = roots.into_iter().rev().map(|at| (at, 0)).collect();
    let mut ordered = Vec::with_capacity(found.len());
    while let Some((at, depth)) = pending.pop() {
        let Some(mut one) = found.get_mut(at).and_then(Option::take) else { continue };
        one.depth = depth;
        pending.extend(one.children.iter().rev().map(|child| (*child, depth + 1)));
        ordered.push(one);
    }
    ordered
}

/// For people: a line a process, and one for each refusal.
pub(crate) fn render(lived: &[Lived]) -> String {
    let mut out = String::new();
    for one in lived {
        let indent = "  ".repeat(one.depth.min(32) + 1);
        let how = match (one.exit, one.signal, one.duration_ms) {
            (Some(exit), _, Some(took)) => format!("exit {exit}, {took} ms"),
            (_, Some(signal), Some(took)) => format!("signal {signal}, {took} ms"),
            (_, _, Some(took)) => format!("ended, {took} ms at most"),
            _ => "not seen to end".to_owned(),
        };
        let used = one.user_ms.zip(one.system_ms).zip(one.memory_kib);
        let used = used.map(|((user, system), memory)| format!(", cpu {} ms, {memory} KiB", user + system));
        let line = |text: &str| escape(text.chars().take(120).collect::<String>().replace('\n', " "));
        let used = used.unwrap_or_default();
        if one.process == 0 {
            out.extend(one.refused.iter().map(|refused| format!("{indent}refused: {}\n", line(refused))));
            continue;
        }
        out.push_str(&format!("{indent}{} {} ({how}{used})\n", one.process, line(&one.command)));
        for refused in &one.refused {
            out.push_str(&format!("{indent}  refused: {}\n", line(refused)));
        }
    }
    out
}
