//! `ringfence probe`: what can be reached from here, whatever is around: this sandbox, another one, a container, a CI job.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use ringfence_audit::Level;
use ringfence_probe::{Finding, Report, Request, State};

use crate::failure::{Context as _, Failure};
use crate::terminal;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence probe                                    here, as it is
  ringfence run -- ringfence probe                   what the policy here leaves open
  docker run --rm -v $(command -v ringfence):/rf:ro IMAGE /rf probe
  ringfence probe --target 10.0.0.5:5432 --json | jq '.findings[] | select(.state == \"open\")'
  ringfence probe --fail-on high --accept network-route

It tries, and does no harm: secrets and files are opened, and neither read nor written; processes are not signalled; sockets
of the host are connected to and left; of the network, nothing is reached but a listener of its own and what --target names.
Names are printed, values never. What it tries, and how: docs/check.md.
Exit status: 0; 1 if something of the level of --fail-on or above is open; 125 if probe itself failed.")]
pub(crate) struct Arguments {
    /// Also connect to this destination; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = target)]
    target: Vec<String>,
    /// End with 1 if something of this level or above is open: high, medium, low, note
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Level>,
    /// What of this name is open does not count; may be given several times
    #[arg(long, value_name = "NAME")]
    accept: Vec<String>,
    /// Print JSON: around, open, findings
    #[arg(long)]
    json: bool,
}

fn target(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
    port.filter(|port| *port > 0).map(|_| text.to_owned()).ok_or_else(|| "write HOST:PORT".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    // A container may have no home, no user database and no current directory: that ends nothing.
    let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let request = Request {
        home: home.unwrap_or_else(|| PathBuf::from("/root")),
        cwd,
        targets: arguments.target.clone(),
        around: ringfence_doctor::surroundings().into_iter().map(str::to_owned).collect(),
    };
    let report = ringfence_probe::probe(&request);
    if let Some(name) =
        arguments.accept.iter().find(|name| !report.findings.iter().any(|finding| finding.id == **name))
    {
        return Err(Failure::new(format!("`--accept {name}`: nothing of that name was tried"))
            .hint("`ringfence probe --json` lists the names"));
    }
    if arguments.json {
        let text = serde_json::to_string_pretty(&report).context("writing JSON")?;
        terminal::print(&plain(&text));
    } else {
        terminal::print(&human(&report, &arguments.accept));
    }
    let counts = |finding: &&Finding| finding.state == State::Open && !arguments.accept.contains(&finding.id);
    let worst = report.findings.iter().filter(counts).map(|finding| finding.level).max();
    Ok(u8::from(arguments.fail_on.is_some_and(|level| worst.is_some_and(|worst| worst >= level))))
}

/// What is open, the worst first; what could not be tried; what is closed, in a line each.
fn human(report: &Report, accepted: &[String]) -> String {
    let one_line = |text: &str| terminal::escape(text.replace('\n', "\\n"));
    let counts: Vec<String> = Level::ALL
        .iter()
        .filter_map(|level| {
            report.open.get(level.word()).filter(|count| **count > 0).map(|count| format!("{count} {level}"))
        })
        .collect();
    let around =
        if report.around.is_empty() { "nothing known around".to_owned() } else { report.around.join(", ") };
    let mut text = format!(
        "{}: open: {}\n",
        one_line(&around),
        if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }
    );
    for finding in report.findings.iter().filter(|finding| finding.state == State::Open) {
        let colour = match finding.level {
            Level::High => 31,
            Level::Medium => 33,
            Level::Low => 36,
            Level::Note => 32,
        };
        let mark = if accepted.contains(&finding.id) { " (accepted)" } else { "" };
        let _ = write!(
            text,
            "\n\u{1b}[1;{colour}m{:<6}\u{1b}[0m {}{mark}\n       {}",
            finding.level,
            one_line(&finding.id),
            one_line(&finding.what)
        );
        for name in &finding.names {
            let _ = write!(text, "\n         {}", one_line(name));
        }
        if finding.count > finding.names.len() {
            let _ = write!(text, "\n         and {} more", finding.count - finding.names.len());
        }
        let _ = writeln!(text, "\n       why: {}", one_line(&finding.why));
    }
    for (state, title) in [(State::Unknown, "not tried"), (State::Closed, "closed")] {
        let mut of = report.findings.iter().filter(|finding| finding.state == state).peekable();
        if of.peek().is_some() {
            let _ = writeln!(text, "\n{title}");
        }
        for finding in of {
            let _ = writeln!(text, "  {:<22} {}", one_line(&finding.id), one_line(&finding.what));
        }
    }
    text
}

/// JSON in which every character that is no ASCII is written as its number: those that turn the direction of text among them.
fn plain(json: &str) -> String {
    let mut out = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}
