//! What runs in the new namespaces, from clone to exec. The order of construction is the order of this page.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_plan::{Ids, Step, Tree};
use ringfence_sys::{exec, network};
use rustix::fs::{self, AtFlags, CWD, MemfdFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

use crate::gateway::Led;
use crate::hosted::{Judge, Sockets};
use crate::job::{Filters, Rules};
use crate::landlock::Scoped;
use crate::orders::Orders;
use crate::report::{self, Message, send};
use crate::root::{self, Root};
use crate::stage::{STEPS, Stage, TREES};
use crate::{channel, gateway, init, spare};

/// What init got from its parent, beside its orders.
pub(crate) struct Inherited {
    /// Orders and requests come here, reports leave.
    pub(crate) report: OwnedFd,
    /// Its other end is the parent's life.
    pub(crate) alive: OwnedFd,
    /// The root comes from here, if its server makes it.
    pub(crate) root: OwnedFd,
    /// The ids are to be written from outside.
    pub(crate) by_root: bool,
}

pub(crate) type Outcome<T> = Result<T, (u32, Errno)>;

/// Builds the boundary and becomes its init. Never returns.
pub(crate) fn run(inherited: Inherited) -> ! {
    match build(&inherited) {
        Ok((rules, own)) => init::run(inherited.report, rules, own),
        Err((stage, errno)) => {
            send(inherited.report.as_fd(), &Message::Failed { stage, errno, job: 0 });
            exec::exit_now(125)
        }
    }
}

fn build(inherited: &Inherited) -> Outcome<(Rules, Own)> {
    die_with_parent(&inherited.alive).map_err(at(Stage::Guard))?;
    raise_loopback().map_err(at(Stage::Network))?;
    let filters = Filters::new(inherited.by_root);
    spare::take_pages();
    let (orders, descriptors) =
        channel::receive::<Orders<'_>>(inherited.report.as_fd()).map_err(at(Stage::Orders))?;
    let rules = Rules::of(&orders, &filters);
    write_memfd_rule(&orders).map_err(at(Stage::Identity))?;
    allow_descriptors(&orders).map_err(at(Stage::Limits))?;
    let mut descriptors = descriptors.into_iter();
    let (mut led, mut way) = (Vec::new(), None);
    if let Some(rules) = &*orders.network {
        let giving = descriptors.next().ok_or(Errno::BADF).map_err(at(Stage::Divert))?;
        led = gateway::divert(&giving, rules.unix()).map_err(at(Stage::Divert))?;
        way = Some(giving).filter(|_| !rules.published().is_empty());
    }
    let mut trees = take_trees(&orders, descriptors)?;
    take_ids(&orders.ids).map_err(at(Stage::Identity))?;
    // Changing ids cleared the death signal and may have missed a death.
    die_with_parent(&inherited.alive).map_err(at(Stage::Guard))?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Stage::Guard))?;
    let turn = if orders.filter.renames && counts_links(&orders, &trees) { turn() } else { None };
    build_root(&orders, &mut trees, &inherited.root)?;
    let own = Own {
        turn,
        led,
        way,
        watch_writes: orders.filter.watch_writes,
        copies: orders.filter.renames,
        ..own_mounts(&orders).map_err(at(Stage::Root))?
    };
    set_names(&orders).map_err(at(Stage::Names))?;
    process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(at(Stage::Limits))?;
    drop_privileges().map_err(at(Stage::Privileges))?;
    // Before a task exists: it may look at /proc/1/cmdline with its first instruction.
    exec::wipe_start();
    Ok((rules, own))
}

pub(crate) fn die_with_parent(alive: &OwnedFd) -> Result<(), Errno> {
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // getppid() is 0 here whoever lives; the pipe's other end is only in the parent.
    let mut poll = [rustix::event::PollFd::new(alive, rustix::event::PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now))?;
    if poll.iter().any(|entry| entry.revents().contains(rustix::event::PollFlags::HUP)) {
        exec::exit_now(125);
    }
    Ok(())
}

/// A process may map its own id in a namespace it just made (user_namespaces(7)).
pub(crate) fn write_own_maps(ids: &Ids) -> Result<(), Errno> {
    write_file("/proc/self/setgroups", "deny")?;
    write_file("/proc/self/uid_map", &format!("{} {} 1", ids.inside_uid, ids.outside_uid))?;
    write_file("/proc/self/gid_map", &format!("{} {} 1", ids.inside_gid, ids.outside_gid))
}

fn write_memfd_rule(orders: &Orders<'_>) -> Result<(), Errno> {
    if orders.filter.memfd_noexec { write_file("/proc/sys/vm/memfd_noexec", "2") } else { Ok(()) }
}

/// Each tree is a descriptor until it is mounted; the task gets the invoker's limit back.
fn allow_descriptors(orders: &Orders<'_>) -> Result<(), Errno> {
    let needed = 64 + 2 * orders.trees.len() as u64;
    let limit = process::getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        process::setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum })?;
    }
    Ok(())
}

/// The descriptors that came along are of the trees that only root could take hold of; the rest is taken here.
fn take_trees(
    orders: &Orders<'_>,
    mut descriptors: impl Iterator<Item = OwnedFd>,
) -> Outcome<Vec<Option<OwnedFd>>> {
    let mut one = |(index, tree): (usize, &Tree)| {
        let number = u32::try_from(index).unwrap_or(u32::MAX - TREES);
        let taken = if tree.mapped { descriptors.next().ok_or(Errno::BADF) } else { root::open(tree, true) };
        taken.map(Some).map_err(|errno| (TREES + number, errno))
    };
    orders.trees.iter().enumerate().map(&mut one).collect()
}

/// Whether directories of the layers have a link for each in them: where they have one whatever is in them (btrfs), nobody can tell
/// which are of the host.
fn counts_links(orders: &Orders<'_>, trees: &[Option<OwnedFd>]) -> bool {
    orders.steps.iter().all(|step| {
        let Step::Overlay { layer, .. } = step else { return true };
        let layer = trees.get(*layer).and_then(Option::as_ref);
        let upper = layer.and_then(|layer| fs::statat(layer, c"upper", AtFlags::SYMLINK_NOFOLLOW).ok());
        upper.is_some_and(|upper| upper.st_nlink > 1)
    })
}

/// One at a time, whatever they are asked by: a lock ends with its holder.
fn turn() -> Option<OwnedFd> {
    let make = |flags| fs::memfd_create(c"renames", MemfdFlags::CLOEXEC | flags).ok();
    // The flag is of Linux 6.3, and may be asked for there (vm.memfd_noexec).
    make(MemfdFlags::NOEXEC_SEAL).or_else(|| make(MemfdFlags::empty()))
}

/// Root's sandboxes leave kernel uid 0 and every group here; for others nothing changes.
pub(crate) fn take_ids(ids: &Ids) -> Result<(), Errno> {
    if ids.mapped {
        thread::set_thread_groups(&[])?;
    }
    let (uid, gid) = (Uid::from_raw(ids.inside_uid), Gid::from_raw(ids.inside_gid));
    thread::set_thread_res_gid(gid, gid, gid)?;
    thread::set_thread_res_uid(uid, uid, uid)
}

fn build_root(orders: &Orders<'_>, trees: &mut [Option<OwnedFd>], server: &OwnedFd) -> Outcome<()> {
    process::umask(Mode::empty());
    let in_memory = orders.steps.iter().find_map(|step| match step {
        Step::Tmpfs { path, size, mode, .. } if path == Path::new("/") => Some((*size, *mode)),
        _ => None,
    });
    let mount = match in_memory {
        Some((size, mode)) => root::tmpfs(size, mode),
        // Its server says why there is none.
        None => match report::receive(server.as_fd()) {
            Some((Message::Ready, Some(mount))) => Ok(mount),
            _ => Err(Errno::PIPE),
        },
    };
    let root = mount.and_then(|mount| Root::new(mount, in_memory.is_none())).map_err(at(Stage::Root))?;
    for (directory, names) in orders.void.iter().flatten() {
        root.foresee(Path::new(directory), *names).map_err(at(Stage::Root))?;
    }
    for (index, step) in orders.steps.iter().enumerate() {
        let number = u32::try_from(index).unwrap_or(TREES - STEPS - 1);
        root.carry_out(step, trees).map_err(|errno| (STEPS + number, errno))?;
    }
    root.enter().map_err(at(Stage::Pivot))
}

/// File systems that are the sandbox's own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Their mounts, by id: sockets there are the sandbox's own too.
    pub(crate) mounts: Vec<u64>,
    /// Those that show the void: a name that is not there was refused.
    pub(crate) void: Vec<u64>,
    /// The device of the void, whatever it is mounted on: what is hidden shows it.
    pub(crate) root: Option<(u32, u32)>,
    /// Where they are, their ids, and whether they are copy-on-write: those may be made anew.
    pub(crate) made: Vec<(PathBuf, Option<u64>, bool)>,
    /// Those in memory, where that is looked at.
    pub(crate) memory: Vec<OwnedFd>,
    /// In tier `landlock`, by paths.
    pub(crate) hosted: Option<Judge>,
    /// In tier `landlock`: init's signals reach the task alone.
    pub(crate) only: Option<Scoped>,
    /// In tier `landlock`, those of a network; init takes them.
    pub(crate) sockets: Option<Sockets>,
    /// Sockets of the host that are granted.
    pub(crate) led: Vec<Led>,
    /// Where the gateway asks for servers of the task, if any is published.
    pub(crate) way: Option<OwnedFd>,
    /// Whether writes to what may only be read are told of.
    pub(crate) watch_writes: bool,
    /// Whether init is asked about renames, in a copy-on-write workspace.
    pub(crate) copies: bool,
    /// Whoever makes directories anew for them locks it. `None`: where that cannot be done, all are left to the kernel.
    pub(crate) turn: Option<OwnedFd>,
}

/// Without ids (before Linux 5.8) no socket is its own.
fn mount_id(path: &Path) -> Result<Option<u64>, Errno> {
    let stat = fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?;
    Ok((stat.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(stat.stx_mnt_id))
}

/// The number of a file's device; its server, if it has one, is not asked.
pub(crate) fn device(
    at: impl AsFd,
    path: impl rustix::path::Arg,
    flags: AtFlags,
) -> Result<(u32, u32), Errno> {
    let stat = fs::statx(at, path, flags | AtFlags::STATX_DONT_SYNC, StatxFlags::empty())?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

impl Own {
    /// Where the task's work lies; in tier `landlock`, anywhere.
    pub(crate) fn workspaces(&self) -> Vec<PathBuf> {
        if self.hosted.is_some() {
            return vec!["/".into()];
        }
        self.made.iter().filter(|(.., anew)| *anew).map(|(path, ..)| path.clone()).collect()
    }

    /// Where the task's files may take room.
    pub(crate) fn disks(&self) -> Vec<PathBuf> {
        self.hosted.as_ref().map_or_else(|| self.workspaces(), |judge| judge.trees_written().to_vec())
    }

    /// Ids of the mounts that are copy-on-write.
    pub(crate) fn copied(&self) -> impl Iterator<Item = u64> {
        self.made.iter().filter(|(.., anew)| *anew).filter_map(|(_, id, _)| *id)
    }

    /// Looks again at what is copy-on-write, while nobody else runs; where that is.
    pub(crate) fn renew(&mut self) -> Result<Vec<PathBuf>, Errno> {
        let mut paths = Vec::new();
        for (path, id, _) in self.made.iter_mut().filter(|(.., anew)| *anew) {
            *id = mount_id(path)?;
            paths.push(path.clone());
        }
        self.mounts = self.made.iter().filter_map(|(_, id, _)| *id).collect();
        Ok(paths)
    }
}

/// Looked up while nobody can have renamed what leads to them.
fn own_mounts(orders: &Orders<'_>) -> Result<Own, Errno> {
    let mut own = Own::default();
    if orders.void.is_some() {
        own.void.extend(mount_id(Path::new("/"))?);
        own.root = Some(device(CWD, "/", AtFlags::empty())?);
    }
    for step in orders.steps.iter() {
        let (Step::Tmpfs { path, .. } | Step::Overlay { path, .. }) = step else { continue };
        let id = mount_id(path)?;
        own.mounts.extend(id);
        own.made.push((path.clone(), id, matches!(step, Step::Overlay { .. })));
        // What lies over a grant is looked up in that, which is no void.
        let granted = || {
            orders.steps.iter().any(|step| matches!(step, Step::Bind { path: other, .. } if other == path))
        };
        if matches!(step, Step::Tmpfs { over: true, .. }) && !granted() {
            own.void.extend(id);
        }
        if orders.watched && matches!(step, Step::Tmpfs { .. }) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            own.memory.push(fs::openat(CWD, path, flags, Mode::empty())?);
        }
    }
    Ok(own)
}

fn set_names(orders: &Orders<'_>) -> Result<(), Errno> {
    rustix::system::sethostname(orders.host_name.as_bytes())?;
    thread::set_name(c"ringfence-init")
}

fn raise_loopback() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    network::loopback_up(socket.as_fd())
}

/// No new privileges, and no capability in any set, none to be gained; but one that init keeps: to read what a task that
/// forbids it (PR_SET_DUMPABLE) asks it to judge.
fn drop_privileges() -> Result<(), Errno> {
    gain_no_privileges()?;
    keep_capabilities(CapabilitySet::SYS_PTRACE)
}

/// What a process has now is all that it can ever have.
pub(crate) fn gain_no_privileges() -> Result<(), Errno> {
    thread::clear_ambient_capability_set()?;
    for bit in 0..64 {
        let Some(capability) = CapabilitySet::from_bits(1 << bit) else { continue };
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    thread::set_no_new_privs(true)
}

/// These and no others.
pub(crate) fn keep_capabilities(kept: CapabilitySet) -> Result<(), Errno> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    thread::set_capabilities(None, sets)
}

/// None that is of use, and these that could be taken up: who has none may not change how this process is scheduled, nor trace it
/// (sched_setaffinity(2), setpriority(2), ptrace(2)).
pub(crate) fn set_aside(kept: CapabilitySet) -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: kept, inheritable: none };
    thread::set_capabilities(None, sets)
}

fn write_file(path: &str, text: &str) -> Result<(), Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let file = fs::openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes()).map(drop)
}

pub(crate) fn at(stage: Stage) -> impl Fn(Errno) -> (u32, Errno) {
    move |errno| (stage as u32, errno)
}
