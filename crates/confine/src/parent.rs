//! The supervisor's side of a sandbox: takes hold of what only it can, and says when to go on.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_plan::{Content, Ids, Node, Plan, Stacked, Tree};
use ringfence_policy::{GrantedCommand, GrantedHost};
use ringfence_sys::exec;
use ringfence_sys::mount::{self, Attributes};
use ringfence_void::Decision;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use serde::Serialize;

use crate::channel;
use crate::child;
use crate::gateway::{self, Gateway, GatewayTell};
use crate::init::CALLS;
use crate::lives::Lives;
use crate::mounter::{Opening, Order};
use crate::orders::{Job, Request, Tell, VoidOrders};
use crate::report::{self, Message, Refusal, Refused};
use crate::restack::Stack;
use crate::retold;
use crate::root;
use crate::stage::Stage;

/// A sandbox that was made.
#[derive(Debug)]
pub struct Boundary {
    pub(crate) init: Pid,
    /// Not yet reaped.
    pub(crate) maker: Option<Pid>,
    /// Tier `landlock`: init is no child of this process.
    pub(crate) hosted: bool,
    /// There: who outlives init, and ends when nothing is left. Not yet reaped.
    pub(crate) warden: Option<Pid>,
    /// Readable when the whole sandbox has ended: init's, or the warden's.
    pub pidfd: OwnedFd,
    /// Where init and task report.
    pub report: OwnedFd,
    /// Where init tells of processes, if starts are judged.
    pub(crate) lives: Option<Lives>,
    /// Init has said that the boundary stands, and was heard.
    pub(crate) stood: Cell<bool>,
    pub(crate) server: Option<Server>,
    /// Who can show more of the host, if that may be.
    pub(crate) mounter: Option<OwnedFd>,
    /// The only way out, if there is one.
    pub(crate) gateway: Option<Gateway>,
    /// Closing it ends the sandbox while it is being built.
    pub(crate) _alive: OwnedFd,
}

/// The root's server, as long as there is one.
#[derive(Debug)]
pub(crate) struct Server {
    /// Not yet reaped.
    pub(crate) pid: Cell<Option<Pid>>,
    pub(crate) pidfd: OwnedFd,
    pub(crate) socket: Option<OwnedFd>,
}

impl Server {
    /// It is not wanted, or its sandbox ends, or it has ended: init cannot end before it is reaped (pid_namespaces(7)).
    pub(crate) fn dismiss(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if let Some(pid) = self.pid.take() {
            reap(pid);
        }
    }
}

/// What became of a gateway that had a report.
#[derive(Debug)]
pub enum WayOut {
    /// It serves.
    Open,
    /// It refused something, and init could not tell who asked.
    Refused(Box<Refusal>),
    /// It is gone, and with it every way out.
    Gone,
}

/// Why no sandbox was made.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {errno}")]
pub struct Failure {
    /// What was being done.
    pub part: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// What to do about it, where that is known.
    pub remedy: Option<String>,
}

impl Failure {
    /// Whether the kernel lets nobody here make the namespaces of a sandbox.
    #[must_use]
    pub fn no_namespaces(&self) -> bool {
        self.part == NAMESPACES
    }
}

/// What is being done then.
const NAMESPACES: &str = "making the sandbox's namespaces";

impl Boundary {
    /// Init's process id.
    #[must_use]
    pub fn init(&self) -> Pid {
        self.init
    }

    /// Process id of the root's server, if there is one.
    #[must_use]
    pub fn server(&self) -> Option<Pid> {
        self.server.as_ref()?.pid.get()
    }

    /// Starts a command, once everything that must be written down before is; `passed` are its streams that are
    /// [`crate::Stream::Passed`].
    ///
    /// # Errors
    /// A NUL byte in its words, or the kernel's. A sandbox that is gone already is none: its report says why.
    pub fn start(&mut self, job: &Job, passed: &[OwnedFd]) -> Result<(), Failure> {
        if self.mounter.is_none()
            && let Some(maker) = self.maker.take()
        {
            reap(maker);
        }
        check(job)?;
        if let Some(end) = self.lives.as_mut().and_then(Lives::end) {
            self.tell(&Request::Lives, &[end.as_fd()])?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.wait()?;
        }
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
        self.tell(&Request::Start(job.clone()), &passed)
    }

    /// Waits until the boundary stands; else what could not be built, and the kernel's answer.
    ///
    /// # Errors
    /// The stage, for [`stage()`](crate::stage()), and the error; ECHILD where init is gone without a word.
    pub fn stands(&self) -> Result<(), (u32, Errno)> {
        if self.stood.get() {
            return Ok(());
        }
        match self.report() {
            Some((Message::Ready, _)) => {
                self.stood.set(true);
                Ok(())
            }
            Some((Message::Failed { stage, errno, .. }, _)) => Err((stage, errno)),
            _ => Err((Stage::Root as u32, Errno::CHILD)),
        }
    }

    /// Sends a signal to a command, or to its whole group as a terminal would.
    pub fn signal(&self, job: u32, signal: i32, group: bool) {
        let _ = self.tell(&Request::Signal { job, signal, group }, &[]);
    }

    /// Stops every process, or lets them all go on.
    pub fn pause(&self, pause: bool) {
        let _ = self.tell(if pause { &Request::Pause } else { &Request::Resume }, &[]);
    }

    /// A refusal is written down: it may take effect.
    pub fn written(&self, refusal: &Refusal) {
        let number = refusal.number;
        // Before it takes effect: whoever reads then what was refused finds it there.
        if self.server.is_some()
            && let Some((tried, words)) = retold::of(refusal)
        {
            let _ = self.tell_server(&Tell::Refused(tried, words));
        }
        match &refusal.what {
            // Where the root has no server, init alone refuses; and what it tells of has numbers of its own.
            Refused::File { .. } if self.server.is_none() || number >= CALLS => {
                drop(self.tell(&Request::Written { number }, &[]));
            }
            Refused::File { .. } | Refused::Decoy { .. } => {
                let _ = self.tell_server(&Tell::Written { number });
            }
            Refused::Network { .. }
            | Refused::Failed { .. }
            | Refused::Credential { .. }
            | Refused::Engine { .. }
            | Refused::Leak { .. }
                if number >= gateway::NUMBERS =>
            {
                if let Some(gateway) = &self.gateway {
                    gateway.tell(&GatewayTell::Written(number));
                }
            }
            // It waits for what the owner says.
            Refused::Asked { .. } => {}
            Refused::Connect { .. }
            | Refused::Network { .. }
            | Refused::Failed { .. }
            | Refused::Credential { .. }
            | Refused::Engine { .. }
            | Refused::Leak { .. }
            | Refused::Syscall { .. }
            | Refused::Command(_) => {
                drop(self.tell(&Request::Written { number }, &[]));
            }
        }
    }

    /// A command may start from now on.
    ///
    /// # Errors
    /// The kernel's: nobody judges any more.
    pub fn permit(&self, number: u32, granted: GrantedCommand) -> Result<(), Failure> {
        self.tell(&Request::Permit { number, granted }, &[])
    }

    /// It may not any more.
    pub fn withdraw(&self, number: u32) {
        let _ = self.tell(&Request::Withdraw { number }, &[]);
    }

    /// A destination may be reached from now on.
    ///
    /// # Errors
    /// The kernel's: nobody judges any more.
    pub fn reach(&self, number: u32, granted: GrantedHost) -> Result<(), Failure> {
        self.tell(&Request::Reach { number, granted: granted.clone() }, &[])?;
        self.gateway
            .iter()
            .for_each(|gateway| gateway.tell(&GatewayTell::Reach { number, granted: granted.clone() }));
        Ok(())
    }

    /// It may not any more, and what is open to it ends.
    pub fn unreach(&self, number: u32) {
        self.gateway.iter().for_each(|gateway| gateway.tell(&GatewayTell::Unreach(number)));
        let _ = self.tell(&Request::Unreach { number }, &[]);
    }

    /// A credential may be used; `number` names this grant.
    ///
    /// # Errors
    /// There is no gateway that could.
    pub fn lend(&self, number: u32, name: String) -> Result<(), Failure> {
        let gateway = self.gateway.as_ref().ok_or_else(|| fail("granting a credential")(Errno::NOTCONN))?;
        gateway.tell(&GatewayTell::Use { number, name });
        Ok(())
    }

    /// It may not any more.
    pub fn take_back(&self, number: u32) {
        self.gateway.iter().for_each(|gateway| gateway.tell(&GatewayTell::Unuse(number)));
    }

    /// A command or connection that was refused, and not told so yet, is judged again.
    pub fn retry(&self, number: u32) {
        match &self.gateway {
            Some(gateway) if number >= gateway::NUMBERS => gateway.tell(&GatewayTell::Again(number)),
            _ => drop(self.tell(&Request::Retry { number }, &[])),
        }
    }

    fn tell_server(&self, tell: &Tell) -> Result<(), Errno> {
        let socket = self.looks().ok_or(Errno::NOTCONN)?;
        let bytes = postcard::to_stdvec(tell).map_err(|_| Errno::INVAL)?;
        // What a task may read is not waited for: nobody's refusal hangs on it.
        let patience =
            if matches!(tell, Tell::Refused(..)) { SendFlags::DONTWAIT } else { SendFlags::empty() };
        rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL | patience).map(drop)
    }

    /// What was looked for is something that the owner may be asked about: instead of [`Self::written`].
    ///
    /// # Errors
    /// The kernel's, or ENOTCONN: nobody serves the root.
    pub fn offer(&self, refusal: &Refusal, path: &Path, directory: bool) -> Result<(), Errno> {
        self.tell_server(&Tell::Offer { number: refusal.number, path: path.into(), directory })
    }

    /// What the owner says of it.
    ///
    /// # Errors
    /// As [`Self::offer`].
    pub fn decide(&self, path: &Path, decision: Decision) -> Result<(), Errno> {
        self.tell_server(&Tell::Decide { path: path.into(), decision })
    }

    /// Where the root's server reports, if there is one.
    #[must_use]
    pub fn looks(&self) -> Option<BorrowedFd<'_>> {
        self.server.as_ref()?.socket.as_ref().map(AsFd::as_fd)
    }

    /// Its next report; `None` once it is gone.
    #[must_use]
    pub fn look(&self) -> Option<Message> {
        let message = report::receive(self.looks()?).map(|(message, _)| message);
        if message.is_none() {
            self.server.iter().for_each(Server::dismiss);
        }
        message
    }

    /// Where the gateway reports, if there is one.
    #[must_use]
    pub fn ways(&self) -> Option<BorrowedFd<'_>> {
        self.gateway.as_ref().map(|gateway| gateway.socket.as_fd())
    }

    /// Takes its next report: what it refused is told by init, which knows who asked.
    #[must_use]
    pub fn way(&self) -> WayOut {
        match self.gateway.as_ref().and_then(Gateway::heard) {
            Some(Message::Refused(refusal)) if !refusal.can_be_identified() => {
                WayOut::Refused(Box::new(refusal))
            }
            Some(Message::Refused(refusal)) => {
                self.gateway.iter().for_each(|gateway| gateway.await_who(&refusal));
                drop(self.tell(&Request::Who(refusal), &[]));
                WayOut::Open
            }
            Some(_) => WayOut::Open,
            // It may live, and say what nobody understands: then it carries nothing more.
            None => {
                self.gateway.iter().for_each(Gateway::dismiss);
                WayOut::Gone
            }
        }
    }

    /// What the gateway has still to tell of, once the sandbox has ended.
    pub fn last_words(&self, told: &mut dyn FnMut(&Refusal)) {
        self.gateway.iter().for_each(|gateway| gateway.last_words(told));
    }

    /// The maker stays, with what can be seen of the host now; `trees` are the idmapped ones of what is stacked.
    pub(crate) fn park(&self, ids: &Ids, stacked: Vec<Stacked>, trees: &[OwnedFd]) -> Result<(), Failure> {
        let failed = fail("keeping a way to grant more later");
        let socket = self.mounter.as_ref().ok_or_else(|| failed(Errno::BADF))?;
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        channel::send(socket.as_fd(), &Order::Park(*ids, stacked), &trees).map_err(&failed)?;
        match report::receive(socket.as_fd()) {
            Some((Message::Ready, _)) => Ok(()),
            Some((Message::Failed { errno, .. }, _)) => Err(failed(errno)),
            _ => Err(failed(Errno::PIPE)),
        }
    }

    /// Puts the copy-on-write directories together anew; [`Message::Opened`] or [`Message::Failed`] with [`crate::RESTACKED`] says how that went.
    /// Nothing may run in the sandbox.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn restack(&self, stacks: Vec<Stack>) -> Result<(), Errno> {
        channel::send(self.openings().ok_or(Errno::NOTCONN)?, &Order::Restack(stacks), &[])
    }

    /// Whether nothing runs, after ending what does if `end` is set: [`Message::Quiet`] says.
    ///
    /// # Errors
    /// The kernel's.
    pub fn quiet(&self, end: bool) -> Result<(), Failure> {
        self.tell(&Request::Quiet { end }, &[])
    }

    /// What the next command enters is made anew: [`Message::Renewed`] says that it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn renew(&self) -> Result<(), Failure> {
        self.tell(&Request::Renew, &[])
    }

    /// Where openings and closings are reported, if there can be any.
    #[must_use]
    pub fn openings(&self) -> Option<BorrowedFd<'_>> {
        self.mounter.as_ref().map(AsFd::as_fd)
    }

    /// The next such report; `None` once nobody makes any.
    #[must_use]
    pub fn opened(&self) -> Option<Message> {
        report::receive(self.openings()?).map(|(message, _)| message)
    }

    /// Makes the root show a mount point; [`Message::Shown`] says when it does.
    ///
    /// # Errors
    /// The kernel's, or ENOTCONN: nobody serves the root.
    pub fn show(&self, opening: &Opening) -> Result<(), Errno> {
        let content = Content::Hidden { directory: opening.directory };
        self.tell_server(&Tell::Show(Node { path: opening.path.clone(), content }))
    }

    /// Shows something of the host.
    ///
    /// # Errors
    /// The kernel's, or ENOTCONN: that may not be here.
    pub fn open(&self, opening: &Opening) -> Result<(), Errno> {
        let socket = self.openings().ok_or(Errno::NOTCONN)?;
        channel::send(socket, &Order::Open(opening.clone()), &[])
    }

    /// Takes it away.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn close(&self, number: u32) -> Result<(), Errno> {
        channel::send(self.openings().ok_or(Errno::NOTCONN)?, &Order::Close(number), &[])
    }

    pub(crate) fn serve_root(&self, orders: &VoidOrders<'_>) -> Result<(), Failure> {
        let Some(socket) = self.looks() else { return Ok(()) };
        match channel::send(socket, orders, &[]) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(fail("telling the root's server what to show")(errno)),
        }
    }

    /// Asks init to end all of it in order; [`Self::kill`] does not ask.
    pub fn end(&self) {
        let _ = self.tell(&Request::End, &[]);
    }

    pub(crate) fn tell<T: Serialize>(&self, what: &T, passed: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        match channel::send(self.report.as_fd(), what, passed) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(fail("telling init what to do")(errno)),
        }
    }

    /// Ends the whole sandbox at once. The warden must live to do so.
    pub fn kill(&self) {
        let signal = if self.hosted { Signal::TERM } else { Signal::KILL };
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// In tier `landlock`: ends all of it and waits until what is to be kept of it is in order.
    pub fn finish(&mut self) {
        if let Some(warden) = self.warden.take() {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::TERM);
            reap(warden);
        }
    }

    /// The next report, with the descriptor that came along; waits for it. `None` once nobody is left to report.
    #[must_use]
    pub fn report(&self) -> Option<(Message, Option<OwnedFd>)> {
        if let Some(told) = self.lives.as_ref().and_then(Lives::turn) {
            return Some((told, None));
        }
        let heard = report::receive(self.report.as_fd());
        if let (Some((Message::Refused(refusal), _)), Some(gateway)) = (&heard, &self.gateway) {
            gateway.heard_who(refusal);
        }
        heard.or_else(|| Some((self.lives.as_ref()?.waiting()?, None)))
    }
}

impl Drop for Boundary {
    /// Waits until nothing of the sandbox is left, whatever became of the caller's plans for it.
    fn drop(&mut self) {
        if self.hosted {
            return self.finish();
        }
        self.kill();
        self.mounter = None;
        if let Some(maker) = self.maker.take() {
            reap(maker);
        }
        self.server.iter().for_each(Server::dismiss);
        reap(self.init);
    }
}

pub(crate) fn fail(part: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { part: part.to_owned(), errno, remedy: None }
}

pub(crate) fn reap(pid: Pid) {
    while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

/// What the kernel could not be told is refused while it can still be said.
fn check(job: &Job) -> Result<(), Failure> {
    let variables = job.environment.iter().flat_map(|(name, value)| [name, value]);
    if job.command.iter().chain(variables).any(|word| word.as_bytes().contains(&0)) {
        return Err(fail("an argument or variable holds a NUL byte")(Errno::INVAL));
    }
    Ok(())
}

pub(crate) fn no_namespaces(errno: Errno) -> Failure {
    let remedy = match errno {
        Errno::PERM => {
            "user namespaces are forbidden here: in a container, run it with a seccomp profile that allows \
                        them; on Ubuntu, `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        Errno::NOSPC | Errno::USERS => {
            "a limit of `sysctl user | grep max_.*_namespaces` is reached: raise it; `ringfence doctor` says which"
        }
        Errno::NOSYS => {
            "a filter hides clone3 here, as Docker's default and other sandboxes do (ringfence among them): run outside of it, \
             or with a seccomp profile that allows user namespaces; `ringfence doctor` says more"
        }
        _ => "`ringfence doctor` tries each part and says which is refused",
    };
    Failure { part: NAMESPACES.into(), errno, remedy: Some(remedy.into()) }
}

/// Root takes hold of the trees that are idmapped while it still may; the rest is left to init.
/// `map` holds the namespace that describes how.
pub(crate) fn map_trees(
    plan: &Plan,
    stacked: &[Stacked],
    map: Option<Pid>,
) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), Failure> {
    let map = map.ok_or(Errno::SRCH).and_then(|map| user_namespace(plan, map)).map_err(|errno| Failure {
        part: "making the user namespace that describes the id mapping".into(),
        errno,
        remedy: None,
    })?;
    let own = stacked.iter().flat_map(|one| [&one.lower, &one.layer]);
    let all = |trees: &mut dyn Iterator<Item = &Tree>| {
        trees.filter(|tree| tree.mapped).map(|tree| map_tree(tree, &map)).collect::<Result<Vec<_>, _>>()
    };
    Ok((all(&mut plan.trees.iter())?, all(&mut own.into_iter())?))
}

fn map_tree(tree: &Tree, map: &OwnedFd) -> Result<OwnedFd, Failure> {
    let fail = |errno| {
        let remedy = match errno {
            Errno::INVAL => {
                "its file system cannot be idmapped: use ext4, xfs, btrfs or tmpfs (for the state directory by RINGFENCE_STATE), or \
                 start ringfence as the files' owner"
            }
            Errno::PERM => {
                "root may not do this here, as in a container or a user namespace: start ringfence as the files' owner, \
                 an ordinary user, who needs no mapping"
            }
            _ => return Failure { part: format!("idmapping {}", tree.host.display()), errno, remedy: None },
        };
        Failure { part: format!("idmapping {}", tree.host.display()), errno, remedy: Some(remedy.into()) }
    };
    let detached = root::open(tree, true).map_err(fail)?;
    let attributes = Attributes { private: true, ..Attributes::default() };
    mount::set_attributes(detached.as_fd(), c"", tree.recursive, attributes, Some(map.as_fd()))
        .map_err(fail)?;
    Ok(detached)
}

/// Lives until it is ended, or its parent is: a namespace can be described while somebody is in it.
pub(crate) fn hold_namespace(alive: &OwnedFd) -> ! {
    if child::die_with_parent(alive).is_ok() {
        let _ = rustix::io::read(alive, &mut [0; 1]);
    }
    exec::exit_now(0)
}

/// Makes the namespace that `holder` is in one in which the owner on disk is the task's kernel id: what mount_setattr(2) calls a
/// mapping.
fn user_namespace(plan: &Plan, holder: Pid) -> Result<OwnedFd, Errno> {
    let (ids, number) = (&plan.ids, holder.as_raw_nonzero());
    write(&format!("/proc/{number}/uid_map"), &format!("{} {} 1", ids.owner_uid, ids.outside_uid))?;
    write(&format!("/proc/{number}/gid_map"), &format!("{} {} 1", ids.owner_gid, ids.outside_gid))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{number}/ns/user"), flags, Mode::empty())
}

pub(crate) fn write_maps(plan: &Plan, init: Pid) -> Result<(), Errno> {
    let ids = &plan.ids;
    let number = init.as_raw_nonzero();
    write(&format!("/proc/{number}/uid_map"), &format!("{} {} 1", ids.inside_uid, ids.outside_uid))?;
    write(&format!("/proc/{number}/gid_map"), &format!("{} {} 1", ids.inside_gid, ids.outside_gid))
}

fn write(path: &str, text: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}
