//! Commands that are granted while a sandbox runs, and those that somebody waits for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::{Boundary, Refusal, Refused};
use rustix::fd::OwnedFd;

use crate::grants::{Grants, answer};

/// What stands before the entry in a question's name: no path begins so.
const START: &str = "start: ";
/// Commands that may wait at a time: each holds a place that refusals of the same command need, too.
const MOST_WAITING: usize = 16;

/// Who was refused asks nobody about the same again for so long.
const SAME: Duration = Duration::from_secs(2);

/// One that is granted.
#[derive(Debug)]
pub(crate) struct Permit {
    number: u32,
    entry: String,
    pub(crate) until: Option<Instant>,
}

/// The name of a question about a command.
pub(crate) fn name(entry: &str) -> PathBuf {
    PathBuf::from(format!("{START}{entry}"))
}

/// The entry that a question is about, if it is about one.
pub(crate) fn entry_of(name: &Path) -> Option<&str> {
    name.to_str()?.strip_prefix(START)
}

impl Grants<'_> {
    /// A command was refused: its owner is asked instead, if that may be. As [`Self::take_up`].
    pub(crate) fn take_up_command(&mut self, boundary: &Boundary, refusal: &Refusal) -> Option<bool> {
        let Refused::Command(command) = &refusal.what else { return None };
        let entry = self.clerk.offer_command(command).filter(|_| self.asks())?;
        let name = name(&entry);
        // Most programs look along PATH, and would ask once for each directory.
        self.declined.retain(|(_, _, since)| since.elapsed() < SAME);
        if self.declined.iter().any(|(process, own, _)| *process == refusal.process && *own == name) {
            return None;
        }
        if !self.clerk.asked(refusal) {
            return Some(false);
        }
        let waiting = self.questions.waiting().filter(|name| entry_of(name).is_some()).count();
        let full = waiting >= MOST_WAITING || !self.questions.add(&name, refusal, false);
        Some(!full || self.decline(boundary, refusal, &name, "too many questions wait"))
    }

    /// The owner wants to grant one; `false`: what became of it could not be written down.
    pub(crate) fn permit(
        &mut self,
        boundary: &Boundary,
        (entry, why): (&str, &str),
        seconds: Option<u64>,
        client: Option<&OwnedFd>,
    ) -> bool {
        let granted = if self.permits.iter().any(|permit| permit.entry == entry) {
            Err(format!("`{entry}` is granted already: revoke that first"))
        } else if self.full() {
            Err("too many grants are open: revoke some first".to_owned())
        } else {
            self.clerk.permit(entry, seconds, why)
        };
        let number = self.next;
        let sent = granted.and_then(|granted| {
            boundary.permit(number, granted).map_err(|_| "the sandbox ended meanwhile".to_owned())
        });
        let name = name(entry);
        match sent {
            Err(why) => {
                if let Some(client) = client {
                    answer(client, false, &why);
                }
                match self.questions.take(&name) {
                    Some(question) => self.decline(boundary, &question.refusal, &name, &why),
                    None => true,
                }
            }
            Ok(()) => {
                self.next += 1;
                let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
                self.permits.push(Permit { number, entry: entry.to_owned(), until });
                if let Some(client) = client {
                    answer(client, true, &format!("`{entry}` may start from now on"));
                }
                // Each is judged anew; what this entry does not mean is asked about again.
                for question in self.questions.commands() {
                    boundary.retry(question.refusal.number);
                }
                true
            }
        }
    }

    /// It was not granted.
    pub(crate) fn remember_declined(&mut self, refusal: &Refusal, name: &Path) {
        self.declined.push((refusal.process, name.to_path_buf(), Instant::now()));
    }

    /// Takes those away that are meant; how many, and whether each could be written down.
    pub(crate) fn withdraw(
        &mut self,
        boundary: &Boundary,
        cause: &str,
        meant: impl Fn(&Permit) -> bool,
    ) -> (usize, bool) {
        let gone: Vec<Permit> = self.permits.extract_if(.., |permit| meant(permit)).collect();
        let mut written = true;
        for permit in &gone {
            boundary.withdraw(permit.number);
            written &= self.clerk.ended(permit.number, Path::new(&permit.entry), cause);
        }
        (gone.len(), written)
    }

    /// The owner wants one to end; who waits for it is refused.
    pub(crate) fn revoke_command(&mut self, boundary: &Boundary, entry: &str, client: &OwnedFd) {
        let (found, _) = self.withdraw(boundary, "revoked", |permit| permit.entry == entry);
        let waiting = self.questions.take(&name(entry));
        if let Some(question) = &waiting {
            self.decline(boundary, &question.refusal, &question.path, "the owner refused it");
        }
        match (found, waiting) {
            (0, None) => answer(client, false, &format!("`{entry}` is not granted")),
            (0, Some(_)) => answer(client, true, &format!("`{entry}` is refused to whoever waits for it")),
            _ => answer(client, true, &format!("`{entry}` may not start any more; what runs goes on")),
        }
    }

    /// What lasted long enough ends; `false`: that could not be written down.
    pub(crate) fn expire_commands(&mut self, boundary: &Boundary) -> bool {
        let now = Instant::now();
        self.withdraw(boundary, "expired", |permit| permit.until.is_some_and(|until| until <= now)).1
    }
}
