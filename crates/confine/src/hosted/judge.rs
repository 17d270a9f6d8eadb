//! What a path or a descriptor of the task means, and whether its attributes are the task's to change.
//!
//! Landlock knows no right for modes, owners, times, attributes and watches. A file is the task's where it lies in a tree that is
//! granted for writing: nothing can be moved into such a tree that was not the task's before (landlock(7), LANDLOCK_ACCESS_FS_REFER).

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::proc::path_of;
use ringfence_plan::{Plan, Right, syscalls};
use ringfence_sys::memory;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::mapping::Trees;

/// STATX_MNT_ID_UNIQUE (linux/stat.h, Linux 6.8): the number of a mount that no other one will have.
const MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);
/// PIDFD_THREAD (linux/pidfd.h, Linux 6.9): of this very thread.
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
/// How long a file is where it was found: programs change several attributes of a file, one after another.
const FRESH: Duration = Duration::from_millis(5);

/// The trees of a plan.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Granted for writing.
    written: Vec<PathBuf>,
    /// The mounts that those lie on, as far as the kernel tells.
    mounts: OnceCell<Vec<Option<u64>>>,
    /// The last file that was found in one of them.
    last: Cell<Option<(Identity, Instant)>>,
    /// Who called last.
    caller: RefCell<Option<Caller>>,
    /// Granted for anything.
    shown: Vec<PathBuf>,
    /// What is not, below those.
    hidden: Vec<PathBuf>,
    /// Where a socket can only be the task's own.
    sockets: Vec<PathBuf>,
    /// Where programs and code may come from.
    code: Trees,
    /// The task may look into its own processes.
    pub(crate) debug: bool,
}

/// A thread that waits for an answer.
#[derive(Debug)]
struct Caller {
    thread: i32,
    /// Its directory of /proc.
    directory: OwnedFd,
    /// What it is held by, where the kernel hands out descriptors of a thread (Linux 6.9).
    handle: Option<OwnedFd>,
}

impl Caller {
    fn of(thread: i32) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let directory = fs::openat(CWD, format!("/proc/{thread}"), flags, Mode::empty())?;
        let pid = Pid::from_raw(thread).ok_or(Errno::SRCH)?;
        Ok(Self { thread, directory, handle: pidfd_open(pid, THREAD).ok() })
    }

    fn link(&self, name: &str) -> Result<OwnedFd, Errno> {
        fs::openat(&self.directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Also whether it is the same description.
    fn descriptor(&self, number: u32) -> Result<(OwnedFd, bool), Errno> {
        let own = |handle| pidfd_getfd(handle, number.cast_signed(), PidfdGetfdFlags::empty()).ok();
        match self.handle.as_ref().and_then(own) {
            Some(own) => Ok((own, true)),
            // Where the right to trace it is missing (Yama), its directory tells still.
            None => Ok((self.link(&format!("fd/{number}"))?, false)),
        }
    }
}

/// What becomes of a call.
pub(crate) enum Judged {
    /// It was made.
    Done(i64),
    /// It is not the task's to make on this.
    Refused(PathBuf),
    /// It is nobody's to make.
    Never,
}

/// A file, as it was found.
pub(crate) struct Target {
    pub(crate) file: OwnedFd,
    /// The task's own description of it, by which it is changed as it would be by the task.
    pub(super) own: bool,
    /// It was found by what was kept of its caller, who lived by then.
    pub(super) known: bool,
    pub(crate) kind: FileType,
    identity: Identity,
    links: u64,
    path: OnceCell<PathBuf>,
}

/// Which file it is, and by which mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// When it was made: its number may be another one's later.
    born: Option<(i64, u32)>,
    mount: Option<u64>,
}

impl Judge {
    /// `None` in the other tier.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let hosted = plan.hosted.as_ref()?;
        let landlock = plan.landlock.as_ref()?;
        let shown = landlock.rules.iter().filter(|(right, _)| *right != Right::Device);
        let executed = landlock.rules.iter().filter(|(right, _)| *right == Right::Execute);
        let code = Trees {
            // /proc/self leads init elsewhere than the task.
            written: hosted.written.iter().cloned().chain(["/proc".into()]).collect(),
            executed: executed.map(|(_, path)| path.clone()).collect(),
            hidden: landlock.except.clone(),
            libraries: hosted.libraries.clone(),
            searched: hosted.searched.clone(),
        };
        Some(Self {
            written: hosted.written.clone(),
            mounts: OnceCell::new(),
            last: Cell::new(None),
            caller: RefCell::new(None),
            shown: shown.map(|(_, path)| path.clone()).collect(),
            hidden: landlock.except.clone(),
            sockets: hosted.sockets.clone(),
            code,
            debug: plan.filter.debug,
        })
    }

    /// Where the task may write.
    pub(crate) fn trees_written(&self) -> &[PathBuf] {
        &self.written
    }

    /// What the guard asks, and who judges mappings.
    pub(crate) fn code(&self) -> &Trees {
        &self.code
    }

    /// Whether init makes this call.
    pub(crate) fn makes(number: i32) -> bool {
        syscalls::hosted(number)
    }

    /// Whether attributes of it are the task's.
    pub(crate) fn written(&self, target: &Target) -> bool {
        let known = |(last, when): (Identity, Instant)| {
            last == target.identity && last.born.is_some() && when.elapsed() < FRESH
        };
        if self.last.get().is_some_and(known) {
            return true;
        }
        let found = target.nameless() || self.lies(target);
        if found {
            self.last.set(Some((target.identity, Instant::now())));
        }
        found
    }

    /// Whether it lies in a tree that is granted for writing: on the tree's own mount a path is what the kernel says; another mount may be one
    /// that only others have.
    fn lies(&self, target: &Target) -> bool {
        let path = target.path();
        let mut trees = self.written.iter().enumerate().filter(|(_, tree)| path.starts_with(tree)).peekable();
        if trees.peek().is_none() {
            return false;
        }
        let mounts = self.mounts.get_or_init(|| self.written.iter().map(|tree| mount_of(tree)).collect());
        let own = |(number, _): (usize, &PathBuf)| {
            target.identity.mount.is_some() && mounts.get(number).copied().flatten() == target.identity.mount
        };
        !target.removed() && trees.any(own) || target.stands()
    }

    /// A descriptor of the task. Of a socket init may be the last who closes it: none lingers (`plan/src/gated.rs`).
    pub(super) fn descriptor(&self, thread: i32, number: u64) -> Result<Target, Errno> {
        // The kernel reads it as 32 bits.
        let number = number as u32;
        let found = self.of_caller(thread, |caller| caller.descriptor(number));
        let found = found.map_err(|errno| if errno == Errno::NOENT { Errno::BADF } else { errno });
        let ((file, own), known) = found?;
        Ok(Target { own, known, ..Target::of(file)? })
    }

    /// What the caller has, and whether that is known of it. What is kept of it is its own for as long as it lives; after that nothing is
    /// found by it. One that is new may have died and left its number to another since it called.
    fn of_caller<T>(
        &self,
        thread: i32,
        find: impl Fn(&Caller) -> Result<T, Errno>,
    ) -> Result<(T, bool), Errno> {
        let mut kept = self.caller.borrow_mut();
        if let Some(caller) = kept.as_ref().filter(|caller| caller.thread == thread)
            && let Ok(found) = find(caller)
        {
            return Ok((found, true));
        }
        Ok((find(kept.insert(Caller::of(thread)?))?, false))
    }

    /// What the task means by a path in its memory, from a directory of its; 0 is the descriptor itself.
    pub(super) fn path_at(
        &self,
        thread: i32,
        directory: u64,
        path: u64,
        follow: bool,
    ) -> Result<Target, Errno> {
        let name = text(thread, path, libc::PATH_MAX as usize)?;
        let at = directory as u32;
        if name.is_empty() {
            return Err(Errno::NOENT);
        }
        // Init's own /proc/self is another.
        for prefix in [&b"/proc/self/fd/"[..], b"/dev/fd/", b"/proc/thread-self/fd/"] {
            let number =
                name.strip_prefix(prefix).and_then(|rest| std::str::from_utf8(rest).ok()?.parse().ok());
            if let Some(number) = number.filter(|_| follow) {
                return self.descriptor(thread, number);
            }
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
        let (text, resolve) = (OsStr::from_bytes(&name), ResolveFlags::NO_MAGICLINKS);
        let open = |start: BorrowedFd<'_>| fs::openat2(start, text, flags, Mode::empty(), resolve);
        let (found, known) = if name.starts_with(b"/") {
            (open(CWD), false)
        } else if at.cast_signed() == libc::AT_FDCWD {
            let (directory, known) = self.of_caller(thread, |caller| caller.link("cwd"))?;
            (open(directory.as_fd()), known)
        } else {
            let directory = self.descriptor(thread, directory)?;
            (open(directory.file.as_fd()), directory.known)
        };
        Ok(Target { known, ..Target::of(found?)? })
    }

    /// Whether it may be read.
    pub(crate) fn shown(&self, target: &Target) -> bool {
        let below = |trees: &[PathBuf]| trees.iter().any(|tree| target.path().starts_with(tree));
        self.written(target) || target.stands() && below(&self.shown) && !below(&self.hidden)
    }

    /// Whether nobody but the task can have made this socket.
    pub(crate) fn own_socket(&self, file: OwnedFd) -> Result<bool, Errno> {
        let target = Target::of(file)?;
        Ok(target.stands() && self.sockets.iter().any(|tree| target.path().starts_with(tree)))
    }
}

/// The mount that a tree lies on.
fn mount_of(tree: &Path) -> Option<u64> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let tree = fs::openat2(CWD, tree, flags, Mode::empty(), resolve).ok()?;
    Target::of(tree).ok()?.identity.mount
}

impl Target {
    fn of(file: OwnedFd) -> Result<Self, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | MOUNT;
        let found = fs::statx(&file, c"", AtFlags::EMPTY_PATH, wanted)?;
        let has = |flag: StatxFlags| found.stx_mask & flag.bits() != 0;
        Ok(Self {
            kind: FileType::from_raw_mode(found.stx_mode.into()),
            identity: Identity {
                device: fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
                born: has(StatxFlags::BTIME).then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
                mount: has(MOUNT).then_some(found.stx_mnt_id),
            },
            links: found.stx_nlink.into(),
            path: OnceCell::new(),
            own: false,
            known: false,
            file,
        })
    }

    /// As the kernel says it at the first question; empty, if it says none.
    pub(crate) fn path(&self) -> &Path {
        self.path.get_or_init(|| PathBuf::from(OsStr::from_bytes(&path_of(&self.file).unwrap_or_default())))
    }

    /// Whether the path is that of a name that is gone, or seems so.
    fn removed(&self) -> bool {
        self.path().as_os_str().as_bytes().ends_with(b" (deleted)")
    }

    /// Whether it has no name any more: nobody else can come by it. Some file systems (FUSE) count no names of anything.
    fn nameless(&self) -> bool {
        self.links == 0 && self.removed()
    }

    /// Whether it is at that path at this moment.
    fn stands(&self) -> bool {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = fs::openat2(CWD, self.path(), flags, Mode::empty(), resolve);
        let found = there.and_then(|there| fs::fstat(&there));
        found.is_ok_and(|found| (found.st_dev, found.st_ino) == (self.identity.device, self.identity.inode))
    }
}

/// A string of at most so many bytes, without its NUL.
pub(crate) fn text(thread: i32, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
    const PAGE: u64 = 4096;
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < most {
        // A read that crosses into a page that is not there would be short.
        let length = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
        let mut part = vec![0; length];
        memory::read(thread, at, &mut part)?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            text.extend(part.get(..end).unwrap_or_default());
            return if text.len() < most { Ok(text) } else { Err(Errno::NAMETOOLONG) };
        }
        text.extend(part);
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
    Err(Errno::NAMETOOLONG)
}
