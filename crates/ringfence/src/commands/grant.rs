//! `ringfence grant` and `ringfence revoke`: more for a sandbox while it runs, for a time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use ringfence_confine::Message;
use ringfence_policy::{CommandPattern, Endpoint};
use ringfence_record::Timestamp;
use ringfence_supervise::{Act, Ask, Sandbox};
use serde::Serialize;

use crate::failure::{Context, Failure};
use crate::{environment, found, lasting, named, source, terminal};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true), after_help = "Examples:
  ringfence grant dev --read ~/projects/other --for 10m
  ringfence grant last --read /srv/data/x.csv --why 'the quarterly report'
  ringfence grant dev --read ~/projects/other --always ringfence.toml
  ringfence grant dev --command 'git push origin main' --for 10m
  ringfence grant dev --host docs.example.org --for 10m
  ringfence grant dev --credential deploy --for 10m

The policy says what may be granted: approvals.grantable = { read = [\"~/projects/**\"], commands = [\"git push **\"], hosts =
[\"*.example.org\"], credentials = [\"deploy\"] }. Nothing else can be. Files that are granted can be read, not changed and not executed; connections to a destination
end with its grant. `ringfence revoke` takes it away sooner.")]
pub(crate) struct Arguments {
    /// A sandbox's name, a run, or `last`
    run: String,
    /// The file or directory, with all that is below it and not hidden by `files.deny`
    #[arg(long, value_name = "PATH", group = "what")]
    read: Option<PathBuf>,
    /// A command that may start, as an entry of `commands.allow`
    #[arg(long, value_name = "COMMAND", group = "what", conflicts_with_all = ["read", "always"])]
    command: Option<String>,
    /// A destination that may be reached, as an entry of `network.allow`
    #[arg(long, value_name = "NAME[:PORT]", group = "what", conflicts_with_all = ["read", "command", "always"])]
    host: Option<String>,
    /// A credential of the policy that may be used
    #[arg(long, value_name = "NAME", group = "what", conflicts_with_all = ["read", "command", "host", "always"])]
    credential: Option<String>,
    /// How long: `90s`, `10m`, `2h`; without it, until the sandbox ends
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    time: Option<u64>,
    /// Grant it to later sandboxes too: adds it to `files.read` of this policy file
    #[arg(long, value_name = "FILE", conflicts_with = "time")]
    always: Option<PathBuf>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence revoke dev --read ~/projects/other
  ringfence revoke last                     all that was granted to it

What a task has open already, or stands in, it keeps until it lets go of it; `ringfence stop` ends a named sandbox.")]
pub(crate) struct Revocation {
    /// A sandbox's name, a run, or `last`
    run: String,
    /// What was granted; without it, all
    #[arg(long, value_name = "PATH")]
    read: Option<PathBuf>,
    /// A command that was granted
    #[arg(long, value_name = "COMMAND", conflicts_with = "read")]
    command: Option<String>,
    /// A destination that was granted; connections to it end
    #[arg(long, value_name = "NAME[:PORT]", conflicts_with_all = ["read", "command"])]
    host: Option<String>,
    /// A credential that was granted; what was fetched of it is dropped
    #[arg(long, value_name = "NAME", conflicts_with_all = ["read", "command", "host"])]
    credential: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    done: bool,
    run: &'a str,
    /// `read`, `start`, `reach` or `use`; with `target` left out of a revocation of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<&'static str>,
    /// The path, or the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    text: &'a str,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let (seconds, why) = (arguments.time, arguments.why.clone());
    if let Some((act, entry)) =
        entry(arguments.command.as_ref(), arguments.host.as_ref(), arguments.credential.as_ref())?
    {
        return tell(&arguments.run, &Ask::Permit { act, entry, seconds, why }, arguments.json);
    }
    let Some(read) = &arguments.read else { return Err(Failure::new("nothing is named to be granted")) };
    let path = real(read)?;
    let status = tell(&arguments.run, &Ask::Grant { path: path.clone(), seconds, why }, arguments.json)?;
    if let Some(file) = arguments.always.as_deref().filter(|_| status == 0) {
        let invoker = environment::invoker()?;
        let file = source::absolute(file, &invoker);
        let added = lasting::add(&file, Path::new(&path), &invoker)?;
        if !arguments.json {
            let did = if added { "grants it to later sandboxes too" } else { "had that grant already" };
            terminal::print(&terminal::line(format!("{} {did}", file.display())));
        }
    }
    Ok(status)
}

pub(crate) fn revoke(arguments: &Revocation) -> Result<u8, Failure> {
    if let Some((act, entry)) =
        entry(arguments.command.as_ref(), arguments.host.as_ref(), arguments.credential.as_ref())?
    {
        return tell(&arguments.run, &Ask::Withdraw { act, entry }, arguments.json);
    }
    // What was granted may be gone from the host since.
    let path = arguments.read.as_deref().map(|path| real(path).or_else(|_| whole(path).map(PathBuf::into)));
    tell(&arguments.run, &Ask::Revoke { path: path.transpose()? }, arguments.json)
}

/// A command, a destination or a credential, as the sandbox knows it.
fn entry(
    command: Option<&String>,
    host: Option<&String>,
    credential: Option<&String>,
) -> Result<Option<(Act, String)>, Failure> {
    if let Some(name) = credential {
        return Ok(Some((Act::Use, name.clone())));
    }
    let Some(host) = host else { return Ok(command.map(|command| (Act::Start, command.clone()))) };
    let endpoint =
        Endpoint::parse(host).map_err(|invalid| Failure::new(format!("`--host {host}`: {invalid}")))?;
    Ok(Some((Act::Reach, endpoint.to_string())))
}

fn whole(path: &Path) -> Result<PathBuf, Failure> {
    Ok(environment::invoker()?.cwd.join(path))
}

/// As a boundary knows it: without links.
fn real(path: &Path) -> Result<OsString, Failure> {
    path.canonicalize().map(PathBuf::into).context(path.display().to_string())
}

fn tell(name: &str, ask: &Ask, json: bool) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let state = environment::open_state(&invoker)?;
    let (run, _) = found::find(&state, &invoker, name)?;
    let remote = named::call(&run).map_err(|_| {
        Failure::new(format!(
            "run {} takes no grants: it has ended, or its policy lets nothing be granted",
            run.id()
        ))
        .hint("`approvals.grantable = { read = [...], commands = [...], hosts = [...] }` in its policy says what may be granted while it runs")
    })?;
    remote.ask(ask, &[]).context("asking the sandbox")?;
    let (done, text) = match remote.report() {
        Some((Message::Answer { done, text }, _)) => (done, text),
        // A task may end of what it misses.
        _ if matches!(ask, Ask::Revoke { .. } | Ask::Withdraw { .. }) => {
            (true, "the sandbox has ended, and with it what was granted".to_owned())
        }
        _ => return Err(Failure::new("the sandbox ended before it answered")),
    };
    let seconds = match ask {
        Ask::Grant { seconds, .. } | Ask::Permit { seconds, .. } if done => *seconds,
        _ => None,
    };
    let until = seconds.map(|seconds| Timestamp::now().later(seconds));
    if json {
        let (access, target) = wanted(ask).unzip();
        super::print_json(&Told { done, run: run.id(), access, target, text: &text, until })?;
        return Ok(if done { 0 } else { Failure::REFUSED });
    }
    if !done {
        let failure = Failure::new(text).with_status(Failure::REFUSED);
        // An entry that none could be: the mend is known here, too.
        let help = match ask {
            Ask::Permit { act: Act::Start, entry, .. } => {
                CommandPattern::parse(entry, &invoker.home.to_string_lossy()).err()
            }
            _ => None,
        };
        let help = help.and_then(|invalid| invalid.help);
        return Err(help.into_iter().fold(failure, Failure::hint));
    }
    let until = until.map(|until| format!(", until {}", until.to_seconds())).unwrap_or_default();
    terminal::print(&terminal::escape(text + &until));
    Ok(0)
}

/// What an answer is about.
fn wanted(ask: &Ask) -> Option<(&'static str, String)> {
    match ask {
        Ask::Grant { path, .. } | Ask::Revoke { path: Some(path) } => {
            Some(("read", path.to_string_lossy().into_owned()))
        }
        Ask::Permit { act, entry, .. } | Ask::Withdraw { act, entry } => {
            let access = match act {
                Act::Start => "start",
                Act::Reach => "reach",
                Act::Use => "use",
            };
            Some((access, entry.clone()))
        }
        _ => None,
    }
}

/// `90s`, `10m`, `2h`, `1d`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: write `90s`, `10m` or `2h`");
    let split = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|seconds| (1..=30 * 86_400).contains(seconds)).ok_or_else(wrong)
}
