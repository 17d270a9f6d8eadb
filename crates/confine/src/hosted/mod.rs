//! Tier `landlock`: a sandbox without namespaces. No kernel object ends with it, so a warden stands above init, and each of the
//! two ends everything below if the other or the supervisor dies.

mod attributes;
mod descendants;
mod judge;
mod mapping;
mod named;
mod sockets;
pub(crate) mod traced;

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringfence_plan::{Landlock, Plan, Right};
use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::{exec, fds, signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self, DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions};
use rustix::thread::{self, CapabilitySet, Gid, Uid};

use crate::child::{Outcome, Own, at, keep_capabilities};
use crate::gateway::Gateway;
use crate::init::{self, CHILD, TERM};
use crate::job::{Filters, Rules};
use crate::landlock::{Domain, Found, Scoped};
use crate::lives::Lives;
use crate::nascent::sockets;
use crate::orders::Orders;
use crate::parent::{Boundary, Failure, fail, reap};
use crate::report::{self, Message, send, send_with};
use crate::stage::{Stage, stage_of_job};

pub(crate) use descendants::{
    end as end_all, is_descendant, signal as signal_all, signal_below, threads_of_user,
};
pub(crate) use judge::{Judge, Judged};
pub(crate) use mapping::Trees;
pub(crate) use sockets::{Held, Made, Sockets};

/// How long init may take to end what is below it.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is to be done when nothing of a boundary runs any more, whatever ended it.
#[derive(Clone, Copy)]
pub struct Settle<'a> {
    /// Open until it is done.
    pub held: &'a [OwnedFd],
    /// Does it.
    pub then: &'a dyn Fn(),
}

/// Makes the boundary of a plan of tier `landlock`. The caller must have one thread, and have blocked the signals it takes by
/// descriptor.
///
/// # Errors
/// [`Failure`], for what goes wrong before init exists; later failures come as [`Message::Failed`].
pub fn begin(
    plan: &Plan,
    single: bool,
    watched: bool,
    settle: Settle<'_>,
    gateway: Option<Gateway>,
) -> Result<Boundary, Failure> {
    if plan.hosted.is_none() {
        return Err(fail("a plan of another tier")(Errno::INVAL));
    }
    let (gateway, giving) = led(plan, gateway)?;
    let (report_in, report_out) = sockets().map_err(fail("socketpair"))?;
    let (alive_in, alive_out) = pipe_with(PipeFlags::CLOEXEC).map_err(fail("pipe"))?;
    let (warden, pidfd) = match clone(0).map_err(fail("making a process"))? {
        Forked::Child => {
            drop((report_in, alive_out));
            warden(plan, single, watched, Ends { report: report_out, alive: alive_in, giving }, settle)
        }
        Forked::Parent(warden, pidfd) => (warden, pidfd),
    };
    drop((report_out, giving));
    let failed = |failure: Failure| {
        let _ = process::pidfd_send_signal(&pidfd, Signal::TERM);
        reap(warden);
        failure
    };
    let lives = plan.guard.is_some().then(Lives::new).transpose();
    let lives = lives.map_err(|errno| failed(fail("socketpair")(errno)))?;
    let stood = Cell::new(false);
    let init = loop {
        match report::receive(report_in.as_fd()) {
            Some((Message::Made(pid), _)) => break i32::try_from(pid).ok().and_then(Pid::from_raw),
            // Init was faster.
            Some((Message::Ready, _)) => stood.set(true),
            Some((Message::Failed { stage, errno, .. }, _)) => {
                return Err(failed(fail(stage_of_job(stage))(errno)));
            }
            _ => break None,
        }
    };
    let Some(init) = init else {
        return Err(failed(fail("making the sandbox's first process")(Errno::CHILD)));
    };
    Ok(Boundary {
        init,
        maker: None,
        hosted: true,
        warden: Some(warden),
        pidfd,
        report: report_in,
        lives,
        stood,
        server: None,
        mounter: None,
        gateway,
        _alive: alive_out,
    })
}

/// The gateway, if there is a network, and what leads init to it.
fn led(plan: &Plan, gateway: Option<Gateway>) -> Result<(Option<Gateway>, Option<OwnedFd>), Failure> {
    let Some(rules) = &plan.network else { return Ok((None, None)) };
    let mut gateway = match gateway {
        Some(gateway) => gateway,
        None => Gateway::start()?,
    };
    let giving = gateway.order(rules, plan)?;
    Ok((Some(gateway), Some(giving)))
}

/// What warden and init are given.
struct Ends {
    report: OwnedFd,
    alive: OwnedFd,
    giving: Option<OwnedFd>,
}

/// Never returns.
fn warden(plan: &Plan, single: bool, watched: bool, ends: Ends, settle: Settle<'_>) -> ! {
    let Ends { report, alive, giving } = ends;
    let waited = || signals::descriptor(&signals::Set::of(&[CHILD, TERM])).map_err(at(Stage::Guard));
    let (waited, (found, only)) = match enter(plan).and_then(|entered| Ok((waited()?, entered))) {
        Ok(entered) => entered,
        Err((stage, errno)) => fault(&report, stage, errno),
    };
    let own = process::getpid();
    let (init, pidfd) = match clone(0) {
        Ok(Forked::Child) => {
            drop((waited, alive));
            become_init(plan, (report, giving), (single, watched), (found, own))
        }
        Ok(Forked::Parent(pid, pidfd)) => (pid, pidfd),
        Err(errno) => fault(&report, Stage::Fork as u32, errno),
    };
    let number = init.as_raw_nonzero().get().unsigned_abs();
    let told = send_with(report.as_fd(), &Message::Made(number), &pidfd);
    drop((report, pidfd));
    // Closed with all the rest.
    std::mem::forget(found);
    // Nothing else of the caller's is held: neither its streams nor its locks.
    let kept: Vec<&OwnedFd> = settle.held.iter().chain([&waited, &alive]).collect();
    fds::keep_only(&kept);
    if told.is_err() || !ended(init, &waited, &alive) {
        dismiss(init);
    }
    descendants::end(&only);
    (settle.then)();
    exec::exit_now(0)
}

fn fault(report: &OwnedFd, stage: u32, errno: Errno) -> ! {
    send(report.as_fd(), &Message::Failed { stage, errno, job: 0 });
    exec::exit_now(125)
}

/// What warden and init share: the task's ids, no right of root's, and a Landlock domain that is the task's own but for /proc,
/// terminals and the layers. The task's domain lies within it, or init could not read what it judges (ptrace(2), landlock(7)); it is
/// made of what is found here.
fn enter(plan: &Plan) -> Outcome<(Found, Scoped)> {
    take_ids(plan).map_err(at(Stage::Identity))?;
    signals::block_only(&signals::Set::all()).map_err(at(Stage::Guard))?;
    die_with_parent().map_err(at(Stage::Guard))?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Stage::Guard))?;
    process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(at(Stage::Limits))?;
    thread::set_no_new_privs(true).map_err(at(Stage::Privileges))?;
    keep_capabilities(CapabilitySet::empty()).map_err(at(Stage::Privileges))?;
    let task = plan.landlock.as_ref().ok_or(Errno::OPNOTSUPP).map_err(at(Stage::Landlock))?;
    let own = outer(plan, task);
    let found = Found::of(&own);
    let only =
        Domain::of(&own, &found).and_then(|domain| Scoped::of(&own, &domain)).map_err(at(Stage::Landlock))?;
    let _ = thread::set_name(c"ringfence-ward");
    Ok((found, only))
}

fn outer(plan: &Plan, task: &Landlock) -> Landlock {
    let mut outer = task.clone();
    outer.rules.push((Right::Read, "/proc".into()));
    outer.rules.extend(["/dev/ptmx", "/dev/pts"].map(|path| (Right::Device, path.into())));
    outer.rules.extend(plan.layers.iter().map(|layer| (Right::Layer, layer.directory.clone())));
    outer
}

/// Started by root, the task is the workspace's owner.
fn take_ids(plan: &Plan) -> Result<(), Errno> {
    let ids = &plan.ids;
    if process::geteuid().as_raw() == ids.outside_uid && process::getegid().as_raw() == ids.outside_gid {
        return Ok(());
    }
    thread::set_thread_groups(&[])?;
    let (uid, gid) = (Uid::from_raw(ids.outside_uid), Gid::from_raw(ids.outside_gid));
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)
}

/// Its death is heard of, and orphans come here (prctl(2)).
fn die_with_parent() -> Result<(), Errno> {
    process::set_parent_process_death_signal(Some(Signal::TERM))?;
    process::set_child_subreaper(Some(process::getpid()))
}

/// Init ends all below it, and does so too if this process is killed meanwhile: stopped with the others, it could not. One that does
/// not answer is ended like them.
fn dismiss(init: Pid) {
    let _ = process::kill_process(init, Signal::TERM);
    let since = Instant::now();
    while since.elapsed() < PATIENCE
        && !matches!(process::waitpid(Some(init), WaitOptions::NOHANG), Ok(Some(_)) | Err(Errno::CHILD))
    {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until init or the supervisor is gone: whether it is init.
fn ended(init: Pid, waited: &OwnedFd, alive: &OwnedFd) -> bool {
    loop {
        let mut polled = [PollFd::new(waited, PollFlags::IN), PollFd::new(alive, PollFlags::empty())];
        if !matches!(poll(&mut polled, None::<&Timespec>), Ok(_) | Err(Errno::INTR)) {
            return false;
        }
        let [signal, alive] = &polled;
        if !alive.revents().is_empty() {
            return false;
        }
        if signal.revents().is_empty() {
            continue;
        }
        let mut record = [0; signals::RECORD];
        let _ = rustix::io::read(waited, &mut record);
        if signals::number(&record) == Some(TERM) {
            return false;
        }
        while let Ok(Some((pid, _))) = process::wait(WaitOptions::NOHANG) {
            if pid == init {
                return true;
            }
        }
    }
}

/// Never returns.
fn become_init(
    plan: &Plan,
    (report, giving): (OwnedFd, Option<OwnedFd>),
    (single, watched): (bool, bool),
    (found, warden): (Found, Pid),
) -> ! {
    if let Err(errno) = die_with_parent() {
        fault(&report, Stage::Guard as u32, errno);
    }
    // It may have been gone before.
    if process::getppid() != Some(warden) {
        exec::exit_now(125);
    }
    let _ = thread::set_name(c"ringfence-init");
    exec::wipe_start();
    // The warden is outside of init's own.
    let only = match Scoped::enter() {
        Ok(only) => only,
        Err(errno) => fault(&report, Stage::Landlock as u32, errno),
    };
    let sockets = match giving.as_ref().map(Sockets::new).transpose() {
        Ok(sockets) => sockets,
        Err(errno) => fault(&report, Stage::Divert as u32, errno),
    };
    // What takes a while is done here, while the supervisor writes its record.
    let mut rules = Rules::of(&Orders::of(plan, single, watched), &Filters::default());
    rules.found = Some(found);
    let own = Own { hosted: Judge::of(plan), only: Some(only), sockets, ..Own::default() };
    init::run(report, rules, own)
}
