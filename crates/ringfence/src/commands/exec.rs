//! `ringfence exec`: a command in a sandbox that another process keeps.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use clap::Args;
use ringfence_confine::{Enclosure, Message};
use ringfence_record::RunDir;
use ringfence_supervise::{Ask, Found, Limiter, Note, Notice, Remote, Sandbox, Screen};
use rustix::io::Errno;
use serde_json::Value;

use crate::failure::{Context, Failure};
use crate::masks::masked;
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
    let written = Written::of(&run);
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
    let exited = matches!(ended.messages.last(), Some(Message::Exited { .. }));
    let refused = ended.messages.iter().any(|message| matches!(message, Message::NotExecuted { .. }));
    let events = written.filter(|_| !exited || refused).map(Written::read).unwrap_or_default();
    if let Some(what) = hit(&events).filter(|_| !exited) {
        return Err(Failure::new(what).with_status(outcome::LIMITED));
    }
    status(&ended.messages, arguments, (run.id(), refusal(&events, &arguments.command)))
}

/// The events that are written from now on: opened before the files of the host are closed to this process.
struct Written(File);

impl Written {
    fn of(run: &RunDir) -> Option<Self> {
        let mut events = File::open(run.events()).ok()?;
        events.seek(SeekFrom::End(0)).ok()?;
        Some(Self(events))
    }

    /// Those that say why a command did not start, or ended.
    fn read(self) -> Vec<Value> {
        let lines = BufReader::new(self.0).lines().map_while(Result::ok);
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events.filter(|event| event["kind"] == "limit.hit" || event["kind"] == "exec.deny").collect()
    }
}

/// The limit that ended the sandbox meanwhile, as a sentence.
fn hit(events: &[Value]) -> Option<String> {
    let hit = events.iter().find(|event| event["kind"] == "limit.hit")?;
    hit["detail"]["what"].as_str().map(str::to_owned)
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

/// By which rule the command was refused, if one did.
fn refusal(events: &[Value], words: &[OsString]) -> Option<String> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let own = Value::from(masked(&words));
    let is = |event: &&Value| {
        // Of who asks there is no name before the first program.
        let first = event["detail"]["program"].as_str().unwrap_or_default().is_empty();
        event["kind"] == "exec.deny" && event["detail"]["command"] == own && first
    };
    let rule = events.iter().rfind(is)?["detail"]["rule"].as_str()?.to_owned();
    (!rule.is_empty()).then_some(rule)
}

fn status(
    messages: &[Message],
    arguments: &Arguments,
    (run, rule): (&str, Option<String>),
) -> Result<u8, Failure> {
    let name = arguments.command.first().cloned().unwrap_or_default();
    let command = name.to_string_lossy();
    for message in messages {
        if let Message::NotExecuted { errno, needs, unfit, .. } = message {
            let told = Told { errno: *errno, needs: needs.as_deref(), unfit: *unfit, rule: None };
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
                let failure =
                    Failure::new(format!("{command}: may not be executed")).with_status(Failure::REFUSED);
                let explain = format!("`ringfence explain {run}` names the rule, if it was one");
                return Err(match rule {
                    Some(rule) => failure.hint(rule).hint(format!("`ringfence explain {run}` tells more")),
                    None => failure.hint(explain),
                });
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
