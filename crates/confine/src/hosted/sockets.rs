//! Sockets of a network in tier `landlock`, where no namespace keeps them: init makes them, so that by what they are they reach the
//! gateway alone.
//!
//! One of TCP is connected by init on its own copy, to a listener of the gateway, which is told where the task wanted to go. It never
//! listens, and its options are the filter's to let through (`plan/src/gated.rs`). So that listen(2) need not be let through either,
//! those of unix are made here too, and listened on by init. What passes for one of UDP is one end of a
//! pair of unix sockets that keeps the bounds of packets: an address that is given to it is ignored by the kernel (unix(7), SOCK_SEQPACKET),
//! and its other end is the gateway's, which answers names there.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use landlock::{
    ABI, Access, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError,
};
use ringfence_plan::syscalls;
use ringfence_sys::memory;
use ringfence_sys::seccomp::{self, Notification};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{self, CWD};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, socketpair,
};
use rustix::process::{Resource, getrlimit};

use crate::channel;
use crate::connections::take;
use crate::gateway::{MOST_ASKERS, Way};
use crate::hosted::named;
use crate::nascent::sockets;
use crate::reach::{self, DNS};

/// Connections that the gateway has not taken.
const BACKLOG: i32 = 4096;
/// How long the gateway may take to be told something.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sockets that are known, before those that are gone are forgotten.
const FEW: usize = 64;
/// Descriptors that stay free for other things.
const FREE: u64 = 128;
/// Numbers that no connection comes from, for those who ask for names: below where unprivileged ports begin.
const ASKERS: u16 = 1023;

/// All of a sandbox.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// To the gateway; and where connections and long questions go. None once it is gone.
    gateway: Option<Doors>,
    known: HashMap<u64, Known>,
    /// How many are known when it is looked which of them are gone.
    most: usize,
    /// How many may still be made that ask for names before it is looked: the gateway has room for few, and one lasts as long as the copy here.
    room: usize,
    askers: u16,
}

#[derive(Debug)]
struct Doors {
    ways: OwnedFd,
    /// Held, so that no other process ever listens there.
    streams: (OwnedFd, u16),
    long_questions: (OwnedFd, u16),
}

/// A socket that was handed out, by its inode.
#[derive(Debug)]
enum Known {
    /// Of TCP, not connected yet: init's copy. It goes with the connect, or the task's close would be no end of the connection.
    Stream(OwnedFd),
    /// Of unix, neither connected nor listened on yet.
    Unix(OwnedFd),
    /// Of TCP or unix, afterwards; where the task connected to.
    Done(Option<SocketAddr>),
    /// What passes for one of UDP: init's copy, the number that stands for its port, and whom it asked last.
    Asker(OwnedFd, u16, Option<SocketAddr>),
}

/// What is behind a descriptor of the task.
pub(crate) enum Held {
    Stream(OwnedFd),
    Unix(OwnedFd),
    Done,
    Asker,
    /// No socket of a network.
    Other,
}

/// What becomes of a call.
pub(crate) enum Made {
    /// It was answered.
    Answered,
    /// It may be made as it stands: whatever it turns out to say does no harm.
    Proceed,
    /// This is the answer.
    Answer(Result<i64, Errno>),
    /// It is refused as calls are.
    Refused,
    /// A packet to an address that nothing leads to.
    Unreachable(SocketAddr),
}

impl Sockets {
    /// Makes the listeners, and hands them to the gateway. From here on neither this process nor what it starts takes another port of
    /// TCP, or connects to one.
    pub(crate) fn new(giving: &OwnedFd) -> Result<Self, Errno> {
        let (streams, long_questions) = (door()?, door()?);
        let (ways, taken) = sockets()?;
        sockopt::set_socket_timeout(&ways, Timeout::Send, Some(PATIENCE))?;
        channel::send(giving.as_fd(), &false, &[streams.0.as_fd(), long_questions.0.as_fd(), taken.as_fd()])?;
        lock([streams.1, long_questions.1]).map_err(|_| Errno::PERM)?;
        let gateway = Some(Doors { ways, streams, long_questions });
        Ok(Self { gateway, known: HashMap::new(), most: FEW, room: MOST_ASKERS, askers: 0 })
    }

    /// What must stay open.
    pub(crate) fn descriptors(&self) -> Vec<&OwnedFd> {
        let doors = self.gateway.iter();
        doors.flat_map(|doors| [&doors.ways, &doors.streams.0, &doors.long_questions.0]).collect()
    }

    /// Where the gateway's end is seen.
    pub(crate) fn watched(&self) -> Option<PollFd<'_>> {
        self.gateway.as_ref().map(|doors| PollFd::new(&doors.ways, PollFlags::empty()))
    }

    /// The gateway is gone: what is on its way there is reset, and nothing more leads anywhere.
    pub(crate) fn close(&mut self) {
        self.gateway = None;
    }

    /// Whether a call may be about one of these.
    pub(crate) fn judges(call: &Notification) -> bool {
        syscalls::gated(call.number)
    }

    /// Judges such a call. `met`: who asks for names under this number.
    pub(crate) fn judge(
        &mut self,
        listener: &OwnedFd,
        call: &Notification,
        met: &mut dyn FnMut(u16),
    ) -> Made {
        let outcome = match i64::from(call.number) {
            libc::SYS_socket => self.make(listener, call, met),
            libc::SYS_bind => self.bind(listener, call),
            libc::SYS_listen => self.listen(listener, call),
            libc::SYS_getpeername | libc::SYS_getsockname => self.name(listener, call),
            libc::SYS_recvfrom | libc::SYS_recvmsg => self.receive(listener, call),
            _ => self.send(listener, call),
        };
        outcome.unwrap_or_else(|errno| Made::Answer(Err(errno)))
    }

    fn make(
        &mut self,
        listener: &OwnedFd,
        call: &Notification,
        met: &mut dyn FnMut(u16),
    ) -> Result<Made, Errno> {
        // The kernel reads all three as 32 bits.
        let [family, kind, protocol, ..] = call.arguments.map(|argument| (argument as u32).cast_signed());
        let flags = kind & !0xf;
        if flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != 0 {
            return Err(Errno::INVAL);
        }
        let (cloexec, waits) = (flags & libc::SOCK_CLOEXEC != 0, flags & libc::SOCK_NONBLOCK == 0);
        self.forget(family != libc::AF_UNIX && kind & 0xf == libc::SOCK_DGRAM)?;
        let copy = |made: &OwnedFd| made.try_clone().map_err(|_| Errno::NFILE);
        let (given, known) = match (family, kind & 0xf, protocol) {
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => {
                let made = stream(family == libc::AF_INET6, waits)?;
                (copy(&made)?, Known::Stream(made))
            }
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => {
                let made = self.asker(waits, met)?;
                let given = copy(&made)?;
                self.known.insert(fs::fstat(&given)?.st_ino, Known::Asker(made, self.askers, None));
                return hand_out(listener, call, &given, cloexec);
            }
            (libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_SEQPACKET, 0 | libc::AF_UNIX) => {
                let kind =
                    if kind & 0xf == libc::SOCK_STREAM { SocketType::STREAM } else { SocketType::SEQPACKET };
                let made = socket_with(AddressFamily::UNIX, kind, waiting(waits), None)?;
                (copy(&made)?, Known::Unix(made))
            }
            // Libraries look for addresses of their own before they ask for a name: that there are none is no news.
            (libc::AF_NETLINK, _, libc::NETLINK_ROUTE) => return Err(Errno::AFNOSUPPORT),
            _ => return Ok(Made::Refused),
        };
        self.known.insert(fs::fstat(&given)?.st_ino, known);
        seccomp::answer_with(listener.as_fd(), call.id, given.as_fd(), cloexec)?;
        Ok(Made::Answered)
    }

    fn asker(&mut self, waits: bool, met: &mut dyn FnMut(u16)) -> Result<OwnedFd, Errno> {
        let doors = self.gateway.as_ref().ok_or(Errno::NETDOWN)?;
        let (given, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, waiting(waits), None)?;
        self.askers = self.askers % ASKERS + 1;
        doors.tell(&Way::Asker { source: self.askers }, Some(&other))?;
        self.room = self.room.saturating_sub(1);
        met(self.askers);
        Ok(given)
    }

    /// No port is its own: the loopback is the host's. A client that only names itself nothing is told that it did.
    fn bind(&self, listener: &OwnedFd, call: &Notification) -> Result<Made, Errno> {
        let [_, address, length, ..] = call.arguments;
        let asked = self.read(listener, call, address, length)?;
        Ok(match (self.held(call)?, asked) {
            (Held::Other | Held::Unix(_), _) => Made::Proceed,
            (Held::Asker, Some(_)) => Made::Answer(Ok(0)),
            (Held::Stream(_), Some(asked)) if asked.port() == 0 && near(asked) => Made::Answer(Ok(0)),
            (Held::Stream(_), Some(_)) => Made::Refused,
            _ => Made::Answer(Err(Errno::INVAL)),
        })
    }

    /// Of unix alone, and never the task's own call: what its descriptor is may be another by then.
    fn listen(&mut self, listener: &OwnedFd, call: &Notification) -> Result<Made, Errno> {
        let [_, backlog, ..] = call.arguments;
        let socket = match self.held(call)? {
            Held::Unix(socket) => socket,
            Held::Done | Held::Other => take(call)?,
            Held::Stream(_) => return Ok(Made::Refused),
            Held::Asker => return Err(Errno::OPNOTSUPP),
        };
        if sockopt::socket_domain(&socket)? != AddressFamily::UNIX {
            return Ok(Made::Refused);
        }
        if !seccomp::still_waits(listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        listen(&socket, (backlog as u32).cast_signed())?;
        self.done(&socket, None)?;
        Ok(Made::Answer(Ok(0)))
    }

    /// It is the task's alone from here on.
    pub(crate) fn done(&mut self, socket: &OwnedFd, asked: Option<SocketAddr>) -> Result<(), Errno> {
        if let Some(known) = self.known.get_mut(&fs::fstat(socket)?.st_ino) {
            *known = Known::Done(asked);
        }
        Ok(())
    }

    /// A packet with an address.
    fn send(&mut self, listener: &OwnedFd, call: &Notification) -> Result<Made, Errno> {
        let [_, _, _, _, address, length] = call.arguments;
        let asked = self.read(listener, call, address, length)?;
        Ok(match (self.known(call)?, asked) {
            (Some(Known::Asker(..)), Some(asked)) if asked.port() != DNS => Made::Unreachable(asked),
            (Some(Known::Asker(_, _, last)), asked) => {
                *last = asked;
                Made::Proceed
            }
            _ => Made::Proceed,
        })
    }

    /// What passes for UDP is asked at that server from here on.
    pub(crate) fn asks(&mut self, call: &Notification, asked: SocketAddr) -> Result<(), Errno> {
        if let Some(Known::Asker(_, _, last)) = self.known(call)? {
            *last = Some(asked);
        }
        Ok(())
    }

    /// Its own name, or its peer's.
    fn name(&mut self, listener: &OwnedFd, call: &Notification) -> Result<Made, Errno> {
        let [_, to, length_at, ..] = call.arguments;
        let peer = i64::from(call.number) == libc::SYS_getpeername;
        let own = |number: u16| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), number);
        let address = match self.known(call)? {
            Some(Known::Done(Some(asked))) if peer => *asked,
            Some(Known::Asker(_, _, last)) if peer => last.ok_or(Errno::NOTCONN)?,
            Some(Known::Asker(_, number, _)) => own(*number),
            _ => return Ok(Made::Proceed),
        };
        if !seccomp::still_waits(listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        named::tell(call.thread, address, to, length_at)?;
        Ok(Made::Answer(Ok(0)))
    }

    /// An answer for a name, told as that of whom was asked.
    fn receive(&mut self, listener: &OwnedFd, call: &Notification) -> Result<Made, Errno> {
        match self.known(call)? {
            Some(Known::Asker(own, _, Some(asked))) => {
                if !seccomp::still_waits(listener.as_fd(), call.id) {
                    return Err(Errno::SRCH);
                }
                named::receive(call, own, *asked)
            }
            _ => Ok(Made::Proceed),
        }
    }

    fn known(&mut self, call: &Notification) -> Result<Option<&mut Known>, Errno> {
        let [descriptor, ..] = call.arguments;
        let inode = inode(call.thread, descriptor as u32)?;
        Ok(inode.and_then(|inode| self.known.get_mut(&inode)))
    }

    fn read(
        &self,
        listener: &OwnedFd,
        call: &Notification,
        address: u64,
        length: u64,
    ) -> Result<Option<SocketAddr>, Errno> {
        let length = usize::try_from(length & 0xffff_ffff).ok().filter(|length| *length <= LONGEST);
        let mut bytes = vec![0; length.ok_or(Errno::INVAL)?];
        memory::read(call.thread, address, &mut bytes)?;
        if !seccomp::still_waits(listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        Ok(reach::parse(&bytes))
    }

    /// What the call's descriptor is; another thread may put something else there meanwhile, which is then judged instead.
    pub(crate) fn held(&self, call: &Notification) -> Result<Held, Errno> {
        let [descriptor, ..] = call.arguments;
        let inode = inode(call.thread, descriptor as u32)?;
        Ok(match inode.and_then(|inode| self.known.get(&inode)) {
            Some(Known::Stream(own)) => Held::Stream(own.try_clone().map_err(|_| Errno::NFILE)?),
            Some(Known::Unix(own)) => Held::Unix(own.try_clone().map_err(|_| Errno::NFILE)?),
            Some(Known::Done(_)) => Held::Done,
            Some(Known::Asker(..)) => Held::Asker,
            None => Held::Other,
        })
    }

    /// The address of the gateway for a connection to `asked`, as this socket takes it.
    pub(crate) fn door(&self, own: &OwnedFd, asked: SocketAddr) -> Result<Vec<u8>, Errno> {
        let doors = self.gateway.as_ref().ok_or(Errno::NETDOWN)?;
        let (_, port) = if asked.port() == DNS { &doors.long_questions } else { &doors.streams };
        let (six, local) = (sockopt::socket_domain(own)? == AddressFamily::INET6, Ipv4Addr::LOCALHOST);
        if six != asked.is_ipv6() {
            return Err(Errno::AFNOSUPPORT);
        }
        let ip = if six { IpAddr::V6(local.to_ipv6_mapped()) } else { IpAddr::V4(local) };
        Ok(named::bytes(SocketAddr::new(ip, *port)))
    }

    /// A connect of this socket was begun: the gateway is told where to.
    pub(crate) fn begun(&mut self, own: &OwnedFd, asked: SocketAddr) -> Result<(), Errno> {
        let doors = self.gateway.as_ref().ok_or(Errno::NETDOWN)?;
        let from = SocketAddr::try_from(getsockname(own)?)?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let asked = SocketAddr::new(asked.ip(), asked.port());
        doors.tell(&Way::Connection { from, asked }, None)?;
        self.done(own, Some(asked))
    }

    /// Is there room for one more? Which of them are gone is seen only in what processes hold.
    fn forget(&mut self, asks: bool) -> Result<(), Errno> {
        if self.known.len() < self.most && (!asks || self.room > 0) {
            return Ok(());
        }
        let held = held();
        self.known.retain(|inode, _| held.contains(inode));
        let askers = self.known.values().filter(|known| matches!(known, Known::Asker(..))).count();
        self.room = MOST_ASKERS.saturating_sub(askers);
        self.most = FEW.max(2 * self.known.len());
        let room = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if self.known.len() as u64 + FREE.min(room / 2) >= room { Err(Errno::NFILE) } else { Ok(()) }
    }
}

impl Doors {
    fn tell(&self, way: &Way, with: Option<&OwnedFd>) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(way).map_err(|_| Errno::INVAL)?;
        let with: Vec<_> = with.iter().map(|with| with.as_fd()).collect();
        channel::packet(self.ways.as_fd(), &bytes, &with).map_err(|_| Errno::NETDOWN)
    }
}

/// Numbers of descriptors at which receiving with an address is judged (`plan/src/gated.rs`): few programs have as many open.
const JUDGED: std::ops::Range<u32> = syscalls::ASKERS;

/// Gives it the last number of those that is free; where that cannot be, any: then nothing is told of whom answers come from.
fn hand_out(listener: &OwnedFd, call: &Notification, given: &OwnedFd, cloexec: bool) -> Result<Made, Errno> {
    let free = |number: &u32| {
        fs::readlinkat(CWD, format!("/proc/{}/fd/{number}", call.thread), Vec::new()) == Err(Errno::NOENT)
    };
    let (id, listener) = (call.id, listener.as_fd());
    let number = JUDGED.rev().find(free);
    let placed = number.map(|number| seccomp::place(listener, id, given.as_fd(), number, cloexec));
    match placed {
        Some(Ok(number)) => Ok(Made::Answer(Ok(number.into()))),
        _ => seccomp::answer_with(listener, id, given.as_fd(), cloexec).map(|()| Made::Answered),
    }
}

/// sizeof(struct sockaddr_storage), the most the kernel takes.
const LONGEST: usize = 128;

fn door() -> Result<(OwnedFd, u16), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let door = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&door, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&door, BACKLOG)?;
    let port = SocketAddr::try_from(getsockname(&door)?)?.port();
    Ok((door, port))
}

/// A second lock, on init and the task alike: it knows ports, no addresses (landlock(7), since ABI 4; this tier needs more).
fn lock(ports: [u16; 2]) -> Result<(), RulesetError> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let mut created = ruleset.handle_access(AccessNet::from_all(ABI::V4))?.create()?;
    for port in ports {
        created = created.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    created.restrict_self().map(drop)
}

fn waiting(waits: bool) -> SocketFlags {
    SocketFlags::CLOEXEC | if waits { SocketFlags::empty() } else { SocketFlags::NONBLOCK }
}

fn stream(six: bool, waits: bool) -> Result<OwnedFd, Errno> {
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let made = socket_with(family, SocketType::STREAM, waiting(waits), None)?;
    if six {
        sockopt::set_ipv6_v6only(&made, false)?;
    }
    Ok(made)
}

/// No address but its own machine's, or none.
fn near(asked: SocketAddr) -> bool {
    let ip = asked.ip().to_canonical();
    ip.is_unspecified() || ip.is_loopback()
}

/// The inode of a socket; `None`: it is no socket.
fn inode(thread: i32, descriptor: u32) -> Result<Option<u64>, Errno> {
    let name = fs::readlinkat(CWD, format!("/proc/{thread}/fd/{descriptor}"), Vec::new());
    let name = name.map_err(|errno| if errno == Errno::NOENT { Errno::BADF } else { errno })?;
    Ok(number(name.to_str().unwrap_or_default()))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sockets of every process that can be looked at, but for this one with its copies: those of the sandbox, and no others
/// (landlock(7), ptrace).
fn held() -> HashSet<u64> {
    let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let mut held = HashSet::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let number_of = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if number_of.is_none_or(|process| process == own) {
            continue;
        }
        for descriptor in
            std::fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok)
        {
            let name = std::fs::read_link(descriptor.path()).ok();
            held.extend(name.and_then(|name| number(name.to_str()?)));
        }
    }
    held
}
