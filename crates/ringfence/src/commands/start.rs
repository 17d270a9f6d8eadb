//! `ringfence start`: a sandbox that holds many commands, kept by a process of its own.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use clap::Args;
use ringfence_confine::Job;
use ringfence_record::{Event, Report};
use ringfence_supervise::{Grants, Happening, Server, Standard, Template};
use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::fds::close_range;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::approvals::{self, Approvals};
use crate::cli::PolicyArguments;
use crate::commands::fork::Fork;
use crate::failure::{Context, Failure};
use crate::named::{self, Claim};
use crate::outcome::{self, Outcome};
use crate::run::{Namespaces, Open, Run, begin, not_confined};
use crate::{chosen, cli, environment, points, terminal};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence start dev                            an empty sandbox; commands come by `exec`
  ringfence start web --preset coding-agent -- npm run dev
  ringfence exec web -- curl -s localhost:5173
  ringfence logs web
  ringfence stop web

Everything in it ends with `stop`, or when its keeper is killed; changes of the workspace wait for `apply` as after `run`.
A command that cannot be executed starts no sandbox: 127, or 126 where it may not be, as after `run`.")]
pub(crate) struct Arguments {
    /// Its name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    /// A command to start with; its output is kept for `ringfence logs`
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// What it begins with.
    #[arg(skip)]
    pub(crate) fork: Option<Fork>,
}

pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    let (ready, begun) = pipe_with(PipeFlags::CLOEXEC).context("a pipe")?;
    match clone(0).context("fork")? {
        Forked::Child => {
            drop(ready);
            keep(arguments, begun)
        }
        Forked::Parent(keeper, _) => {
            drop(begun);
            let mut word = [0; 64];
            let length = rustix::io::read(&ready, &mut word).unwrap_or(0);
            if length == 0 {
                // It has said why.
                let ended = rustix::process::waitpid(Some(keeper), rustix::process::WaitOptions::empty());
                let status = ended.ok().flatten().and_then(|(_, status)| status.exit_status());
                return Ok(status.and_then(|status| u8::try_from(status).ok()).unwrap_or(Failure::OURS));
            }
            let run = String::from_utf8_lossy(word.get(..length).unwrap_or_default()).into_owned();
            terminal::print(&format!("sandbox `{}` is up, run {run}", arguments.name));
            Ok(0)
        }
    }
}

/// The keeper: a supervisor without a terminal.
fn keep(arguments: Arguments, begun: OwnedFd) -> Result<u8, Failure> {
    rustix::process::setsid().context("a session of its own")?;
    // A lock or a pipe of whoever called would be held for as long as the sandbox lives. Nothing else is open yet.
    let own = begun.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, own.saturating_sub(1)), (own.saturating_add(1).max(3), u32::MAX)] {
        if first <= last {
            close_range(first, last).context("closing the caller's descriptors")?;
        }
    }
    let mut invoker = environment::bare()?;
    let signals = ringfence_supervise::take_signals().context("signals")?;
    let nascent = begin(&invoker)?;
    invoker.variables = environment::variables();
    let mut run = Run::new(&arguments.policy, invoker, Some(arguments.name.clone()))?;
    run.fork.clone_from(&arguments.fork);
    let outcome = serve(&mut run, arguments, nascent, &signals, begun);
    run.clear();
    outcome
}

fn serve(
    run: &mut Run,
    arguments: Arguments,
    nascent: Namespaces,
    signals: &OwnedFd,
    begun: OwnedFd,
) -> Result<u8, Failure> {
    let mut claim = Claim::take(&run.state, &arguments.name)?;
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    chosen::remember(run.directory.path(), &cli::sources(&arguments.policy, &words), &run.invoker)?;
    let mut standard = kept_output(run)?;
    let mut report = Report::default();
    let command = arguments.command;
    let mut open = run.open(&arguments.policy, command.clone(), nascent, &standard.relays, &mut report)?;
    if let Some((scanner, action)) = &open.looked_for {
        standard.sift(scanner, *action);
    }
    // It is up only when it stands: nobody would be told later why it does not.
    open.boundary.stands().map_err(|(stage, errno)| outcome::construction(open.plan, stage, errno))?;
    let socket = named::listener(&run.directory)?;
    claim.lead_to(&run.directory)?;
    let served = {
        let null = openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = null.context("/dev/null")?;
        let pipe = pipe_with(PipeFlags::CLOEXEC).context("a pipe")?;
        run.enclose(&open)?;
        let Open { plan, boundary, log, limiter, refusals, .. } = &mut open;
        let log = RefCell::new(log);
        let context = environment::context(&run.invoker);
        let mut clerk = Approvals::new(run.policy, plan, context, &log, (run.directory.id(), true));
        let grants = approvals::any(run.policy).then(|| Grants::new(&mut clerk));
        let template = Template {
            environment: plan.environment.clone(),
            directory: plan.directory.clone(),
            workspace: plan.workspace.clone(),
            inside: plan.inside(),
            stack: run.directory.path().join(points::STACK),
            alone: run.policy.guard.pipes.as_ref().filter(|rule| !rule.value).map(|rule| {
                format!(
                    "`commands.pipes = false` ({}): one command at a time, and another one runs",
                    rule.origin
                )
            }),
            foreign: plan.ids.mapped.then_some((plan.ids.outside_uid, plan.ids.outside_gid)),
        };
        let first = Job {
            id: 0,
            command,
            environment: plan.environment.clone(),
            directory: plan.directory.clone().into_os_string(),
            streams: standard.streams,
            terminal: None,
        }
        .in_copy(&plan.workspace, &plan.inside());
        let mut tell = |happening: Happening<'_>| match happening {
            Happening::Noticed(notice) => refusals.note(&notice, &mut log.borrow_mut()),
            Happening::Started { job, command } => log.borrow_mut().append(&started(job, command)).is_ok(),
            Happening::Points(note) => {
                log.borrow_mut().append(&points::event(note.clone(), run.directory.id())).is_ok()
            }
            Happening::Ended { job, exit } => log.borrow_mut().append(&Event::ExecEnd { job, exit }).is_ok(),
        };
        let mut server =
            Server::new(boundary, signals, socket, template, limiter.as_mut(), &mut tell, grants);
        let unexecuted = match first.command.is_empty() {
            true => None,
            false => server.begin(first, standard.passed, standard.relays, pipe).map_err(not_confined)?,
        };
        match unexecuted.and_then(|why| outcome::unexecuted(run.policy, plan, &run.invoker, (&why, None))) {
            Some(failure) => Err(failure),
            None => {
                rustix::io::write(&begun, run.directory.id().as_bytes()).context("saying that it is up")?;
                drop(begun);
                leave_streams(&null)?;
                Ok(server.run().context("keeping the sandbox")?)
            }
        }
    };
    let (result, served) = match served {
        Ok(served) => (Ok(0), Some(served)),
        Err(failure) => (Err(failure), None),
    };
    let stopped = served.as_ref().is_some_and(|served| served.stopped);
    let ended = Outcome { stopped, ..Outcome::new(result, None) };
    let outcome = outcome::limited(ended, open.plan, open.limiter.as_ref(), &mut report);
    let leaked = served.as_ref().and_then(|served| served.leaked.as_ref());
    let outcome = outcome::leaked(outcome, leaked);
    let (result, _) = run.end(open, outcome, &mut report)?;
    named::close(&run.directory);
    // Whoever waits for the end finds the name free.
    drop(claim);
    drop(served);
    result
}

fn started(job: u32, command: &[OsString]) -> Event {
    Event::ExecStart {
        job,
        command: command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
    }
}

/// Output goes to a file of the run.
fn kept_output(run: &Run) -> Result<Standard, Failure> {
    let path = run.directory.path().join(crate::commands::logs::FILE);
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(CWD, &path, flags, Mode::from_raw_mode(0o600))
        .context(format!("making {}", path.display()))?;
    Standard::kept(&File::from(file)).context("the kept output")
}

fn leave_streams(null: &OwnedFd) -> Result<(), Failure> {
    rustix::stdio::dup2_stdin(null)
        .and_then(|()| rustix::stdio::dup2_stdout(null))
        .and_then(|()| rustix::stdio::dup2_stderr(null))
        .context("the standard streams")
}
