//! Keeps a sandbox that holds many commands: takes clients on a socket, starts what they ask, tells them how it ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::{Boundary, Failure, Job, Message, Rest, WayOut};
use ringfence_leaks::Hit;
use ringfence_sys::signals;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::clients::Client;
use crate::grants::Grants;
use crate::outlet::Found;
use crate::remote::{LONGEST, Note};
use crate::restack::Wish;
use crate::{Limiter, Notice, Refusal, Relay, readable};

/// Clients at one time; more wait in the socket's queue.
const MOST_CLIENTS: usize = 512;
const TERM: i32 = 15;

/// What is written down.
#[derive(Debug)]
pub enum Happening<'a> {
    /// A command begins.
    Started {
        /// Its number.
        job: u32,
        /// The command and its arguments.
        command: &'a [OsString],
    },
    /// It ended.
    Ended {
        /// Its number.
        job: u32,
        /// Exit status, or 128 and the signal's number.
        exit: i32,
    },
    /// Something was refused.
    Noticed(Notice<'a>),
    /// Somebody did something with points of the workspace.
    Points(&'a Note),
}

/// What every command of the sandbox gets.
#[derive(Debug)]
pub struct Template {
    /// Its variables.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where it starts, unless its client stands in the workspace.
    pub directory: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// Where paths in it are inside.
    pub inside: PathBuf,
    /// Why a second command may not run beside another one; `None`: it may.
    pub alone: Option<String>,
    /// Where it is written down what copy-on-write directories are made of.
    pub stack: PathBuf,
    /// The kernel ids of the task, if they are not the invoker's.
    pub foreign: Option<(u32, u32)>,
}

/// The sandbox, and whom it serves.
pub struct Server<'a> {
    pub(crate) boundary: &'a mut Boundary,
    signals: &'a OwnedFd,
    pub(crate) socket: OwnedFd,
    relays: Vec<Relay>,
    pub(crate) template: Template,
    pub(crate) clients: Vec<Client>,
    pub(crate) next: u32,
    pub(crate) running: usize,
    pub(crate) until: Option<Instant>,
    pub(crate) limiter: Option<&'a mut Limiter>,
    pub(crate) tell: &'a mut dyn FnMut(Happening<'_>) -> bool,
    /// Where the policy lets something be granted.
    pub(crate) grants: Option<Grants<'a>>,
    /// The gateway is gone.
    cut_off: bool,
    leaked: Option<Hit>,
    /// Somebody asked for its end.
    stopped: bool,
    /// Asked for, and not done yet.
    pub(crate) wish: Option<(Wish, OwnedFd)>,
    /// The first command is not executed yet: this ends then.
    begins: Option<OwnedFd>,
    /// Why it was not.
    unexecuted: Option<Message>,
    rest: Rest,
    /// Room for one; made once, since it is large.
    pub(crate) request: Vec<u8>,
}

/// What became of it. Clients that wait for its end see that when this is dropped.
pub struct Served {
    /// It was ended because of a secret in what its first command wrote.
    pub leaked: Option<Hit>,
    /// Somebody asked for its end.
    pub stopped: bool,
    _clients: Vec<Client>,
}

impl<'a> Server<'a> {
    /// `socket` listens; `tell` writes down and says whether it could.
    pub fn new(
        boundary: &'a mut Boundary,
        signals: &'a OwnedFd,
        socket: OwnedFd,
        template: Template,
        limiter: Option<&'a mut Limiter>,
        tell: &'a mut dyn FnMut(Happening<'_>) -> bool,
        grants: Option<Grants<'a>>,
    ) -> Self {
        Self {
            boundary,
            signals,
            socket,
            relays: Vec::new(),
            template,
            clients: Vec::new(),
            next: 0,
            running: 0,
            until: None,
            limiter,
            tell,
            grants,
            cut_off: false,
            leaked: None,
            stopped: false,
            wish: None,
            begins: None,
            unexecuted: None,
            rest: Rest::default(),
            request: vec![0; LONGEST],
        }
    }

    /// `relays` move its streams, where no client does.
    pub(crate) fn start(
        &mut self,
        mut job: Job,
        passed: &[OwnedFd],
        relays: Vec<Relay>,
    ) -> Result<(), Failure> {
        job.id = self.next;
        self.next += 1;
        self.relays.extend(relays);
        if !(self.tell)(Happening::Started { job: job.id, command: &job.command }) {
            // What cannot be written down does not happen.
            return Err(Failure { part: "writing the run's log".into(), errno: Errno::IO, remedy: None });
        }
        self.running += 1;
        self.boundary.start(&job, passed)
    }

    /// Starts the first command, and serves until it is executed, or the owner is asked about it. `Some`: it could not be, and the
    /// sandbox has ended. `pipe`, both ends of one that closes on exec, is how that is seen.
    ///
    /// # Errors
    /// As [`Boundary::start`], and the kernel's.
    pub fn begin(
        &mut self,
        job: Job,
        mut passed: Vec<OwnedFd>,
        relays: Vec<Relay>,
        pipe: (OwnedFd, OwnedFd),
    ) -> Result<Option<Message>, Failure> {
        let failed = |errno| Failure { part: "starting the command".into(), errno, remedy: None };
        let (begins, held) = pipe;
        passed.push(held);
        self.start(job, &passed, relays)?;
        drop(passed);
        self.begins = Some(begins);
        let asked = |own: &Self| own.grants.as_ref().is_some_and(|grants| grants.question().is_some());
        while self.begins.is_some() && !asked(self) && self.turn().map_err(failed)? {}
        self.begins = None;
        let unexecuted = self.unexecuted.take();
        if unexecuted.is_some() {
            self.boundary.kill();
            while self.turn().map_err(failed)? {}
        }
        Ok(unexecuted)
    }

    /// Serves until the sandbox has ended.
    ///
    /// # Errors
    /// The kernel's; dropping the boundary ends the sandbox.
    pub fn run(mut self) -> Result<Served, Errno> {
        while self.turn()? {}
        while self.boundary.looks().is_some_and(readable) && self.look() {}
        for relay in &mut self.relays {
            relay.drain();
        }
        self.leaks();
        self.grants.iter_mut().for_each(Grants::finish);
        let tell = &mut self.tell;
        self.boundary.last_words(&mut |refusal| {
            let _ = tell(Happening::Noticed(Notice::Refusal(refusal)));
        });
        if let Some(limiter) = self.limiter {
            limiter.look();
        }
        Ok(Served { leaked: self.leaked, stopped: self.stopped, _clients: self.clients })
    }

    /// Waits for something, and does it; `false`: the sandbox has ended.
    fn turn(&mut self) -> Result<bool, Errno> {
        let ready = self.poll()?;
        if ready.report && !self.report() || ready.ended {
            return Ok(false);
        }
        if ready.look {
            self.look();
        }
        if ready.way {
            match self.boundary.way() {
                WayOut::Open => {}
                WayOut::Refused(refusal) => self.refused(&refusal),
                WayOut::Gone => {
                    self.cut_off = true;
                    if !(self.tell)(Happening::Noticed(Notice::NoNetwork)) {
                        self.boundary.kill();
                    }
                }
            }
        }
        self.open_and_close(ready.opened);
        if ready.signals {
            self.take_signals();
        }
        for relay in &mut self.relays {
            relay.step();
        }
        self.leaks();
        if ready.knocked {
            self.accept();
        }
        self.serve(&ready.clients);
        self.put_question();
        if let Some((wish, client)) = self.wish.take() {
            self.restack(wish, &client);
        }
        let written = self.relays.iter().map(Relay::written).sum();
        if self.limiter.as_mut().is_some_and(|limiter| limiter.check(written)) {
            self.boundary.kill();
        }
        if self.until.is_some_and(|until| self.running == 0 || until <= Instant::now()) {
            self.boundary.end();
            self.until = None;
        }
        // What was reported before that is taken first.
        if ready.begun && !ready.report {
            self.begins = None;
        }
        Ok(true)
    }

    /// Tells of secrets in what its first command wrote.
    fn leaks(&mut self) {
        let found = self.relays.iter_mut().flat_map(Relay::found).collect();
        let (ends, hit) = Found::tell(found, |found| (self.tell)(Happening::Noticed(Notice::Leak(found))));
        if ends {
            self.boundary.kill();
        }
        self.leaked = self.leaked.take().or(hit);
    }

    fn poll(&self) -> Result<Ready, Errno> {
        // Looked at before the reports: what was said before it ended is seen with it.
        let begins = self.begins.iter().map(|begins| PollFd::new(begins, PollFlags::IN));
        let mut polled: Vec<_> = begins.collect();
        polled.extend([
            PollFd::new(&self.boundary.pidfd, PollFlags::IN),
            PollFd::new(&self.boundary.report, PollFlags::IN),
            PollFd::new(self.signals, PollFlags::IN),
        ]);
        let room = self.clients.len() < MOST_CLIENTS;
        polled.push(PollFd::new(&self.socket, if room { PollFlags::IN } else { PollFlags::empty() }));
        let looks = self.boundary.looks();
        polled.extend(looks.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let ways = self.boundary.ways().filter(|_| !self.cut_off);
        polled.extend(ways.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let openings = self.boundary.openings();
        polled.extend(openings.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        polled.extend(self.clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)));
        let relays: Vec<_> = self.relays.iter().filter_map(Relay::wants).collect();
        polled.extend(relays.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        self.rest.poll(&mut polled, self.patience())?;
        let mut events = polled.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let begun = self.begins.is_some() && !next().is_empty();
        let [ended, report, signals, knocked] =
            [next(), next(), next(), next()].map(|flags| !flags.is_empty());
        let look = looks.is_some() && !next().is_empty();
        let way = ways.is_some() && !next().is_empty();
        let opened = openings.is_some() && !next().is_empty();
        Ok(Ready {
            ended,
            report,
            look,
            way,
            opened,
            begun,
            signals,
            knocked: knocked && room,
            clients: self.clients.iter().map(|_| !next().is_empty()).collect(),
        })
    }

    fn patience(&self) -> Option<Duration> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = self.limiter.as_ref().and_then(|limiter| limiter.patience());
        let grants = self.grants.as_ref().and_then(Grants::patience);
        left.into_iter().chain(limit).chain(grants).min()
    }

    /// What is granted beside the policy's own grants.
    fn open_and_close(&mut self, opened: bool) {
        let Some(grants) = &mut self.grants else { return };
        let fine = !opened
            || match self.boundary.opened() {
                Some(message) => grants.told(self.boundary, &message),
                None => grants.orphaned(),
            };
        if !(fine && grants.expire(self.boundary)) {
            self.boundary.kill();
        }
    }

    /// Takes one report; `false` once there will be no more.
    fn report(&mut self) -> bool {
        let Some((message, descriptor)) = self.boundary.report() else { return false };
        self.take(&message, descriptor.as_ref());
        true
    }

    pub(crate) fn take(&mut self, message: &Message, descriptor: Option<&OwnedFd>) {
        match message {
            Message::Refused(refusal) => self.refused(refusal),
            Message::Again { counts, others } => {
                if !(self.tell)(Happening::Noticed(Notice::Again { counts, others: *others })) {
                    self.boundary.kill();
                }
            }
            Message::Processes(processes) => {
                let told = |process| (self.tell)(Happening::Noticed(Notice::Process(process)));
                if !processes.iter().all(told) {
                    self.boundary.kill();
                }
            }
            Message::MuchMemory | Message::ManyProcesses | Message::Unnamed { .. } => {
                if let Some(limiter) = &mut self.limiter {
                    limiter.told(message);
                }
            }
            Message::Ready
            | Message::Made(_)
            | Message::Listening { .. }
            | Message::Opened { .. }
            | Message::Closed { .. }
            | Message::Shown
            | Message::Left(_)
            | Message::Quiet { .. }
            | Message::Question(_)
            | Message::Renewed
            | Message::Answer { .. } => {}
            Message::Exited { job, status } => {
                self.ended(*job, i32::try_from(*status).unwrap_or(255), message);
            }
            Message::Signalled { job, signal } => {
                self.ended(*job, 128 + i32::try_from(*signal).unwrap_or(0), message);
            }
            Message::Failed { job, .. } | Message::NotExecuted { job, .. } => {
                if self.begins.is_some() && *job == 0 {
                    self.unexecuted = Some(message.clone());
                }
                self.pass_on(*job, message, descriptor);
            }
            Message::Stopped { job, .. } | Message::Terminal { job } => {
                self.pass_on(*job, message, descriptor);
            }
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn stack_file(&self) -> &Path {
        &self.template.stack
    }

    fn refused(&mut self, refusal: &Refusal) {
        let taken = self.grants.as_mut().and_then(|grants| grants.take_up(self.boundary, refusal));
        if let Some(fine) = taken {
            if !fine {
                self.boundary.kill();
            }
            return;
        }
        if (self.tell)(Happening::Noticed(Notice::Refusal(refusal))) {
            self.boundary.written(refusal);
        } else {
            // What cannot be written down does not go on.
            self.boundary.kill();
        }
    }

    /// Takes one report of the root's server; without it, `false`, nothing can be found any more.
    fn look(&mut self) -> bool {
        let told = match self.boundary.look() {
            Some(Message::Refused(refusal)) => {
                self.refused(&refusal);
                true
            }
            Some(message @ (Message::Shown | Message::Left(_))) => {
                self.grants.as_mut().is_none_or(|grants| grants.told(self.boundary, &message))
            }
            Some(Message::Again { counts, others }) => {
                (self.tell)(Happening::Noticed(Notice::Again { counts: &counts, others }))
            }
            _ => false,
        };
        if !told {
            self.boundary.kill();
        }
        told
    }

    fn ended(&mut self, job: u32, exit: i32, message: &Message) {
        self.running = self.running.saturating_sub(1);
        (self.tell)(Happening::Ended { job, exit });
        // A limit that ended it ends all of it, and its client hears of that by the end of the connection.
        if let Some(limiter) = &mut self.limiter {
            limiter.look();
            if limiter.exceeded().is_some() {
                self.boundary.kill();
                return;
            }
        }
        self.pass_on(job, message, None);
        self.clients.retain(|client| client.job != Some(job));
    }

    fn take_signals(&mut self) {
        let mut record = [0; signals::RECORD];
        while let Ok(length) = rustix::io::read(self.signals.as_fd(), &mut record) {
            let ends =
                record.get(..length).and_then(signals::number).is_some_and(|n| matches!(n, 2 | 3 | TERM));
            if ends {
                self.stop(Duration::from_secs(2));
            }
        }
    }

    pub(crate) fn stop(&mut self, grace: Duration) {
        for job in 0..self.next {
            self.boundary.signal(job, TERM, true);
        }
        if self.grants.as_mut().is_some_and(|grants| !grants.leave(self.boundary)) {
            self.boundary.kill();
        }
        self.until.get_or_insert(Instant::now() + grace);
        self.stopped = true;
    }
}

/// Which descriptors have something to say.
struct Ready {
    ended: bool,
    report: bool,
    look: bool,
    way: bool,
    opened: bool,
    begun: bool,
    signals: bool,
    knocked: bool,
    clients: Vec<bool>,
}
