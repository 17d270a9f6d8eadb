//! Signals: what the invoker's terminal or another process sends, and what the sandbox makes of it.

use std::os::fd::OwnedFd;
use std::time::Instant;

use ringfence_sys::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{GRACE, JOB, Watch};

const HUP: i32 = 1;
const CONT: i32 = 18;
const TSTP: i32 = 20;
const WINCH: i32 = 28;
/// Taken by descriptor while a sandbox runs: these, and INT QUIT USR1 USR2 TERM.
const TAKEN: &[i32] = &[HUP, 2, 3, 10, 12, 15, CONT, TSTP, WINCH];

/// Takes them from now on.
///
/// # Errors
/// The kernel's.
pub fn take_signals() -> Result<OwnedFd, Errno> {
    let set = signals::Set::of(TAKEN);
    signals::block_only(&set)?;
    signals::descriptor(&set)
}

/// Whether somebody wants an end, before there is a sandbox whose command could be told.
#[must_use]
pub fn asked_to_end() -> bool {
    const INT: i32 = 2;
    const QUIT: i32 = 3;
    const TERM: i32 = 15;
    signals::pending(&[HUP, INT, QUIT, TERM])
}

impl Watch<'_> {
    /// One signal. What a process sent is for the command; what the terminal sent is for all in its foreground.
    pub(crate) fn signal(&mut self, signal: i32, from_process: bool) {
        match signal {
            // As nohup(1), and a shell for what it starts in the background, want it.
            _ if signals::ignored(signal) => {}
            WINCH => {
                if let Some(screen) = &self.screen {
                    screen.resize();
                }
            }
            CONT => {
                if let Some(screen) = &mut self.screen {
                    screen.resume();
                }
            }
            TSTP => {
                self.paused = true;
                self.boundary.pause(true);
                self.stop();
                self.hear_out();
                self.boundary.pause(false);
                self.paused = false;
            }
            _ => {
                self.boundary.signal(JOB, signal, !from_process);
                if signal == HUP && !from_process {
                    self.until.get_or_insert(Instant::now() + GRACE);
                }
            }
        }
    }

    /// Takes the reports that are there: a Ctrl-Z typed before this one has stopped the task too, and is answered with it.
    fn hear_out(&mut self) {
        let waits = |reports| {
            let mut polled = [PollFd::from_borrowed_fd(reports, PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        };
        while waits(self.boundary.reports()) && self.report() {}
    }

    /// The terminal is closed, which the kernel tells only its session's leader.
    pub(crate) fn hang_up(&mut self) {
        if self.until.is_none() && !signals::ignored(HUP) {
            self.boundary.signal(JOB, HUP, true);
            self.until = Some(Instant::now() + GRACE);
        }
    }

    /// The task's own terminal stopped it, as Ctrl-Z does: so stops the whole thing, until its shell continues it.
    pub(crate) fn stopped_by_terminal(&mut self) {
        self.stop();
        self.boundary.signal(JOB, CONT, false);
    }

    fn stop(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.suspend();
        }
        let others: Vec<i32> = TAKEN.iter().copied().filter(|signal| *signal != TSTP).collect();
        signals::stop_self(&signals::Set::of(&others), &signals::Set::of(TAKEN));
        if let Some(screen) = &mut self.screen {
            screen.resume();
        }
    }
}
