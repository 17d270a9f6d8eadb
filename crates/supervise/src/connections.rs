//! connect(2) of the task, judged and made by the supervisor.
//!
//! The address is in the task's memory and may change after it was judged, so the call is never let through: it is read
//! once, judged, and made on a copy of the task's socket. Inside the network namespace every address is the sandbox's own;
//! what needs judging are path names of unix sockets, which know no namespace but the mounts.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_sys::seccomp::{self, Notification};
use ringfence_sys::{memory, socket};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

const AF_UNIX: u16 = 1;
/// `sun_path` starts behind the family (unix(7)).
const PATH_AT: usize = 2;
/// sizeof(struct sockaddr_storage), the most the kernel takes (connect(2)).
const LONGEST: usize = 128;
/// Calls that wait for a peer at one time; more are refused.
const MOST_WAITING: usize = 1024;

/// A connect that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The socket's path as the task named it.
    pub path: PathBuf,
    /// The process that asked.
    pub process: i32,
}

/// Answers connects until the sandbox ends.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: OwnedFd,
    /// Mounts of the sandbox's own, by id: sockets there are its own too.
    own: Vec<u64>,
    waiting: Vec<Waiting>,
    pub(crate) refused: Vec<Refusal>,
}

/// A blocking connect which has not found its peer yet.
#[derive(Debug)]
struct Waiting {
    id: u64,
    socket: OwnedFd,
    address: Vec<u8>,
    /// A unix socket whose peer's queue is full is tried again; for others the kernel goes on by itself.
    again: bool,
}

impl Connections {
    pub(crate) fn new(listener: OwnedFd, own: Vec<u64>) -> Self {
        Self { listener, own, waiting: Vec::new(), refused: Vec::new() }
    }

    pub(crate) fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    /// Whether somebody waits, so that [`Self::retry`] is due every few milliseconds.
    pub(crate) fn busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes one call and answers it, now or later.
    pub(crate) fn serve(&mut self) {
        let Ok(call) = seccomp::receive(self.listener.as_fd()) else { return };
        let outcome = self.connect(&call);
        if let Some(outcome) = outcome.transpose() {
            // A caller that is gone needs no answer.
            let _ = seccomp::answer(self.listener.as_fd(), call.id, outcome.map(|()| 0));
        }
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
            match outcome {
                Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY) => true,
                outcome => {
                    let _ = seccomp::answer(listener, waiting.id, outcome.map(|()| 0));
                    false
                }
            }
        });
    }

    /// `None`: the answer comes later.
    fn connect(&mut self, call: &Notification) -> Result<Option<()>, Errno> {
        let [descriptor, address, length, ..] = call.arguments;
        // The kernel reads the length as 32 bits.
        let length = usize::try_from(length & 0xffff_ffff).map_err(|_| Errno::INVAL)?;
        if !(PATH_AT..=LONGEST).contains(&length) {
            return Err(Errno::INVAL);
        }
        let mut bytes = vec![0; length];
        memory::read(call.thread, address, &mut bytes)?;
        let process = group(call.thread)?;
        let pidfd = pidfd_open(Pid::from_raw(process).ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        let descriptor = i32::try_from(descriptor & 0xffff_ffff).map_err(|_| Errno::BADF)?;
        let socket = pidfd_getfd(&pidfd, descriptor, PidfdGetfdFlags::empty())?;
        // Only now is it sure that all of this was the caller's, and not a successor's with the same number.
        if !seccomp::still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        let mut held = None;
        if let Some(path) = socket_path(&bytes) {
            let found = self.judge(process, path)?;
            bytes = address_of(&found);
            held = Some(found);
        }
        let blocking = !fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK);
        let outcome = attempt(&socket, &bytes);
        drop(held);
        match outcome {
            Err(errno @ (Errno::INPROGRESS | Errno::AGAIN)) if blocking => {
                if self.waiting.len() >= MOST_WAITING
                    || (errno == Errno::AGAIN && socket_path(&bytes).is_some())
                {
                    // A full queue on a path would need the path judged again; the caller may do so by asking again.
                    return Err(Errno::CONNREFUSED);
                }
                self.waiting.push(Waiting {
                    id: call.id,
                    socket,
                    address: bytes,
                    again: errno == Errno::AGAIN,
                });
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Finds the socket as the task would, and refuses it unless it lies on a file system of the sandbox's own.
    fn judge(&mut self, process: i32, path: &Path) -> Result<OwnedFd, Errno> {
        let root =
            fs::openat(CWD, format!("/proc/{process}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let absolute = if path.is_absolute() {
            path.to_path_buf()
        } else {
            let cwd = fs::readlinkat(CWD, format!("/proc/{process}/cwd"), Vec::new())?;
            Path::new(OsStr::from_bytes(cwd.as_bytes())).join(path)
        };
        let found = open(&root, &absolute)?;
        let mount = mount_of(&found)?;
        if self.own.contains(&mount) {
            return Ok(found);
        }
        if self.refused.len() < MOST_WAITING {
            self.refused.push(Refusal { path: absolute, process });
        }
        Err(Errno::ACCESS)
    }
}

/// Connects without waiting, whatever the socket's own mode is.
fn attempt(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    let flags = fs::fcntl_getfl(socket)?;
    if flags.contains(OFlags::NONBLOCK) {
        return socket::connect(socket.as_fd(), address);
    }
    fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    let outcome = socket::connect(socket.as_fd(), address);
    fs::fcntl_setfl(socket, flags)?;
    outcome
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
    let (family, rest) = address.split_at_checked(PATH_AT)?;
    let family: [u8; 2] = family.try_into().ok()?;
    let path = rest.split(|byte| *byte == 0).next()?;
    (u16::from_ne_bytes(family) == AF_UNIX && !path.is_empty()).then(|| Path::new(OsStr::from_bytes(path)))
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

fn mount_of(file: &OwnedFd) -> Result<u64, Errno> {
    let stat = fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 { Err(Errno::OPNOTSUPP) } else { Ok(stat.stx_mnt_id) }
}

/// The process a thread belongs to; pidfd_open(2) takes no other number.
fn group(thread: i32) -> Result<i32, Errno> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).map_err(|_| Errno::SRCH)?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:")).ok_or(Errno::SRCH)?;
    line.trim().parse().map_err(|_| Errno::SRCH)
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
