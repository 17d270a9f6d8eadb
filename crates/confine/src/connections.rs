//! connect(2) of the task, judged and made by init; other calls that wait are handed to who judges them.
//!
//! The address is in the task's memory and may change after it was judged, so the call is never let through: it is read
//! once, judged, and made on a copy of the task's socket. Inside the network namespace every address is the sandbox's own;
//! what needs judging are path names of unix sockets, which know no namespace but the mounts.

mod lead;
mod starts;
mod unreached;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_plan::{asked, syscalls};
use ringfence_sys::seccomp::{self, Notification};
use ringfence_sys::{memory, signals, socket};
use ringfence_void::{First, Ledger};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdGetfdFlags, pidfd_getfd};

use self::lead::check_peer;
use self::unreached::Nowhere;
use crate::child::Own;
use crate::gateway::Led;
use crate::guard::{Guard, Start};
use crate::hosted::{Held, Judge, Judged, Sockets, Trees, traced};
use crate::proc::{group, holder};
use crate::purpose::Purpose;
use crate::reach::{self, Reach};
use crate::renames::{self, Renames};
use crate::report::{Refusal, Refused};
use crate::script::{Program, file_of};
use crate::written;

const AF_UNIX: u16 = 1;
/// `sun_path` starts behind the family (unix(7)).
const PATH_AT: usize = 2;
/// sizeof(struct sockaddr_storage), the most the kernel takes (connect(2)).
const LONGEST: usize = 128;
/// Calls that wait for a peer at one time; more are refused.
const MOST_WAITING: usize = 1024;
/// Refusals that are not written down yet; who asks more waits.
const MOST_UNWRITTEN: usize = 32;
/// How long one attempt may sleep.
const PATIENCE: Duration = Duration::from_millis(5);

/// Answers connects of one command and what it started, until the last of them is gone.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: OwnedFd,
    waiting: Vec<Waiting>,
    /// Starts that wait until the guard has room.
    starts: VecDeque<Start>,
    /// Refusals that are being written down, by their number; and what their callers are told.
    unwritten: BTreeMap<u32, (u64, Fate)>,
    /// Of those, the calls that may be judged again.
    again: BTreeMap<u32, Notification>,
    pub(crate) renames: Renames,
    /// Connections that lead nowhere, told of one by one.
    nowhere: usize,
    /// Files, of which the same holds.
    files: usize,
    /// What the guard knows it by.
    own: u32,
}

/// A blocking connect which has not found its peer yet.
#[derive(Debug)]
struct Waiting {
    id: u64,
    socket: OwnedFd,
    address: Vec<u8>,
    /// A unix socket whose peer's queue is full is tried again; for others the kernel goes on by itself.
    again: bool,
    /// The peer must be of this sandbox, which only the connection tells.
    own_peer: bool,
    /// The peer's own file, where it was named by path.
    _held: Option<OwnedFd>,
}

/// What a caller is told once its refusal is written down.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Fails(Errno),
    /// The kernel refuses it by itself.
    GoesOn,
}

/// What becomes of a call.
enum Verdict {
    Done,
    Later,
    /// This error, as soon as it is written down.
    Refuse(Box<Refusal>, Errno),
    /// The kernel's own error, there is no network.
    Nowhere(Nowhere),
}

impl Connections {
    pub(crate) fn new(listener: OwnedFd, own: u32) -> Self {
        Self {
            listener,
            waiting: Vec::new(),
            starts: VecDeque::new(),
            unwritten: BTreeMap::new(),
            again: BTreeMap::new(),
            renames: Renames::default(),
            nowhere: 0,
            files: 0,
            own,
        }
    }

    pub(crate) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Whether somebody waits, so that [`Self::retry`] is due every few milliseconds.
    pub(crate) fn busy(&self) -> bool {
        !self.waiting.is_empty() || !self.starts.is_empty()
    }

    pub(crate) fn renamed(&mut self, pid: Pid, own: &Own) {
        self.renames.ended(pid, &self.listener, own);
    }

    /// Whether another call can be taken.
    pub(crate) fn room(&self) -> bool {
        self.unwritten.len() < MOST_UNWRITTEN
    }

    /// Takes one call and answers it, now or later; a refusal is to be written down first, under this number.
    /// Calls that are refused whatever they say are told once for each program, then counted.
    pub(crate) fn serve(
        &mut self,
        own: &Own,
        number: u32,
        calls: &mut Ledger,
        guard: Option<&mut Guard>,
        reach: Option<&mut Reach>,
    ) -> Option<Refusal> {
        let call = seccomp::receive(self.listener.as_fd()).ok()?;
        if let Some(guard) = guard {
            if guard.ends(self.listener.as_fd(), &call) {
                return None;
            }
            if Guard::judges(&call) {
                return self.start(call, number, guard);
            }
        }
        if let Some(judge) = own.hosted.as_ref().filter(|_| Trees::maps(&call)) {
            return self.map(&call, judge.code().foreign(&call), calls);
        }
        if own.hosted.as_ref().is_some_and(|judge| judge.debug) && traced::opens(call.number) {
            return self.open(&call, calls);
        }
        if let Some(judge) = own.hosted.as_ref().filter(|_| Judge::makes(call.number)) {
            return self.change(&call, judge, calls);
        }
        if own.watch_writes && syscalls::written(call.number).is_some() {
            return self.write(&call, own, calls);
        }
        if renames::is(own, &call) {
            self.renames.answer(&self.listener, own, call);
            return None;
        }
        let mut reach = reach;
        if Sockets::judges(&call)
            && let Some(reach) = &mut reach
            && reach.sockets.is_some()
        {
            return self.socket(&call, calls, reach);
        }
        if i64::from(call.number) != libc::SYS_connect {
            return self.refuse(&call, calls);
        }
        let outcome = match self.connect(&call, own, reach) {
            Ok(Verdict::Later) => return None,
            Ok(Verdict::Refuse(refusal, errno)) => {
                self.unwritten.insert(number, (call.id, Fate::Fails(errno)));
                return Some(Refusal { number, ..*refusal });
            }
            Ok(Verdict::Nowhere(to)) => return self.unreached(&call, to, calls),
            Ok(Verdict::Done) => Ok(0),
            Err(errno) => Err(errno),
        };
        // A caller that is gone needs no answer.
        let _ = seccomp::answer(self.listener.as_fd(), call.id, outcome);
        None
    }

    /// A call that makes a file code: it goes on, or fails as on a mount that is noexec (mmap(2), mprotect(2)).
    fn map(&mut self, call: &Notification, foreign: Option<PathBuf>, calls: &mut Ledger) -> Option<Refusal> {
        let Some(path) = foreign else {
            let _ = seccomp::proceed(self.listener.as_fd(), call.id);
            return None;
        };
        let errno = if i64::from(call.number) == libc::SYS_mmap { Errno::PERM } else { Errno::ACCESS };
        self.tell(call, path, (Purpose::Map, errno), calls)
    }

    /// A call on a file fails, and is told of once for each program.
    fn tell(
        &mut self,
        call: &Notification,
        path: PathBuf,
        (purpose, errno): (Purpose, Errno),
        calls: &mut Ledger,
    ) -> Option<Refusal> {
        let process = group(call.thread).unwrap_or(call.thread);
        let program = Program::of(process);
        let what = [&call.number.to_ne_bytes()[..], path.as_os_str().as_bytes()];
        if let First::New(number) = self.note_file(&what, &program, calls) {
            let what = Refused::File { path: path.into_os_string(), asked: None, purpose };
            self.unwritten.insert(number, (call.id, Fate::Fails(errno)));
            return Some(Refusal { number, process, program: program.started(process), what });
        }
        let _ = seccomp::answer(self.listener.as_fd(), call.id, Err(errno));
        None
    }

    /// A call that init makes, in tier `landlock`.
    fn change(&mut self, call: &Notification, judge: &Judge, calls: &mut Ledger) -> Option<Refusal> {
        let listener = self.listener.as_fd();
        let outcome = match judge.make(call, || seccomp::still_waits(listener, call.id)) {
            Ok(Judged::Done(value)) => Ok(value),
            Ok(Judged::Never) => return self.refuse(call, calls),
            Ok(Judged::Refused(path)) => {
                let purpose = match i64::from(call.number) {
                    libc::SYS_inotify_add_watch => Purpose::Read,
                    _ => Purpose::Write,
                };
                return self.tell(call, path, (purpose, Errno::PERM), calls);
            }
            Err(errno) => Err(errno),
        };
        let _ = seccomp::answer(self.listener.as_fd(), call.id, outcome);
        None
    }

    /// An open that may be a debugger's; every other one is the kernel's to judge.
    fn open(&mut self, call: &Notification, calls: &mut Ledger) -> Option<Refusal> {
        if syscalls::sets_id(call.number, &call.arguments) {
            return self.refuse(call, calls);
        }
        let listener = self.listener.as_fd();
        let _ = match traced::opened(call) {
            Some((file, cloexec)) => seccomp::answer_with(listener, call.id, file.as_fd(), cloexec),
            None => seccomp::proceed(listener, call.id),
        };
        None
    }

    /// A call that changes a file: told of if the kernel will refuse it, and always its to judge.
    fn write(&mut self, call: &Notification, own: &Own, calls: &mut Ledger) -> Option<Refusal> {
        if syscalls::sets_id(call.number, &call.arguments) {
            return self.refuse(call, calls);
        }
        if let Some((path, purpose)) = written::refused(call, own) {
            let process = group(call.thread).unwrap_or(call.thread);
            let program = Program::of(process);
            let what = [purpose.word().as_bytes(), path.as_os_str().as_bytes()];
            if let First::New(number) = self.note_file(&what, &program, calls) {
                let what = Refused::File { path: path.into_os_string(), asked: None, purpose };
                self.unwritten.insert(number, (call.id, Fate::GoesOn));
                return Some(Refusal { number, process, program: program.started(process), what });
            }
        }
        if renames::is(own, call) {
            self.renames.answer(&self.listener, own, *call);
        } else {
            let _ = seccomp::proceed(self.listener.as_fd(), call.id);
        }
        None
    }

    fn refuse(&mut self, call: &Notification, calls: &mut Ledger) -> Option<Refusal> {
        let process = group(call.thread).unwrap_or(call.thread);
        let program = Program::of(process);
        let errno = Errno::from_raw_os_error(syscalls::errno(call.number, &call.arguments));
        let detail = asked::detail(call.number, &call.arguments).unwrap_or_default();
        if let First::New(number) =
            calls.note(&[&call.number.to_ne_bytes(), detail.as_bytes()], &program.key())
        {
            let what = Refused::Syscall { number: call.number, arguments: call.arguments };
            self.unwritten.insert(number, (call.id, Fate::Fails(errno)));
            return Some(Refusal { number, process, program: program.started(process), what });
        }
        let _ = seccomp::answer(self.listener.as_fd(), call.id, Err(errno));
        None
    }

    /// The refusal of this number is written down; whether it was one of these.
    pub(crate) fn written(&mut self, number: u32) -> bool {
        let Some((id, fate)) = self.unwritten.remove(&number) else { return false };
        self.again.remove(&number);
        let _ = match fate {
            Fate::Fails(errno) => seccomp::answer(self.listener.as_fd(), id, Err(errno)),
            Fate::GoesOn => seccomp::proceed(self.listener.as_fd(), id),
        };
        true
    }

    /// The refusal of this number is judged again. `None`: it was none of these; else what became of it, under the new number.
    pub(crate) fn judge_again(
        &mut self,
        number: u32,
        new: u32,
        guard: &mut Guard,
    ) -> Option<Option<Refusal>> {
        let call = self.again.remove(&number)?;
        self.unwritten.remove(&number);
        Some(self.restart(call, new, guard))
    }

    /// Looks again at everybody who waits.
    pub(crate) fn retry(&mut self) {
        let listener = self.listener.as_fd();
        self.waiting.retain(|waiting| {
            if !seccomp::still_waits(listener, waiting.id) {
                return false;
            }
            let outcome = if waiting.again {
                attempt(&waiting.socket, &waiting.address)
            } else {
                finished(&waiting.socket)
            };
            let outcome = outcome.and_then(|()| check_peer(&waiting.socket, waiting.own_peer));
            match outcome {
                Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY) => true,
                outcome => {
                    let _ = seccomp::answer(listener, waiting.id, outcome.map(|()| 0));
                    false
                }
            }
        });
    }

    fn connect(
        &mut self,
        call: &Notification,
        own: &Own,
        reach: Option<&mut Reach>,
    ) -> Result<Verdict, Errno> {
        let [_, address, length, ..] = call.arguments;
        // The kernel reads the length as 32 bits.
        let length = usize::try_from(length & 0xffff_ffff).map_err(|_| Errno::INVAL)?;
        if !(PATH_AT..=LONGEST).contains(&length) {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; length];
        memory::read(call.thread, address, &mut bytes)?;
        let mut reach = reach;
        if let Some(reach) = reach.as_deref_mut().filter(|reach| reach.sockets.is_some())
            && family(&bytes).is_some_and(reach::is_network)
        {
            return self.lead(call, &bytes, reach);
        }
        let (process, pidfd) = holder(call.thread)?;
        let held = reach.as_ref().and_then(|reach| reach.sockets.as_ref()).map(|sockets| sockets.held(call));
        let socket = match held.transpose()? {
            Some(Held::Stream(socket) | Held::Unix(socket)) => socket,
            Some(Held::Asker) => return Ok(Verdict::Done),
            _ => take_of(&pidfd, call)?,
        };
        let led = socket_path(&bytes).and_then(|path| led(process, path, &own.led));
        let found = if led.is_some() { None } else { socket_path(&bytes).map(|path| find(process, path)) };
        if let Some(led) = led {
            bytes.clone_from(&led.address);
        }
        // Only now is it sure that all of this was the caller's, and not a successor's with the same number.
        if !seccomp::still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        let mut held = None;
        if let Some(found) = found {
            let (found, path) = found?;
            let refuse = |errno| {
                let what = Refused::Connect { path: path.clone().into_os_string() };
                let refusal =
                    Refusal { number: 0, process, program: Program::of(process).started(process), what };
                Ok(Verdict::Refuse(Box::new(refusal), errno))
            };
            let found = match found {
                Found::Socket(found) => found,
                Found::Nothing(above) if own.void.contains(&mount_of(&above)?) => {
                    return refuse(Errno::NOENT);
                }
                Found::Nothing(_) => return Err(Errno::NOENT),
            };
            let its_own = match &own.hosted {
                Some(judge) => judge.own_socket(found.try_clone().map_err(|_| Errno::MFILE)?)?,
                None => own.mounts.contains(&mount_of(&found)?),
            };
            if !its_own {
                return refuse(Errno::ACCESS);
            }
            bytes = address_of(&found);
            held = Some(found);
        }
        if let Some(reach) = &reach
            && let Some(what) = reach.refuses(&socket, &bytes)
        {
            let refusal =
                Refusal { number: 0, process, program: Program::of(process).started(process), what };
            return Ok(Verdict::Refuse(Box::new(refusal), Errno::CONNREFUSED));
        }
        let blocking = !fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK);
        let own_peer = held.is_some() && own.hosted.is_some();
        let outcome = attempt(&socket, &bytes).and_then(|()| check_peer(&socket, own_peer));
        if let Some(reach) = reach {
            reach.note(&socket, process, || file_of(process));
            let under_way = outcome.is_ok() || blocking && outcome == Err(Errno::AGAIN);
            if let Some(sockets) =
                reach.sockets.as_mut().filter(|_| under_way && family(&bytes) == Some(AF_UNIX))
            {
                sockets.done(&socket, None)?;
            }
        } else if let Some(to) = Nowhere::of(&bytes, outcome) {
            return Ok(Verdict::Nowhere(to));
        }
        match outcome {
            Err(errno @ (Errno::INPROGRESS | Errno::AGAIN)) if blocking => {
                if self.waiting.len() >= MOST_WAITING || scarce(&socket) {
                    return Err(Errno::CONNREFUSED);
                }
                let again = errno == Errno::AGAIN;
                self.waiting.push(Waiting {
                    id: call.id,
                    socket,
                    address: bytes,
                    again,
                    own_peer,
                    _held: held,
                });
                Ok(Verdict::Later)
            }
            outcome => outcome.map(|()| Verdict::Done),
        }
    }
}

/// A copy of the descriptor that the call names first.
pub(crate) fn take(call: &Notification) -> Result<OwnedFd, Errno> {
    take_of(&holder(call.thread)?.1, call)
}

fn take_of(process: &OwnedFd, call: &Notification) -> Result<OwnedFd, Errno> {
    let [descriptor, ..] = call.arguments;
    let descriptor = i32::try_from(descriptor & 0xffff_ffff).map_err(|_| Errno::BADF)?;
    pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())
}

/// The granted socket of the host that a path names, in the words of the rule: nothing of it is in the sandbox's files.
fn led<'a>(process: i32, path: &Path, led: &'a [Led]) -> Option<&'a Led> {
    if led.is_empty() {
        return None;
    }
    let absolute = absolute(process, path).ok()?;
    // Both names are in use for one directory (FHS 3.0, section 5.13).
    let plain = |path: &Path| match path.strip_prefix("/var/run") {
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.components().collect(),
    };
    let asked = plain(&absolute);
    led.iter().find(|led| plain(&led.path) == asked)
}

fn absolute(process: i32, path: &Path) -> Result<PathBuf, Errno> {
    if path.is_absolute() {
        return Ok(path.to_path_buf());
    }
    let cwd = fs::readlinkat(CWD, format!("/proc/{process}/cwd"), Vec::new())?;
    Ok(Path::new(OsStr::from_bytes(cwd.as_bytes())).join(path))
}

/// Whether init has few descriptors left for what it does besides; the lowest free number is the next.
fn scarce(socket: &OwnedFd) -> bool {
    const KEPT: u64 = 128;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(socket.as_raw_fd()).map_or(true, |number| number + KEPT.min(most / 2) >= most)
}

/// What is at a path.
enum Found {
    Socket(OwnedFd),
    /// What is there of the way to it.
    Nothing(OwnedFd),
}

/// Finds the socket as the task would; with the path it means.
fn find(process: i32, path: &Path) -> Result<(Found, PathBuf), Errno> {
    let root =
        fs::openat(CWD, format!("/proc/{process}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let absolute = absolute(process, path)?;
    let found = match open(&root, &absolute) {
        Err(Errno::NOENT) => Found::Nothing(way(&root, &absolute)?),
        found => Found::Socket(found?),
    };
    Ok((found, absolute))
}

/// The last of the directories above a path that is there.
fn way(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let found = path.ancestors().skip(1).find_map(|above| open(root, above).ok());
    found.ok_or(Errno::NOENT)
}

/// Connects without waiting, whatever the socket's own mode is. That mode is the task's to change at any moment, so sleep is
/// cut short too.
fn attempt(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    let flags = fs::fcntl_getfl(socket)?;
    let waits = !flags.contains(OFlags::NONBLOCK);
    if waits {
        fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    }
    let outcome = signals::interrupted_after(PATIENCE, || socket::connect(socket.as_fd(), address));
    if waits {
        fs::fcntl_setfl(socket, flags)?;
    }
    match outcome {
        // A unix socket has not begun yet; for others the kernel goes on.
        Err(Errno::INTR) if family(address) == Some(AF_UNIX) => Err(Errno::AGAIN),
        Err(Errno::INTR) => Err(Errno::INPROGRESS),
        outcome => outcome,
    }
}

/// Whether a connect that was begun has come to an end, and which.
fn finished(socket: &OwnedFd) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Err(Errno::INPROGRESS);
    }
    sockopt::socket_error(socket)?
}

/// The path in a unix address; `None` for other families and for abstract names.
fn socket_path(address: &[u8]) -> Option<&Path> {
    let path = address.get(PATH_AT..)?.split(|byte| *byte == 0).next()?;
    (family(address) == Some(AF_UNIX) && !path.is_empty()).then(|| Path::new(OsStr::from_bytes(path)))
}

fn family(address: &[u8]) -> Option<u16> {
    address.get(..PATH_AT)?.try_into().ok().map(u16::from_ne_bytes)
}

/// The address of a socket that is held open, whatever its name leads to by now.
fn address_of(found: &OwnedFd) -> Vec<u8> {
    let mut address = AF_UNIX.to_ne_bytes().to_vec();
    address.extend(format!("/proc/self/fd/{}\0", found.as_raw_fd()).bytes());
    address
}

fn open(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

pub(crate) fn mount_of(file: &OwnedFd) -> Result<u64, Errno> {
    let stat = fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 { Err(Errno::OPNOTSUPP) } else { Ok(stat.stx_mnt_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &[u8]) -> Vec<u8> {
        [&AF_UNIX.to_ne_bytes()[..], path].concat()
    }

    #[test]
    fn only_path_names_of_unix_sockets_are_paths() {
        assert_eq!(socket_path(&unix(b"/run/x\0junk")), Some(Path::new("/run/x")));
        assert_eq!(socket_path(&unix(b"x")), Some(Path::new("x")));
        assert_eq!(socket_path(&unix(b"\0abstract")), None);
        assert_eq!(socket_path(&unix(b"")), None);
        assert_eq!(socket_path(&[2, 0, b'/', b'x']), None);
        assert_eq!(socket_path(&[1]), None);
    }
}
