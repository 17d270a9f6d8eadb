//! What is granted while a sandbox runs: the process that made the namespaces stays, keeps a copy of the mounts in which the host is
//! still seen, and carries trees from there into the sandbox. It is outside of the sandbox's pid namespace: no task can reach it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ringfence_plan::{Flags, Ids, Kind, Stacked, Tree, enforcer};
use ringfence_sys::clone::{Forked, USER_NAMESPACE, clone, unshare};
use ringfence_sys::seccomp::{self, Instruction};
use ringfence_sys::{exec, fds};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::report::{self, Message, send, send_with};
use crate::restack::{Stack, Stacks};
use crate::root::{self, Masks};
use crate::stage::Stage;
use crate::{channel, child, nascent};

/// How long the mount point may take to appear.
const PATIENCE: Duration = Duration::from_millis(1500);
const STEP: Duration = Duration::from_millis(10);
/// How long one opening may take in all.
const LIMIT: Timespec = Timespec { tv_sec: 4, tv_nsec: 0 };
/// CLONE_NEWNS (namespaces(7)).
const MOUNTS: u64 = 0x0002_0000;
/// Stands for the stacks among the numbers of grants.
pub const RESTACKED: u32 = u32::MAX;
/// What is hidden would not stay so after the end of a grant.
pub const NOT_LOCKED: Errno = Errno::USERS;
const READ: Flags = Flags { read_only: true, no_exec: true };

/// Something of the host that is shown from now on, for reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Its number.
    pub number: u32,
    /// On the host and in the sandbox; without links.
    pub path: PathBuf,
    /// A directory or a file.
    pub directory: bool,
    /// The mount point is made where the task may write; else the root shows it.
    pub own: bool,
    /// What lies below and stays hidden: the path, and whether it is a directory.
    pub hidden: Vec<(PathBuf, bool)>,
}

/// What the mounter is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Stay, and keep what is seen of the host now.
    /// The trees of these that are idmapped come along.
    Park(Ids, Vec<Stacked>),
    Open(Opening),
    Close(u32),
    Restack(Vec<Stack>),
}

struct Mounter {
    socket: OwnedFd,
    ids: Ids,
    sandbox: OwnedFd,
    /// Its own mounts, in which the host is seen.
    own: OwnedFd,
    masks: Masks,
    /// What is open: its mount, and the mount point to be removed afterwards.
    open: BTreeMap<u32, (OwnedFd, Option<(PathBuf, bool)>)>,
    stacks: Stacks,
}

/// Waits for what it is told; ends with its teller. Never returns.
pub(crate) fn run(socket: OwnedFd) -> ! {
    let Ok((Order::Park(ids, stacked), passed)) = channel::receive::<Order>(socket.as_fd()) else {
        exec::exit_now(0)
    };
    match park(socket, ids, (stacked, passed)) {
        Ok(mut mounter) => {
            send(mounter.socket.as_fd(), &Message::Ready);
            while let Ok((order, _)) = channel::receive::<Order>(mounter.socket.as_fd()) {
                mounter.obey(order);
            }
            exec::exit_now(0)
        }
        Err((socket, errno)) => {
            send(socket.as_fd(), &Message::Failed { stage: Stage::Mounter as u32, errno, job: 0 });
            exec::exit_now(125)
        }
    }
}

/// Before init leaves the old root: afterwards nothing of the host could be found from here.
fn park(
    socket: OwnedFd,
    ids: Ids,
    (stacked, passed): (Vec<Stacked>, Vec<OwnedFd>),
) -> Result<Mounter, (OwnedFd, Errno)> {
    let parked = || {
        rustix::thread::set_name(c"ringfence-mount")?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        child::gain_no_privileges()?;
        let mounts = || fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let sandbox = mounts()?;
        unshare(MOUNTS)?;
        Ok(([sandbox, mounts()?], masks(&ids)?, Stacks::keep(stacked, passed.into_iter(), &ids)?))
    };
    match parked() {
        Ok(([sandbox, own], masks, stacks)) => {
            let [file, directory] = masks.both();
            // The caller's streams among the rest: whoever reads those waits for all who hold them.
            let mut kept = vec![&socket, &sandbox, &own, file, directory];
            kept.extend(stacks.descriptors());
            fds::keep_only(&kept);
            let program: Vec<Instruction> = enforcer::mounter()
                .iter()
                .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
                .collect();
            if let Err(errno) = seccomp::install(&program) {
                return Err((socket, errno));
            }
            Ok(Mounter { socket, ids, sandbox, own, masks, open: BTreeMap::new(), stacks })
        }
        Err(errno) => Err((socket, errno)),
    }
}

/// Made by a process with the task's ids, since root's own are nobody's in the sandbox.
fn masks(ids: &Ids) -> Result<Masks, Errno> {
    let (ours, theirs) = nascent::sockets()?;
    match clone(0)? {
        Forked::Child => {
            let made = child::take_ids(ids).and_then(|()| Masks::new()).and_then(|masks| {
                masks.both().iter().try_for_each(|mask| send_with(theirs.as_fd(), &Message::Ready, mask))
            });
            exec::exit_now(made.map_or_else(Errno::raw_os_error, |()| 0))
        }
        Forked::Parent(pid, _) => {
            drop(theirs);
            let next = || report::receive(ours.as_fd()).and_then(|(_, mask)| mask);
            let made = next().zip(next());
            status(pid)?;
            made.map(|(file, directory)| Masks::of(file, directory)).ok_or(Errno::PIPE)
        }
    }
}

impl Mounter {
    fn obey(&mut self, order: Order) {
        let (number, done, outcome) = match order {
            Order::Park(..) => return,
            Order::Restack(stacks) => {
                (RESTACKED, Message::Opened { number: RESTACKED }, self.restack(&stacks))
            }
            Order::Open(opening) => {
                (opening.number, Message::Opened { number: opening.number }, self.open(opening))
            }
            Order::Close(number) => (number, Message::Closed { number }, self.close(number)),
        };
        let message = match outcome {
            Ok(()) => done,
            Err(errno) => Message::Failed { stage: Stage::Mounter as u32, errno, job: number },
        };
        send(self.socket.as_fd(), &message);
    }

    fn open(&mut self, opening: Opening) -> Result<(), Errno> {
        let Opening { number, path, directory, own, hidden } = opening;
        let kind = if directory { Kind::Directory } else { Kind::File };
        let tree =
            Tree { host: path.clone(), kind, device: 0, inode: 0, recursive: directory, mapped: false };
        let mount = root::open(&tree, false)?;
        root::set(mount.as_fd(), READ, true)?;
        let mount = self.masked(mount, &path, &hidden)?;
        self.inside(|| root::attach(mount.as_fd(), mount_point(&path, directory, own)?.as_fd()))?;
        self.open.insert(number, (mount, own.then_some((path, directory))));
        Ok(())
    }

    /// The tree with all that stays hidden covered already: put together here, where no task can come by it or move what leads there.
    fn masked(&self, mount: OwnedFd, path: &Path, hidden: &[(PathBuf, bool)]) -> Result<OwnedFd, Errno> {
        if hidden.is_empty() {
            return Ok(mount);
        }
        root::attach(mount.as_fd(), find(path, OFlags::empty())?.as_fd())?;
        let cover = |(hidden, directory): &(PathBuf, bool)| {
            let below = hidden.strip_prefix(path).map_err(|_| Errno::INVAL)?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let place = fs::openat2(&mount, below, flags, Mode::empty(), resolve)?;
            root::attach(self.masks.one(*directory)?.as_fd(), place.as_fd())
        };
        // What could not be hidden is not shown either.
        let whole = hidden.iter().try_for_each(cover).and_then(|()| self.locked(&mount));
        take_away(&mount)?;
        rustix::process::fchdir(find(Path::new("/"), OFlags::DIRECTORY)?)?;
        whole
    }

    /// A copy whose covers stay on it when it is taken away, for whoever stands in it: mounts that another user namespace got as one
    /// are locked to each other (mount_namespaces(7)).
    fn locked(&self, mount: &OwnedFd) -> Result<OwnedFd, Errno> {
        let (ours, theirs) = nascent::sockets()?;
        self.apart(|| {
            // Something lies on the root: who is not on top counts as in a chroot, and can make no user namespace (clone(2), EPERM).
            move_into_link_name_space(self.own.as_fd(), Some(LinkNameSpaceType::Mount))?;
            rustix::process::fchdir(mount)?;
            match clone(USER_NAMESPACE | MOUNTS).map_err(|_| NOT_LOCKED)? {
                Forked::Child => {
                    let sent = set_parent_process_death_signal(Some(Signal::KILL))
                        .and_then(|()| copy_here())
                        .and_then(|copy| send_with(theirs.as_fd(), &Message::Ready, &copy));
                    exec::exit_now(sent.map_or_else(|_| NOT_LOCKED.raw_os_error(), |()| 0))
                }
                Forked::Parent(pid, _) => status(pid),
            }
        })?;
        drop(theirs);
        report::receive(ours.as_fd()).and_then(|(_, copy)| copy).ok_or(NOT_LOCKED)
    }

    fn close(&mut self, number: u32) -> Result<(), Errno> {
        let Some((mount, made)) = self.open.remove(&number) else { return Ok(()) };
        self.inside(|| {
            take_away(&mount)?;
            if let Some((path, directory)) = made {
                // The task may have put something there, or moved it: then it is its own.
                let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                let _ = fs::unlinkat(CWD, &path, flags);
            }
            Ok(())
        })
    }

    fn restack(&self, stacks: &[Stack]) -> Result<(), Errno> {
        // What was granted there would be lost.
        if self.open.values().any(|(_, made)| made.as_ref().is_some_and(|(path, _)| self.stacks.hold(path))) {
            return Err(Errno::BUSY);
        }
        let sandbox = self.sandbox.as_fd();
        self.apart(|| {
            let made = self.stacks.make(stacks)?;
            move_into_link_name_space(sandbox, Some(LinkNameSpaceType::Mount))?;
            self.stacks.exchange(&made)
        })
    }

    /// In a process of the sandbox, with the task's ids, that ends by itself or is ended.
    fn inside(&self, act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        self.apart(|| {
            move_into_link_name_space(self.sandbox.as_fd(), Some(LinkNameSpaceType::Mount))?;
            act()
        })
    }

    /// The same, in the mounter's own view of the host still.
    fn apart(&self, act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        match clone(0)? {
            Forked::Child => {
                let outcome = set_dumpable_behavior(DumpableBehavior::NotDumpable)
                    .and_then(|()| child::take_ids(&self.ids))
                    .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
                    .and_then(|()| act());
                exec::exit_now(outcome.map_or_else(Errno::raw_os_error, |()| 0))
            }
            Forked::Parent(pid, pidfd) => {
                let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LIMIT));
                if ended != Ok(1) {
                    let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                }
                status(pid)
            }
        }
    }
}

/// Its exit status is an error number.
pub(crate) fn status(pid: Pid) -> Result<(), Errno> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(ended) => {
                return match ended.and_then(|(_, status)| status.exit_status()) {
                    Some(0) => Ok(()),
                    Some(errno) => Err(Errno::from_raw_os_error(errno)),
                    // A task of the same sandbox may have killed it.
                    None => Err(Errno::TIMEDOUT),
                };
            }
        }
    }
}

/// Of the current directory, with all that lies on it.
fn copy_here() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, c"", flags)
}

/// By its own root, wherever the task moved the directories above it to.
fn take_away(mount: &OwnedFd) -> Result<(), Errno> {
    match rustix::process::fchdir(mount) {
        Ok(()) => unmount(c".", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW),
        // A file, or what the task may not enter: the sandbox's own /proc leads to it.
        Err(Errno::NOTDIR | Errno::ACCESS) => {
            unmount(format!("/proc/self/fd/{}", mount.as_raw_fd()), UnmountFlags::DETACH)
        }
        Err(errno) => Err(errno),
    }
}

pub(crate) fn find(path: &Path, more: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | more,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Through no link: what leads there may be the task's own.
fn mount_point(path: &Path, directory: bool, own: bool) -> Result<OwnedFd, Errno> {
    if !own {
        let mut waited = Duration::ZERO;
        loop {
            match find(path, OFlags::empty()) {
                Err(Errno::NOENT) if waited < PATIENCE => std::thread::sleep(STEP),
                other => return other,
            }
            waited += STEP;
        }
    }
    let mut at = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let parent = if at.as_os_str().is_empty() { None } else { Some(find(&at, OFlags::DIRECTORY)?) };
        at.push(part);
        let (Component::Normal(name), Some(parent)) = (part, parent) else { continue };
        let made = if parts.peek().is_some() || directory {
            fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map(drop)
        };
        match made {
            // On the root, which shows what leads there.
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(errno) => return Err(errno),
        }
    }
    find(path, OFlags::empty())
}
