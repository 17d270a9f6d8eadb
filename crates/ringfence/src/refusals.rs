//! What was refused while a sandbox ran: written down when it happens, repeated ones counted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringfence_record::{Event, Writer};
use ringfence_supervise::Refusal;

use crate::failure::{Context, Failure};

/// Sockets that get events of their own: a task could ask for as many as it likes, and a log is not for it to fill.
const MOST: usize = 4096;

/// The refusals of one run.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    total: u64,
    /// How often each was asked for again.
    again: BTreeMap<PathBuf, u64>,
    /// Those of sockets beyond [`MOST`].
    others: u64,
}

impl Refusals {
    /// How many.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Writes one down; `false` if that failed.
    pub(crate) fn note(&mut self, refusal: &Refusal, log: &mut Writer) -> bool {
        self.total += 1;
        if let Some(again) = self.again.get_mut(&refusal.path) {
            *again += 1;
            return true;
        }
        if self.again.len() >= MOST {
            self.others += 1;
            return true;
        }
        self.again.insert(refusal.path.clone(), 0);
        let path = refusal.path.display().to_string();
        log.append(&event(path, refusal.process, refusal.program.display().to_string(), 1)).is_ok()
    }

    /// At the end: how often each was repeated, and what had no event of its own.
    pub(crate) fn sum_up(&self, log: &mut Writer) -> Result<(), Failure> {
        let repeated = self.again.iter().filter(|(_, times)| **times > 0);
        let mut events: Vec<Event> = repeated
            .map(|(path, times)| event(path.display().to_string(), 0, String::new(), *times))
            .collect();
        if self.others > 0 {
            events.push(event("(other sockets)".into(), 0, String::new(), self.others));
        }
        events.iter().try_for_each(|event| log.append(event).map(drop).context("the run's log"))
    }
}

fn event(unix: String, process: i32, program: String, times: u64) -> Event {
    let rule = "a socket of the host needs a grant of its own".into();
    Event::NetDeny { unix, process, program, times, rule }
}
