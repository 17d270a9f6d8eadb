//! What a run does, in order: load the policy, look, plan, confine, supervise, record, report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use ringfence_confine::gateway::Gateway;
use ringfence_confine::keeper::Keeper;
use ringfence_confine::survey::{self, Look};
use ringfence_confine::{Boundary, Enclosure, Job, Message, Nascent, Settle, probe};
use ringfence_leaks::Scanner;
use ringfence_limits::Group;
use ringfence_plan::{Exposed, Invoker, Plan, Request, Trust, VOID};
use ringfence_policy::{Leaks, Policy};
use ringfence_record::{Event, Report, ReportFile, RunDir, RunRecord, State, Status, Writer};
use ringfence_supervise::{Desk, Limiter, Notice, Relay, Screen, Standard};
use ringfence_workspace::{Root, Start};
use rustix::io::Errno;

use crate::approvals::{self, Approvals};
use crate::cli::PolicyArguments;
use crate::commands::fork::Fork;
use crate::commands::run::Arguments;
use crate::custody::Reach;
use crate::decoys::{self, Decoy};
use crate::failure::{Context, Failure};
use crate::layers::{Fate, Settled};
use crate::recorded::words;
use crate::refusals::Refusals;
use crate::scribe::Scribe;
use crate::{
    chosen, clock, copies, credentials, environment, groups, ids, inspection, layers, leaks, named,
    not_executed, outcome, points, snapshot, source, summary, terminal, underway, unreached,
};

/// The whole of it. The status is the command's own, or one of [`Failure`]'s.
pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    let begun = Instant::now();
    let mut report = Report::default();
    // A place that cannot be written is found out before anything runs.
    let file = arguments.report.as_deref().map(ReportFile::create).transpose().context("the report")?;
    let outcome = prepare_and_run(&arguments, &mut report);
    report.duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.exit = i32::from(outcome.as_ref().map_or_else(Failure::status, |status| *status));
    report.error = outcome.as_ref().err().map(|failure| failure.plain());
    if let Some(file) = file {
        file.write(&report).context("the report")?;
    }
    outcome
}

fn prepare_and_run(arguments: &Arguments, report: &mut Report) -> Result<u8, Failure> {
    let mut invoker = environment::bare()?;
    let signals = ringfence_supervise::take_signals().context("signals")?;
    let standard = ringfence_supervise::standard().context("the standard streams")?;
    // From here on there are two ways at once: what follows, and the making of the namespaces.
    let nascent = begin(&invoker)?;
    invoker.variables = environment::variables();
    let mut run = Run::new(&arguments.policy, invoker, None)?;
    run.fate = match (arguments.keep, arguments.rm) {
        (true, _) => Fate::Keep,
        (_, true) => Fate::Remove,
        _ => Fate::Wait,
    };
    report.policy = Some(run.policy.hash.clone());
    let outcome = run.go(arguments, nascent, &signals, standard, report);
    run.clear();
    outcome
}

/// Namespaces that are being made, or why there will be none.
pub(crate) type Namespaces = Result<Nascent, String>;

/// Begins to make them.
pub(crate) fn begin(invoker: &Invoker) -> Result<Namespaces, Failure> {
    match environment::powerless_root(invoker)?.or_else(probe::no_user_namespaces) {
        Some(cause) => Ok(Err(cause)),
        None => ringfence_confine::begin(ringfence_plan::own_ids(invoker)).map(Ok).map_err(not_confined),
    }
}

/// Looks at the host and plans; what it needs of a run that is not one yet is made up.
pub(crate) fn make_plan(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    command: Vec<OsString>,
    layers: &Path,
) -> Result<Plan, Failure> {
    let decoys = decoys::make(policy).context("random numbers")?;
    let aside = aside("RUN");
    // As a run would find out.
    let namespaces =
        begin(invoker)?.and_then(|nascent| nascent.attempt().map_err(|failure| failure.to_string()));
    let given = Given {
        layers,
        aside: &aside,
        unused_id: 0x7000_0000,
        look: Look::Everything,
        decoys: &decoys,
        no_namespaces: namespaces.err(),
        trust: inspection::example(policy),
        base: Vec::new(),
        exposed: credentials::example(policy),
    };
    make_plan_as(policy, invoker, arguments, command, &given)
}

/// What a run brings to its plan.
struct Given<'a> {
    layers: &'a Path,
    aside: &'a Path,
    unused_id: u32,
    look: Look,
    decoys: &'a BTreeMap<PathBuf, Decoy>,
    /// Why none can be made, where that was tried.
    no_namespaces: Option<String>,
    /// Whom the task trusts, where TLS is looked into.
    trust: Option<Trust>,
    /// What copy-on-write directories begin with.
    base: Vec<String>,
    /// What it sees of credentials.
    exposed: Exposed,
}

/// Where another user than the invoker comes by a run's own directories.
fn aside(run: &str) -> PathBuf {
    Path::new(copies::ASIDE).join(run)
}

fn make_plan_as(
    policy: &Policy,
    invoker: &Invoker,
    arguments: &PolicyArguments,
    command: Vec<OsString>,
    given: &Given<'_>,
) -> Result<Plan, Failure> {
    let workspace = chosen::workspace(policy, invoker, arguments.workspace.as_deref());
    let mut host = probe::host();
    host.no_control_groups = groups::place(policy).err();
    host.no_user_namespaces = given.no_namespaces.clone().or(host.no_user_namespaces);
    // Only guessed, where nothing is built.
    host.proc &= given.look == Look::Needed || !probe::masked();
    let survey = survey::survey(policy, invoker, &workspace, given.look)
        .map_err(|refused| chosen::refused(policy, invoker, &workspace).unwrap_or_else(|| refused.into()))?;
    environment::recordable(&survey.workspace.real, "the workspace")?;
    for git in &survey.git {
        environment::recordable(&git.place.real, "the git directory")?;
    }
    chosen::check_resolved(policy, &survey, invoker)?;
    let mut random = [0u8; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("random numbers")?;
    let request = Request {
        command,
        allow_degraded: arguments.allow_degraded.iter().cloned().collect(),
        enter: arguments.workspace.is_some(),
        layers: given.layers.to_path_buf(),
        aside: given.aside.to_path_buf(),
        unused_id: given.unused_id,
        machine_id: format!("{:032x}", u128::from_ne_bytes(random)),
        trust: given.trust.clone(),
        base: given.base.clone(),
        exposed: given.exposed.clone(),
        decoys: given.decoys.iter().map(|(path, decoy)| (path.clone(), decoy.text.clone())).collect(),
    };
    let mut plan = ringfence_plan::plan(policy, &survey, &host, invoker, &request)?;
    unreached::check(&plan, &survey)?;
    if given.look == Look::Everything && plan.hosted.is_some() {
        plan.notes.extend(plan.landlock.as_ref().and_then(ringfence_confine::told_of_names));
    }
    Ok(plan)
}

/// One hash covers them all.
pub(crate) fn not_confined(failure: ringfence_confine::Failure) -> Failure {
    let error = Failure::new(failure.to_string());
    match failure.remedy {
        Some(remedy) => error.hint(remedy),
        None => error,
    }
}

/// A run that is being made, or goes on.
pub(crate) struct Run {
    pub(crate) policy: &'static Policy,
    pub(crate) invoker: Invoker,
    pub(crate) state: State,
    pub(crate) directory: RunDir,
    /// The name of one that holds many commands.
    pub(crate) name: Option<String>,
    /// What becomes of its changes.
    pub(crate) fate: Fate,
    /// What it begins with, if that is not the host's directory alone.
    pub(crate) fork: Option<Fork>,
    started: bool,
    begun: Instant,
}

/// A boundary with its record; no command runs in it yet.
pub(crate) struct Open {
    pub(crate) plan: &'static Plan,
    pub(crate) boundary: Boundary,
    pub(crate) log: Writer,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) refusals: Refusals,
    record: RunRecord,
    reserved: Option<(u32, File)>,
    /// What is looked for in what it writes.
    pub(crate) looked_for: Option<(Rc<Scanner>, Leaks)>,
    /// What git says as it begins.
    start: Option<Start>,
    /// Ends with it.
    _keeper: Option<Keeper>,
}

impl Run {
    /// Loads the policy and makes the run's directory.
    pub(crate) fn new(
        arguments: &PolicyArguments,
        invoker: Invoker,
        name: Option<String>,
    ) -> Result<Self, Failure> {
        // Never freed: the process ends with the run, and freeing a thousand strings would only delay that.
        let policy: &Policy = Box::leak(Box::new(source::load(arguments, &invoker)?));
        let state = environment::open_state(&invoker)?;
        underway::before_run(&state, policy, arguments, &invoker)?;
        let directory = state.new_run().context("the run's directory")?;
        Ok(Self {
            policy,
            invoker,
            state,
            directory,
            name,
            fate: Fate::Wait,
            fork: None,
            started: false,
            begun: Instant::now(),
        })
    }

    /// Plans, builds, records. With `relays`, what the task's kernel ids must be able to open again.
    pub(crate) fn open(
        &mut self,
        arguments: &PolicyArguments,
        command: Vec<OsString>,
        namespaces: Namespaces,
        relays: &[Relay],
        report: &mut Report,
    ) -> Result<Open, Failure> {
        let reserved = if self.invoker.root { Some(ids::reserve(&self.state)?) } else { None };
        let unused = reserved.as_ref().map_or(0, |(id, _)| *id);
        let decoys = decoys::make(self.policy).context("random numbers")?;
        let (gateway, trust) = inspection::begin(self.policy, &self.invoker)?;
        let reach = Reach::of(self.policy, &self.invoker, arguments.workspace.as_deref());
        let (keeper, exposed) = credentials::begin(
            self.policy,
            &mut self.invoker,
            &reach,
            gateway.as_ref(),
            self.directory.path(),
        )?;
        decoys::remember(&decoys, self.directory.path()).context("the run's decoys")?;
        let aside = aside(self.directory.id());
        let mut given = Given {
            layers: self.directory.path(),
            aside: &aside,
            unused_id: unused,
            look: Look::Needed,
            decoys: &decoys,
            no_namespaces: None,
            trust,
            base: self.fork.iter().map(|_| points::BASE.to_owned()).collect(),
            exposed,
        };
        let (plan, boundary, border) =
            self.stand(arguments, command, namespaces, relays, &mut given, gateway)?;
        let looked_for = leaks::output(self.policy, &self.invoker, &decoys, &plan.denied)?;
        self.describe(plan, report);
        snapshot::take(self.policy, plan, &self.invoker, self.directory.path())?;
        let begun = self.fork.is_some();
        let limiter = groups::limiter(self.policy, plan, &boundary, &self.state, &self.directory, begun)?;
        // While the boundary is built; its command starts when the record stands.
        let mut log = self.directory.create_events(self.identity()).context("the run's log")?;
        let mut head = log.append(&self.start_event(plan)).context("the run's log")?;
        if let Some(fork) = &self.fork {
            head = fork.note(&mut log, self.directory.id(), self.name.as_deref().unwrap_or_default())?;
        }
        let border = border.unwrap_or_else(|| self.border(plan));
        let started = self.fork.as_ref().map_or(border.moment, |fork| fork.started);
        let mut record = self.record(plan, started);
        record.head = Some(head);
        self.directory.write_record(&record, false).context("the run's record")?;
        self.started = true;
        layers::sweep(&self.state);
        groups::sweep(&self.state);
        if !plan.layers.is_empty() {
            border.pass();
        }
        let start = layers::hold(plan, started);
        Ok(Open {
            plan,
            boundary,
            log,
            limiter,
            refusals: Refusals::new(self.policy, plan),
            record,
            reserved,
            looked_for,
            start,
            _keeper: keeper,
        })
    }

    fn border(&self, plan: &Plan) -> clock::Border {
        plan.layers.iter().for_each(|layer| Root::settle(&layer.host));
        clock::border(self.directory.path(), plan.layers.iter().map(|layer| &*layer.host))
    }

    /// Plans, and builds what is planned; where the namespaces turn out to be refused, both once more without them.
    fn stand(
        &self,
        arguments: &PolicyArguments,
        command: Vec<OsString>,
        namespaces: Namespaces,
        relays: &[Relay],
        given: &mut Given<'_>,
        mut gateway: Option<Gateway>,
    ) -> Result<(&'static Plan, Boundary, Option<clock::Border>), Failure> {
        let mut nascent = namespaces.map_err(|cause| given.no_namespaces = Some(cause)).ok();
        // What is in a gateway cannot be put into another: where it may turn out that none of this stands, one goes first that is empty.
        let mut first = gateway.is_some() && probe::contained();
        let mut told = false;
        loop {
            let plan = make_plan_as(self.policy, &self.invoker, arguments, command.clone(), given)?;
            let plan: &Plan = Box::leak(Box::new(plan));
            if let Some(gateway) = gateway.as_ref().filter(|_| !std::mem::replace(&mut told, true)) {
                leaks::begin(self.policy, &self.invoker, given.decoys, &plan.denied, gateway)?;
            }
            environment::may_become(plan, &self.invoker)?;
            let (single, watched) = (self.name.is_none(), groups::watched(plan));
            if plan.ids.mapped || plan.hosted.is_some() && plan.ids.outside_uid != self.invoker.uid {
                ringfence_supervise::give(relays, plan.ids.outside_uid, plan.ids.outside_gid)
                    .context("the standard streams")?;
            }
            let Some(born) = nascent.take().filter(|_| plan.hosted.is_none()) else {
                // What changes on the host while it is copied is a change since then.
                let border = self.border(plan);
                self.lay(plan)?;
                let trust = (given.trust.as_ref(), &given.exposed);
                let held = &copies::make(plan, &self.invoker, &self.state, trust)?;
                let settle = Settle { held, then: &|| copies::settle(plan) };
                let boundary = ringfence_confine::begin_hosted(plan, single, watched, settle, gateway.take())
                    .map_err(not_confined)?;
                return Ok((plan, boundary, Some(border)));
            };
            layers::make(plan, &self.state)?;
            self.lay(plan)?;
            let mut empty = None;
            let led = if first { &mut empty } else { &mut gateway };
            match born.build(plan, single, watched, approvals::files(self.policy), led) {
                // Where something else is around, what is refused is known only when it was tried.
                Ok(boundary) if probe::contained() => match boundary.stands() {
                    Ok(()) if std::mem::take(&mut first) => {
                        drop(boundary);
                        nascent =
                            begin(&self.invoker)?.map_err(|cause| given.no_namespaces = Some(cause)).ok();
                    }
                    Ok(()) => return Ok((plan, boundary, None)),
                    Err((stage, errno @ (Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::PIPE))) => {
                        let what = ringfence_confine::stage(plan, stage);
                        given.no_namespaces = Some(format!("{}: {errno}", what.trim()));
                    }
                    Err((stage, errno)) => return Err(outcome::construction(plan, stage, errno)),
                },
                Ok(boundary) => return Ok((plan, boundary, None)),
                Err(failure) if failure.no_namespaces() => given.no_namespaces = Some(failure.to_string()),
                Err(failure) => return Err(not_confined(failure)),
            }
        }
    }

    /// What a fork begins with comes below its layers.
    fn lay(&self, plan: &Plan) -> Result<(), Failure> {
        let Some(fork) = &self.fork else { return Ok(()) };
        points::write_stack(self.directory.path(), &fork.lay(plan)?)
    }

    /// Nobody can be reached any more; where nothing ran, nothing is left behind.
    pub(crate) fn clear(&self) {
        named::close(&self.directory);
        if !self.started {
            // The overlay leaves a directory in it that has no permission at all, where its file system was mounted already.
            let _ = ringfence_workspace::remove_tree(self.directory.path());
        }
    }

    fn go(
        &mut self,
        arguments: &Arguments,
        nascent: Namespaces,
        signals: &OwnedFd,
        mut standard: Standard,
        report: &mut Report,
    ) -> Result<u8, Failure> {
        let command = arguments.command.clone();
        if self.policy.runtime.terminal_raw {
            standard.unfiltered();
        }
        let mut open = self.open(&arguments.policy, command, nascent, &standard.relays, report)?;
        if let Some((scanner, action)) = &open.looked_for {
            standard.sift(scanner, *action);
        }
        let grantable = approvals::any(self.policy);
        let socket = if grantable { Some(named::listener(&self.directory)?) } else { None };
        let file = source::file(&arguments.policy, &self.invoker).filter(|_| standard.screen.is_some());
        let scribe = file.and_then(|file| Scribe::start(self.policy, open.plan, file, &self.invoker));
        self.enclose(&open)?;
        open.boundary.start(&job(open.plan, &standard), &standard.passed).map_err(not_confined)?;
        drop(standard.passed);
        let (relays, screen, limiter) = (standard.relays, standard.screen, open.limiter.as_mut());
        let (boundary, log, refusals) = (&open.boundary, &mut open.log, &mut open.refusals);
        let log = RefCell::new(log);
        let mut tell = |notice: Notice<'_>| refusals.note(&notice, &mut log.borrow_mut());
        let mut clerk = Approvals::new(
            self.policy,
            open.plan,
            environment::context(&self.invoker),
            &log,
            (self.directory.id(), screen.is_none()),
        )
        .lasting(scribe);
        let desk = socket.map(|socket| Desk::new(boundary, socket, &mut clerk));
        let ended = ringfence_supervise::run(boundary, signals, relays, screen, limiter, &mut tell, desk)
            .context("watching the sandbox")?;
        let unexecuted = ended.messages.iter().any(|message| matches!(message, Message::NotExecuted { .. }));
        let rule = if unexecuted { open.refusals.rule(&words(open.plan)) } else { None };
        let outcome = outcome::judge(self.policy, open.plan, &self.invoker, (&ended, rule));
        let outcome = outcome::limited(outcome, open.plan, open.limiter.as_ref(), report);
        let outcome = outcome::leaked(outcome, ended.leaked.as_ref());
        let plan = open.plan;
        let passed = open.refusals.passed();
        let (opened, cleaned) = (open.refusals.decoys().to_vec(), open.refusals.cleaned());
        let (mut result, changes) = self.end(open, outcome, report)?;
        // Where the boundary could not be built, that is the news.
        let cut_off = ended.cut_off && result.is_ok();
        if let Some(errno) = ended.lost {
            let failure = Failure::new(format!("a part of the command's output was lost: {errno}"));
            // The command could not know; its own failure says more.
            match result {
                Ok(0) => result = Err(failure),
                _ => drop(failure.print()),
            }
        }
        if cut_off {
            terminal::error(&format!(
                "{} the gateway ended before the command: the network was cut off",
                terminal::label("run:")
            ));
        }
        for unseen in plan.degraded.iter().filter(|one| one.name == VOID && plan.hosted.is_none()) {
            terminal::error(&format!("{} {}", terminal::label("note:"), unseen.effect));
        }
        if !arguments.quiet {
            // Who saw it fail wants to know why.
            if let Some(fails) = plan.git_fails.as_ref().filter(|_| !matches!(result, Ok(0))) {
                terminal::error(&format!("{} {}", terminal::label("note:"), terminal::escape(fails)));
            }
            summary::say(self.directory.id(), report.refusals, passed, changes);
            summary::cleaned(self.directory.id(), &cleaned);
        }
        summary::opened(self.directory.id(), &opened);
        result
    }

    /// From here on this process reaches of the host only what it takes to write down how the run goes and to tidy up.
    pub(crate) fn enclose(&self, open: &Open) -> Result<(), Failure> {
        let mut enclosure = Enclosure {
            own: vec![self.directory.path().to_owned()],
            names: open.plan.layers.iter().map(|layer| layer.host.clone()).collect(),
            notes: ["groups", "names"].map(|name| self.state.path().join(name)).to_vec(),
            // What git's index says at the end, by which an undo knows a later look of git's.
            looks: snapshot::place(self.directory.path())
                .map(|_| open.plan.workspace.join(".git"))
                .filter(|git| git.symlink_metadata().is_ok_and(|found| found.is_dir()))
                .into_iter()
                .collect(),
            groups: Vec::new(),
            task: open.plan.ids.mapped.then_some(open.plan.ids.outside_uid),
        };
        if let Some(hosted) = &open.plan.hosted {
            enclosure.own.push(hosted.base.clone());
            if open.plan.ids.outside_uid != self.invoker.uid {
                enclosure.notes.extend(hosted.base.parent().map(Path::to_owned));
            }
        }
        // What is granted later is searched for what stays hidden in it.
        enclosure.names.extend(ringfence_policy::grantable_bases(self.policy));
        if !open.plan.layers.is_empty() {
            enclosure.own.push(layers::aside(&self.state).context("the state directory")?);
        }
        for group in open.limiter.iter().filter_map(Limiter::group).flat_map(Group::directories) {
            enclosure.groups.push(group.clone());
            enclosure.notes.extend(group.parent().map(Path::to_owned));
        }
        ringfence_confine::enclose(&enclosure).map_err(not_confined)
    }

    /// Writes down how it ended. What became of its layers comes along.
    pub(crate) fn end(
        &self,
        open: Open,
        outcome: outcome::Outcome,
        report: &mut Report,
    ) -> Result<(Result<u8, Failure>, Settled), Failure> {
        let Open {
            plan, mut boundary, mut log, limiter, refusals, mut record, reserved, start, _keeper, ..
        } = open;
        boundary.finish();
        refusals.sum_up(&mut log)?;
        // A command that is nowhere was not refused.
        let refused = |failure: &&Failure| {
            failure.status() == Failure::REFUSED
                || failure.status() == Failure::NOT_FOUND && !failure.hints().is_empty()
        };
        let untold = |_: &&Failure| refusals.rule(&words(plan)).is_none();
        if let Some(failure) = outcome.result.as_ref().err().filter(refused).filter(untold) {
            let (rule, remedy) = not_executed::recorded(failure);
            let event = Event::ExecDeny {
                command: words(plan),
                rule,
                remedy,
                grantable: false,
                parent: None,
                file: String::new(),
                directory: String::new(),
                process: 0,
                program: String::new(),
                times: 1,
            };
            log.append(&event).context("the run's log")?;
            report.refusals += 1;
        }
        if let (Some(limit), Err(failure)) = (&report.limit, &outcome.result) {
            let event = Event::LimitHit { limit: limit.clone(), what: failure.text().to_owned() };
            log.append(&event).context("the run's log")?;
        }
        report.refusals += refusals.total();
        report.others = refusals.others();
        report.signal = outcome.signal;
        let remove = self.fate == Fate::Remove || outcome.idle;
        let settled = layers::settle(plan, &self.state, &self.directory, &record, remove, start.as_ref());
        copies::clear(plan);
        snapshot::ended(self.directory.path(), &plan.workspace)?;
        let status = outcome.result.as_ref().map_or_else(Failure::status, |status| *status);
        let event = Event::SandboxEnd {
            exit: i32::from(status),
            signal: outcome.signal,
            limit: report.limit.clone(),
            stopped: outcome.stopped,
            duration_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            refusals: report.refusals,
        };
        record.head = Some(log.append(&event).context("the run's log")?);
        let thrown = self.fate == Fate::Remove && settled == Settled::None;
        record.status = if thrown { Status::Discarded } else { Status::Ended };
        self.directory.write_record(&record, false).context("the run's record")?;
        drop(boundary);
        groups::release(limiter, &self.state, &self.directory);
        drop(reserved);
        report.changes = match settled {
            Settled::Changes(count) => Some(count),
            _ => None,
        };
        report.uncounted = (settled == Settled::Uncounted)
            .then(|| layers::uncounted(plan, &self.invoker, self.directory.id()));
        Ok((outcome.result, settled))
    }
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
    .in_copy(&plan.workspace, &plan.inside())
}
