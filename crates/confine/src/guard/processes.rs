//! What runs by leave of the guard, from its start to its end: told, not judged.
//!
//! Who ends by exit_group(2) is looked at in that call, when all that it used is known. Who is ended by a signal is seen by its
//! absence, unless it is a child of init's.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use ringfence_policy::Digest;
use ringfence_sys::signals;
use rustix::process::WaitStatus;

use crate::proc;
use crate::report::{Command, Life, Process};

/// How often those who may be gone are looked for.
const EVERY: Duration = Duration::from_secs(1);
/// Milliseconds of a tick: USER_HZ is 100 on the machines that this is for (time(7)).
const TICK: u64 = 10;
/// Who lived shorter waits for no look at what it used, which is less than the kernel tells apart, and is known by its number: those do
/// not go round so fast.
const SHORT: Duration = Duration::from_millis(TICK);

/// How long what is told may wait until it is read, and how much may wait: the supervisor takes a processor from those who start when
/// it is woken.
const TOGETHER: Duration = Duration::from_millis(10);
const MANY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Processes {
    running: HashMap<i32, Running>,
    /// What is to be told.
    told: Vec<Process>,
    /// What was told since the supervisor was woken, and when it is.
    unread: usize,
    due: Option<Instant>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    file: OsString,
    /// In ticks since the boot: another process of that number has another one.
    started: u64,
    /// It had used nothing yet: what ran under its number before counts too.
    unused: bool,
}

/// The end of a process.
#[derive(Debug, Default)]
pub(super) struct End {
    process: i32,
    exit: Option<i32>,
    signal: Option<i32>,
    /// Of its user and system time.
    ticks: Option<(u64, u64)>,
    /// At its highest, in KiB.
    memory: Option<u64>,
}

/// Whose child a process is; 0 where that is not known.
pub(super) fn parent(process: i32) -> i32 {
    Stat::of(process).map_or(0, |stat| stat.parent)
}

/// Whether a process has one thread.
pub(super) fn is_alone(process: i32) -> bool {
    Stat::of(process).is_some_and(|stat| stat.threads == 1)
}

/// What proc_pid_stat(5) has, in ticks.
struct Stat {
    parent: i32,
    threads: u64,
    user: u64,
    system: u64,
    started: u64,
}

impl Stat {
    fn of(process: i32) -> Option<Self> {
        let text = proc::read(&format!("/proc/{process}/stat")).ok()?;
        let behind = text.iter().rposition(|byte| *byte == b')')?;
        let mut fields = std::str::from_utf8(text.get(behind + 1..)?).ok()?.split_ascii_whitespace();
        // The first field behind the name is the third.
        let state = fields.next()?;
        let mut number = |skipped| fields.nth(skipped)?.parse().ok();
        let (parent, user, system) = (number(0)?, number(9)?, number(0)?);
        let (threads, started) = (number(4)?, number(1)?);
        let parent = i32::try_from(parent).ok()?;
        // Where the first thread alone has ended, the others go on.
        (!matches!(state, "Z" | "X") || threads > 1).then_some(Self {
            parent,
            threads,
            user,
            system,
            started,
        })
    }
}

/// The kernel keeps the lowest byte.
fn exit(status: u64) -> Option<i32> {
    i32::try_from(status & 0xff).ok()
}

impl Processes {
    /// A program starts.
    pub(super) fn began(&mut self, process: i32, mut command: Command, digest: Option<Digest>) {
        let stat = Stat::of(process);
        let running = Running {
            since: Instant::now(),
            file: command.file.clone(),
            started: stat.as_ref().map_or(0, |stat| stat.started),
            unused: stat.as_ref().is_some_and(|stat| stat.user + stat.system == 0),
        };
        // What was there before has become this one.
        self.running.insert(process, running);
        command.parent = stat.map_or(0, |stat| stat.parent);
        self.told.push(Process { process, life: Life::Began { command, digest } });
    }

    /// How a thread ends its process with this status, as far as it can be seen while the call waits; `None`: it is none that is told of.
    pub(super) fn end(&self, thread: i32, status: u64) -> Option<End> {
        if self.running.is_empty() {
            return None;
        }
        let end = End { process: thread, exit: exit(status), ..End::default() };
        if self.running.get(&thread).is_some_and(|running| running.unused && running.since.elapsed() < SHORT)
        {
            return Some(end);
        }
        // What only forked, as each subshell of a script: nobody was told of its start.
        if !self.running.contains_key(&thread) && signals::leads(thread) {
            return None;
        }
        let text = proc::read(&format!("/proc/{thread}/status")).ok()?;
        // Names of programs may hold anything.
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| -> Option<u64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_ascii_whitespace().next()?.parse().ok()
        };
        let process = i32::try_from(field("Tgid:")?).ok()?;
        let known = self.running.get(&process)?.started;
        let stat = Stat::of(process).filter(|stat| [0, stat.started].contains(&known))?;
        Some(End { process, ticks: Some((stat.user, stat.system)), memory: field("VmHWM:"), ..end })
    }

    /// A child of init's has ended.
    pub(super) fn reaped(&mut self, process: i32, status: WaitStatus) {
        let (exit, signal) = (status.exit_status(), status.terminating_signal());
        self.ended(End { process, exit, signal, ..End::default() });
    }

    /// It is no more.
    pub(super) fn ended(&mut self, end: End) {
        let End { process, exit, signal, ticks, memory } = end;
        let Some(running) = self.running.remove(&process) else { return };
        let milliseconds = |ticks: u64| ticks.saturating_mul(TICK);
        let life = Life::Ended {
            file: running.file,
            exit,
            signal,
            milliseconds: u64::try_from(running.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            user: ticks.map(|(user, _)| milliseconds(user)),
            system: ticks.map(|(_, system)| milliseconds(system)),
            memory,
        };
        self.told.push(Process { process, life });
    }

    /// Who is gone without having said so, now and then.
    pub(super) fn look(&mut self) {
        if self.running.is_empty() {
            self.next = None;
            return;
        }
        let now = Instant::now();
        if *self.next.get_or_insert(now + EVERY) > now {
            return;
        }
        self.next = Some(now + EVERY);
        let there = |process: &i32, running: &Running| {
            Stat::of(*process).is_some_and(|stat| [0, stat.started].contains(&running.started))
        };
        let gone: Vec<i32> = self
            .running
            .iter()
            .filter(|(process, running)| !there(process, running))
            .map(|(process, _)| *process)
            .collect();
        gone.into_iter().for_each(|process| self.ended(End { process, ..End::default() }));
    }

    /// Nobody is left; how those ended that did not say so was not seen.
    pub(super) fn gone(&mut self) {
        let all: Vec<i32> = self.running.keys().copied().collect();
        all.into_iter().for_each(|process| self.ended(End { process, ..End::default() }));
    }

    /// How long until then, or until somebody is to read.
    pub(super) fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        self.next.into_iter().chain(self.due).min().map(|next| next.saturating_duration_since(now))
    }

    /// What is to be told since it was asked last.
    pub(super) fn take(&mut self) -> Vec<Process> {
        let told = std::mem::take(&mut self.told);
        self.unread += told.len();
        if self.unread > 0 {
            self.due.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
        told
    }

    /// Whether it is time to read what was told.
    pub(super) fn due(&mut self) -> bool {
        let due = self.due.is_some_and(|due| self.unread >= MANY || due <= Instant::now());
        if due {
            (self.unread, self.due) = (0, None);
        }
        due
    }
}
