//! Watches over a running sandbox: one loop over its descriptors, until nothing of it is left.

#![forbid(unsafe_code)]

mod clients;
mod descriptors;
mod desk;
mod grants;
mod keys;
mod limiter;
mod outlet;
mod permits;
mod prompt;
mod questions;
mod relay;
mod remote;
mod restack;
mod sandbox;
mod screen;
mod serve;
mod stops;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ringfence_confine::{Message, Rest, WayOut};
use ringfence_leaks::Hit;
use ringfence_sys::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use descriptors::{Standard, Unfit, give, standard};
pub use desk::Desk;
pub use grants::{Clerk, Grants, Terms, Wish};
pub use limiter::{Disk, Limiter};
pub use outlet::{Found, Outlet};
pub use permits::Act;
pub use questions::{Choice, Question};
pub use relay::Relay;
pub use remote::{Ask, Note, Remote};
pub use ringfence_confine::{
    Command, Fate, GrantedCommand, GrantedHost, Life, Opening, Process, Purpose, Refusal, Refused,
};
pub use sandbox::Sandbox;
pub use screen::Screen;
pub use serve::{Happening, Served, Server, Template};
pub use stops::{asked_to_end, take_signals};

use stops::Told;

/// What is to be written down.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Something is going to be refused.
    Refusal(&'a Refusal),
    /// A program has started, or ended.
    Process(&'a Process),
    /// The root's server refused some of it again.
    Again {
        /// Numbers of refusals, and how often.
        counts: &'a [(u32, u64)],
        /// How often something was refused that is told of only so.
        others: u64,
    },
    /// The gateway is gone: the sandbox has no network any more.
    NoNetwork,
    /// A secret was in what the task wrote.
    Leak(&'a Found),
}

/// What became of a sandbox.
#[derive(Debug, Default)]
pub struct Ended {
    /// What init and the task reported, in order.
    pub messages: Vec<Message>,
    /// Why a part of the output was lost.
    pub lost: Option<Errno>,
    /// It was ended because its root was not served any more.
    pub blind: bool,
    /// Its gateway had ended before it.
    pub cut_off: bool,
    /// It was ended because of a secret in what it wrote.
    pub leaked: Option<Hit>,
}

/// How long a command may take to end itself after its terminal is gone.
const GRACE: Duration = Duration::from_secs(1);
/// How often a process in the background looks whether the terminal is its own again.
const LOOK: Duration = Duration::from_millis(200);
/// How long a sandbox may take to end once its root is not served any more.
const BLIND: Duration = Duration::from_millis(100);
/// The job that a sandbox of one command has.
const JOB: u32 = 0;

/// Runs until the command has ended, and every process it left; init itself may still be going. `tell` writes a refusal down
/// before it takes effect, and says whether it could.
///
/// # Errors
/// The kernel's; dropping the boundary ends the sandbox.
pub fn run<'a>(
    boundary: &'a dyn Sandbox,
    signals: &'a OwnedFd,
    relays: Vec<Relay>,
    screen: Option<Screen>,
    limiter: Option<&'a mut Limiter>,
    tell: &'a mut dyn FnMut(Notice<'_>) -> bool,
    desk: Option<Desk<'a>>,
) -> Result<Ended, Errno> {
    let ended = Ended::default();
    let rest = Rest::default();
    let mut watch = Watch {
        boundary,
        signals,
        relays,
        screen,
        limiter,
        tell,
        desk,
        asked: None,
        until: None,
        blind: false,
        told: Told::default(),
        stopped: false,
        ended,
        rest,
    };
    let outcome = watch.run();
    watch.last_looks();
    // What the task wrote last is still in the pipes; no more is wanted of one that wrote too much.
    let enough = watch.limiter.as_ref().is_some_and(|limiter| limiter.exceeded().is_some());
    for relay in watch.relays.iter_mut().filter(|_| !enough) {
        relay.drain();
    }
    if let Some(screen) = &mut watch.screen {
        screen.drain();
    }
    watch.leaks();
    watch.desk.iter_mut().for_each(Desk::finish);
    boundary.last_words(&mut |refusal| {
        let _ = (watch.tell)(Notice::Refusal(refusal));
    });
    watch.ended.lost = watch.relays.iter().find_map(Relay::fault);
    if let Some(limiter) = &mut watch.limiter {
        limiter.look();
    }
    outcome.map(|()| watch.ended)
}

struct Watch<'a> {
    boundary: &'a dyn Sandbox,
    signals: &'a OwnedFd,
    relays: Vec<Relay>,
    screen: Option<Screen>,
    limiter: Option<&'a mut Limiter>,
    tell: &'a mut dyn FnMut(Notice<'_>) -> bool,
    /// Takes who wants to grant something, where the policy lets that be.
    desk: Option<Desk<'a>>,
    /// What the keeper, another process, wants its owner to be asked.
    asked: Option<Question>,
    /// The root's server is gone.
    blind: bool,
    /// When the sandbox is ended, whatever its command does.
    until: Option<Instant>,
    /// What is believed of the task's own stops.
    told: Told,
    /// This process was stopped since what is waited for was looked at.
    stopped: bool,
    ended: Ended,
    rest: Rest,
}

impl Watch<'_> {
    fn run(&mut self) -> Result<(), Errno> {
        let mut reporting = true;
        loop {
            self.stopped = false;
            let ready = self.poll(reporting)?;
            if ready.report && !self.report() {
                reporting = false;
                // Init is about to end, or says what nobody understands: nothing goes on that cannot be told of.
                if self.boundary.ended().is_some() {
                    self.until.get_or_insert(Instant::now() + BLIND);
                }
            }
            // Keys that were there before are the shell's now, and a read would wait, or stop this process in the background.
            if self.stopped {
                continue;
            }
            if ready.look {
                self.look();
            }
            if ready.way {
                match self.boundary.way() {
                    WayOut::Open => {}
                    WayOut::Refused(refusal) => self.refused(&refusal),
                    WayOut::Gone => self.cut_off(),
                }
            }
            if self.desk.as_mut().is_some_and(|desk| !desk.step(&ready.desk)) {
                self.boundary.kill();
            }
            // Nothing more is wanted of a task whose end is only a moment away.
            let enough = self.limiter.as_ref().is_some_and(|limiter| limiter.exceeded().is_some());
            for index in ready.relays.into_iter().filter(|_| !enough) {
                if let Some(relay) = self.relays.get_mut(index) {
                    relay.step();
                }
            }
            if let Some(screen) = &mut self.screen {
                screen.step(&ready.screen);
                screen.look();
                if screen.gone() {
                    self.hang_up();
                }
            }
            self.leaks();
            if !self.question() {
                self.boundary.kill();
            }
            if ready.signals {
                self.take_signals();
            }
            let written = self.written();
            let over = self.limiter.as_mut().is_some_and(|limiter| limiter.check(written));
            let late = self.until.is_some_and(|until| until <= Instant::now());
            if over || late {
                self.ended.blind |= late && self.blind;
                self.boundary.kill();
            }
            if self.ended.messages.last().is_some_and(|message| message.ends() == Some(JOB)) {
                return Ok(());
            }
            if ready.ended {
                while reporting && self.report() {}
                return Ok(());
            }
            // Whoever keeps the sandbox is gone.
            if !reporting && self.boundary.ended().is_none() {
                return Ok(());
            }
        }
    }

    /// Tells of secrets in what the task wrote.
    fn leaks(&mut self) {
        let screen = self.screen.iter_mut().flat_map(Screen::found);
        let found: Vec<Found> = self.relays.iter_mut().flat_map(Relay::found).chain(screen).collect();
        let (ends, hit) = Found::tell(found, |found| (self.tell)(Notice::Leak(found)));
        if ends {
            self.boundary.kill();
        }
        self.ended.leaked = self.ended.leaked.take().or(hit);
    }

    fn poll(&self, reporting: bool) -> Result<Ready, Errno> {
        let (ended, reports) = (self.boundary.ended(), self.boundary.reports());
        let mut polled = vec![PollFd::new(self.signals, PollFlags::IN)];
        polled.extend(ended.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if reporting {
            polled.push(PollFd::from_borrowed_fd(reports, PollFlags::IN));
        }
        let looks = self.boundary.looks().filter(|_| !self.blind);
        polled.extend(looks.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let ways = self.boundary.ways().filter(|_| !self.ended.cut_off);
        polled.extend(ways.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let waiting: Vec<(usize, _)> = self
            .relays
            .iter()
            .enumerate()
            .filter_map(|(index, relay)| Some((index, relay.wants()?)))
            .collect();
        polled.extend(waiting.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)));
        let screen = self.screen.as_ref().map(Screen::wants).unwrap_or_default();
        polled.extend(screen.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        let desk = self.desk.as_ref().map(Desk::wants).unwrap_or_default();
        polled.extend(desk.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        self.rest.poll(&mut polled, self.patience())?;
        let mut events = polled.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let signals = next();
        let ended = if ended.is_some() { next() } else { PollFlags::empty() };
        let report = if reporting { next() } else { PollFlags::empty() };
        let look = looks.is_some() && !next().is_empty();
        let way = ways.is_some() && !next().is_empty();
        let relays = waiting.iter().filter_map(|(index, _)| (!next().is_empty()).then_some(*index)).collect();
        Ok(Ready {
            ended: !ended.is_empty(),
            signals: !signals.is_empty(),
            report: !report.is_empty(),
            look,
            way,
            relays,
            screen: screen.iter().map(|_| !next().is_empty()).collect(),
            desk: desk.iter().map(|_| !next().is_empty()).collect(),
        })
    }

    /// Bytes of output so far.
    fn written(&self) -> u64 {
        let relayed: u64 = self.relays.iter().map(Relay::written).sum();
        relayed + self.screen.as_ref().map_or(0, Screen::written)
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = self.limiter.as_ref().and_then(|limiter| limiter.patience());
        let waits = self.screen.as_ref().is_some_and(Screen::waits) || self.relays.iter().any(Relay::waits);
        let terminal = waits.then_some(LOOK);
        let grants = self.desk.as_ref().and_then(Desk::patience);
        let held = self.screen.as_ref().and_then(Screen::patience);
        left.into_iter().chain(held).chain(limit).chain(terminal).chain(grants).min()
    }

    /// Takes one report; `false` once there will be no more.
    fn report(&mut self) -> bool {
        match self.boundary.report() {
            Some((Message::Refused(refusal), _)) => self.refused(&refusal),
            Some((Message::Again { counts, others }, _)) => {
                if !(self.tell)(Notice::Again { counts: &counts, others }) {
                    self.boundary.kill();
                }
            }
            Some((Message::Processes(processes), _)) => {
                if !processes.iter().all(|process| (self.tell)(Notice::Process(process))) {
                    self.boundary.kill();
                }
            }
            Some((message @ (Message::MuchMemory | Message::ManyProcesses | Message::Unnamed { .. }), _)) => {
                if let Some(limiter) = &mut self.limiter {
                    limiter.told(&message);
                }
            }
            Some((Message::Terminal { .. }, Some(master))) => {
                if let Some(screen) = &mut self.screen {
                    screen.attach(master);
                }
            }
            Some((Message::Stopped { yes, .. }, _)) => self.stopped_by_terminal(yes),
            Some((Message::Question(query), _)) => {
                self.asked = query.filter(|_| self.boundary.asks()).map(Question::told);
            }
            Some((Message::Ready, _)) => {}
            Some((message, _)) => self.ended.messages.push(message),
            None => return false,
        }
        true
    }

    fn refused(&mut self, refusal: &Refusal) {
        if let Some(fine) = self.desk.as_mut().and_then(|desk| desk.take_up(refusal)) {
            if !fine {
                self.boundary.kill();
            }
            return;
        }
        if (self.tell)(Notice::Refusal(refusal)) {
            self.boundary.written(refusal);
        } else {
            // What cannot be written down does not go on.
            self.boundary.kill();
        }
    }

    /// Takes one report of the root's server.
    fn look(&mut self) {
        match self.boundary.look() {
            Some(Message::Refused(refusal)) => self.refused(&refusal),
            Some(Message::Again { counts, others }) => {
                if !(self.tell)(Notice::Again { counts: &counts, others }) {
                    self.boundary.kill();
                }
            }
            Some(message @ (Message::Shown | Message::Left(_))) => {
                if self.desk.as_mut().is_some_and(|desk| !desk.told(&message)) {
                    self.boundary.kill();
                }
            }
            Some(message @ Message::Failed { .. }) => self.ended.messages.push(message),
            Some(_) => {}
            None => {
                // At the end of all; or it was killed, and nothing can be found any more.
                self.blind = true;
                self.until.get_or_insert(Instant::now() + BLIND);
            }
        }
    }

    /// What the root's server told until it ended.
    fn last_looks(&mut self) {
        while !self.blind && self.boundary.looks().is_some_and(readable) {
            self.look();
        }
    }

    /// Its listeners went with the gateway: every connection is refused by the kernel.
    fn cut_off(&mut self) {
        self.ended.cut_off = true;
        if !(self.tell)(Notice::NoNetwork) {
            self.boundary.kill();
        }
    }

    /// Puts the next question to the owner, takes an answer. `false`: it could not be written down.
    fn question(&mut self) -> bool {
        let Some(screen) = &mut self.screen else { return true };
        let answered = screen.answer();
        let Some(desk) = &mut self.desk else {
            if let (Some(choice), Some(question)) = (answered, &self.asked) {
                self.boundary.answer(&question.path, choice);
                self.asked = None;
            }
            screen.ask(self.asked.as_ref());
            return true;
        };
        let fine = match (&answered, desk.question()) {
            (Some(choice), Some(question)) => {
                let path = question.path.clone();
                desk.decide(&path, *choice)
            }
            _ => true,
        };
        screen.ask(desk.question());
        fine
    }

    fn take_signals(&mut self) {
        let mut record = [0; signals::RECORD];
        while let Ok(length) = rustix::io::read(self.signals.as_fd(), &mut record) {
            let Some(record) = record.get(..length) else { return };
            if let Some(signal) = signals::number(record) {
                self.signal(signal, signals::from_process(record));
            }
        }
    }
}

/// Which descriptors have something to say.
struct Ready {
    ended: bool,
    signals: bool,
    report: bool,
    look: bool,
    way: bool,
    relays: Vec<usize>,
    screen: Vec<bool>,
    desk: Vec<bool>,
}

/// Whether something waits there to be read, or nothing ever will.
fn readable(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
