//! What ends a sandbox before its command does: time, output, memory, processes.

use std::time::{Duration, Instant};

use ringfence_confine::{Boundary, Message};
use ringfence_limits::{Exceeded, Failure, Group, Place};
use ringfence_plan::Limits;

/// How often counters are looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How often a disk is: it fills faster.
const DISK: Duration = Duration::from_millis(25);

/// The limits of one sandbox.
#[derive(Debug)]
pub struct Limiter {
    group: Option<Group>,
    /// What init looks at, for want of a group.
    watched: Option<Limits>,
    /// When time is up, and how many milliseconds that was.
    until: Option<(Instant, u64)>,
    output: Option<u64>,
    next: Instant,
    /// What the task put on the disk is looked at, and when next.
    quota: Option<Box<dyn Disk>>,
    disk: Instant,
    /// Bytes in files without a name, and whether all of those could be looked at.
    unnamed: (u64, bool),
    exceeded: Option<Exceeded>,
}

/// What a task takes of a disk.
pub trait Disk: std::fmt::Debug {
    /// Looks. `unnamed` are bytes in files whose names are gone, and whether all of them could be looked at.
    fn exceeded(&mut self, unnamed: (u64, bool)) -> Option<Exceeded>;
}

impl Limiter {
    /// Puts init, and with it everything it starts from now on, into a control group at `place`, under this name; without one,
    /// init looks at its processes, and says so in time.
    ///
    /// # Errors
    /// [`Failure`]: the sandbox must not go on.
    pub fn new(
        limits: &Limits,
        place: Option<&Place>,
        boundary: &Boundary,
        name: &str,
    ) -> Result<Self, Failure> {
        let group = place.map(|place| Group::create(place, limits, name)).transpose()?;
        if let Some(group) = &group {
            group.add(boundary.init())?;
            // What the task makes it do counts too.
            boundary.server().map_or(Ok(()), |server| group.add(server))?;
        }
        let watched = group.is_none().then_some(*limits);
        let until = limits.time.map(|time| (Instant::now() + Duration::from_millis(time), time));
        Ok(Self { group, watched, until, output: limits.output, ..Self::none() })
    }

    /// Of what a command writes that somebody else keeps.
    #[must_use]
    pub fn of_output(bytes: u64) -> Self {
        Self { output: Some(bytes), ..Self::none() }
    }

    fn none() -> Self {
        let now = Instant::now();
        Self {
            group: None,
            watched: None,
            until: None,
            output: None,
            next: now,
            quota: None,
            disk: now,
            unnamed: (0, true),
            exceeded: None,
        }
    }

    /// Whoever moves a command's output has seen more of it than may be.
    pub(crate) fn flooded(&mut self) {
        self.exceeded = self.exceeded.take().or_else(|| self.output.map(Exceeded::output));
    }

    /// Looks at a disk too.
    #[must_use]
    pub fn with(self, quota: Option<Box<dyn Disk>>) -> Self {
        Self { quota, ..self }
    }

    /// Its group's directories, for whoever cleans up after a kill.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Which limit was reached, if one was.
    #[must_use]
    pub fn exceeded(&self) -> Option<&Exceeded> {
        self.exceeded.as_ref()
    }

    /// How long to wait at most before [`Self::check`].
    pub(crate) fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let look = self.group.is_some().then_some(self.next);
        let until = self.until.map(|(until, _)| until);
        let disk = self.quota.as_ref().map(|_| self.disk);
        look.into_iter().chain(until).chain(disk).min().map(|next| next.saturating_duration_since(now))
    }

    /// Looks at what is due; `written` is the output so far. Whether the sandbox must end now.
    pub(crate) fn check(&mut self, written: u64) -> bool {
        if self.exceeded.is_some() {
            return true;
        }
        let now = Instant::now();
        if let Some(limit) = self.output.filter(|limit| written > *limit) {
            self.exceeded = Some(Exceeded::output(limit));
        } else if let Some((_, time)) = self.until.filter(|(until, _)| *until <= now) {
            self.exceeded = Some(Exceeded::time(time));
        } else if self.next <= now {
            self.next = now + EVERY;
            self.look();
        }
        if self.exceeded.is_none() && self.disk <= now {
            self.look_at_disk();
        }
        self.exceeded.is_some()
    }

    /// A last look, after the end: a kill by the kernel is the end itself.
    pub(crate) fn look(&mut self) {
        if self.exceeded.is_none() {
            self.exceeded = self.group.as_ref().and_then(Group::exceeded);
        }
    }

    fn look_at_disk(&mut self) {
        if let Some(quota) = &mut self.quota {
            self.exceeded = quota.exceeded(self.unnamed);
            self.disk = Instant::now() + DISK;
        }
    }

    /// What init saw.
    pub(crate) fn told(&mut self, message: &Message) {
        if let Message::Unnamed { mebibytes, whole } = message {
            self.unnamed = (u64::from(*mebibytes) << 20, *whole);
            return;
        }
        let Some(limits) = &self.watched else { return };
        let seen = match message {
            Message::ManyProcesses => limits.processes.map(Exceeded::processes),
            _ => limits.memory.map(Exceeded::memory),
        };
        self.exceeded = self.exceeded.take().or(seen);
    }
}
