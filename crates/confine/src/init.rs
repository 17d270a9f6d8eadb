//! pid 1 of the sandbox: starts commands, judges what they connect to, reaps, reports how they ended. When it goes, the
//! kernel ends the rest. It sees what the task sees and holds no right that it lacks but to read its memory.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringfence_limits::Watcher;
use ringfence_sys::{exec, fds, signals};
use ringfence_void::Ledger;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

use crate::child::{Outcome, Own};
use crate::connections::Connections;
use crate::guard::Guard;
use crate::hosted::{self, Sockets};
use crate::job::{self, Rules, Told};
use crate::landlock::Found;
use crate::leader;
use crate::orders::{Job, Request};
use crate::rare::{rare, watched};
use crate::reach::Reach;
use crate::report::{self, Message, send};
use crate::rest::Rest;
use crate::spare::Spare;
use crate::stage::Stage;
use crate::unnamed::Unnamed;
use crate::{channel, lives, publish, void};

/// How often those who wait for a peer are looked at again.
const RETRY: Duration = Duration::from_millis(5);
/// How often memory and processes are looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Numbers of refused system calls begin here, far from those of connects and of files.
pub(crate) const CALLS: u32 = 1 << 30;
/// Counts in one message.
const MOST_COUNTS: usize = 256;

/// How often those who run are ended anew, before it is given up: 200 us each.
const ROUNDS: usize = 10_000;

/// How long nothing has happened when a spare process is made: since a command began, and since one ended, whose client has
/// heard of it then and does not ask for the next one yet.
const QUIET: Duration = Duration::from_millis(1);
const QUIET_AFTER: Duration = Duration::from_micros(100);

pub(crate) const CHILD: i32 = 17; // SIGCHLD
/// What the warden's death sends, in tier `landlock`.
pub(crate) const TERM: i32 = 15; // SIGTERM
/// The root's server, which the maker forks after init.
const SERVER: i32 = 2;

struct Init {
    /// Has something to read when any of those has that are rare.
    rare: OwnedFd,
    report: OwnedFd,
    /// Where processes are told of.
    lives: Option<OwnedFd>,
    /// Both ends of where new processes hand over the listeners of their filters.
    inbox: (OwnedFd, OwnedFd),
    rules: Rules,
    own: Own,
    /// Commands by the process that stands for them: itself, or the leader of its terminal's session.
    jobs: HashMap<Pid, Running>,
    connections: BTreeMap<u32, Connections>,
    /// Those that make directories anew for callers that are gone since.
    renaming: Vec<Pid>,
    /// Number of the next refusal.
    refusal: u32,
    /// System calls that were refused, and when their counts are told.
    calls: Ledger,
    due: Option<Instant>,
    watcher: Option<Watch>,
    /// Files without a name are looked at, where the workspace has a quota.
    unnamed: Option<Unnamed>,
    rest: Rest,
    /// Where arguments are looked at.
    guard: Option<Guard>,
    /// Where there is a network.
    reach: Option<Reach>,
    /// Whose start that had to wait was judged last.
    turn: u32,
    spare: Option<Spare>,
    /// One is to be made after so long: for each command one, so that a task that kills them causes no more.
    wanted: Option<Duration>,
    /// How many there were.
    spares: u32,
    /// Everything is stopped.
    paused: bool,
}

struct Running {
    job: u32,
    led: bool,
}

struct Watch {
    watcher: Watcher,
    next: Instant,
}

/// Never returns.
pub(crate) fn run(report: OwnedFd, mut rules: Rules, mut own: Own) -> ! {
    // Everything blocked: pid 1 is not to be interrupted, and what is not waited for stays pending.
    let _ = signals::block_only(&signals::Set::all());
    let waited: &[i32] = if rules.hosted { &[CHILD, TERM] } else { &[CHILD] };
    let Ok(children) = signals::descriptor(&signals::Set::of(waited)) else { exec::exit_now(125) };
    let inbox = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let Ok(inbox) = inbox else { exec::exit_now(125) };
    let _ = process::setsid();
    let memory = std::mem::take(&mut own.memory);
    let mut kept = vec![&report, &children, &inbox.0, &inbox.1];
    let sockets = own.sockets.take();
    kept.extend(
        memory.iter().chain(&own.way).chain(&own.turn).chain(sockets.iter().flat_map(Sockets::descriptors)),
    );
    kept.extend(rules.found.iter().flat_map(Found::descriptors));
    fds::keep_only(&kept);
    send(report.as_fd(), &Message::Ready);
    rules.prepare();
    let trees = own.hosted.as_ref().map(|judge| judge.code().clone());
    let guard = rules.guard.take().map(|guard| Guard::new(guard, rules.debug, trees));
    let reach = rules.network.take().map(|rules| Reach::new(rules, sockets));
    let watcher = rules.watched.then(|| Watch {
        watcher: Watcher::new(&rules.limits, process::getpid(), memory),
        next: Instant::now(),
    });
    let looked_at = [rules.limits.quota, rules.limits.temporary].into_iter().flatten().min();
    let unnamed = looked_at.map(|limit| Unnamed::new(own.workspaces(), own.disks(), limit, rules.hosted));
    let Ok(watched) = watched(&children, (&report, &inbox.0), &own, reach.as_ref()) else {
        exec::exit_now(125)
    };
    let mut init = Init {
        rare: watched,
        report,
        lives: None,
        inbox,
        rules,
        own,
        jobs: HashMap::new(),
        connections: BTreeMap::new(),
        renaming: Vec::new(),
        refusal: 0,
        // Its keys are random: they are drawn while the boundary is being built.
        calls: Ledger::starting(CALLS),
        due: None,
        watcher,
        unnamed,
        rest: Rest::default(),
        guard,
        reach,
        turn: 0,
        spare: None,
        wanted: None,
        spares: 0,
        paused: false,
    };
    loop {
        init.turn(&children);
    }
}

impl Init {
    fn turn(&mut self, children: &OwnedFd) {
        // Calls wait behind listeners, a hundred thousand in a second of some tasks; all else is rare, and looked at as one.
        let mut polled = vec![PollFd::new(&self.rare, PollFlags::IN)];
        for connections in self.connections.values() {
            let wanted = if connections.room() { PollFlags::IN } else { PollFlags::empty() };
            polled.push(PollFd::new(connections.listener(), wanted));
        }
        // Who cannot wait cannot see a command end either: better all of it ends.
        if self.rest.poll(&mut polled, self.patience()).is_err() {
            exec::exit_now(125)
        }
        let calls: Vec<PollFlags> = polled.iter().skip(1).map(PollFd::revents).collect();
        let rare = polled.first().is_some_and(|rare| !rare.revents().is_empty());
        if self.wanted.is_some() && !rare && calls.iter().all(PollFlags::is_empty) {
            self.make_spare();
        }
        let told = rare && self.turn_to_others(children);
        self.tell_processes();
        self.connect(&calls);
        // One listener more: only now, since each has its event by its place.
        if told {
            self.listen();
        }
        self.watch();
        self.guard.iter_mut().for_each(Guard::look);
        self.tell_processes();
        self.tell_counts();
    }

    /// What is rare. Whether a new filter is in place.
    fn turn_to_others(&mut self, children: &OwnedFd) -> bool {
        let sockets = self.reach.as_ref().and_then(|reach| reach.sockets.as_ref());
        let mut polled = rare(children, (&self.report, &self.inbox.0), &self.own, sockets);
        if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
            return false;
        }
        let events: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        let [ended, asked, told, others @ ..] = &events[..] else { return false };
        let (lent, ways) = others.split_at(usize::from(self.own.way.is_some()));
        if !ended.is_empty() {
            let mut record = [0; signals::RECORD];
            let _ = rustix::io::read(children, &mut record);
            if signals::number(&record) == Some(TERM) {
                self.end_all();
                exec::exit_now(125)
            }
            self.reap();
        }
        if !asked.is_empty() {
            self.answer();
        }
        // Nothing is waited for there but its end.
        if ways.iter().any(|event| !event.is_empty()) {
            self.reach.iter_mut().filter_map(|reach| reach.sockets.as_mut()).for_each(Sockets::close);
        }
        let wanted = lent.iter().any(|event| !event.is_empty());
        if wanted && self.own.way.as_ref().is_some_and(|way| !publish::lend(way)) {
            self.own.way = None;
        }
        !told.is_empty()
    }

    /// Programs that have started and ended: where nobody is woken by it, and is told now and then to read.
    fn tell_processes(&mut self) {
        let (Some(guard), Some(lives)) = (&mut self.guard, &self.lives) else { return };
        let (processes, due) = guard.processes();
        let wake = || send(self.report.as_fd(), &Message::Processes(Vec::new()));
        lives::tell(lives.as_fd(), &processes, wake);
        if due {
            wake();
        }
    }

    fn say(&self, message: &Message) {
        send(self.report.as_fd(), message);
    }

    /// Now and then: a flood is told of in a few messages.
    fn tell_counts(&mut self) {
        if !self.calls.dirty() {
            return;
        }
        let due = *self.due.get_or_insert_with(|| Instant::now() + EVERY);
        if due <= Instant::now() {
            self.tell_some_counts();
            self.due = None;
        }
    }

    fn tell_some_counts(&mut self) {
        let (counts, others) = self.calls.counts(MOST_COUNTS);
        self.say(&Message::Again { counts, others });
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        let busy = self.connections.values().any(Connections::busy).then_some(RETRY);
        let next = self.watcher.as_ref().filter(|_| !self.jobs.is_empty());
        let next = next.map(|watch| watch.next.saturating_duration_since(Instant::now()));
        let unnamed = self.unnamed.as_ref().filter(|_| !self.jobs.is_empty()).map(Unnamed::patience);
        let due = self.due.map(|due| due.saturating_duration_since(Instant::now()));
        let guard = self.guard.as_ref().and_then(Guard::patience);
        busy.into_iter().chain(next).chain(unnamed).chain(due).chain(self.wanted).chain(guard).min()
    }

    /// Its number counts down from where no command's number gets.
    fn make_spare(&mut self) {
        self.wanted = None;
        let told = Told { report: &self.report, inbox: &self.inbox.1 };
        self.spare = Spare::new(&self.rules, u32::MAX - self.spares, told).ok();
        self.spares = (self.spares + 1) % CALLS;
    }

    /// Others come, and one process more is not counted against a limit.
    fn spares_help(&self) -> bool {
        !self.rules.single && self.rules.limits.processes.is_none()
    }

    /// A command with a terminal needs a leader besides; every other one can be what is there already.
    fn start(&mut self, job: &Job, passed: Vec<OwnedFd>) -> Outcome<Pid> {
        self.wanted = self.spares_help().then_some(QUIET);
        if job.terminal.is_none()
            && let Some(spare) = self.spare.take()
            && let Ok(pid) = spare.become_job(job, &passed)
        {
            return Ok(pid);
        }
        job::start(&self.rules, job, passed, Told { report: &self.report, inbox: &self.inbox.1 })
    }

    /// A new filter is in place.
    fn listen(&mut self) {
        if let Some((Message::Listening { job }, Some(listener))) = report::receive(self.inbox.0.as_fd()) {
            self.connections.insert(job, Connections::new(listener, job));
        }
    }

    /// `events` are those of the listeners, in order.
    fn connect(&mut self, events: &[PollFlags]) {
        let mut events = events.iter();
        let (own, report, refusal) = (&self.own, &self.report, &mut self.refusal);
        let calls = &mut self.calls;
        let (guard, reach, renaming) = (&mut self.guard, &mut self.reach, &mut self.renaming);
        self.connections.retain(|number, connections| {
            let events = events.next().copied().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::IN) {
                if let Some(refused) = connections.serve(own, *refusal, calls, guard.as_mut(), reach.as_mut())
                {
                    *refusal = refusal.wrapping_add(1) % CALLS;
                    send(report.as_fd(), &Message::Refused(refused));
                }
            } else if events.contains(PollFlags::HUP) {
                // The last who could ask is gone.
                guard.iter_mut().for_each(|guard| guard.forget(*number));
                renaming.extend(connections.renames.process());
                return false;
            }
            connections.retry();
            true
        });
        self.resume();
    }

    /// Starts that waited are judged, those of each command in its turn: none holds up another's.
    fn resume(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        let mut without = 0;
        while guard.room() && without < self.connections.len() {
            let later = self.connections.range(self.turn.saturating_add(1)..).next();
            let Some((&number, _)) = later.or_else(|| self.connections.first_key_value()) else { return };
            self.turn = number;
            let Some(connections) = self.connections.get_mut(&number) else { return };
            let Some(resumed) = connections.resume(self.refusal, guard) else {
                without += 1;
                continue;
            };
            without = 0;
            if let Some(refused) = resumed {
                self.refusal = self.refusal.wrapping_add(1) % CALLS;
                send(self.report.as_fd(), &Message::Refused(refused));
            }
        }
    }

    fn look_at_unnamed(&mut self) {
        let Some(unnamed) = self.unnamed.as_mut().filter(|_| !self.jobs.is_empty()) else { return };
        let leaders = self.jobs.iter().filter(|(_, running)| running.led).map(|(pid, _)| *pid);
        let renaming = self.connections.values().filter_map(|connections| connections.renames.process());
        let renaming = renaming.chain(self.renaming.iter().copied());
        let skip: Vec<Pid> =
            leaders.chain(self.spare.iter().map(|spare| spare.pid)).chain(renaming).collect();
        if let Some(message) = unnamed.look(&skip) {
            self.say(&message);
        }
    }

    /// Looks at memory and processes, if that is due.
    fn watch(&mut self) {
        self.look_at_unnamed();
        let Some(watch) = &mut self.watcher else { return };
        let now = Instant::now();
        if watch.next > now {
            return;
        }
        watch.next = now + EVERY;
        let Some(exceeded) = watch.watcher.exceeded() else { return };
        let message = match exceeded.limit {
            "processes" => Message::ManyProcesses,
            _ => Message::MuchMemory,
        };
        self.say(&message);
        self.end_all();
    }

    fn answer(&mut self) {
        match channel::receive::<Request>(self.report.as_fd()) {
            Ok((Request::Lives, passed)) => self.lives = passed.into_iter().next(),
            Ok((Request::Start(job), passed)) => match self.start(&job, passed) {
                Ok(pid) => {
                    self.jobs.insert(pid, Running { job: job.id, led: job.terminal.is_some() });
                }
                Err((stage, errno)) => {
                    self.say(&Message::Failed { stage, errno, job: job.id });
                    self.ended(&Message::Exited { job: job.id, status: 125 });
                }
            },
            Ok((Request::Signal { job, signal, group }, _)) => self.signal(job, signal, group),
            Ok((Request::Written { number }, _)) => {
                self.connections.values_mut().any(|connections| connections.written(number));
            }
            Ok((Request::Who(mut refusal), _)) => {
                if let Some(reach) = &self.reach {
                    reach.identify(&mut refusal);
                }
                self.say(&Message::Refused(refusal));
            }
            Ok((Request::Permit { number, granted }, _)) => {
                self.guard.iter_mut().for_each(|guard| guard.permit(number, granted.clone()));
            }
            Ok((Request::Withdraw { number }, _)) => {
                self.guard.iter_mut().for_each(|guard| guard.withdraw(number));
            }
            Ok((Request::Reach { number, granted }, _)) => {
                self.reach.iter_mut().for_each(|reach| reach.grant(number, granted.clone()));
            }
            Ok((Request::Unreach { number }, _)) => {
                self.reach.iter_mut().for_each(|reach| reach.withdraw(number));
            }
            Ok((Request::Retry { number }, _)) => self.judge_again(number),
            Ok((Request::Pause, _)) => self.pause(true),
            Ok((Request::Resume, _)) => self.pause(false),
            Ok((Request::Quiet { end }, _)) => {
                let yes = self.quiet(end);
                self.say(&Message::Quiet { yes });
            }
            Ok((Request::Renew, _)) => {
                let renewed = self.own.renew().and_then(|paths| self.rules.renew(&paths));
                self.guard.iter_mut().for_each(Guard::renewed);
                self.wanted = self.spares_help().then_some(QUIET);
                send(
                    self.report.as_fd(),
                    &match renewed {
                        Ok(()) => Message::Renewed,
                        Err(errno) => Message::Failed { stage: Stage::Landlock as u32, errno, job: 0 },
                    },
                );
            }
            Ok((Request::End, _)) => {
                self.end_all();
                exec::exit_now(0)
            }
            // The supervisor is gone, or speaks no more of ours.
            Err(_) => {
                if self.rules.hosted {
                    self.end_all();
                }
                exec::exit_now(125)
            }
        }
    }

    /// Whether nothing runs; what waits to become a command has entered what there was, and goes.
    fn quiet(&mut self, end: bool) -> bool {
        self.wanted = None;
        if let Some(spare) = self.spare.take() {
            spare.end();
            let _ = process::waitpid(Some(spare.pid), WaitOptions::empty());
        }
        self.reap();
        for _ in 0..ROUNDS {
            if !end || childless() {
                break;
            }
            match &self.own.only {
                Some(only) => hosted::signal_all(only, Signal::KILL),
                // Others are in the namespace, which stay.
                None => hosted::signal_below(Signal::KILL),
            }
            self.reap();
            std::thread::sleep(Duration::from_micros(200));
        }
        childless()
    }

    fn judge_again(&mut self, number: u32) {
        let Some(guard) = &mut self.guard else { return };
        let mut waiting = self.connections.values_mut();
        let Some(judged) = waiting.find_map(|one| one.judge_again(number, self.refusal, guard)) else {
            return;
        };
        if let Some(refusal) = judged {
            self.refusal = self.refusal.wrapping_add(1) % CALLS;
            self.say(&Message::Refused(refusal));
        }
    }

    fn signal(&self, job: u32, signal: i32, group: bool) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        for (pid, running) in self.jobs.iter().filter(|(_, running)| running.job == job) {
            // The process that stands for a command leads its group, or hands on what it gets.
            let _ = if running.led && signal == Signal::STOP {
                process::kill_process(*pid, leader::HOLD)
            } else if group {
                process::kill_process_group(*pid, signal)
            } else {
                process::kill_process(*pid, signal)
            };
        }
    }

    /// Collects every child that ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if let Some(late) = self.guard.as_mut().and_then(|guard| guard.told(pid, status)) {
                if let Some(refusal) = late {
                    self.say(&Message::Refused(refusal));
                }
                continue;
            }
            if !status.stopped() {
                self.renaming.retain(|own| *own != pid);
                self.connections.values_mut().for_each(|one| one.renamed(pid, &self.own));
                self.guard.iter_mut().for_each(|guard| guard.reaped(pid, status));
            }
            if status.stopped() {
                // A task may stop the leader of its session, which must see it end. One that goes on hands that on.
                if !self.paused && self.jobs.get(&pid).is_some_and(|running| running.led) {
                    let _ = process::kill_process(pid, Signal::CONT);
                }
                // Nobody who means well stops what is no command yet.
                if let Some(spare) = self.spare.take_if(|spare| spare.pid == pid) {
                    spare.end();
                }
            } else if self.spare.take_if(|spare| spare.pid == pid).is_some() {
                // The next command is started without.
            } else if let Some(Running { job, .. }) = self.jobs.remove(&pid) {
                self.wanted = self.wanted.map(|_| QUIET_AFTER);
                self.ended(&message(job, status));
            }
        }
    }

    fn ended(&mut self, message: &Message) {
        if self.rules.single {
            self.end_all();
            self.guard.iter_mut().for_each(Guard::gone);
        }
        while self.calls.dirty() {
            self.tell_some_counts();
        }
        self.tell_processes();
        self.say(message);
        if self.rules.single {
            exec::exit_now(0);
        }
    }
}

impl Init {
    fn pause(&mut self, pause: bool) {
        self.paused = pause;
        self.all(if pause { Signal::STOP } else { Signal::CONT });
        // Init may be judging what waits already: it would wait for names without end, and never hear that all goes on.
        if pause
            && self.rules.served
            && let Some(server) = Pid::from_raw(SERVER)
        {
            let _ = process::kill_process(server, Signal::CONT);
        }
    }

    fn all(&self, signal: Signal) {
        match &self.own.only {
            Some(only) => hosted::signal_all(only, signal),
            // In tier `landlock` there is always one.
            None if self.rules.hosted => {}
            // kill(-1, ...): in a pid namespace of one's own that is everybody in it.
            None => drop(process::kill_process_group(Pid::INIT, signal)),
        }
    }

    /// Ends everything else, so that the report finds nobody who could still change something.
    fn end_all(&mut self) {
        if let Some(only) = &self.own.only {
            hosted::end_all(only);
        } else {
            if self.rules.served {
                // Who could stop the server is stopped first, and the server goes on.
                self.pause(true);
                void::tell_all();
            }
            self.all(Signal::KILL);
            while let Ok(ended) = process::wait(WaitOptions::empty()) {
                if let (Some((pid, status)), Some(guard)) = (ended, &mut self.guard) {
                    guard.reaped(pid, status);
                }
            }
        }
    }
}

/// Nobody who is alive, and nobody who has ended and was not seen.
fn childless() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    process::waitid(WaitId::All, options).is_err_and(|errno| errno == Errno::CHILD)
}

fn message(job: u32, status: process::WaitStatus) -> Message {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Message::Exited { job, status: status.unsigned_abs() },
        (_, signal) => Message::Signalled { job, signal: signal.unwrap_or(9).unsigned_abs() },
    }
}
