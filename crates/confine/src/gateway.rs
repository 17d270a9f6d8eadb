//! The gateway as its sandbox and the supervisor see it: how it is started, and what is said to it and by it.
//!
//! It is this very program, started anew with an empty environment: it parses hostile bytes, and holds nothing of the
//! supervisor's memory or descriptors.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_plan::{Ids, Plan};
use ringfence_policy::{Credential, GrantedHost, HostPattern, Leaks, NetworkRules};
use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::divert::Listeners;
use ringfence_sys::exec::{self, Vectors};
use ringfence_sys::{fds, signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::{Pid, Signal};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::parent::{Failure, fail, reap};
use crate::report::{self, Message, Refusal};
use crate::{channel, keeper, nascent};

/// The first word of its command line.
pub const NAME: &CStr = c"ringfence-gateway";
/// Numbers of what it refuses begin here, far from those of init.
pub const NUMBERS: u32 = 1 << 31;

/// What it is told first.
#[derive(Debug, Serialize, Deserialize)]
pub struct GatewayOrders {
    /// What it judges by.
    pub rules: NetworkRules,
    /// The kernel ids it takes, where root starts it.
    pub ids: Option<(u32, u32)>,
    /// Tier `landlock`: it is told where connections go.
    pub told: bool,
}

/// What it is told before it serves.
#[derive(Debug, Serialize, Deserialize)]
pub enum GatewayFirst {
    /// Make an authority for these hosts; trust these roots.
    Inspect {
        /// Hosts whose TLS is looked into.
        hosts: Vec<HostPattern>,
        /// Certificates, as PEM.
        roots: String,
    },
    /// Hold these secrets; so many come in packets of their own, and the keeper's socket along with this, if there is one.
    Hold(Vec<Held>, u32),
    /// Look for these secrets, which come in packets of their own, in what leaves.
    Watch(Leaks, Vec<String>),
    /// Serve.
    Serve(GatewayOrders),
}

/// A credential, as the gateway knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Its name in the policy.
    pub name: String,
    /// What the policy says of it.
    pub credential: Credential,
    /// What the task sees; `None`: nothing. Of a key of ssh it is the public one, as base64.
    pub placeholder: Option<String>,
    /// The keys of the hosts that a key of ssh is for, each with `HOST:PORT`.
    pub host_keys: Vec<(String, Vec<u8>)>,
    /// It is of no use until the owner grants it.
    pub waits: bool,
}

/// What it is told afterwards.
#[derive(Debug, Serialize, Deserialize)]
pub enum GatewayTell {
    /// A refusal is written down: it takes effect.
    Written(u32),
    /// A connection that was refused, and waits, is to be judged again.
    Again(u32),
    /// A destination may be reached.
    Reach {
        /// Names this grant.
        number: u32,
        /// Which.
        granted: GrantedHost,
    },
    /// It may not any more; what is open to it ends.
    Unreach(u32),
    /// A credential may be used.
    Use {
        /// Names this grant.
        number: u32,
        /// Which.
        name: String,
    },
    /// It may not any more, and is dropped.
    Unuse(u32),
    /// The sandbox has ended: what is there to be told is told now, and then that there is no more.
    Last,
}

/// How long a gateway may take for its last words.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The gateway of one sandbox. Ends when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    pid: Pid,
    pidfd: OwnedFd,
    pub(crate) socket: OwnedFd,
    giving: Option<OwnedFd>,
    /// It said that it serves.
    ready: Cell<bool>,
    /// What init was asked about, and has not answered.
    asked: RefCell<BTreeMap<u32, Refusal>>,
}

impl Gateway {
    /// Starts it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start() -> Result<Self, Failure> {
        let failed = fail("starting the gateway");
        let (socket, told) = nascent::sockets().map_err(&failed)?;
        let (giving, taking) = nascent::sockets().map_err(&failed)?;
        let program = CString::new("/proc/self/exe").map_err(|_| failed(Errno::INVAL))?;
        let (words, nothing) = (Vectors::new(vec![NAME.to_owned()]), Vectors::new(Vec::new()));
        let (pid, pidfd) = match clone(0).map_err(&failed)? {
            Forked::Child => {
                drop((socket, giving));
                exec::exit_now(become_it(&told, &taking, || exec::execve(&program, &words, &nothing)))
            }
            Forked::Parent(pid, pidfd) => (pid, pidfd),
        };
        drop((told, taking));
        Ok(Self {
            pid,
            pidfd,
            socket,
            giving: Some(giving),
            ready: Cell::new(false),
            asked: RefCell::default(),
        })
    }

    /// Has it make an authority for these rules, where TLS is looked into: the certificate, as PEM. `roots`: whom it trusts
    /// itself, as PEM.
    ///
    /// # Errors
    /// It could not.
    pub fn authority(&self, rules: &NetworkRules, roots: String) -> Result<String, Failure> {
        let failed = fail("making an authority for the sandbox");
        let hosts = rules.inspected().cloned().collect();
        channel::send(self.socket.as_fd(), &GatewayFirst::Inspect { hosts, roots }, &[]).map_err(&failed)?;
        match report::receive(self.socket.as_fd()) {
            Some((Message::Answer { done: true, text }, _)) => Ok(text),
            _ => Err(failed(Errno::PROTO)),
        }
    }

    /// Has it hold these secrets. `known`: those that are there already, each by its number and with [`keeper::HEAD`] bytes of
    /// room in front; the others it asks the keeper for.
    ///
    /// # Errors
    /// It could not: ENOMEM where so much memory cannot be locked.
    pub fn hold(
        &self,
        held: Vec<Held>,
        known: &mut [(u32, Vec<u8>)],
        keeper: Option<&keeper::Keeper>,
    ) -> Result<(), Failure> {
        let failed = fail("handing secrets to the gateway");
        let count = u32::try_from(known.len()).map_err(|_| failed(Errno::TOOBIG))?;
        let asked: Vec<_> = keeper.iter().map(|keeper| keeper.asked.as_fd()).collect();
        channel::send(self.socket.as_fd(), &GatewayFirst::Hold(held, count), &asked).map_err(&failed)?;
        for (number, bytes) in known {
            keeper::packet(self.socket.as_fd(), *number, keeper::About::Value, keeper::FOREVER, bytes)
                .map_err(&failed)?;
        }
        match report::receive(self.socket.as_fd()) {
            Some((Message::Answer { done: true, .. }, _)) => Ok(()),
            Some((Message::Failed { errno, .. }, _)) => {
                let locked = matches!(errno, Errno::NOMEM | Errno::PERM | Errno::AGAIN);
                let remedy =
                    locked.then(|| "memory for secrets must be locked: raise `ulimit -l`".to_owned());
                Err(Failure { remedy, ..failed(errno) })
            }
            _ => Err(failed(Errno::PROTO)),
        }
    }

    /// Has it look for secrets in what leaves: each with its name, and [`keeper::HEAD`] bytes of room in front.
    ///
    /// # Errors
    /// The kernel's.
    pub fn watch(&self, action: Leaks, known: &mut [(String, Vec<u8>)]) -> Result<(), Failure> {
        let failed = fail("telling the gateway what must not leave");
        let names = known.iter().map(|(name, _)| name.clone()).collect();
        channel::send(self.socket.as_fd(), &GatewayFirst::Watch(action, names), &[]).map_err(&failed)?;
        for (number, (_, bytes)) in (0..).zip(known) {
            keeper::packet(self.socket.as_fd(), number, keeper::About::Value, keeper::FOREVER, bytes)
                .map_err(&failed)?;
        }
        Ok(())
    }

    /// Tells it what to judge by. What comes out leads init to it.
    pub(crate) fn order(&mut self, rules: &NetworkRules, plan: &Plan) -> Result<OwnedFd, Failure> {
        let failed = fail("starting the gateway");
        let Ids { outside_uid, outside_gid, mapped, .. } = plan.ids;
        // A server on a socket of the host sees who connects: that is the invoker.
        let told = plan.hosted.is_some();
        let other = mapped || told && outside_uid != rustix::process::geteuid().as_raw();
        let ids = (other && !rules.host_sockets()).then_some((outside_uid, outside_gid));
        let orders = GatewayFirst::Serve(GatewayOrders { rules: rules.clone(), ids, told });
        channel::send(self.socket.as_fd(), &orders, &[]).map_err(&failed)?;
        self.giving.take().ok_or_else(|| failed(Errno::BADF))
    }

    /// Waits until it is confined and serves; `Ok` too if the sandbox is gone, whose report says why.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        if self.ready.get() {
            return Ok(());
        }
        match self.heard() {
            Some(Message::Ready) => Ok(()),
            // No listeners came.
            Some(Message::Failed { errno: Errno::PIPE, .. }) => Ok(()),
            Some(Message::Failed { errno, job: 0, .. }) => Err(fail("starting the gateway")(errno)),
            Some(Message::Failed { errno, job, .. }) => Err(no_port(job, errno)),
            _ => Err(fail("starting the gateway")(Errno::CHILD)),
        }
    }

    /// Its next report; `None` once it is gone.
    pub(crate) fn heard(&self) -> Option<Message> {
        let message = report::receive(self.socket.as_fd()).map(|(message, _)| message);
        if message == Some(Message::Ready) {
            self.ready.set(true);
        }
        message
    }

    /// Ends it, if it has not ended.
    pub(crate) fn dismiss(&self) {
        // It ends when nobody is there to hear it: one with the ids of another workspace's owner takes no signal of a supervisor
        // that has given up its rights.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Init is asked who was refused.
    pub(crate) fn await_who(&self, refusal: &Refusal) {
        self.asked.borrow_mut().insert(refusal.number, refusal.clone());
    }

    /// Init has said it.
    pub(crate) fn heard_who(&self, refusal: &Refusal) {
        self.asked.borrow_mut().remove(&refusal.number);
    }

    /// Has it say what it has not said yet: packets are told of after the fact, and init may have ended before it could say who was
    /// refused. `told` writes each down.
    pub(crate) fn last_words(&self, told: &mut dyn FnMut(&Refusal)) {
        for refusal in std::mem::take(&mut *self.asked.borrow_mut()).values() {
            told(refusal);
            self.tell(&GatewayTell::Written(refusal.number));
        }
        self.tell(&GatewayTell::Last);
        let until = Instant::now() + LAST_WORDS;
        loop {
            let left =
                Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap_or_default();
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            if !poll(&mut polled, Some(&left)).is_ok_and(|ready| ready > 0) {
                return;
            }
            match self.heard() {
                Some(Message::Refused(refusal)) => {
                    told(&refusal);
                    self.tell(&GatewayTell::Written(refusal.number));
                }
                Some(Message::Quiet { .. }) | None => return,
                Some(_) => {}
            }
        }
    }

    pub(crate) fn tell(&self, tell: &GatewayTell) {
        if let Ok(bytes) = postcard::to_stdvec(tell) {
            let _ = rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.dismiss();
        reap(self.pid);
    }
}

/// A port of the host's loopback that cannot be had.
fn no_port(port: u32, errno: Errno) -> Failure {
    let remedy = match errno {
        Errno::ADDRINUSE => "something on the host listens there: publish another port, or end it",
        Errno::ACCESS => "ports below 1024 are root's: publish one above",
        _ => "choose another port",
    };
    let part = format!("taking port {port} of the host's loopback (`network.publish`)");
    Failure { part, errno, remedy: Some(remedy.to_owned()) }
}

/// The two sockets become descriptors 0 and 1, all others close. Returns only on failure.
fn become_it(told: &OwnedFd, taking: &OwnedFd, exec: impl FnOnce() -> Errno) -> i32 {
    let prepare = || -> Result<(), Errno> {
        // Above the two, so that neither overwrites the other.
        let told = rustix::io::fcntl_dupfd_cloexec(told, 10)?;
        let taking = rustix::io::fcntl_dupfd_cloexec(taking, 10)?;
        rustix::stdio::dup2_stdin(&told)?;
        rustix::stdio::dup2_stdout(&taking)?;
        fds::cloexec_from(2)?;
        // What a terminal sends to a whole group is not for it.
        signals::block_only(&signals::Set::all())
    };
    if prepare().is_ok() {
        let _ = exec();
    }
    125
}

/// In the sandbox, before its privileges go: makes the listeners, leads everything to them, hands them out.
/// For each socket of the host that is granted there is one without a name in the file system: where a connect to that
/// path leads.
pub(crate) fn divert(giving: &OwnedFd, unix: &[PathBuf]) -> Result<Vec<Led>, Errno> {
    let mut listeners = Listeners::new()?;
    listeners.divert()?;
    let led: Vec<(OwnedFd, Led)> = unix.iter().map(|path| lead(path)).collect::<Result<_, _>>()?;
    let all = [&listeners.streams, &listeners.questions, &listeners.long_questions];
    let all = all.into_iter().flatten().chain(&listeners.refused);
    let all = all.chain(led.iter().map(|(listener, _)| listener));
    let all: Vec<BorrowedFd<'_>> = all.map(AsFd::as_fd).collect();
    channel::send(giving.as_fd(), &listeners.refused.is_some(), &all)?;
    Ok(led.into_iter().map(|(_, led)| led).collect())
}

/// A path of the host, and the address that a connect to it is made with.
#[derive(Debug)]
pub(crate) struct Led {
    pub(crate) path: PathBuf,
    pub(crate) address: Vec<u8>,
}

fn lead(path: &Path) -> Result<(OwnedFd, Led), Errno> {
    const BACKLOG: i32 = 512;
    let mut random = [0; 12];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let name = [&b"ringfence-"[..], &random].concat();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrUnix::new_abstract_name(&name)?)?;
    listen(&listener, BACKLOG)?;
    let address = [&AddressFamily::UNIX.as_raw().to_ne_bytes()[..], &[0], &name].concat();
    Ok((listener, Led { path: path.to_owned(), address }))
}

/// In the gateway: what it is told first, on descriptor 0.
///
/// # Errors
/// The kernel's, or EBADMSG.
pub fn gateway_first(told: BorrowedFd<'_>) -> Result<(GatewayFirst, Option<OwnedFd>), Errno> {
    channel::receive::<GatewayFirst>(told).map(|(first, mut descriptors)| (first, descriptors.pop()))
}

/// Where everything that leaves the sandbox comes.
#[derive(Debug)]
pub enum Doors {
    /// In the order of [`Listeners`]: two for connections, two for questions, two for questions over TCP; and what hears of
    /// packets that are refused, where the kernel has that.
    Diverted([OwnedFd; 6], Option<OwnedFd>),
    /// Tier `landlock`.
    Told {
        /// Connections.
        streams: OwnedFd,
        /// Questions over TCP.
        long_questions: OwnedFd,
        /// What init says of both, and whom else names are answered.
        ways: OwnedFd,
    },
}

/// Sockets at which names are asked for in tier `landlock`, at one time: who comes later is told of no name.
pub const MOST_ASKERS: usize = 512;

/// What init says, in tier `landlock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// What comes from there goes to where the task asked.
    Connection {
        /// The task's side.
        from: SocketAddr,
        /// What it connected to.
        asked: SocketAddr,
    },
    /// Names are asked for at a socket that comes along.
    Asker {
        /// What stands for the port it asks from.
        source: u16,
    },
}

/// In the gateway: what init says next, with the descriptor that comes along.
///
/// # Errors
/// EAGAIN if nothing came yet, where the descriptor does not wait; EPIPE, EBADMSG.
pub fn next_way(ways: BorrowedFd<'_>) -> Result<(Way, Option<OwnedFd>), Errno> {
    let (mut bytes, mut passed) = ([0; 128], Vec::new());
    match channel::take(ways, &mut bytes, &mut passed)? {
        0 => Err(Errno::PIPE),
        length => {
            let bytes = bytes.get(..length).unwrap_or_default();
            Ok((postcard::from_bytes(bytes).map_err(|_| Errno::BADMSG)?, passed.pop()))
        }
    }
}

/// In the gateway: its listeners, which come on descriptor 1; behind them, one for each unix socket of the rules.
///
/// # Errors
/// EPIPE if there is no sandbox.
pub fn gateway_listeners(taking: BorrowedFd<'_>, told: bool) -> Result<(Doors, Vec<OwnedFd>), Errno> {
    let (refused, mut descriptors) = channel::receive::<bool>(taking)?;
    let own = if told { 3 } else { 6 + usize::from(refused) };
    let unix = if descriptors.len() >= own { descriptors.split_off(own) } else { Vec::new() };
    if !told {
        let refused = if refused { descriptors.pop() } else { None };
        return Ok((Doors::Diverted(descriptors.try_into().map_err(|_| Errno::BADMSG)?, refused), unix));
    }
    let [streams, long_questions, ways]: [OwnedFd; 3] = descriptors.try_into().map_err(|_| Errno::BADMSG)?;
    Ok((Doors::Told { streams, long_questions, ways }, unix))
}

/// What stands for the host in the one event about packets whose refusals nobody hears of.
pub const UNSEEN: &str = "(packets of other protocols than TCP)";

/// On the port that something came from: it is one of UDP.
pub const DATAGRAM: u32 = 1 << 16;

/// How the rule begins in events about packets.
pub const PACKET: &str = "a packet of";

/// In the gateway: whether a descriptor is a socket, as it is if the supervisor started it.
#[must_use]
pub fn started_by_supervisor(told: BorrowedFd<'_>) -> bool {
    rustix::net::sockopt::socket_type(told).is_ok_and(|kind| kind == SocketType::SEQPACKET)
}
