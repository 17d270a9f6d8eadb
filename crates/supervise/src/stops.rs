//! Signals: what the invoker's terminal or another process sends, and what the sandbox makes of it.

use std::os::fd::OwnedFd;
use std::time::Instant;

use ringfence_sys::signals;
use rustix::io::Errno;

use crate::{GRACE, JOB, Watch};

const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const TERM: i32 = 15;
const CONT: i32 = 18;
const TSTP: i32 = 20;
const WINCH: i32 = 28;
/// Taken by descriptor while a sandbox runs: these, and USR1 USR2.
const TAKEN: &[i32] = &[HUP, INT, QUIT, 10, 12, TERM, CONT, TSTP, WINCH];
/// Those, and TTIN: to read keys that are the shell's by now fails, instead of stopping what the shell has just continued.
const BLOCKED: &[i32] = &[HUP, INT, QUIT, 10, 12, TERM, CONT, TSTP, 21, WINCH];

/// Whether the task was told to go on and has not said that it does: until then, it says that it is stopped of the time before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Told {
    #[default]
    Nothing,
    Once,
    Again,
}

/// What is to be done about a word of the task's.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Everything stops.
    Stop,
    /// It is told to go on.
    GoOn,
}

impl Told {
    fn go_on(&mut self) {
        *self = if *self == Self::Nothing { Self::Once } else { Self::Again };
    }

    /// It says that it is stopped, or that it goes on.
    fn hears(&mut self, stopped: bool) -> Due {
        match (stopped, *self) {
            (true, Self::Nothing) => Due::Stop,
            (true, Self::Once | Self::Again) => Due::Nothing,
            // One answer may be for both: what answers is asked for once more.
            (false, Self::Again) => {
                *self = Self::Once;
                Due::GoOn
            }
            (false, Self::Nothing | Self::Once) => {
                *self = Self::Nothing;
                Due::Nothing
            }
        }
    }
}

/// Takes them from now on.
///
/// # Errors
/// The kernel's.
pub fn take_signals() -> Result<OwnedFd, Errno> {
    signals::block_only(&signals::Set::of(BLOCKED))?;
    signals::descriptor(&signals::Set::of(TAKEN))
}

/// Whether somebody wants an end, before there is a sandbox whose command could be told.
#[must_use]
pub fn asked_to_end() -> bool {
    signals::pending(&[HUP, INT, QUIT, TERM])
}

impl Watch<'_> {
    /// One signal. What a process sent is for the command; what the terminal sent is for all in its foreground.
    pub(crate) fn signal(&mut self, signal: i32, from_process: bool) {
        match signal {
            // As nohup(1), and a shell for what it starts in the background, want it.
            _ if signals::ignored(signal) => {}
            WINCH => {
                if let Some(screen) = &mut self.screen {
                    screen.resized();
                }
            }
            CONT => {
                if let Some(screen) = &mut self.screen {
                    screen.resume();
                }
            }
            TSTP => {
                self.stop_all();
            }
            _ => {
                self.boundary.signal(JOB, signal, !from_process);
                // Whoever waits for an answer, or for who does (vfork(2)), hears of no signal until it is there.
                let ends = matches!(signal, HUP | INT | QUIT | TERM);
                if ends && self.desk.as_mut().is_some_and(|desk| !desk.leave()) {
                    self.boundary.kill();
                }
                if signal == HUP && !from_process {
                    self.until.get_or_insert(Instant::now() + GRACE);
                }
            }
        }
    }

    /// The terminal is closed, which the kernel tells only its session's leader.
    pub(crate) fn hang_up(&mut self) {
        if self.until.is_none() && !signals::ignored(HUP) {
            self.boundary.signal(JOB, HUP, true);
            self.until = Some(Instant::now() + GRACE);
        }
    }

    /// The task's own terminal stopped it, as Ctrl-Z does: so stops the whole thing, until its shell continues it. Or it goes on.
    pub(crate) fn stopped_by_terminal(&mut self, yes: bool) {
        match self.told.hears(yes) {
            Due::Nothing => {}
            Due::GoOn => self.boundary.signal(JOB, CONT, false),
            Due::Stop => {
                self.stop_all();
            }
        }
    }

    /// Nothing of it goes on meanwhile, whatever it is that stopped: nobody would hold its limits.
    fn stop_all(&mut self) {
        self.boundary.pause(true);
        self.stop();
        self.boundary.pause(false);
        self.told.go_on();
    }

    fn stop(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.suspend();
        }
        let others: Vec<i32> = BLOCKED.iter().copied().filter(|signal| *signal != TSTP).collect();
        signals::stop_self(&signals::Set::of(&others), &signals::Set::of(BLOCKED));
        self.stopped = true;
        if let Some(screen) = &mut self.screen {
            screen.resume();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_from_before_the_task_was_told_to_go_on_is_not_believed() {
        let mut told = Told::default();
        assert_eq!(told.hears(true), Due::Stop);
        told.go_on();
        // Its leader was slow, and says so of the stop that is over.
        assert_eq!(told.hears(true), Due::Nothing);
        assert_eq!((told.hears(false), told.hears(true)), (Due::Nothing, Due::Stop));
        told.go_on();
        told.go_on();
        assert_eq!((told.hears(false), told.hears(true)), (Due::GoOn, Due::Nothing));
        assert_eq!((told.hears(false), told.hears(true)), (Due::Nothing, Due::Stop));
        // A task that is continued by somebody inside.
        assert_eq!((told.hears(false), told.hears(true)), (Due::Nothing, Due::Stop));
    }
}
