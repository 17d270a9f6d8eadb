//! Starts of programs: judged one after the other, as far as the guard can hold their threads.

use std::os::fd::AsFd;

use ringfence_sys::seccomp::{self, Notification};
use rustix::io::Errno;

use super::{Connections, Fate};
use crate::guard::{self, Guard, Start};
use crate::report::Refusal;

/// Calls that wait until the guard has room; what comes then is told to try again.
const MOST_STARTS: usize = 4096;

impl Connections {
    /// Judges a start, now or when the guard can take it; what waits already comes first.
    pub(super) fn start(&mut self, call: Notification, number: u32, guard: &mut Guard) -> Option<Refusal> {
        let start = Start::of(call);
        if self.starts.is_empty() && guard.takes(start, self.own) {
            return self.execute(start, number, guard);
        }
        if self.starts.len() < MOST_STARTS {
            self.starts.push_back(start);
        } else {
            let _ = seccomp::answer(self.listener.as_fd(), call.id, Err(Errno::AGAIN));
        }
        None
    }

    /// Judges the first that waited and can be taken; `None`: there is none. A refusal is to be written down under this number.
    pub(crate) fn resume(&mut self, number: u32, guard: &mut Guard) -> Option<Option<Refusal>> {
        for _ in 0..if self.room() { self.starts.len() } else { 0 } {
            let start = self.starts.pop_front()?;
            if guard.takes(start, self.own) {
                return Some(self.execute(start, number, guard));
            }
            self.starts.push_back(start);
        }
        None
    }

    /// The same for one that was refused, first of all.
    pub(super) fn restart(&mut self, call: Notification, number: u32, guard: &mut Guard) -> Option<Refusal> {
        let start = Start::of(call);
        if guard.takes(start, self.own) {
            return self.execute(start, number, guard);
        }
        self.starts.push_front(start);
        None
    }

    fn execute(&mut self, start: Start, number: u32, guard: &mut Guard) -> Option<Refusal> {
        let call = start.call;
        match guard.judge(self.listener.as_fd(), self.own, start) {
            guard::Verdict::Gone => None,
            guard::Verdict::Fails(errno) => {
                let _ = seccomp::answer(self.listener.as_fd(), call.id, Err(errno));
                None
            }
            guard::Verdict::Refused(refusal) => {
                self.unwritten.insert(number, (call.id, Fate::Fails(Errno::ACCESS)));
                self.again.insert(number, call);
                Some(Refusal { number, ..*refusal })
            }
        }
    }
}
