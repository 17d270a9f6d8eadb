//! `ringfence exec`: a command in a sandbox that another process keeps.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use clap::Args;
use ringfence_confine::{Enclosure, Message};
use ringfence_record::RunDir;
use ringfence_supervise::{Ask, Found, Limiter, Note, Notice, Remote, Sandbox, Screen};
use rustix::io::Errno;

use crate::failure::{Context, Failure};
use crate::not_executed::{self, Told};
use crate::run::not_confined;
use crate::{environment, leaks, named, outcome};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence exec dev -- cargo test
  ringfence exec dev -- sh -c 'python3 -m http.server 8000 >server.log 2>&1 &'
  ringfence exec dev -- curl -s localhost:8000

What a command leaves running goes on until `ringfence stop`. Exit status: the command's own; 125 an error of
ringfence, 126 refused, 127 not found, 137 a limit or quota of the sandbox was reached, which ended it.")]
pub(crate) struct Arguments {
    /// The sandbox
    name: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let (run, record) = named::find(&state, &arguments.name)?;
    let remote = named::call(&run)?;
    let signals = ringfence_supervise::take_signals().context("signals")?;
    let mut standard = ringfence_supervise::standard().context("the standard streams")?;
    let limits = Limits::of(&run);
    let looked_for = leaks::recorded(&record, run.path(), &invoker)?;
    // What is found is told over a connection of its own: the other one is the command's.
    let mut limiter = record.most_output.map(Limiter::of_output);
    let log = (looked_for.is_some() || limiter.is_some()).then(|| named::call(&run)).transpose()?;
    if let Some((scanner, action)) = &looked_for {
        standard.sift(scanner, *action);
    }
    let ask = Ask::Exec {
        command: arguments.command.clone(),
        directory: invoker.cwd.into_os_string(),
        term: std::env::var_os("TERM"),
        streams: standard.streams,
        terminal: standard.screen.as_ref().map(Screen::size),
    };
    remote.ask(&ask, &standard.passed).map_err(|errno| match errno {
        Errno::MSGSIZE => Failure::new("the command line is too long: 128 KiB at most")
            .hint("put it into a script in the workspace"),
        errno => Failure::new(format!("asking the sandbox: {errno}")),
    })?;
    drop(standard.passed);
    // What comes back is the sandbox's; while it starts the command there is time.
    if let Err(failure) = ringfence_confine::enclose(&Enclosure::default()) {
        remote.kill();
        return Err(not_confined(failure));
    }
    let mut told: Vec<Found> = Vec::new();
    let ended = ringfence_supervise::run(
        &remote,
        &signals,
        standard.relays,
        standard.screen,
        limiter.as_mut(),
        &mut |notice| match (notice, &log) {
            (Notice::Leak(found), Some(log)) => {
                told.contains(found) || {
                    told.push(found.clone());
                    tell(log, found)
                }
            }
            _ => true,
        },
        None,
    )
    .context("waiting for the command")?;
    if let Some(hit) = &ended.leaked {
        return Err(leaks::ended(hit));
    }
    if let Some(exceeded) = limiter.as_ref().and_then(Limiter::exceeded) {
        // Its keeper writes it down, and ends all of it; then this connection ends.
        if let Some(log) = log.filter(|log| log.ask(&Ask::Flooded, &[]).is_ok()) {
            while log.report().is_some() {}
        }
        return Err(Failure::new(exceeded.to_string()).with_status(outcome::LIMITED));
    }
    // The connection ends when its keeper has written down why.
    if !matches!(ended.messages.last(), Some(Message::Exited { .. }))
        && let Some(what) = limits.and_then(Limits::hit)
    {
        return Err(Failure::new(what).with_status(outcome::LIMITED));
    }
    status(&ended.messages, arguments, run.id())
}

/// The events that are written from now on: opened before the files of the host are closed to this process.
struct Limits(File);

impl Limits {
    fn of(run: &RunDir) -> Option<Self> {
        let mut events = File::open(run.events()).ok()?;
        events.seek(SeekFrom::End(0)).ok()?;
        Some(Self(events))
    }

    /// The limit that ended the sandbox meanwhile, as a sentence.
    fn hit(self) -> Option<String> {
        let events = BufReader::new(self.0).lines().map_while(Result::ok);
        let mut events = events.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
        let hit = events.find(|event| event["kind"] == "limit.hit")?;
        hit["detail"]["what"].as_str().map(str::to_owned)
    }
}

/// Has it written down; `false` if that failed.
fn tell(log: &Remote, found: &Found) -> bool {
    let note = Note::Leak {
        secret: found.hit.name.clone(),
        way: found.hit.way.to_owned(),
        action: found.action.word().to_owned(),
    };
    log.ask(&Ask::Note(note), &[]).is_ok()
        && matches!(log.report(), Some((Message::Answer { done: true, .. }, _)))
}

fn status(messages: &[Message], arguments: &Arguments, run: &str) -> Result<u8, Failure> {
    let name = arguments.command.first().cloned().unwrap_or_default();
    let command = name.to_string_lossy();
    for message in messages {
        if let Message::NotExecuted { errno, needs, unfit, .. } = message {
            let told = Told { errno: *errno, needs: needs.as_deref(), unfit: *unfit };
            if let Some(failure) = not_executed::by_itself(&name, &told) {
                return Err(failure);
            }
        }
        match message {
            Message::Failed { stage, errno, .. } => {
                let stage = ringfence_confine::stage_of_job(*stage);
                let failure = Failure::new(format!("the command could not be started: {stage}: {errno}"));
                return Err(match *errno {
                    Errno::MFILE => failure
                        .hint("raise `limits.open_files` in its policy, or `ulimit -n` where it is started"),
                    _ => failure,
                });
            }
            Message::NotExecuted { errno: Errno::NOENT | Errno::NOTDIR, needs, .. } => {
                let failure =
                    Failure::new(format!("{command}: command not found")).with_status(Failure::NOT_FOUND);
                return Err(match needs {
                    Some(needs) => failure.hint(format!("it needs {}, which is not there", needs.display())),
                    None => failure,
                });
            }
            Message::NotExecuted { errno: Errno::BUSY, .. } => {
                return Err(Failure::new(
                    "another command runs in it, and its policy lets one run at a time",
                )
                .with_status(Failure::REFUSED)
                .hint("wait for that to end, or start a sandbox of its own (`commands.pipes = false`)"));
            }
            Message::NotExecuted { errno: Errno::ACCESS | Errno::PERM, .. } => {
                return Err(Failure::new(format!("{command}: may not be executed"))
                    .with_status(Failure::REFUSED)
                    .hint(format!("`ringfence explain {run}` names the rule, if it was one")));
            }
            Message::NotExecuted { errno, .. } => {
                return Err(Failure::new(format!("{command}: {errno}")).with_status(Failure::REFUSED));
            }
            _ => {}
        }
    }
    match messages.last() {
        Some(Message::Exited { status, .. }) => Ok(u8::try_from(status & 0xff).unwrap_or(1)),
        Some(Message::Signalled { signal, .. }) => Ok(u8::try_from(128 + (signal & 0x7f)).unwrap_or(255)),
        _ => Err(Failure::new(format!("the sandbox `{}` ended before the command did", arguments.name))),
    }
}
