//! How a run ended, and how the first command of a sandbox did, as their events tell.

use std::io::{BufRead, BufReader};

use ringfence_record::{RunDir, RunRecord, Status};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;

/// The end of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Ended {
    /// `exit`, `signal`, `limit`, `stop` or `killed`.
    how: &'static str,
    /// Exit status of `ringfence run`.
    exit: Option<i64>,
    signal: Option<i64>,
    limit: Option<String>,
    /// Of a sandbox that was started with a command: how that ended.
    first_exit: Option<i64>,
}

/// `None`: it still runs, or its record does not say how it ended.
pub(crate) fn of(run: &RunDir, record: &RunRecord) -> Option<Ended> {
    let with_command = record.name.is_some() && !record.command.is_empty();
    let (mut first_exit, mut end) = (None, None);
    for (kind, detail) in events(run, &[FIRST, END]) {
        match kind {
            FIRST if with_command && first_exit.is_none() => first_exit = exit_of_first(&detail),
            END => end = Some(detail),
            _ => {}
        }
    }
    let none = Ended { how: "killed", exit: None, signal: None, limit: None, first_exit };
    let Some(detail) = end else {
        // Whoever supervised it would have written that down.
        return (record.status == Status::Running && !record.running()).then_some(none);
    };
    let number = |name: &str| detail.get(name).and_then(Value::as_i64);
    let limit = detail.get("limit").and_then(Value::as_str).map(str::to_owned);
    let stopped = detail.get("stopped").and_then(Value::as_bool).unwrap_or(false);
    let (exit, signal) = (number("exit"), number("signal"));
    let how = match (&limit, stopped, signal) {
        (Some(_), ..) => "limit",
        (None, true, _) => "stop",
        (None, false, Some(_)) => "signal",
        (None, false, None) if record.name.is_some() && exit == Some(0) => "killed",
        _ => "exit",
    };
    Some(Ended { how, exit, signal, limit, ..none })
}

impl Ended {
    /// Whether its command ended with another status than 0.
    pub(crate) fn failed(&self) -> bool {
        self.how == "exit" && self.exit.is_some_and(|exit| exit != 0)
    }

    /// As one sentence.
    pub(crate) fn sentence(&self, run: &str) -> String {
        let number = |number: Option<i64>| number.unwrap_or_default();
        let (exit, signal) = (number(self.exit), number(self.signal));
        let mut text = match (self.how, &self.limit) {
            ("limit", Some(limit)) => format!("run {run}: the limit `{limit}` ended it"),
            ("stop", _) => format!("run {run}: `ringfence stop`, or a signal to its supervisor, ended it"),
            ("signal", _) => format!("run {run}: signal {signal} ended it, exit status {exit}"),
            ("killed", _) if self.exit.is_some() => {
                format!(
                    "run {run}: a process of its boundary was killed, and everything in it ended with that"
                )
            }
            ("killed", _) => {
                format!("run {run}: its supervisor was killed, and everything in it ended with that")
            }
            _ => format!("run {run}: it ended with exit status {exit}"),
        };
        if let Some(first) = self.first_exit {
            text.push_str(&format!("; its first command ended with status {first}"));
        }
        let status = 128 + i64::from(Signal::SYS.as_raw());
        if self.exit == Some(status) || self.first_exit == Some(status) {
            text.push_str(FOREIGN);
        }
        text
    }
}

/// The status of the command that a sandbox was started with, if that has ended; 128 and the number where a signal ended it.
pub(crate) fn first(run: &RunDir, record: &RunRecord) -> Option<i64> {
    if record.name.is_none() || record.command.is_empty() {
        return None;
    }
    events(run, &[FIRST]).find_map(|(_, detail)| exit_of_first(&detail))
}

/// Of SIGSYS, which the filter alone sends (seccomp(2)).
const FOREIGN: &str = " (SIGSYS: a system call of another ABI, `int $0x80` of a 32-bit program or one of x32, ends who makes it; no policy allows one, and no event tells of it)";

/// The end of a command, and of the whole.
const FIRST: &str = "exec.end";
const END: &str = "sandbox.end";

fn exit_of_first(detail: &Value) -> Option<i64> {
    (detail.get("job")?.as_u64()? == 0).then(|| detail.get("exit")?.as_i64())?
}

/// The details of all events of these kinds.
fn events(run: &RunDir, kinds: &'static [&'static str]) -> impl Iterator<Item = (&'static str, Value)> {
    let file = std::fs::File::open(run.events()).ok();
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).lines().map_while(Result::ok));
    // Most are others, and need not be read.
    lines.filter_map(move |line| {
        kinds.iter().find(|kind| line.contains(**kind))?;
        let mut event: Value = serde_json::from_str(&line).ok()?;
        let kind = kinds.iter().find(|kind| event.get("kind").is_some_and(|own| own == **kind))?;
        Some((*kind, event.get_mut("detail").map(Value::take)?))
    })
}
