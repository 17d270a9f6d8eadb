//! One command in the sandbox: from init's fork to its exec. The order is the order of this page.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ringfence_plan::syscalls::Variant;
use ringfence_plan::{Landlock, Limits, bpf, syscalls};
use ringfence_policy::{CommandRules, NetworkRules};
use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::exec::{self, Vectors};
use ringfence_sys::fds;
use ringfence_sys::seccomp::{self, Instruction};
use ringfence_sys::signals::{self, Set};
use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Pid, Resource, Rlimit, getrlimit};
use rustix::thread::CapabilitySet;
use rustix::{pty, termios};

use crate::child::{Outcome, at, keep_capabilities, set_aside};
use crate::hosted;
use crate::interpreter::{interpreter, unfit};
use crate::landlock::{Domain, Found};
use crate::leader;
use crate::orders::{Job, Orders, Size, Stream};
use crate::report::{Message, send, send_with};
use crate::stage::Stage;

/// The likely system call filter, made while there is nothing else to do; or none, where another one is needed.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    usual: Option<(Variant, Vec<bpf::Instruction>)>,
}

impl Filters {
    pub(crate) fn new(root: bool) -> Self {
        let variant = Variant::usual(root);
        Self { usual: Some((variant, syscalls::program(variant))) }
    }
}

/// What every command of this sandbox enters, and what the invoker had that the construction changes for a while.
#[derive(Debug)]
pub(crate) struct Rules {
    landlock: Option<Landlock>,
    /// Made of it once the root stands; with what went wrong.
    domain: Option<Result<Domain, Errno>>,
    /// What it is made of, where that was found already.
    pub(crate) found: Option<Found>,
    filter: Vec<Instruction>,
    umask: Mode,
    descriptors: Rlimit,
    pub(crate) limits: Limits,
    /// The sandbox ends with its first command.
    pub(crate) single: bool,
    /// Memory and processes are looked at.
    pub(crate) watched: bool,
    /// The root has a server.
    pub(crate) served: bool,
    /// What programs are judged by; init takes it.
    pub(crate) guard: Option<CommandRules>,
    /// What connections are judged by; init takes it.
    pub(crate) network: Option<NetworkRules>,
    /// Programs are judged.
    guarded: bool,
    /// The task may trace its own.
    pub(crate) debug: bool,
    /// Tier `landlock`: no namespace is the sandbox's own.
    pub(crate) hosted: bool,
}

impl Rules {
    pub(crate) fn of(orders: &Orders<'_>, filters: &Filters) -> Self {
        let other;
        let filter = match &filters.usual {
            Some((variant, usual)) if orders.filter == *variant => usual,
            _ => {
                other = syscalls::program(orders.filter);
                &other
            }
        };
        let umask = process::umask(Mode::empty());
        process::umask(umask);
        Self {
            landlock: orders.landlock.clone().into_owned(),
            domain: None,
            found: None,
            filter: filter
                .iter()
                .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
                .collect(),
            umask,
            descriptors: getrlimit(Resource::Nofile),
            limits: orders.limits,
            single: orders.single,
            watched: orders.watched,
            served: orders.void.is_some(),
            guard: orders.guard.clone().into_owned(),
            network: orders.network.clone().into_owned(),
            guarded: orders.filter.guarded,
            debug: orders.filter.debug,
            hosted: orders.filter.hosted,
        }
    }
}

impl Rules {
    /// The part that takes a while, while the supervisor writes its record.
    pub(crate) fn prepare(&mut self) {
        let found = self.found.take();
        let domain = |plan: &Landlock| match &found {
            Some(found) => Domain::of(plan, found),
            None => Domain::new(plan),
        };
        self.domain = self.landlock.as_ref().map(domain);
    }

    /// Others lie at these paths now.
    pub(crate) fn renew(&self, paths: &[PathBuf]) -> Result<(), Errno> {
        match (&self.landlock, &self.domain) {
            (Some(plan), Some(Ok(domain))) => domain.renew(plan, paths),
            _ => Ok(()),
        }
    }
}

/// A pseudo-terminal of the sandbox's own devpts.
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    slave: OwnedFd,
}

impl Pair {
    /// Makes one of this size.
    pub(crate) fn new(size: Size) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = fs::openat(CWD, c"/dev/ptmx", flags, Mode::empty())?;
        pty::unlockpt(&master)?;
        let slave = pty::ioctl_tiocgptpeer(
            &master,
            pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY | pty::OpenptFlags::CLOEXEC,
        )?;
        let size = termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcsetwinsize(&slave, size)?;
        Ok(Self { master, slave })
    }
}

/// Whom a new process tells what became of it.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The supervisor.
    pub(crate) report: &'a OwnedFd,
    /// Init.
    pub(crate) inbox: &'a OwnedFd,
}

/// The new process of a command. Never returns.
pub(crate) fn run(rules: &Rules, job: &Job, passed: Vec<OwnedFd>, pair: Option<Pair>, told: Told<'_>) -> ! {
    let report = told.report;
    if let Err(fault) = be_nobody() {
        fail(report, job.id, fault);
    }
    let Some(Pair { master, slave }) = pair else { task(rules, job, passed, None, told) };
    drop(master);
    // The leader of the session stays its member, or what the terminal stops would be an orphan that cannot be stopped
    // (setpgid(2), credentials(7)).
    match process::ioctl_tiocsctty(&slave).and_then(|()| clone(0)) {
        Ok(Forked::Child) => task(rules, job, passed, Some(slave), told),
        Ok(Forked::Parent(pid, _)) => {
            drop(passed);
            leader::lead(pid, job.id, report, &slave)
        }
        Err(errno) => fail(report, job.id, (Stage::Terminal as u32, errno)),
    }
}

/// Without a right, and in a session of its own: the invoker's terminal is not its controlling one.
fn be_nobody() -> Outcome<()> {
    keep_capabilities(CapabilitySet::empty()).map_err(at(Stage::Privileges))?;
    new_session()
}

fn new_session() -> Outcome<()> {
    process::setsid().map(drop).map_err(at(Stage::Terminal))
}

/// All that can be done before there is a command; its filter's listener goes to init under this number.
pub(crate) fn enclose(rules: &Rules, number: u32, told: Told<'_>) -> Outcome<()> {
    // Of what init has, which is nothing in tier `landlock`: there the filter keeps others from it.
    let aside = if rules.hosted { CapabilitySet::empty() } else { CapabilitySet::SYS_PTRACE };
    set_aside(aside).map_err(at(Stage::Privileges))?;
    new_session()?;
    signals::default_actions();
    lock(rules, number, told.inbox)
}

/// What [`enclose`]d becomes the command. Never returns.
pub(crate) fn become_task(rules: &Rules, job: &Job, passed: Vec<OwnedFd>, told: Told<'_>) -> ! {
    let nobody = keep_capabilities(CapabilitySet::empty()).map_err(at(Stage::Privileges));
    match nobody.and_then(|()| take(rules, job, passed, None)) {
        Ok(()) => start_program(rules, job, told.report),
        Err(fault) => fail(told.report, job.id, fault),
    }
}

fn task(rules: &Rules, job: &Job, passed: Vec<OwnedFd>, slave: Option<OwnedFd>, told: Told<'_>) -> ! {
    signals::default_actions();
    let entered = take(rules, job, passed, slave).and_then(|()| lock(rules, job.id, told.inbox));
    match entered {
        Ok(()) => start_program(rules, job, told.report),
        Err(fault) => fail(told.report, job.id, fault),
    }
}

fn start_program(rules: &Rules, job: &Job, report: &OwnedFd) -> ! {
    let (arguments, environment, candidates) = match vectors(job) {
        Ok(vectors) => vectors,
        Err(errno) => fail(report, job.id, (Stage::Orders as u32, errno)),
    };
    // Init has no right of its own over this image, which began outside of the sandbox, and must read what is executed.
    if rules.guarded {
        let _ = process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    let errno = execute(&candidates, &arguments, &environment);
    let mut there = candidates.iter().map(|path| Path::new(OsStr::from_bytes(path.as_bytes())));
    let unfit = there.clone().filter(|_| errno == Errno::ACCESS).find_map(unfit);
    // A loader that is not there, or may not be executed.
    let needs = match (errno, unfit) {
        (Errno::NOENT | Errno::ACCESS, None) => there.find_map(interpreter),
        _ => None,
    };
    send(report.as_fd(), &Message::NotExecuted { job: job.id, errno, needs, unfit });
    exec::exit_now(if errno == Errno::NOENT { 127 } else { 126 })
}

fn fail(report: &OwnedFd, job: u32, (stage, errno): (u32, Errno)) -> ! {
    send(report.as_fd(), &Message::Failed { stage, errno, job });
    exec::exit_now(125)
}

/// What is the command's own: its directory, streams, limits and signals.
fn take(rules: &Rules, job: &Job, passed: Vec<OwnedFd>, slave: Option<OwnedFd>) -> Outcome<()> {
    process::chdir(OsStr::from_bytes(job.directory.as_bytes())).map_err(at(Stage::Directory))?;
    if let Some(slave) = &slave {
        foreground(slave).map_err(at(Stage::Terminal))?;
    }
    streams(&job.streams, passed, slave).map_err(at(Stage::Descriptors))?;
    fds::cloexec_from(3).map_err(at(Stage::Descriptors))?;
    process::umask(rules.umask);
    limit(rules, job.terminal.is_some()).map_err(at(Stage::Limits))?;
    let _ = signals::block_only(&Set::empty());
    Ok(())
}

/// What is the same for all of them: the Landlock domain and the filter.
fn lock(rules: &Rules, number: u32, inbox: &OwnedFd) -> Outcome<()> {
    match (&rules.landlock, &rules.domain) {
        (None, _) => {}
        (Some(_), Some(Ok(domain))) => domain.enter().map_err(at(Stage::Landlock))?,
        (Some(_), Some(Err(errno))) => return Err((Stage::Landlock as u32, *errno)),
        (Some(_), None) => return Err((Stage::Landlock as u32, Errno::INVAL)),
    }
    let listener = seccomp::install_with_listener(&rules.filter).map_err(at(Stage::Filter))?;
    send_with(inbox.as_fd(), &Message::Listening { job: number }, &listener).map_err(at(Stage::Filter))
}

/// Never RLIMIT_AS: programs reserve far more address space than they use.
fn limit(rules: &Rules, led: bool) -> Result<(), Errno> {
    let both = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    let open = rules.limits.open_files.map(|most| {
        let less = |own: Option<u64>| Some(own.map_or(most, |own| own.min(most)));
        Rlimit { current: less(rules.descriptors.current), maximum: less(rules.descriptors.maximum) }
    });
    process::setrlimit(Resource::Nofile, open.unwrap_or(rules.descriptors))?;
    if let Some(bytes) = rules.limits.file_size {
        process::setrlimit(Resource::Fsize, both(bytes))?;
    }
    // Counted in this user namespace alone (since Linux 5.14): init, the root's server, a terminal's leader, and one more than
    // allowed, by which whoever looks sees that it was too many.
    if let Some(count) = rules.limits.processes.filter(|_| !rules.limits.exact) {
        // In tier `landlock` everything that the user runs is counted: what there is now comes on top.
        let own = if rules.hosted {
            // The supervisor, the warden and init do not show whose they are.
            4 + hosted::threads_of_user()
        } else {
            2 + u64::from(led) + u64::from(rules.served)
        };
        process::setrlimit(Resource::Nproc, both(count.saturating_add(own)))?;
    }
    Ok(())
}

/// A process group of its own, and the terminal's foreground one. SIGTTOU is blocked still.
fn foreground(slave: &OwnedFd) -> Result<(), Errno> {
    process::setpgid(None, None)?;
    termios::tcsetpgrp(slave, process::getpid())
}

fn streams(streams: &[Stream; 3], passed: Vec<OwnedFd>, slave: Option<OwnedFd>) -> Result<(), Errno> {
    let mut passed = passed.into_iter();
    let mut opened: Vec<OwnedFd> = Vec::with_capacity(3);
    for stream in streams {
        // Copies above 2 first, so that no stream is overwritten before it is used.
        let copy = match stream {
            Stream::Passed => rustix::io::fcntl_dupfd_cloexec(passed.next().ok_or(Errno::BADF)?, 3)?,
            Stream::Terminal => rustix::io::fcntl_dupfd_cloexec(slave.as_ref().ok_or(Errno::BADF)?, 3)?,
            Stream::Null => {
                let null = fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::fcntl_dupfd_cloexec(&null, 3)?
            }
        };
        opened.push(copy);
    }
    // One more is held until the command is executed, or cannot be: whoever has its other end sees that.
    if let Some(held) = passed.next() {
        let _ = rustix::io::fcntl_dupfd_cloexec(&held, 3)?.into_raw_fd();
    }
    // Init has no descriptors 0 to 2: these may be among them.
    drop((passed, slave));
    let [stdin, stdout, stderr] = &opened[..] else { return Err(Errno::BADF) };
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)
}

/// EINVAL for a NUL byte, which the supervisor has looked for already.
fn vectors(job: &Job) -> Result<(Vectors, Vectors, Vec<CString>), Errno> {
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::INVAL);
    let arguments =
        job.command.iter().map(|word| string(word.clone().into_vec())).collect::<Result<_, _>>()?;
    let variable = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
        string([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment = job.environment.iter().map(variable).collect::<Result<_, _>>()?;
    let candidates = candidates(job).into_iter().map(string).collect::<Result<_, _>>()?;
    Ok((Vectors::new(arguments), Vectors::new(environment), candidates))
}

/// Where the command may be: itself if it has a slash, else in each directory of the sandbox's PATH.
fn candidates(job: &Job) -> Vec<Vec<u8>> {
    let Some(command) = job.command.first() else { return Vec::new() };
    let name = command.as_bytes();
    if name.contains(&b'/') || name.is_empty() {
        return vec![name.to_vec()];
    }
    let path = job.environment.get(OsStr::new("PATH")).map_or(&b""[..], |path| path.as_bytes());
    path.split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| [directory, b"/", name].concat())
        .collect()
}

/// Tries the candidates in order, as a shell searches PATH: a refusal is remembered, a missing one is not.
fn execute(candidates: &[CString], arguments: &Vectors, environment: &Vectors) -> Errno {
    let mut worst = Errno::NOENT;
    for candidate in candidates {
        let errno = exec::execve(candidate, arguments, environment);
        if errno != Errno::NOENT && errno != Errno::NOTDIR {
            worst = errno;
            if errno != Errno::ACCESS {
                break;
            }
        }
    }
    worst
}

/// Starts a command in a process of its own.
pub(crate) fn start(rules: &Rules, job: &Job, passed: Vec<OwnedFd>, told: Told<'_>) -> Outcome<Pid> {
    let pair = job.terminal.map(Pair::new).transpose().map_err(at(Stage::Terminal))?;
    if let Some(pair) = &pair {
        send_with(told.report.as_fd(), &Message::Terminal { job: job.id }, &pair.master)
            .map_err(at(Stage::Terminal))?;
    }
    match clone(0).map_err(at(Stage::Fork))? {
        Forked::Child => run(rules, job, passed, pair, told),
        Forked::Parent(pid, _) => Ok(pid),
    }
}
