//! Watches over a running sandbox: one loop over its descriptors, until nothing of it is left.

#![forbid(unsafe_code)]

mod descriptors;
mod relay;

use std::os::fd::{AsFd, OwnedFd};

use ringfence_confine::{Boundary, FORWARDED, Message};
use ringfence_sys::signals;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

pub use descriptors::{Standard, Unfit, standard};
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

/// Runs until the sandbox has ended, and returns what init and task reported.
///
/// # Errors
/// The kernel's; the sandbox is ended first.
pub fn run(boundary: &Boundary, signals: &OwnedFd, mut relays: Vec<Relay>) -> Result<Vec<Message>, Errno> {
    let outcome = watch(boundary, signals, &mut relays);
    if outcome.is_err() {
        boundary.kill();
    }
    let messages = boundary.wait();
    // What the task wrote last is still in the pipes.
    for relay in &mut relays {
        relay.drain();
    }
    outcome.map(|()| messages)
}

fn watch(boundary: &Boundary, signals: &OwnedFd, relays: &mut [Relay]) -> Result<(), Errno> {
    loop {
        let mut polled =
            vec![PollFd::new(&boundary.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let waiting: Vec<(usize, _)> =
            relays.iter().enumerate().filter_map(|(index, relay)| Some((index, relay.wants()?))).collect();
        polled.extend(waiting.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)));
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
        let mut ready = polled.iter().map(|entry| !entry.revents().is_empty());
        let (ended, signalled) = (ready.next() == Some(true), ready.next() == Some(true));
        let moved: Vec<usize> =
            waiting.iter().zip(ready).filter_map(|((index, _), ready)| ready.then_some(*index)).collect();
        drop(waiting);
        for index in moved {
            if let Some(relay) = relays.get_mut(index) {
                relay.step();
            }
        }
        if signalled {
            forward(boundary, signals);
        }
        if ended {
            return Ok(());
        }
    }
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
