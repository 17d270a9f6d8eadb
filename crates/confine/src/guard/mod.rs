//! The exec guard: each execve of the task is judged before it is made, and confirmed when it has been made.
//!
//! Path and arguments are in the task's memory, which other threads may change while init looks. So they are read once and
//! judged; the thread is then seized, and stops at the end of its execve, where the new image has one thread and its arguments
//! are final. If what runs is not what was judged, somebody changed it in between, and the process ends there. An execve that fails
//! stops nowhere; its thread is let go with its next call, or after a while.

mod case;
mod environment;
mod file;
mod nested;
mod pipes;
mod processes;
mod words;

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use ringfence_policy::{CommandRules, Digest, GrantedCommand};
use ringfence_sys::ptrace;
use ringfence_sys::seccomp::{self, Notification};
use ringfence_sys::signals;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, kill_process};

use crate::caller;
use crate::hosted::Trees;
use crate::proc::{self, group};
use crate::report::{Command, Fate, Process, Refusal, Refused};
use crate::script::Program;
use case::Case;
pub use case::{Why, foreseen, is_program};
use file::{Chain, From};

/// Threads held at one time, and of those each command's; more wait.
const MOST_HELD: usize = 96;
const MOST_OF_ONE: usize = 32;
/// How long a thread is held that does not come to the end of its execve: it failed, or it reads from a slow disk.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon those that do not are looked at again.
const SOON: Duration = Duration::from_millis(10);
/// Bytes of arguments in one report.
const TOLD: usize = 2048;

/// The rules, and who is on the way.
#[derive(Debug)]
pub(crate) struct Guard {
    rules: CommandRules,
    /// What says in tier `landlock` where programs may start and what the task can change.
    trees: Option<Trees>,
    /// The task may trace its own, and a traced thread cannot be seized.
    debug: bool,
    /// By thread.
    held: HashMap<i32, Held>,
    /// Threads whose execve has failed and that have not stopped yet to be let go, and their processes: who waits for a vfork(2) does
    /// not for as long as that takes.
    loose: HashMap<i32, i32>,
    /// When those that do not come to an end were looked at.
    looked: Option<Instant>,
    /// Listeners whose first program has started.
    begun: HashSet<u32>,
    /// What the first program of each was given to read from, where the policy asks.
    given: HashMap<u32, pipes::Pipes>,
    /// What pinned files held when they were last looked at.
    known: file::Known,
    seen: file::Seen,
    processes: processes::Processes,
}

/// A thread whose execve was let go.
#[derive(Debug)]
struct Held {
    process: i32,
    chain: Chain,
    /// Where paths among its arguments begin, if a rule asks for those.
    place: Option<(u64, u64)>,
    /// What they will be, each with its NUL, and how many.
    line: Vec<u8>,
    count: usize,
    command: Command,
    digest: Option<Digest>,
    listener: u32,
    until: Instant,
    interrupted: bool,
}

/// What becomes of a call.
pub(crate) enum Verdict {
    /// It goes on, or its caller is gone.
    Gone,
    /// This error, at once: the kernel would say the same.
    Fails(Errno),
    /// EACCES, as soon as it is written down.
    Refused(Box<Refusal>),
}

/// A call that waits, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) call: Notification,
    process: i32,
}

impl Start {
    pub(crate) fn of(call: Notification) -> Self {
        let leads = signals::leads(call.thread);
        let process = if leads { call.thread } else { group(call.thread).unwrap_or(call.thread) };
        Self { call, process }
    }
}

/// What was asked for.
struct Asked {
    command: Command,
    chain: Chain,
    arguments: Vec<Vec<u8>>,
    directory: Vec<u8>,
    /// That is what init finds by that path.
    here: bool,
    /// By somebody who has a user namespace of its own.
    nested: bool,
    place: Option<(u64, u64)>,
}

impl Guard {
    pub(crate) fn new(rules: CommandRules, debug: bool, trees: Option<Trees>) -> Self {
        let seen = file::Seen::new(rules.nested());
        Self {
            rules,
            trees,
            debug,
            held: HashMap::new(),
            loose: HashMap::new(),
            looked: None,
            begun: HashSet::new(),
            given: HashMap::new(),
            known: file::Known::new(),
            seen,
            processes: processes::Processes::default(),
        }
    }

    /// Whether this call is one to judge.
    pub(crate) fn judges(call: &Notification) -> bool {
        [libc::SYS_execve, libc::SYS_execveat].contains(&i64::from(call.number))
    }

    /// A command may start from now on.
    pub(crate) fn permit(&mut self, number: u32, granted: GrantedCommand) {
        self.rules.permit(number, granted);
    }

    /// It may not any more.
    pub(crate) fn withdraw(&mut self, number: u32) {
        self.rules.withdraw(number);
    }

    /// What lies where in the tree may be another now.
    pub(crate) fn renewed(&mut self) {
        self.seen.forget();
    }

    /// A process ends by itself, if this call is that; it goes on.
    pub(crate) fn ends(&mut self, listener: BorrowedFd<'_>, call: &Notification) -> bool {
        let ends = i64::from(call.number) == libc::SYS_exit_group;
        if ends {
            let [status, ..] = call.arguments;
            let end = self.processes.end(call.thread, status);
            // That it could be let go tells that what was looked at was the caller's, and no successor's.
            if seccomp::proceed(listener, call.id).is_ok()
                && let Some(end) = end
            {
                self.processes.ended(end);
            }
        }
        ends
    }

    /// A child of init's has ended.
    pub(crate) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        self.processes.reaped(pid.as_raw_nonzero().get(), status);
    }

    /// All of them have ended.
    pub(crate) fn gone(&mut self) {
        self.processes.gone();
    }

    /// What has started and ended since it was asked last, and whether it is time to read that.
    pub(crate) fn processes(&mut self) -> (Vec<Process>, bool) {
        (self.processes.take(), self.processes.due())
    }

    /// Whether another thread can be held.
    pub(crate) fn room(&self) -> bool {
        self.held.len() < MOST_HELD
    }

    /// Whether one of this process, and of this listener's command, can be now. To seize a thread waits for an execve of its process
    /// that is under way (ptrace(2), the kernel's cred_guard_mutex), and that for the end of each thread which is traced: of a process
    /// one is held at a time.
    pub(crate) fn takes(&self, start: Start, listener: u32) -> bool {
        let of_same = |held: (&i32, &Held)| *held.0 != start.call.thread && held.1.process == start.process;
        let of_one = self.held.values().filter(|held| held.listener == listener).count();
        self.room() && of_one < MOST_OF_ONE && !self.held.iter().any(of_same)
    }

    /// Judges a call that waits.
    pub(crate) fn judge(&mut self, listener: BorrowedFd<'_>, number: u32, start: Start) -> Verdict {
        let Start { call, process } = &start;
        let mut asked = match ask(call, self.trees.as_ref(), !self.rules.holds_directories(), &mut self.seen)
        {
            Ok(asked) => asked,
            Err(errno @ (Errno::FAULT | Errno::PERM)) => return unreadable(call, errno),
            Err(Errno::XDEV) => {
                let why = "its directory, or a descriptor, is not what its root has by that path";
                return refuse(call, Command::default(), why.to_owned().into());
            }
            Err(Errno::OVERFLOW) => {
                let why = "the path of its directory is longer than any that can be judged";
                return refuse(call, Command::default(), why.to_owned().into());
            }
            Err(errno) => return Verdict::Fails(errno),
        };
        // Only now is it sure that all of this was the caller's, and not a successor's with the same number.
        if !seccomp::still_waits(listener, call.id) {
            return Verdict::Gone;
        }
        let first = !self.begun.contains(&number);
        asked.command.first = first;
        let lies = executable(&asked.chain);
        let verdict = match (self.decide(&asked, first), lies) {
            // No entry would help with what the task wrote.
            (Err(why), Err(rule)) if !why.wanted.is_empty() && self.wrote(&asked.chain) => Err(rule.into()),
            (verdict, lies) => verdict.and(lies.map_err(Why::from)),
        };
        let verdict = verdict.and_then(|()| Ok(self.unchanged(&asked.chain)?));
        if let Err(why) = verdict.and_then(|()| Ok(self.unpiped(call.thread, number)?)) {
            return refuse(call, asked.command, why);
        }
        let process = *process;
        let own = self.held.contains_key(&call.thread) | self.loose.remove(&call.thread).is_some();
        // Asked for each time: what is remembered of a number may be of who had it before.
        if let Err(errno) = ptrace::seize(call.thread)
            && !(own && errno == Errno::PERM)
        {
            return match errno {
                Errno::SRCH => Verdict::Gone,
                Errno::PERM if !seccomp::still_waits(listener, call.id) => Verdict::Gone,
                // Who may trace it could change it at any time after, too. Its execve waits for no other thread.
                Errno::PERM if self.debug && processes::is_alone(process) => {
                    let digest = self.digest(&asked.chain);
                    self.processes.began(process, asked.command, digest);
                    let _ = seccomp::proceed(listener, call.id);
                    Verdict::Gone
                }
                _ => {
                    let why = "it is traced, so that its arguments cannot be confirmed";
                    refuse(call, asked.command, why.to_owned().into())
                }
            };
        }
        // Each keeps a few descriptors until its execve has come to an end, which a task can keep it from.
        if !self.room() {
            let _ = ptrace::detach(call.thread, 0);
            return Verdict::Fails(Errno::AGAIN);
        }
        let digest = self.digest(&asked.chain);
        let Asked { command, chain, arguments, place, .. } = asked;
        let words = chain.arguments(&arguments);
        let count = words.len();
        let line = words.into_iter().flat_map(|word| [word, vec![0]].concat()).collect();
        let until = Instant::now() + PATIENCE;
        let held = Held {
            process,
            chain,
            place,
            line,
            count,
            command,
            digest,
            listener: number,
            until,
            interrupted: false,
        };
        self.held.insert(call.thread, held);
        let _ = seccomp::proceed(listener, call.id);
        Verdict::Gone
    }

    /// Whether it lies where nothing starts, and the task wrote it.
    fn wrote(&self, chain: &Chain) -> bool {
        chain.links.first().is_some_and(|link| link.no_exec && link.written(self.trees.as_ref()))
    }

    fn decide(&self, asked: &Asked, first: bool) -> Result<(), Why> {
        if self.rules.asks_for_directories() && !asked.here {
            let shown = String::from_utf8_lossy(&asked.directory);
            return Err(format!(
                "entries of `[commands]` name paths, and `{shown}` is another directory there"
            )
            .into());
        }
        // In a mount namespace of its own, a task renames what is a mount point elsewhere.
        let mounts = !self.rules.nested();
        let settled =
            |path: &[u8], directory: &[u8]| file::settled(path, directory, self.trees.as_ref(), mounts);
        let (directory, nested) = (asked.directory.as_slice(), asked.nested);
        Case { rules: &self.rules, directory, nested, first, settled: &settled }
            .decide(&asked.chain, asked.arguments.clone())
    }

    /// Whether it begins with no pipe but those that the command itself was given.
    fn unpiped(&mut self, thread: i32, listener: u32) -> Result<(), String> {
        let Some(why) = self.rules.piped() else { return Ok(()) };
        let kept =
            pipes::kept(thread).map_err(|errno| format!("its descriptors cannot be read ({errno})"))?;
        if !self.begun.contains(&listener) {
            self.given.insert(listener, kept);
            return Ok(());
        }
        let given = self.given.get(&listener);
        if given.is_some_and(|given| kept.is_subset(given)) || kept.is_empty() { Ok(()) } else { Err(why) }
    }

    /// Whether pinned files hold what they held at the start.
    fn unchanged(&mut self, chain: &Chain) -> Result<(), String> {
        for link in &chain.links {
            let Some(pinned) = self.rules.pinned(&link.real) else { continue };
            if link.digest(&mut self.known).as_ref() != Ok(pinned) {
                let shown = String::from_utf8_lossy(&link.real);
                return Err(format!("`commands.pin`: what `{shown}` holds changed since the start"));
            }
        }
        Ok(())
    }

    /// What the file holds, where the policy pins programs.
    fn digest(&mut self, chain: &Chain) -> Option<Digest> {
        let file = chain.links.first().filter(|_| self.rules.pins())?;
        file.digest(&mut self.known).ok()
    }

    /// What a wait told of a process; `None`: it is no matter of the guard's. A report is of one that was changed meanwhile, or of variables.
    pub(crate) fn told(&mut self, pid: Pid, status: WaitStatus) -> Option<Option<Refusal>> {
        let thread = pid.as_raw_nonzero().get();
        if !status.stopped() {
            self.held.retain(|held, one| *held != thread && one.process != thread);
            self.loose.retain(|held, process| *held != thread && *process != thread);
            return None;
        }
        let raw = status.as_raw();
        let (signal, event) = (raw >> 8 & 0xff, raw >> 16);
        if event == ptrace::EXEC {
            return Some(self.confirm(pid, thread));
        }
        let held = self.held.remove(&thread).is_some() | self.loose.remove(&thread).is_some();
        if !held && event == 0 {
            return None;
        }
        // Its execve failed. A stop that is no signal's goes on as what it is.
        let _ = ptrace::detach(thread, if event == 0 { signal } else { 0 });
        Some(None)
    }

    fn confirm(&mut self, pid: Pid, thread: i32) -> Option<Refusal> {
        let former = ptrace::former(thread).unwrap_or(thread);
        // Another thread may have had the number that the process has, and is gone.
        let leader = self.held.remove(&thread);
        let held = if former == thread { leader } else { self.held.remove(&former) };
        // Nobody is told of those that it was not.
        self.loose.retain(|_, process| *process != thread);
        let same = held.as_ref().is_some_and(|held| {
            words::are(thread, held.count, &held.line) == Ok(true)
                && held.chain.runs(thread)
                && held.place.is_none_or(|place| file::stands_in(thread, place))
        });
        let same = same && held.as_ref().is_some_and(|held| self.unpiped(thread, held.listener).is_ok());
        let first = held.as_ref().is_some_and(|held| !self.begun.contains(&held.listener));
        // No variable turns a program that the task wrote into another than the task's; what that starts is looked at in its turn.
        let own = held.as_ref().is_some_and(|held| held.chain.is_written(self.trees.as_ref()));
        let cleaned = match (same, own) {
            (true, true) => Ok(Vec::new()),
            (true, false) => environment::clean(&self.rules, thread, first),
            (false, _) => Err(Errno::ACCESS),
        };
        if let (Some(held), Ok(cleaned)) = (&held, &cleaned) {
            self.begun.insert(held.listener);
            let told = (!cleaned.is_empty()).then(|| {
                let names = cleaned.iter().map(|name| OsStr::from_bytes(name).to_owned()).collect();
                let rule = "a variable that turns one program into another".to_owned();
                let command = Command { rule, fate: Fate::Cleaned(names), ..held.command.clone() };
                Refusal {
                    number: 0,
                    process: thread,
                    program: Program::of(thread),
                    what: Refused::Command(command),
                }
            });
            let _ = ptrace::detach(thread, 0);
            // It runs while its start is written down; it does not end before its last call was looked at.
            self.processes.began(thread, held.command.clone(), held.digest);
            return told;
        }
        let mut command = held.map(|held| held.command).unwrap_or_default();
        command.rule = "what runs is not what was judged: somebody changed it in between".into();
        command.fate = Fate::Changed;
        let what = Refused::Command(command);
        let refusal = Refusal { number: 0, process: thread, program: Program::of(thread), what };
        let _ = kill_process(pid, Signal::KILL);
        let _ = ptrace::detach(thread, 9);
        Some(refusal)
    }

    /// Lets go who does not come to an end.
    pub(crate) fn look(&mut self) {
        self.processes.look();
        if self.held.is_empty() {
            return;
        }
        let now = Instant::now();
        let again = self.looked.is_none_or(|looked| now.duration_since(looked) >= SOON);
        self.looked = if again { Some(now) } else { self.looked };
        let loose = &mut self.loose;
        self.held.retain(|thread, held| {
            // Another one's end is told; until then its number may have become its process's, late in its execve (execve(2)).
            let first = *thread == held.process;
            if !held.interrupted {
                held.interrupted = held.until <= now;
                return !held.interrupted || ptrace::interrupt(*thread).is_ok() || !first;
            }
            // The first thread of a process may end, and nobody is told while others of it live.
            if again && first && !caller::lives(CWD, &format!("/proc/{thread}")) {
                return false;
            }
            let failed = again && has_failed(*thread);
            if failed {
                loose.insert(*thread, held.process);
            }
            !failed
        });
    }

    /// How long until then.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let waiting = self.held.values().filter(|held| !held.interrupted);
        let waiting = waiting.map(|held| held.until.saturating_duration_since(Instant::now()));
        waiting.chain(self.processes.patience()).min()
    }

    /// Nobody is left behind this listener.
    pub(crate) fn forget(&mut self, listener: u32) {
        self.begun.remove(&listener);
        self.given.remove(&listener);
    }
}

/// Whether a thread whose execve was let go waits in another call by now (proc_pid_syscall(5)).
fn has_failed(thread: i32) -> bool {
    let text = proc::read(&format!("/proc/{thread}/syscall")).unwrap_or_default();
    let number = text.split(|byte| *byte == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
    let number = number.and_then(|word| word.parse::<i64>().ok());
    number.is_some_and(|number| ![libc::SYS_execve, libc::SYS_execveat, -1].contains(&number))
}

/// Whether all of it lies where programs may start: the kernel would say no without a word to anybody. What only a sandbox of the task's
/// own has lies nowhere.
fn executable(chain: &Chain) -> Result<(), String> {
    if let Some(link) = chain.links.iter().find(|link| link.strange) {
        let shown = String::from_utf8_lossy(&link.real);
        return Err(format!(
            "`{shown}` is not the file that is there outside of the sandbox that the task made for itself (`runtime.user_namespaces`)"
        ));
    }
    match chain.links.iter().find(|link| link.no_exec) {
        None => Ok(()),
        Some(link) => {
            let shown = String::from_utf8_lossy(&link.real);
            Err(format!(
                "`{shown}` is in no executable tree: `files.exec`, or `commands.from_workspace` for the workspace"
            ))
        }
    }
}

fn ask(
    call: &Notification,
    trees: Option<&Trees>,
    told: bool,
    seen: &mut file::Seen,
) -> Result<Asked, Errno> {
    let thread = call.thread;
    let at = i64::from(call.number) == libc::SYS_execveat;
    let [first, second, third, _, flags, _] = call.arguments;
    let (path, vector) = if at { (second, third) } else { (first, second) };
    let (path, arguments) = words::command(thread, path, vector)?;
    // The kernel reads a descriptor and flags as 32 bits.
    let descriptor = (first as u32).cast_signed();
    let relative = at && descriptor != libc::AT_FDCWD && !path.starts_with(b"/");
    let empty = at && flags as u32 == libc::AT_EMPTY_PATH.unsigned_abs() && path.is_empty();
    if at && flags as u32 != 0 && flags as u32 != libc::AT_EMPTY_PATH.unsigned_abs() {
        return Err(Errno::INVAL);
    }
    let mut from = From::of(thread, told && (path.starts_with(b"/") || relative || empty), seen.nested)?;
    let chain = if empty {
        let file = file::descriptor_of(thread, descriptor)?;
        let named = format!("/dev/fd/{descriptor}").into_bytes();
        Chain::from_file(&mut from, file, named, trees, seen)?
    } else if relative {
        let mut chain = Chain::follow(&mut from.descriptor(descriptor)?, &path, trees, seen)?;
        if let Some(link) = chain.links.first_mut() {
            link.named = [format!("/dev/fd/{descriptor}/").as_bytes(), &path].concat();
        }
        chain
    } else {
        Chain::follow(&mut from, &path, trees, seen)?
    };
    let (directory, place) = (from.directory_path.clone(), from.place()?);
    let (here, nested) = (told || from.is_here(), from.root.is_some());
    let command = Command {
        file: OsStr::from_bytes(chain.links.first().map_or(&path, |link| &link.real)).to_owned(),
        arguments: shortened(&arguments),
        directory: OsStr::from_bytes(&directory).to_owned(),
        parent: 0,
        rule: String::new(),
        wanted: Vec::new(),
        first: false,
        fate: Fate::Refused,
    };
    Ok(Asked { command, chain, arguments, directory, here, nested, place })
}

/// So many of them as fit a report.
fn shortened(arguments: &[Vec<u8>]) -> Vec<OsString> {
    let fit = fitting(arguments);
    let told = arguments.iter().take(fit).map(|argument| OsStr::from_bytes(argument).to_owned());
    told.chain((fit < arguments.len()).then(|| "...".into())).collect()
}

/// How many that are.
fn fitting(arguments: &[Vec<u8>]) -> usize {
    let mut left = TOLD;
    let fits = |argument: &&Vec<u8>| {
        let rest = left.checked_sub(argument.len() + 8);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    arguments.iter().take_while(fits).count()
}

fn unreadable(call: &Notification, errno: Errno) -> Verdict {
    let rule = format!("its arguments cannot be read ({errno})");
    refuse(call, Command::default(), rule.into())
}

fn refuse(call: &Notification, mut command: Command, why: Why) -> Verdict {
    command.rule = why.rule;
    // Half of an entry is none.
    let whole = fitting(&why.wanted) == why.wanted.len();
    command.wanted = if whole { shortened(&why.wanted) } else { Vec::new() };
    let process = group(call.thread).unwrap_or(call.thread);
    command.parent = processes::parent(process);
    let what = Refused::Command(command);
    Verdict::Refused(Box::new(Refusal { number: 0, process, program: Program::of(process), what }))
}
