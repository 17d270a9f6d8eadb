//! A sandbox as the watching loop sees it: kept by this process, or by another one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_confine::{Boundary, Message, Refusal, WayOut};

use crate::Choice;

/// What can be heard from it and asked of it.
pub trait Sandbox {
    /// Readable when it has ended. `None`: the end of the reports tells.
    fn ended(&self) -> Option<BorrowedFd<'_>>;
    /// Readable when there is a report.
    fn reports(&self) -> BorrowedFd<'_>;
    /// The next report, with the descriptor that came along; `None` at their end.
    fn report(&self) -> Option<(Message, Option<OwnedFd>)>;
    /// Readable when the root's server has a report, if it is this process's.
    fn looks(&self) -> Option<BorrowedFd<'_>>;
    /// Its next report; `None` once it is gone.
    fn look(&self) -> Option<Message>;
    /// Readable when the gateway has a report, if there is one and it is this process's.
    fn ways(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Takes that.
    fn way(&self) -> WayOut {
        WayOut::Gone
    }
    /// Once it has ended: what its gateway has still to tell of, if that is this process's.
    fn last_words(&self, _told: &mut dyn FnMut(&Refusal)) {}
    /// Sends a signal to a command, or to its whole group as a terminal would.
    fn signal(&self, job: u32, signal: i32, group: bool);
    /// Stops what a Ctrl-Z outside of its own terminal concerns, or lets it go on.
    fn pause(&self, pause: bool);
    /// A refusal is written down.
    fn written(&self, refusal: &Refusal);
    /// Whether its keeper, another process, asks the owner here.
    fn asks(&self) -> bool {
        false
    }
    /// Tells it what the owner said.
    fn answer(&self, _path: &Path, _choice: Choice) {}
    /// Ends it at once.
    fn kill(&self);
}

impl Sandbox for Boundary {
    fn ended(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pidfd.as_fd())
    }

    fn reports(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }

    fn report(&self) -> Option<(Message, Option<OwnedFd>)> {
        Self::report(self)
    }

    fn looks(&self) -> Option<BorrowedFd<'_>> {
        Self::looks(self)
    }

    fn look(&self) -> Option<Message> {
        Self::look(self)
    }

    fn ways(&self) -> Option<BorrowedFd<'_>> {
        Self::ways(self)
    }

    fn way(&self) -> WayOut {
        Self::way(self)
    }

    fn signal(&self, job: u32, signal: i32, group: bool) {
        Self::signal(self, job, signal, group);
    }

    fn last_words(&self, told: &mut dyn FnMut(&Refusal)) {
        Self::last_words(self, told);
    }

    fn pause(&self, pause: bool) {
        Self::pause(self, pause);
    }

    fn written(&self, refusal: &Refusal) {
        Self::written(self, refusal);
    }

    fn kill(&self) {
        Self::kill(self);
    }
}
