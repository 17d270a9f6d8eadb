//! What a run does, in order: load the policy, look, plan, confine, supervise, record, report.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ringfence_confine::{probe, survey};
use ringfence_plan::{Invoker, Plan, Request, Step};
use ringfence_policy::Policy;
use ringfence_record::{Event, Report, RunDirectory, RunRecord, Severity, State};
use ringfence_supervise::Ended;
use serde_json::json;

use crate::cli::PolicyArguments;
use crate::commands::run::Arguments;
use crate::failure::{Context, Failure};
use crate::{clock, environment, ids, layers, outcome, source, terminal};

/// The whole of it. The status is the command's own, or one of [`Failure`]'s.
pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    let begun = Instant::now();
    let tick = clock::coarse();
    environment::refuse_setuid()?;
    let mut report = Report { tier: "namespace".into(), ..Report::default() };
    let outcome = prepare_and_run(&arguments, tick, &mut report);
    report.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.exit = match &outcome {
        Ok(status) => *status,
        Err(failure) => failure.status(),
    };
    report.error = outcome.as_ref().err().map(|failure| failure.text().to_owned());
    if let Some(path) = &arguments.report {
        report.write(path).context(format!("writing the report {}", path.display()))?;
    }
    outcome
}

fn prepare_and_run(arguments: &Arguments, tick: clock::Instant, report: &mut Report) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let policy = source::load(&arguments.policy, &invoker)?;
    report.policy.clone_from(&policy.hash);
    let state = State::open(&invoker.state).context("the state directory")?;
    let directory = state.new_run().context("the run's directory")?;
    let mut run = Run { policy, invoker, state, directory, started: false };
    let outcome = run.go(arguments, tick, report);
    if !run.started {
        // Nothing ran: nothing is left behind.
        let _ = std::fs::remove_dir_all(&run.directory.path);
    }
    outcome
}

/// Looks at the host and plans; what it needs of a run that is not one yet is made up.
pub(crate) fn make_plan(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    command: Vec<OsString>,
    layers: &Path,
) -> Result<Plan, Failure> {
    make_plan_as(policy, invoker, arguments, command, layers, 0x7000_0000)
}

fn make_plan_as(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    command: Vec<OsString>,
    layers: &Path,
    unused_id: u32,
) -> Result<Plan, Failure> {
    let workspace = workspace(policy, invoker, arguments);
    let host = probe::host();
    let survey = survey::survey(policy, invoker, &workspace)?;
    let mut random = [0u8; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("random numbers")?;
    let request = Request {
        command,
        allow_degraded: arguments.allow_degraded.iter().cloned().collect(),
        layers: layers.to_path_buf(),
        unused_id,
        machine_id: format!("{:032x}", u128::from_ne_bytes(random)),
    };
    Ok(ringfence_plan::plan(policy, &survey, &host, invoker, &request)?)
}

fn workspace(policy: &Policy, invoker: &Invoker, arguments: &PolicyArguments) -> PathBuf {
    match (&arguments.workspace, &policy.workspace.path) {
        (Some(path), _) => invoker.cwd.join(path),
        (None, Some(rule)) => rule.value.clone(),
        (None, None) => invoker.cwd.clone(),
    }
}

struct Run {
    policy: Policy,
    invoker: Invoker,
    state: State,
    directory: RunDirectory,
    started: bool,
}

impl Run {
    fn go(&mut self, arguments: &Arguments, tick: clock::Instant, report: &mut Report) -> Result<u8, Failure> {
        let reserved = if self.invoker.root { Some(ids::reserve(&self.state)?) } else { None };
        let unused = reserved.as_ref().map_or(0, |(id, _)| *id);
        let command = arguments.command.clone();
        let plan = make_plan_as(&self.policy, &self.invoker, &arguments.policy, command, &self.directory.path, unused)?;
        self.describe(&plan, report);
        layers::make(&plan)?;
        let standard = ringfence_supervise::standard().context("the standard streams")?;
        let signals = ringfence_supervise::take_signals().context("signals")?;
        let mut log = self.directory.log().context("the run's log")?;
        let started = clock::after(tick);
        self.directory.write(&self.record(&plan, started)).context("the run's record")?;
        log.append(&self.start_event(&plan)).context("the run's log")?;
        self.started = true;
        let boundary = ringfence_confine::start(&plan, standard.streams).map_err(|failure| {
            let error = Failure::new(failure.to_string());
            match failure.remedy {
                Some(remedy) => error.hint(remedy),
                None => error,
            }
        })?;
        let ended = ringfence_supervise::run(&boundary, &signals, standard.relays, own_mounts(&plan))
            .context("watching the sandbox")?;
        if let Some((id, _lock)) = reserved {
            ids::release(&self.state, id);
        }
        self.end(&plan, &ended, &mut log, arguments, report)
    }

    fn describe(&self, plan: &Plan, report: &mut Report) {
        report.run.clone_from(&self.directory.id);
        report.tier = plan.tier.into();
        report.degraded = plan.degraded.iter().map(|degraded| degraded.name.clone()).collect();
        report.mode = mode(plan);
        for degraded in &plan.degraded {
            terminal::error(&format!("{} {}", terminal::label("note:"), degraded.effect));
        }
    }

    fn record(&self, plan: &Plan, started: clock::Instant) -> RunRecord {
        RunRecord {
            id: self.directory.id.clone(),
            started: ringfence_record::rfc3339(std::time::SystemTime::now()),
            command: plan.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            workspace: plan.workspace.clone(),
            mode: mode(plan),
            layers: layers::describe(plan, &self.policy, started),
            supervisor: std::process::id(),
        }
    }

    fn start_event(&self, plan: &Plan) -> Event {
        Event::new(
            "sandbox.start",
            Severity::Informational,
            json!({
                "identity": self.policy.identity,
                "policy": self.policy.hash,
                "sources": self.policy.sources,
                "tier": plan.tier,
                "command": plan.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(),
                "workspace": plan.workspace,
                "mode": plan.mode,
                "degraded": plan.degraded,
                "uid": self.invoker.uid,
            }),
        )
    }

    fn end(
        &self,
        plan: &Plan,
        ended: &Ended,
        log: &mut ringfence_record::Log,
        arguments: &Arguments,
        report: &mut Report,
    ) -> Result<u8, Failure> {
        let outcome = outcome::judge(plan, &self.invoker, ended);
        for refusal in &ended.refused {
            let detail = json!({ "unix": refusal.path, "process": refusal.process, "rule": "sockets need a grant of their own" });
            log.append(&Event::new("net.deny", Severity::Medium, detail)).context("the run's log")?;
        }
        if let Err(failure) = &outcome.result
            && failure.status() != Failure::OURS
        {
            let detail = json!({ "command": plan.command.first().map(|word| word.to_string_lossy()), "cause": failure.text() });
            log.append(&Event::new("exec.deny", Severity::Medium, detail)).context("the run's log")?;
            report.refusals += 1;
        }
        report.refusals += ended.refused.len() as u64;
        report.signal = outcome.signal;
        let changes = layers::settle(plan, &self.directory)?;
        report.changes = changes;
        let status = outcome.result.as_ref().map_or_else(Failure::status, |status| *status);
        let detail = json!({ "exit": status, "signal": outcome.signal, "limit": null, "refusals": report.refusals });
        log.append(&Event::new("sandbox.end", Severity::Informational, detail)).context("the run's log")?;
        if !arguments.quiet {
            self.say(ended, changes);
        }
        outcome.result
    }

    /// One line each, and only where there is something to say.
    fn say(&self, ended: &Ended, changes: Option<u64>) {
        if !ended.refused.is_empty() {
            let text = format!(
                "{} connection(s) to unix sockets of the host refused; see {}",
                ended.refused.len(),
                self.directory.log_path().display()
            );
            terminal::error(&format!("{} {text}", terminal::label("run:")));
        }
        if let Some(changes @ 1..) = changes {
            let (id, things) = (&self.directory.id, if changes == 1 { "change waits" } else { "changes wait" });
            let text = format!("{changes} {things}: `ringfence diff {id} --stat`, then `ringfence apply {id}` or `ringfence discard {id}`");
            terminal::error(&format!("{} {text}", terminal::label("run:")));
        }
    }
}

fn mode(plan: &Plan) -> String {
    serde_json::to_value(plan.mode).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Mount points of file systems that are the sandbox's own: sockets on them are too.
fn own_mounts(plan: &Plan) -> Vec<PathBuf> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Tmpfs { path, .. } | Step::Overlay { path, .. } => Some(path.clone()),
            _ => None,
        })
        .collect()
}
