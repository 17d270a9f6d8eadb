//! A sandbox whose plan is not known yet: its namespaces are made while policy and host are still being looked at.
//!
//! A short-lived process, the maker, enters the new namespaces and forks init there, as a child of the supervisor. Making
//! a network namespace takes as long as making the plan; so each has a processor to itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_plan::{Ids, Plan};
use ringfence_sys::clone::{Forked, SANDBOX_NAMESPACES, clone, clone_sibling, unshare};
use ringfence_sys::exec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::child::{self, Inherited};
use crate::orders::Orders;
use crate::parent::{self, Boundary, Failure, fail, reap};
use crate::report::{self, Message, Stage, send, send_with};

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
    alive: OwnedFd,
}

/// Starts making a sandbox's namespaces. `own` are the task's ids where they are known already, see
/// [`ringfence_plan::own_ids`]. The caller must have one thread, and have blocked the signals it takes by descriptor.
///
/// # Errors
/// The kernel's, for the first fork; what fails later is told by [`Nascent::build`].
pub fn begin(own: Option<Ids>) -> Result<Nascent, Failure> {
    let (report_in, report_out) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(fail("socketpair"))?;
    let (alive_in, alive_out) = pipe_with(PipeFlags::CLOEXEC).map_err(fail("pipe"))?;
    let processors = sched_getaffinity(None);
    match clone(0).map_err(parent::no_namespaces)? {
        Forked::Child => {
            // The child's copy would keep the pipe open after the parent's death.
            drop((alive_out, report_in));
            if let Ok(processors) = &processors {
                let _ = sched_setaffinity(None, processors);
            }
            make(own, Inherited { report: report_out, alive: alive_in })
        }
        Forked::Parent(maker, _) => {
            if let Ok(processors) = processors {
                start_elsewhere(maker, processors);
            }
            Ok(Nascent { waiting: Some(Waiting { maker, report: report_in, alive: alive_out }) })
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

/// The maker. Never returns.
fn make(own: Option<Ids>, inherited: Inherited) -> ! {
    let entered = child::die_with_parent(&inherited.alive)
        .and_then(|()| unshare(SANDBOX_NAMESPACES))
        .and_then(|()| own.map_or(Ok(()), |ids| child::write_own_maps(&ids)));
    if let Err(errno) = entered {
        fault(&inherited, errno)
    }
    match clone_sibling() {
        Ok(Forked::Child) => child::run(inherited),
        Ok(Forked::Parent(init, pidfd)) => {
            let made = Message::Made(init.as_raw_nonzero().get().unsigned_abs());
            match send_with(inherited.report.as_fd(), &made, &pidfd) {
                Ok(()) => exec::exit_now(0),
                Err(errno) => fault(&inherited, errno),
            }
        }
        Err(errno) => fault(&inherited, errno),
    }
}

fn fault(inherited: &Inherited, errno: Errno) -> ! {
    send(inherited.report.as_fd(), &Message::Failed { stage: Stage::Namespaces as u32, errno, job: 0 });
    exec::exit_now(125)
}

impl Nascent {
    /// Hands over what init is to build. With `single` the sandbox ends with its first command; `watched`, init looks at
    /// memory and processes itself.
    ///
    /// # Errors
    /// [`Failure`] for what goes wrong before init has its orders; later failures come as [`Message::Failed`].
    pub fn build(mut self, plan: &Plan, single: bool, watched: bool) -> Result<Boundary, Failure> {
        let boundary = self.born()?;
        let trees = if plan.ids.mapped {
            parent::write_maps(plan, boundary.init).map_err(fail("writing the id maps"))?;
            parent::map_trees(plan)?
        } else {
            Vec::new()
        };
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        boundary.tell(&Orders::of(plan, single, watched), &trees)?;
        Ok(boundary)
    }

    /// Waits for init. Its maker is ending, which nobody waits for yet.
    fn born(&mut self) -> Result<Boundary, Failure> {
        let Waiting { maker, report, alive } =
            self.waiting.take().ok_or_else(|| fail("making the sandbox")(Errno::INVAL))?;
        let (errno, init) = match report::receive(report.as_fd()) {
            Some((Message::Made(pid), Some(pidfd))) => {
                (Errno::SRCH, i32::try_from(pid).ok().and_then(Pid::from_raw).zip(Some(pidfd)))
            }
            Some((Message::Failed { errno, .. }, _)) => (errno, None),
            _ => (Errno::CHILD, None),
        };
        let Some((init, pidfd)) = init else {
            reap(maker);
            return Err(parent::no_namespaces(errno));
        };
        Ok(Boundary { init, maker: Some(maker), pidfd, report, _alive: alive })
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
