//! A sandbox whose plan is not known yet: its namespaces are made while policy and host are still being looked at.
//!
//! A short-lived process, the maker, enters the new namespaces and forks init and the root's server there, as children of the
//! supervisor. Making a network namespace takes as long as making the plan; so each has a processor to itself.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_plan::{Ids, Plan, Step};
use ringfence_sys::clone::{Forked, SANDBOX_NAMESPACES, USER_NAMESPACE, clone, clone_sibling, unshare};
use ringfence_sys::exec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::child::{self, Inherited};
use crate::gateway::Gateway;
use crate::lives::Lives;
use crate::orders::{Orders, VoidOrders};
use crate::parent::{self, Boundary, Failure, Server, fail, reap};
use crate::report::{self, Message, send, send_with};
use crate::stage::{Stage, stage_of_job};
use crate::{mounter, probe, void};

/// Init, waiting for its orders. Dropped, it ends without having done anything.
#[derive(Debug)]
pub struct Nascent {
    /// `None` once it became a boundary.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    maker: Pid,
    report: OwnedFd,
    void: OwnedFd,
    mounter: OwnedFd,
    alive: OwnedFd,
    /// The root can have a server.
    serves: bool,
    /// A namespace comes along for the mapping of ids.
    maps: bool,
}

/// What the maker's children get, and how they are told apart.
struct Ends {
    report: OwnedFd,
    void: OwnedFd,
    mounter: OwnedFd,
    alive: OwnedFd,
}

/// Starts making a sandbox's namespaces. `own` are the task's ids where they are known already, see
/// [`ringfence_plan::own_ids`]. The caller must have one thread, and have blocked the signals it takes by descriptor.
///
/// # Errors
/// The kernel's, for the first fork; what fails later is told by [`Nascent::build`].
pub fn begin(own: Option<Ids>) -> Result<Nascent, Failure> {
    let (report_in, report_out) = sockets().map_err(fail("socketpair"))?;
    let (void_in, void_out) = sockets().map_err(fail("socketpair"))?;
    let (mounter_in, mounter_out) = sockets().map_err(fail("socketpair"))?;
    let (alive_in, alive_out) = pipe_with(PipeFlags::CLOEXEC).map_err(fail("pipe"))?;
    let processors = sched_getaffinity(None);
    let serves = probe::no_fuse().is_none();
    match clone(0).map_err(parent::no_namespaces)? {
        Forked::Child => {
            // The child's copy would keep the pipe open after the parent's death.
            drop((alive_out, report_in, void_in, mounter_in));
            if let Ok(processors) = &processors {
                let _ = sched_setaffinity(None, processors);
            }
            let ends = Ends { report: report_out, void: void_out, mounter: mounter_out, alive: alive_in };
            make(own, serves, ends)
        }
        Forked::Parent(maker, _) => {
            if let Ok(processors) = processors {
                start_elsewhere(maker, processors);
            }
            Ok(Nascent {
                waiting: Some(Waiting {
                    maker,
                    report: report_in,
                    void: void_in,
                    mounter: mounter_in,
                    alive: alive_out,
                    serves,
                    maps: own.is_none(),
                }),
            })
        }
    }
}

/// Some kernels leave a new process on its parent's processor until the parent sleeps. A hint: it may fail.
fn start_elsewhere(maker: Pid, mut processors: CpuSet) {
    processors.unset(sched_getcpu());
    if processors.count() > 0 {
        let _ = sched_setaffinity(Some(maker), &processors);
    }
}

pub(crate) fn sockets() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// The maker. Never returns.
fn make(own: Option<Ids>, serves: bool, ends: Ends) -> ! {
    let by_root = own.is_none();
    // Before it leaves the namespaces that root's authority comes from.
    let map = match by_root.then(|| clone_sibling(USER_NAMESPACE)).transpose() {
        Ok(Some(Forked::Child)) => {
            drop((ends.report, ends.void, ends.mounter));
            parent::hold_namespace(&ends.alive)
        }
        Ok(Some(Forked::Parent(pid, pidfd))) => Some((pid, pidfd)),
        Ok(None) => None,
        Err(errno) => fault(&ends.report, errno),
    };
    let entered = child::die_with_parent(&ends.alive)
        .and_then(|()| unshare(SANDBOX_NAMESPACES))
        .and_then(|()| own.map_or(Ok(()), |ids| child::write_own_maps(&ids)))
        .and_then(|()| sockets());
    let (root_in, root_out) = match entered {
        Ok(pair) => pair,
        Err(errno) => fault(&ends.report, errno),
    };
    let (init, init_pidfd) = match clone_sibling(0) {
        Ok(Forked::Child) => {
            drop((ends.void, ends.mounter, root_out, map));
            child::run(Inherited { report: ends.report, alive: ends.alive, root: root_in, by_root })
        }
        Ok(Forked::Parent(init, pidfd)) => (init, pidfd),
        Err(errno) => fault(&ends.report, errno),
    };
    let server = match serves.then(|| clone_sibling(0)).transpose() {
        Ok(Some(Forked::Child)) => {
            drop((ends.report, ends.mounter, root_in, init_pidfd, map));
            void::run(&void::Inherited { told: ends.void, alive: ends.alive, root: root_out })
        }
        Ok(Some(Forked::Parent(server, pidfd))) => Some((server, pidfd)),
        Ok(None) => None,
        Err(errno) => fault(&ends.report, errno),
    };
    for (pid, pidfd) in [(init, init_pidfd)].into_iter().chain(server).chain(map) {
        let made = Message::Made(pid.as_raw_nonzero().get().unsigned_abs());
        if let Err(errno) = send_with(ends.report.as_fd(), &made, &pidfd) {
            fault(&ends.report, errno)
        }
    }
    // Their ends are theirs alone, or nobody would hear that they are gone.
    drop((ends.report, ends.void, root_in, root_out));
    mounter::run(ends.mounter)
}

fn fault(report: &OwnedFd, errno: Errno) -> ! {
    send(report.as_fd(), &Message::Failed { stage: Stage::Namespaces as u32, errno, job: 0 });
    exec::exit_now(125)
}

impl Nascent {
    /// Hands over what init is to build. With `single` the sandbox ends with its first command; `watched`, init looks at
    /// memory and processes itself. With `grants`, more of the host can be shown while it runs. `gateway`:
    /// one that was started before, taken once the namespaces stand.
    ///
    /// # Errors
    /// [`Failure`] for what goes wrong before init has its orders; later failures come as [`Message::Failed`].
    pub fn build(
        mut self,
        plan: &Plan,
        single: bool,
        watched: bool,
        grants: bool,
        gateway: &mut Option<Gateway>,
    ) -> Result<Boundary, Failure> {
        let (mut boundary, map) = self.born()?;
        if plan.guard.is_some() {
            boundary.lives = Some(Lives::new().map_err(fail("socketpair"))?);
        }
        // A sandbox of many commands can have checkpoints.
        let stacked = if single { Vec::new() } else { plan.stacked() };
        let (trees, own) = if plan.ids.mapped {
            parent::write_maps(plan, boundary.init).map_err(parent::no_namespaces)?;
            parent::map_trees(plan, &stacked, map.as_ref().and_then(Passing::pid))?
        } else {
            (Vec::new(), Vec::new())
        };
        if grants || !stacked.is_empty() {
            // Before init leaves the old root.
            boundary.park(&plan.ids, stacked, &own)?;
        } else {
            boundary.mounter = None;
        }
        if let Some(nodes) = &plan.void {
            if boundary.server.is_none() {
                return Err(fail("starting the root's server")(Errno::NOENT));
            }
            let over = plan.steps.iter().filter_map(|step| match step {
                Step::Tmpfs { path, over: true, .. } => Some(path.clone()),
                _ => None,
            });
            let (ids, nodes, over) = (plan.ids, nodes.into(), over.collect());
            boundary.serve_root(&VoidOrders { ids, nodes, asks: plan.asks, over })?;
        }
        // Nobody waits for its end before init works.
        let idle = if plan.void.is_none() { Passing(boundary.server.take()) } else { Passing(None) };
        let giving = match &plan.network {
            Some(rules) => {
                let mut gateway = match gateway.take() {
                    Some(gateway) => gateway,
                    None => Gateway::start()?,
                };
                let giving = gateway.order(rules, plan)?;
                boundary.gateway = Some(gateway);
                Some(giving)
            }
            None => None,
        };
        let passed: Vec<BorrowedFd<'_>> = giving.iter().chain(&trees).map(AsFd::as_fd).collect();
        boundary.tell(&Orders::of(plan, single, watched), &passed)?;
        drop((idle, map));
        Ok(boundary)
    }

    /// Only whether they can be made.
    ///
    /// # Errors
    /// [`Failure`], as of [`Self::build`].
    pub fn attempt(mut self) -> Result<(), Failure> {
        self.born().map(drop)
    }

    /// Waits for init and the root's server. Their maker is ending, which nobody waits for yet.
    fn born(&mut self) -> Result<(Boundary, Option<Passing>), Failure> {
        let Waiting { maker, report, void, mounter, alive, serves, maps } =
            self.waiting.take().ok_or_else(|| fail("making the sandbox")(Errno::INVAL))?;
        let next = || match report::receive(report.as_fd()) {
            Some((Message::Made(pid), Some(pidfd))) => i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .map(|pid| (pid, pidfd))
                .ok_or_else(|| parent::no_namespaces(Errno::SRCH)),
            Some((Message::Failed { stage, errno, .. }, _)) if stage == Stage::Namespaces as u32 => {
                Err(parent::no_namespaces(errno))
            }
            Some((Message::Failed { stage, errno, .. }, _)) => Err(fail(stage_of_job(stage))(errno)),
            _ => Err(parent::no_namespaces(Errno::CHILD)),
        };
        let passing = || next().map(Passing::of);
        // Dropped the other way round: init cannot end before those in its pid namespace are reaped.
        let born = passing().and_then(|init| {
            let server = serves.then(passing).transpose()?;
            let map = maps.then(passing).transpose()?;
            Ok((init, server, map))
        });
        let born = born.map(|(init, server, map)| {
            let init = init.keep().and_then(|own| Some((own.pid.get()?, own.pidfd)));
            (init, server.and_then(Passing::keep), map)
        });
        match born {
            Ok((Some((init, pidfd)), server, map)) => Ok((
                Boundary {
                    init,
                    maker: Some(maker),
                    hosted: false,
                    warden: None,
                    pidfd,
                    report,
                    lives: None,
                    stood: Cell::new(false),
                    server: server.map(|server| Server { socket: Some(void), ..server }),
                    mounter: Some(mounter),
                    gateway: None,
                    _alive: alive,
                },
                map,
            )),
            born => {
                drop(mounter);
                reap(maker);
                Err(born.err().unwrap_or_else(|| parent::no_namespaces(Errno::CHILD)))
            }
        }
    }
}

/// A process that nobody needs once the boundary is being built, unless it is kept.
struct Passing(Option<Server>);

impl Passing {
    fn of((pid, pidfd): (Pid, OwnedFd)) -> Self {
        Self(Some(Server { pid: Cell::new(Some(pid)), pidfd, socket: None }))
    }

    fn pid(&self) -> Option<Pid> {
        self.0.as_ref()?.pid.get()
    }

    fn keep(mut self) -> Option<Server> {
        self.0.take()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.iter().for_each(Server::dismiss);
    }
}

impl Drop for Nascent {
    /// Nothing is left behind, however far it was.
    fn drop(&mut self) {
        if self.waiting.is_some() {
            drop(self.born());
        }
    }
}
