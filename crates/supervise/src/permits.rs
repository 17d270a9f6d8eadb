//! Commands and destinations that are granted while a sandbox runs, and those that somebody waits for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_confine::gateway::PACKET;
use ringfence_confine::{Boundary, Refusal, Refused};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};

use crate::grants::{Grants, Terms, answer};
use crate::questions::Choice;

/// Those of one kind that may wait at a time: each holds a place that refusals of its kind need, too.
const MOST_WAITING: usize = 16;

/// Who was refused asks nobody about the same again for so long.
const SAME: Duration = Duration::from_secs(2);

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// A command, as an entry of `commands.allow`.
    Start,
    /// A destination, `NAME:PORT`.
    Reach,
    /// A credential, by its name.
    Use,
}

impl Act {
    /// What stands before the entry in a question's name: no path begins so.
    pub(crate) fn start(self) -> &'static str {
        match self {
            Self::Start => "start: ",
            Self::Reach => "reach: ",
            Self::Use => "use: ",
        }
    }

    fn of(refusal: &Refusal) -> Option<Self> {
        match refusal.what {
            Refused::Command(_) => Some(Self::Start),
            Refused::Network { .. } => Some(Self::Reach),
            _ => None,
        }
    }

    fn granted(self, entry: &str) -> String {
        match self {
            Self::Start => format!("`{entry}` may start from now on"),
            Self::Reach => format!("`{entry}` can be reached from now on"),
            Self::Use => format!("the credential `{entry}` can be used from now on"),
        }
    }

    fn withdrawn(self, entry: &str) -> String {
        match self {
            Self::Start => format!("`{entry}` may not start any more; what runs goes on"),
            Self::Reach => format!("`{entry}` cannot be reached any more; what was open to it has ended"),
            Self::Use => {
                format!("the credential `{entry}` cannot be used any more; requests that were sent go on")
            }
        }
    }
}

/// One that is granted.
#[derive(Debug)]
pub(crate) struct Permit {
    number: u32,
    act: Act,
    entry: String,
    pub(crate) until: Option<Instant>,
}

/// The name of a question about an entry.
pub(crate) fn name(act: Act, entry: &str) -> PathBuf {
    PathBuf::from(format!("{}{entry}", act.start()))
}

/// The entry that a question is about, if it is about one.
pub(crate) fn entry_of(name: &Path) -> Option<(Act, &str)> {
    let name = name.to_str()?;
    [Act::Start, Act::Reach, Act::Use]
        .into_iter()
        .find_map(|act| Some((act, name.strip_prefix(act.start())?)))
}

impl Grants<'_> {
    /// A command or connection was refused: its owner is asked instead, if that may be. As [`Self::take_up`].
    pub(crate) fn take_up_entry(&mut self, boundary: &Boundary, refusal: &Refusal) -> Option<bool> {
        let act = Act::of(refusal)?;
        let entry = match &refusal.what {
            Refused::Command(command) => self.clerk.offer_command(command),
            // Of what no grant lets through nobody is asked.
            Refused::Network { rule, .. } if rule.starts_with(PACKET) => None,
            Refused::Network { host, port, .. } => {
                let entry = self.clerk.offer_host(host, *port);
                // Reached already, and refused for what was said on it.
                entry.filter(|entry| !self.permits.iter().any(|own| own.act == act && own.entry == *entry))
            }
            _ => None,
        };
        let entry = entry.filter(|_| self.asks() && !self.questions.spent())?;
        let name = name(act, &entry);
        // What the owner refused stays so.
        if self.refused.contains(&name) {
            return None;
        }
        // Most programs look along PATH, or try each address, and would ask once for each.
        self.declined.retain(|(_, _, since)| since.elapsed() < SAME);
        if self.declined.iter().any(|(process, own, _)| *process == refusal.process && *own == name) {
            return None;
        }
        if !self.clerk.asked(refusal) {
            return Some(false);
        }
        let of_it = |name: &&Path| entry_of(name).is_some_and(|(own, _)| own == act);
        let full = self.questions.waiting().filter(of_it).count() >= MOST_WAITING
            || !self.questions.add(&name, refusal, false);
        Some(!full || self.decline(boundary, refusal, &name, "there are too many questions"))
    }

    /// The owner wants to grant one; `false`: what became of it could not be written down.
    pub(crate) fn permit(
        &mut self,
        boundary: &Boundary,
        (act, entry): (Act, &str),
        terms: &Terms,
        client: Option<&OwnedFd>,
    ) -> bool {
        let number = self.next;
        let gone = |_| "the sandbox ended meanwhile".to_owned();
        let sent = if self.permits.iter().any(|permit| permit.act == act && permit.entry == entry) {
            Err(format!("`{entry}` is granted already: revoke that first"))
        } else if self.full() {
            Err("too many grants are open: revoke some first".to_owned())
        } else {
            match act {
                Act::Start => self
                    .clerk
                    .permit(number, entry, terms)
                    .and_then(|granted| boundary.permit(number, granted).map_err(gone)),
                Act::Reach => self
                    .clerk
                    .reach(entry, terms)
                    .and_then(|granted| boundary.reach(number, granted).map_err(gone)),
                Act::Use => self
                    .clerk
                    .lend(entry, terms)
                    .and_then(|()| boundary.lend(number, entry.to_owned()).map_err(gone)),
            }
        };
        let name = name(act, entry);
        match sent {
            Err(why) => {
                if let Some(client) = client {
                    answer(client, false, &why);
                }
                let mut written = true;
                while let Some(question) = self.questions.take(&name) {
                    written &= self.decline(boundary, &question.refusal, &name, &why);
                }
                written
            }
            Ok(()) => {
                self.next += 1;
                let until = terms.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
                self.refused.remove(&name);
                self.permits.push(Permit { number, act, entry: entry.to_owned(), until });
                if let Some(client) = client {
                    answer(client, true, &act.granted(entry));
                }
                // Each is judged anew; what this entry does not mean is asked about again.
                for question in self.questions.of(|refusal| Act::of(refusal) == Some(act)) {
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
            match permit.act {
                Act::Start => boundary.withdraw(permit.number),
                Act::Reach => boundary.unreach(permit.number),
                Act::Use => boundary.take_back(permit.number),
            }
            written &= self.clerk.ended(permit.number, Path::new(&permit.entry), cause);
        }
        (gone.len(), written)
    }

    /// The owner wants one to end; who waits for it is refused.
    pub(crate) fn revoke_entry(&mut self, boundary: &Boundary, act: Act, entry: &str, client: &OwnedFd) {
        let (found, _) =
            self.withdraw(boundary, "revoked", |permit| permit.act == act && permit.entry == entry);
        let name = name(act, entry);
        let waits = self.questions.has(&name);
        if waits {
            self.decide(boundary, &name, Choice::Refuse);
        }
        match (found, waits) {
            (0, false) => {
                let own = self.permits.iter().filter(|permit| permit.act == act);
                let all: Vec<_> = own.map(|permit| format!("`{}`", permit.entry)).collect();
                let all =
                    if all.is_empty() { "nothing of the kind is".to_owned() } else { all.join(", ") + " is" };
                answer(client, false, &format!("`{entry}` is not granted: {all}"));
            }
            (0, true) => answer(client, true, &format!("`{entry}` is refused to whoever waits for it")),
            _ => answer(client, true, &act.withdrawn(entry)),
        }
    }

    /// What lasted long enough ends; `false`: that could not be written down.
    pub(crate) fn expire_entries(&mut self, boundary: &Boundary) -> bool {
        let now = Instant::now();
        self.withdraw(boundary, "expired", |permit| permit.until.is_some_and(|until| until <= now)).1
    }
}
