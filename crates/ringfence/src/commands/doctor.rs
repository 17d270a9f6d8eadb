//! `ringfence doctor`: what this host can do, what it cannot, why, and what would change it.

use std::fmt::Write as _;

use clap::Args;
use ringfence_doctor::{Check, Report, State};

use crate::failure::{Context as _, Failure};
use crate::{environment, terminal};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence doctor                         verdict first, then each check with its remedy
  ringfence doctor --json | jq .checks     the same for programs
  ringfence doctor >/dev/null && ringfence run -- make

It tries each thing in a child of its own and leaves nothing behind.
Exit status: 0 if `ringfence run --preset default` works in this directory, 1 if not, 125 if doctor itself failed.")]
pub(crate) struct Arguments {
    /// Print one JSON object: works, tier, checks
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let binary = std::env::current_exe().context("the path of this program")?;
    let report = match environment::invoker() {
        Ok(invoker) => ringfence_doctor::examine(&binary, &invoker),
        Err(failure) => Report::of_one("invoker", failure.text(), failure.hints()),
    };
    if arguments.json {
        super::print_json(&report)?;
    } else {
        terminal::print(&human(&report));
    }
    Ok(u8::from(!report.works))
}

/// Verdict, then the checks by how they stand. What came from the host is escaped; `print` strips colours where nobody sees them.
fn human(report: &Report) -> String {
    let colour = if report.works { 32 } else { 31 };
    let mut text = format!("\u{1b}[1;{colour}m{}\u{1b}[0m\n", terminal::escape(report.verdict()));
    let groups = [
        (State::Missing, "missing", 31),
        (State::Degraded, "degraded", 33),
        (State::Unknown, "not tried", 36),
        (State::Good, "good", 32),
    ];
    for (state, title, colour) in groups {
        let mut checks = report.checks.iter().filter(|check| check.state == state).peekable();
        if checks.peek().is_some() {
            let _ = writeln!(text, "\n\u{1b}[1;{colour}m{title}\u{1b}[0m");
        }
        checks.for_each(|check| describe(check, &mut text));
    }
    text
}

fn describe(check: &Check, text: &mut String) {
    let _ = writeln!(text, "  {:<18} {}", check.name, terminal::escape(&check.found));
    if !check.effect.is_empty() {
        let _ = writeln!(text, "  {:<18} so: {}", "", terminal::escape(&check.effect));
    }
    for remedy in &check.remedy {
        for line in terminal::escape(remedy).lines() {
            // At a fixed depth, so that a file's text can be copied as a block.
            let _ = writeln!(text, "      {line}");
        }
    }
}
