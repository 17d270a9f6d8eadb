//! docs/kernels.md, from what was seen.

use std::fmt::Write;

use super::outcome::{Outcome, Seen, flat, names};
use super::variants::Who;

const HEAD: &str = "# Kernels

What `cargo xtask kernels` saw on Debian's kernels under QEMU, as an ordinary user and as root. `run` is a task that
changes its workspace and tries a file beside it; `doctor` must say the same; \"arguments\" is a policy with `commands.allow = [\"echo good\"]`,
which needs the exec guard; \"network\" one with `network.allow`, which needs the gateway; \"attacks\" are rows of the attack table that held, of those that were tried
(as root not before Linux 6.3: their world's homes lie on tmpfs, of which there are no idmapped mounts before). Made by the run; not edited.
";

/// The whole file.
pub(crate) fn table(outcomes: &[Outcome], left_out: &[String], form: &str) -> String {
    let mut text = HEAD.to_owned();
    writeln!(text, "\n{form} `-`: not tried, because nothing runs.").ok();
    let mut release = "";
    for outcome in outcomes {
        if outcome.release != release {
            release = &outcome.release;
            write!(text, "\n## Linux {release}\n\n| host | as | `run` | said as degraded | arguments | network | attacks |\n|---|---|---|---|---|---|---|\n").ok();
        }
        let name = outcome.variant.name;
        if let Some(why) = &outcome.left_out {
            writeln!(text, "| {name} | | not on this kernel: {} | | | | |", cell(why)).ok();
            continue;
        }
        for who in Who::BOTH {
            let line = outcome.seen.get(&who).map_or_else(|| "not run | | | |".into(), line);
            writeln!(text, "| {name} | {} | {line} |", who.name()).ok();
        }
    }
    let notes: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.notes).chain(left_out).collect();
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        writeln!(text, "- {note}").ok();
    }
    text
}

fn line(seen: &Seen) -> String {
    let run = match &seen.run {
        Some((0, report, _)) => format!("tier `{}`", report["tier"].as_str().unwrap_or("?")),
        Some((125, _, printed)) => format!("refused: {}", cell(printed)),
        Some((status, _, printed)) => format!("status {status}: {}", cell(printed)),
        None => "not run".into(),
    };
    let degraded = seen.run.as_ref().map(|(_, report, _)| names(report).join(", ")).unwrap_or_default();
    let guard = match &seen.guard {
        Some((0, bad, _)) if *bad != 0 => "yes".into(),
        Some((125, _, _)) if matches!(seen.run, Some((125, ..))) => "-".into(),
        Some((125, _, printed)) => format!("refused: {}", cell(printed)),
        Some((good, bad, _)) => format!("status {good}, {bad}"),
        None => "not tried".into(),
    };
    let network = match &seen.network {
        Some((0, _)) => "yes".into(),
        Some((125, _)) if matches!(seen.run, Some((125, ..))) => "-".into(),
        Some((125, printed)) => format!("refused: {}", cell(printed)),
        Some((status, _)) => format!("status {status}"),
        None => "not tried".into(),
    };
    let attacks = match &seen.attacks {
        Some((held, others)) => format!("{held} of {}", held + others.len()),
        None => "-".into(),
    };
    format!("{run} | {degraded} | {guard} | {network} | {attacks}")
}

/// The cause, in a cell of a table.
fn cell(text: &str) -> String {
    let line = text.lines().find(|line| line.contains("cause") || line.contains("error")).unwrap_or(text);
    flat(line).replace('|', "\\|").chars().take(160).collect()
}
