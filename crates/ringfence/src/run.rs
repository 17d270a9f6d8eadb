//! What a run does, in order: load the policy, look, plan, confine, supervise, record, report.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ringfence_confine::{Job, Nascent, probe, survey};
use ringfence_plan::{Invoker, Plan, Request, Step, Survey};
use ringfence_policy::{Mode, Policy};
use ringfence_record::{
    Event, Identity, Process, Report, RunDir, RunRecord, Source, State, Status, Timestamp, Writer,
};
use ringfence_supervise::{Ended, Screen, Standard};

use crate::cli::PolicyArguments;
use crate::commands::run::Arguments;
use crate::failure::{Context, Failure};
use crate::{clock, environment, ids, layers, outcome, source, terminal};

/// The whole of it. The status is the command's own, or one of [`Failure`]'s.
pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    let begun = Instant::now();
    environment::refuse_setuid()?;
    let mut report = Report::default();
    let outcome = prepare_and_run(&arguments, &mut report);
    report.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.exit = i32::from(outcome.as_ref().map_or_else(Failure::status, |status| *status));
    report.error = outcome.as_ref().err().map(|failure| failure.text().to_owned());
    if let Some(path) = &arguments.report {
        report.write(path).context(format!("writing the report {}", path.display()))?;
    }
    outcome
}

fn prepare_and_run(arguments: &Arguments, report: &mut Report) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let signals = ringfence_supervise::take_signals().context("signals")?;
    let standard = ringfence_supervise::standard(invoker.root).context("the standard streams")?;
    let nascent = ringfence_confine::begin(ringfence_plan::own_ids(&invoker)).map_err(not_confined)?;
    // From here on there are two ways at once: what follows, and the making of the namespaces.
    let policy: &Policy = Box::leak(Box::new(source::load(&arguments.policy, &invoker)?));
    report.policy = Some(policy.hash.clone());
    let state = State::open(&invoker.state).context("the state directory")?;
    let directory = state.new_run().context("the run's directory")?;
    let mut run = Run { policy, invoker, state, directory, started: false, begun: Instant::now() };
    let world = World { nascent, signals, standard };
    let outcome = run.go(arguments, world, report);
    if !run.started {
        // Nothing ran: nothing is left behind.
        let _ = std::fs::remove_dir_all(run.directory.path());
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
    check_resolved(policy, &survey, invoker)?;
    let mut random = [0u8; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("random numbers")?;
    let request = Request {
        command,
        allow_degraded: arguments.allow_degraded.iter().cloned().collect(),
        enter: arguments.workspace.is_some(),
        layers: layers.to_path_buf(),
        unused_id,
        machine_id: format!("{:032x}", u128::from_ne_bytes(random)),
    };
    Ok(ringfence_plan::plan(policy, &survey, &host, invoker, &request)?)
}

/// What no policy may grant, it may not grant through a link either.
fn check_resolved(policy: &Policy, survey: &Survey, invoker: &Invoker) -> Result<(), Failure> {
    let context = environment::context(invoker);
    let forbidden =
        |invalid: ringfence_policy::Invalid, what: &str| Failure::new(format!("{what}: {invalid}"));
    if policy.workspace.mode != Mode::Temporary
        && let Some(invalid) = ringfence_policy::check_workspace(&survey.workspace.real, &context)
    {
        return Err(forbidden(invalid, "workspace")
            .hint("change to the project's directory, or name it with `--workspace`"));
    }
    for (list, writable) in [(&survey.read, false), (&survey.exec, false), (&survey.write, true)] {
        for found in list {
            let Some(place) = found.place.as_ref().filter(|place| !place.links.is_empty()) else { continue };
            if let Some(invalid) = ringfence_policy::check_grant(&place.real, writable, &context) {
                let origin = &found.grant.origin;
                return Err(forbidden(invalid, &format!("{}:{}", origin.source, origin.line)));
            }
        }
    }
    Ok(())
}

fn workspace(policy: &Policy, invoker: &Invoker, arguments: &PolicyArguments) -> PathBuf {
    match (&arguments.workspace, &policy.workspace.path) {
        (Some(path), _) => invoker.cwd.join(path),
        (None, Some(rule)) => rule.value.clone(),
        (None, None) => invoker.cwd.clone(),
    }
}

fn not_confined(failure: ringfence_confine::Failure) -> Failure {
    let error = Failure::new(failure.to_string());
    match failure.remedy {
        Some(remedy) => error.hint(remedy),
        None => error,
    }
}

/// What was taken hold of before the policy was read.
struct World {
    nascent: Nascent,
    signals: OwnedFd,
    standard: Standard,
}

struct Run {
    policy: &'static Policy,
    invoker: Invoker,
    state: State,
    directory: RunDir,
    started: bool,
    begun: Instant,
}

impl Run {
    fn go(&mut self, arguments: &Arguments, world: World, report: &mut Report) -> Result<u8, Failure> {
        let World { nascent, signals, standard } = world;
        let reserved = if self.invoker.root { Some(ids::reserve(&self.state)?) } else { None };
        let unused = reserved.as_ref().map_or(0, |(id, _)| *id);
        let command = arguments.command.clone();
        // Never freed: the process ends with the run, and freeing a thousand strings would only delay that.
        let plan: &Plan = Box::leak(Box::new(make_plan_as(
            self.policy,
            &self.invoker,
            &arguments.policy,
            command,
            self.directory.path(),
            unused,
        )?));
        self.describe(plan, report);
        layers::make(plan)?;
        if plan.ids.mapped {
            ringfence_supervise::give(&standard.relays, plan.ids.outside_uid, plan.ids.outside_gid)
                .context("the standard streams")?;
        }
        let mut boundary = nascent.build(plan, true).map_err(not_confined)?;
        // While the boundary is built; its command starts when the record stands.
        let mut log = self.directory.create_events(self.identity()).context("the run's log")?;
        let head = log.append(&self.start_event(plan)).context("the run's log")?;
        let border = clock::border(self.directory.path(), plan.layers.iter().map(|layer| &*layer.host));
        let mut record = self.record(plan, border.moment);
        record.head = Some(head);
        self.directory.write_record(&record, false).context("the run's record")?;
        self.started = true;
        layers::sweep(&self.state);
        if !plan.layers.is_empty() {
            border.pass();
        }
        boundary.start(&job(plan, &standard), &standard.passed).map_err(not_confined)?;
        drop(standard.passed);
        let (relays, screen) = (standard.relays, standard.screen);
        let ended = ringfence_supervise::run(&boundary, &signals, relays, screen, own_mounts(plan))
            .context("watching the sandbox")?;
        if let Some((id, _lock)) = reserved {
            ids::release(&self.state, id);
        }
        self.end(plan, &ended, &mut log, record, arguments, report)
    }

    fn describe(&self, plan: &Plan, report: &mut Report) {
        report.run = Some(self.directory.id().to_owned());
        report.tier = Some(plan.tier.to_owned());
        report.degraded = degraded(plan);
        report.mode = Some(mode(plan));
        for degraded in &plan.degraded {
            terminal::error(&format!("{} {}", terminal::label("note:"), degraded.effect));
        }
    }

    fn record(&self, plan: &Plan, started: clock::Instant) -> RunRecord {
        RunRecord {
            id: self.directory.id().to_owned(),
            started: Timestamp::now(),
            command: words(plan),
            identity: self.identity(),
            workspace: plan.workspace.clone(),
            mode: mode(plan),
            layers: layers::describe(plan, started),
            status: Status::Running,
            supervisor: Process::own(),
            head: None,
        }
    }

    /// Who is running, as the policy says.
    fn identity(&self) -> Option<Identity> {
        self.policy.identity.as_ref().map(|rule| Identity {
            name: match &rule.value {
                ringfence_policy::Identity::Name(name) | ringfence_policy::Identity::Spiffe(name) => {
                    name.clone()
                }
            },
            asserted_by: "policy".into(),
        })
    }

    fn start_event(&self, plan: &Plan) -> Event {
        Event::SandboxStart {
            policy: self.policy.hash.clone(),
            // One hash covers them all.
            sources: self
                .policy
                .sources
                .iter()
                .map(|name| Source { name: name.clone(), sha256: String::new() })
                .collect(),
            tier: plan.tier.to_owned(),
            command: words(plan),
            workspace: plan.workspace.display().to_string(),
            mode: mode(plan),
            degraded: degraded(plan),
        }
    }

    fn end(
        &self,
        plan: &Plan,
        ended: &Ended,
        log: &mut Writer,
        mut record: RunRecord,
        arguments: &Arguments,
        report: &mut Report,
    ) -> Result<u8, Failure> {
        let outcome = outcome::judge(plan, &self.invoker, ended);
        for refusal in &ended.refused {
            let event = Event::NetDeny {
                unix: refusal.path.display().to_string(),
                process: refusal.process,
                rule: "a socket of the host needs a grant of its own".into(),
            };
            log.append(&event).context("the run's log")?;
        }
        if let Err(failure) = &outcome.result
            && failure.status() != Failure::OURS
        {
            let event = Event::ExecDeny {
                command: words(plan),
                rule: failure.text().to_owned(),
                remedy: failure.hints().to_vec(),
            };
            log.append(&event).context("the run's log")?;
            report.refusals += 1;
        }
        report.refusals += ended.refused.len() as u64;
        report.signal = outcome.signal;
        let changes = layers::settle(plan, &self.state, &self.directory, &record)?;
        report.changes = changes;
        let status = outcome.result.as_ref().map_or_else(Failure::status, |status| *status);
        let event = Event::SandboxEnd {
            exit: i32::from(status),
            signal: outcome.signal,
            limit: None,
            duration_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            refusals: report.refusals,
        };
        record.head = Some(log.append(&event).context("the run's log")?);
        record.status = Status::Ended;
        self.directory.write_record(&record, false).context("the run's record")?;
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
                self.directory.events().display()
            );
            terminal::error(&format!("{} {text}", terminal::label("run:")));
        }
        if let Some(changes @ 1..) = changes {
            let (id, things) =
                (self.directory.id(), if changes == 1 { "change waits" } else { "changes wait" });
            let text = format!(
                "{changes} {things}: `ringfence diff {id} --stat`, then `ringfence apply {id}` or `ringfence discard {id}`"
            );
            terminal::error(&format!("{} {text}", terminal::label("run:")));
        }
    }
}

fn words(plan: &Plan) -> Vec<String> {
    plan.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn degraded(plan: &Plan) -> Vec<ringfence_record::Degraded> {
    let one = |degraded: &ringfence_plan::Degraded| ringfence_record::Degraded {
        name: degraded.name.clone(),
        effect: degraded.effect.clone(),
    };
    plan.degraded.iter().map(one).collect()
}

fn mode(plan: &Plan) -> String {
    serde_json::to_value(plan.mode)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The plan's command, as init is told to start it.
fn job(plan: &Plan, standard: &Standard) -> Job {
    Job {
        id: 0,
        command: plan.command.clone(),
        environment: plan.environment.clone(),
        directory: plan.directory.clone().into_os_string(),
        streams: standard.streams,
        terminal: standard.screen.as_ref().map(Screen::size),
    }
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
