//! Watches over a running sandbox: one loop over its descriptors, until nothing of it is left.

#![forbid(unsafe_code)]

mod connections;
mod descriptors;
mod relay;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ringfence_confine::{Boundary, FORWARDED, Message};
use ringfence_sys::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use connections::Connections;

pub use connections::Refusal;
pub use descriptors::{Standard, Unfit, give, standard};
pub use relay::Relay;

/// Signals that are taken by descriptor while a sandbox runs.
///
/// # Errors
/// The kernel's.
pub fn take_signals() -> Result<OwnedFd, Errno> {
    let set = signals::Set::of(FORWARDED);
    signals::block_only(&set)?;
    signals::descriptor(&set)
}

/// What became of a sandbox.
#[derive(Debug, Default)]
pub struct Ended {
    /// What init and the task reported, in order.
    pub messages: Vec<Message>,
    /// Connects that were refused.
    pub refused: Vec<Refusal>,
}

/// How often those who wait for a peer are looked at again.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Runs until the command has ended, and every process it left; init itself may still be going. `own`: mount points of
/// the sandbox's own file systems.
///
/// # Errors
/// The kernel's; dropping the boundary ends the sandbox.
pub fn run(
    boundary: &Boundary,
    signals: &OwnedFd,
    relays: Vec<Relay>,
    own: Vec<PathBuf>,
) -> Result<Ended, Errno> {
    let mut watch = Watch { boundary, signals, relays, own, connections: None, ended: Ended::default() };
    let outcome = watch.run();
    // What the task wrote last is still in the pipes.
    for relay in &mut watch.relays {
        relay.drain();
    }
    watch.keep_refusals();
    outcome.map(|()| watch.ended)
}

struct Watch<'a> {
    boundary: &'a Boundary,
    signals: &'a OwnedFd,
    relays: Vec<Relay>,
    own: Vec<PathBuf>,
    connections: Option<Connections>,
    ended: Ended,
}

impl Watch<'_> {
    fn run(&mut self) -> Result<(), Errno> {
        let mut reporting = true;
        loop {
            let ready = self.poll(reporting)?;
            if ready.report && !self.report() {
                reporting = false;
            }
            for index in ready.relays {
                if let Some(relay) = self.relays.get_mut(index) {
                    relay.step();
                }
            }
            if ready.signals {
                forward(self.boundary, self.signals);
            }
            if let Some(connections) = &mut self.connections {
                if ready.connections {
                    connections.serve();
                }
                connections.retry();
            }
            if ready.unheard {
                self.keep_refusals();
            }
            if self.ended.messages.last().is_some_and(Message::is_last) {
                return Ok(());
            }
            if ready.ended {
                while reporting && self.report() {}
                return Ok(());
            }
        }
    }

    fn poll(&self, reporting: bool) -> Result<Ready, Errno> {
        let mut polled =
            vec![PollFd::new(&self.boundary.pidfd, PollFlags::IN), PollFd::new(self.signals, PollFlags::IN)];
        if reporting {
            polled.push(PollFd::new(&self.boundary.report, PollFlags::IN));
        }
        let listener = self.connections.as_ref().map(Connections::listener);
        polled.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let waiting: Vec<(usize, _)> = self
            .relays
            .iter()
            .enumerate()
            .filter_map(|(index, relay)| Some((index, relay.wants()?)))
            .collect();
        polled.extend(waiting.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)));
        let busy = self.connections.as_ref().is_some_and(Connections::busy);
        match poll(&mut polled, busy.then_some(&RETRY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut events = polled.iter().map(PollFd::revents);
        let mut next = || events.next().unwrap_or(PollFlags::empty());
        let (ended, signals) = (next(), next());
        let report = if reporting { next() } else { PollFlags::empty() };
        let connections = if listener.is_some() { next() } else { PollFlags::empty() };
        let relays = waiting.iter().filter_map(|(index, _)| (!next().is_empty()).then_some(*index)).collect();
        Ok(Ready {
            ended: !ended.is_empty(),
            signals: !signals.is_empty(),
            report: !report.is_empty(),
            connections: connections.contains(PollFlags::IN),
            // Nobody is left who could ask.
            unheard: connections.contains(PollFlags::HUP) && !connections.contains(PollFlags::IN),
            relays,
        })
    }

    /// Ends the serving of connects: its last caller is gone.
    fn keep_refusals(&mut self) {
        if let Some(connections) = self.connections.take() {
            self.ended.refused.extend(connections.refused);
        }
    }

    /// Takes one report; `false` once there will be no more.
    fn report(&mut self) -> bool {
        match self.boundary.report() {
            Some((Message::Listening, Some(listener))) => {
                self.connections = Some(Connections::new(listener, std::mem::take(&mut self.own)));
                true
            }
            Some((message, _)) => {
                self.ended.messages.push(message);
                true
            }
            None => false,
        }
    }
}

/// Which descriptors have something to say.
struct Ready {
    ended: bool,
    signals: bool,
    report: bool,
    connections: bool,
    unheard: bool,
    relays: Vec<usize>,
}

/// Hands on what was sent to this process. What the terminal sends reaches the task by itself, and is left to it.
fn forward(boundary: &Boundary, signals: &OwnedFd) {
    let mut record = [0; signals::RECORD];
    while let Ok(length) = rustix::io::read(signals.as_fd(), &mut record) {
        let Some(record) = record.get(..length) else { return };
        if let Some(signal) = signals::number(record)
            && signals::from_process(record)
        {
            boundary.forward(signal);
        }
    }
}
