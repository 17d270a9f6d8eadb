//! Renames of directories in a copy-on-write workspace. An overlay refuses them (EXDEV) for what lies in the tree below it, since the
//! mark that would say so (`redirect_dir`) is not for mounts of a user namespace (Linux, Documentation/filesystems/overlayfs.rst), and
//! programs that do not copy then, like `git mv`, fail. Here such a directory is made anew first, with the same contents. The rename
//! itself is always the kernel's to judge and to make, by what its caller may.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ringfence_plan::syscalls;
use ringfence_sys::clone::Forked;
use ringfence_sys::seccomp::{self, Notification};
use ringfence_sys::{exec, fork};
use rustix::fs::{
    self, AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags,
    Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::caller;
use crate::child::Own;
use crate::mountinfo;
use crate::proc::by_descriptor;

/// Of directories in each other; who has deeper ones copies.
const DEEPEST: usize = 128;
/// What is made anew stands under such a name meanwhile; `apply` holds it back (unfinished.rs of the workspace).
const HALF: &str = ".ringfence-renaming-";
/// How often what others put into a directory that is being replaced is moved as well.
const ROUNDS: usize = 16;
/// Bits of the mode that a task may set: the others do not land.
const MODE: u32 = 0o1777;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX (linux/limits.h).
const ATTRIBUTES: usize = 64 << 10;

/// The renames of one listener that need more than the kernel, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    /// Who makes a directory anew, and for which call.
    current: Option<(Pid, u64)>,
    waiting: VecDeque<Notification>,
}

/// Whether this call is answered by [`Renames::answer`].
pub(crate) fn is(own: &Own, call: &Notification) -> bool {
    own.copies && syscalls::renames(call.number).is_some()
}

impl Renames {
    /// Lets the call go on, as soon as it can succeed.
    pub(crate) fn answer(&mut self, listener: &OwnedFd, own: &Own, call: Notification) {
        let exchange = flags(&call).contains(RenameFlags::EXCHANGE);
        let both = syscalls::renames(call.number).into_iter().flatten().take(if exchange { 2 } else { 1 });
        if own.turn.is_some() && both.copied().any(|argument| refused(own, &call, argument)) {
            self.waiting.push_back(call);
            self.next(listener, own);
        } else {
            let _ = seccomp::proceed(listener.as_fd(), call.id);
        }
    }

    /// The process that sees to one of them.
    pub(crate) fn process(&self) -> Option<Pid> {
        self.current.map(|(pid, _)| pid)
    }

    /// It ended, and if it was killed its caller waits still; the next one's turn.
    pub(crate) fn ended(&mut self, pid: Pid, listener: &OwnedFd, own: &Own) {
        if let Some((_, id)) = self.current.take_if(|(own, _)| *own == pid) {
            let _ = seccomp::proceed(listener.as_fd(), id);
            self.next(listener, own);
        }
    }

    fn next(&mut self, listener: &OwnedFd, own: &Own) {
        while self.current.is_none()
            && let Some(call) = self.waiting.pop_front()
        {
            self.current = prepare(listener, own, &call).map(|pid| (pid, call.id));
        }
    }
}

fn flags(call: &Notification) -> RenameFlags {
    let given = if i64::from(call.number) == libc::SYS_renameat2 { call.arguments[4] as u32 } else { 0 };
    RenameFlags::from_bits_retain(given)
}

/// Whether an overlay refuses to rename it: a directory of the workspace that is, or has below it, one of the host.
///
/// Looked up in the workspace alone. What init looks for elsewhere the root's server takes for known, and the task's own search
/// would not be told.
fn refused(own: &Own, call: &Notification, argument: (Option<u8>, u8)) -> bool {
    let Some((start, rest)) = within(own, call, argument) else { return false };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat2(start, OsStr::from_bytes(&rest), flags, Mode::empty(), BELOW)
        .is_ok_and(|found| of_host(&found))
}

/// Of its own mount, and by no way around it.
const BELOW: ResolveFlags = ResolveFlags::NO_XDEV.union(ResolveFlags::NO_MAGICLINKS);

/// Where in a workspace the search for a path begins, and what is left of it then. The process holds still.
fn within(own: &Own, call: &Notification, (directory, path): (Option<u8>, u8)) -> Option<(OwnedFd, Vec<u8>)> {
    let argument = |number: u8| call.arguments.get(usize::from(number)).copied();
    let path = caller::string(call.thread, argument(path)?)?.into_vec();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (start, rest) = if path.starts_with(b"/") {
        let below = |at: &Path| {
            let rest = path.strip_prefix(at.as_os_str().as_bytes())?;
            let rest = rest.get(rest.iter().position(|byte| *byte != b'/')?..)?;
            (rest.len() + at.as_os_str().len() < path.len()).then(|| rest.to_vec())
        };
        own.workspaces().into_iter().find_map(|at| below(&at).map(|rest| (at, rest)))?
    } else {
        // Descriptors are 32 bits wide.
        let start = match directory.and_then(argument).map(|number| number as u32 as i32) {
            None | Some(libc::AT_FDCWD) => format!("/proc/{}/cwd", call.thread),
            Some(number) => format!("/proc/{}/fd/{number}", call.thread),
        };
        (start.into(), path)
    };
    let start = fs::openat(CWD, start, flags, Mode::empty()).ok()?;
    let mount = mount(&start)?;
    own.copied().any(|copied| copied == mount).then_some((start, rest))
}

/// Whether it is a directory that is not of the upper layer alone: such have one link, which tells them as soon as they are there too;
/// to set nothing of them (chown(2) with -1) puts them there (`ovl_getattr`, `ovl_setattr`; fs/overlayfs/inode.c).
fn of_host(found: &OwnedFd) -> bool {
    let is_directory = |stat: &fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    fs::fstat(found).is_ok_and(|stat| is_directory(&stat))
        && copy_up(found).is_ok()
        && fs::fstat(found).is_ok_and(|stat| is_directory(&stat) && stat.st_nlink == 1)
}

fn copy_up(file: &OwnedFd) -> Result<(), Errno> {
    fs::chownat(file, c"", None, None, AtFlags::EMPTY_PATH)
}

/// A name in a directory of the workspace.
struct Entry {
    parent: OwnedFd,
    name: CString,
}

impl Entry {
    /// What the call means by two of its arguments, a descriptor of a directory and a path.
    fn find(own: &Own, call: &Notification, argument: (Option<u8>, u8)) -> Option<Self> {
        let (start, path) = within(own, call, argument)?;
        let path = path.get(..path.iter().rposition(|byte| *byte != b'/')? + 1)?;
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (path.get(..at)?, path.get(at + 1..)?),
            None => (&b"."[..], path),
        };
        if matches!(name, b"." | b"..") {
            return None;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = fs::openat2(start, OsStr::from_bytes(parent), flags, Mode::empty(), BELOW).ok()?;
        Some(Self { parent, name: CString::new(name).ok()? })
    }

    /// `None`: nothing has the name.
    fn kind(&self) -> Option<FileType> {
        let found = fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(found.st_mode))
    }

    fn refused(&self) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat2(&self.parent, &self.name, flags, Mode::empty(), BELOW).is_ok_and(|found| of_host(&found))
    }

    /// Where it is, for comparisons.
    fn path(&self) -> Option<PathBuf> {
        let parent = fs::readlinkat(CWD, by_descriptor(&self.parent), Vec::new()).ok()?;
        Some(Path::new(OsStr::from_bytes(parent.as_bytes())).join(OsStr::from_bytes(self.name.as_bytes())))
    }
}

fn mount(directory: &OwnedFd) -> Option<u64> {
    let found = fs::statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

/// Whether its paths mean what they mean to init: with `runtime.user_namespaces` a task may have another root.
fn in_own_root(thread: i32) -> bool {
    let at = |path: &str| {
        let found = fs::statx(CWD, path, AtFlags::empty(), StatxFlags::INO | StatxFlags::MNT_ID).ok()?;
        Some((found.stx_ino, found.stx_mnt_id))
    };
    at(&format!("/proc/{thread}/root")).is_some_and(|root| Some(root) == at("/"))
}

/// In a child, so that nobody else waits for it; the call goes on in any case, and fails as ever where this could not be done.
fn prepare(listener: &OwnedFd, own: &Own, call: &Notification) -> Option<Pid> {
    match fork::fork() {
        Ok(Forked::Parent(pid, _)) => Some(pid),
        Ok(Forked::Child) => {
            let waits = || seccomp::still_waits(listener.as_fd(), call.id);
            let turn = own.turn.as_ref().map(|turn| fs::fcntl_lock(turn, FlockOperation::LockExclusive));
            let entries = if turn == Some(Ok(())) { anew(own, call) } else { None };
            for entry in entries.filter(|_| waits()).unwrap_or_default() {
                if copied_up(&entry, DEEPEST, &waits).is_ok() && waits() {
                    let _ = renew(&entry, DEEPEST);
                }
            }
            let _ = seccomp::proceed(listener.as_fd(), call.id);
            exec::exit_now(0)
        }
        Err(_) => {
            let _ = seccomp::proceed(listener.as_fd(), call.id);
            None
        }
    }
}

/// What is to be made anew for the call. `None`: it would fail all the same, or that cannot be told.
fn anew(own: &Own, call: &Notification) -> Option<Vec<Entry>> {
    let [old, new] = syscalls::renames(call.number).copied()?;
    let (old, new) = (Entry::find(own, call, old)?, Entry::find(own, call, new)?);
    let flags =
        RenameFlags::from_bits(flags(call).bits()).filter(|flags| !flags.contains(RenameFlags::WHITEOUT))?;
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    let (from, to) = (old.path()?, new.path()?);
    let apart = !to.starts_with(&from) && !from.starts_with(&to);
    let fits = match new.kind() {
        None => !exchange,
        Some(_) if exchange => true,
        Some(FileType::Directory) => !flags.contains(RenameFlags::NOREPLACE) && is_empty(&new),
        Some(_) => false,
    };
    if !apart || !fits || mount(&old.parent) != mount(&new.parent) || !in_own_root(call.thread) {
        return None;
    }
    let both = [(old, from), (new, to)].into_iter().take(if exchange { 2 } else { 1 });
    let wanted: Vec<_> = both.filter(|(entry, _)| entry.refused()).collect();
    // All or nothing: a half of an exchange is none.
    let free = wanted.iter().all(|(_, path)| !somebody_is_in(path) && !mounted_in(path));
    free.then(|| wanted.into_iter().map(|(entry, _)| entry).collect())
}

fn is_empty(entry: &Entry) -> bool {
    directory(&entry.parent, &entry.name).and_then(|found| names(&found)).is_ok_and(|names| names.is_empty())
}

/// Whose working directory is in it would find itself nowhere.
fn somebody_is_in(path: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
        .any(|directory| directory.starts_with(path))
}

/// A mount keeps its place, and so does what leads to it. True where that cannot be told.
fn mounted_in(path: &Path) -> bool {
    mountinfo::points().map_or(true, |points| points.iter().any(|point| point.starts_with(path)))
}

/// Puts all of it into the upper layer, where it is: what takes long is done while nothing has changed for anybody.
///
/// # Errors
/// INTR: the caller is gone.
fn copied_up(entry: &Entry, depth: usize, waits: &impl Fn() -> bool) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let tree = directory(&entry.parent, &entry.name)?;
    if mount(&tree) != mount(&entry.parent) {
        return Err(Errno::BUSY);
    }
    for name in names(&tree)? {
        if !waits() {
            return Err(Errno::INTR);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match fs::openat(&tree, &name, flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            found => found?,
        };
        match FileType::from_raw_mode(fs::fstat(&found)?.st_mode) {
            FileType::Directory if of_host(&found) => {
                copied_up(&Entry { parent: again(&tree)?, name }, depth, waits)?;
            }
            // Not by chown(2), which takes set-id bits and capabilities away. What cannot be opened is copied when it is renamed.
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let full = fs::openat(&tree, &name, flags, Mode::empty()).err();
                full.filter(|errno| matches!(*errno, Errno::NOSPC | Errno::DQUOT | Errno::IO))
                    .map_or(Ok(()), Err)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn again(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    directory.try_clone().map_err(|_| Errno::MFILE)
}

/// Puts a new directory with the same contents and attributes in the place of this one. On an error everything is as before, and
/// nothing that others wrote meanwhile is lost. Whoever is killed here leaves a part of it under [`HALF`].
fn renew(entry: &Entry, depth: usize) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let old = directory(&entry.parent, &entry.name)?;
    if mount(&old) != mount(&entry.parent) {
        return Err(Errno::BUSY);
    }
    let found = fs::fstat(&old)?;
    let name = CString::new(format!("{HALF}{:016x}", random()?)).map_err(|_| Errno::INVAL)?;
    fs::mkdirat(&entry.parent, &name, Mode::RWXU)?;
    let new = directory(&entry.parent, &name)?;
    let replaced = extended(&old, &new)
        .and_then(|()| move_all(&old, &new, depth))
        .and_then(|()| is_still(entry, &found))
        .and_then(|()| emptied(&entry.parent, &entry.name, &old, &new, depth))
        .and_then(|()| fs::fchmod(&new, Mode::from_raw_mode(found.st_mode & MODE)))
        .and_then(|()| {
            fs::renameat_with(&entry.parent, &name, &entry.parent, &entry.name, RenameFlags::NOREPLACE)
        });
    if replaced.is_err() {
        // Whoever took the name meanwhile has it; what is here goes there.
        let at = fs::mkdirat(&entry.parent, &entry.name, Mode::from_raw_mode(found.st_mode & MODE));
        let _ = at.and_then(|()| extended(&new, &directory(&entry.parent, &entry.name)?));
        if let Ok(back) = directory(&entry.parent, &entry.name) {
            give_back(&new, &back);
            let _ = times(&back, &found);
        }
        let _ = fs::unlinkat(&entry.parent, &name, AtFlags::REMOVEDIR);
    } else {
        let _ = times(&new, &found);
    }
    replaced
}

/// Removes the old directory; what somebody puts there meanwhile is moved too, and counts more.
fn emptied(
    parent: &OwnedFd,
    name: &CString,
    old: &OwnedFd,
    new: &OwnedFd,
    depth: usize,
) -> Result<(), Errno> {
    for _ in 0..ROUNDS {
        match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => move_all(old, new, depth)?,
            outcome => return outcome,
        }
    }
    Err(Errno::NOTEMPTY)
}

fn move_all(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
    for name in names(from)? {
        match fs::renameat(from, &name, to, &name) {
            Err(Errno::NOENT) => {}
            Err(Errno::XDEV) => {
                renew(&Entry { parent: again(from)?, name: name.clone() }, depth)?;
                fs::renameat(from, &name, to, &name)?;
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Back, as far as the name is free: what has it was written later.
fn give_back(from: &OwnedFd, to: &OwnedFd) {
    for name in names(from).unwrap_or_default() {
        if fs::renameat_with(from, &name, to, &name, RenameFlags::NOREPLACE) != Err(Errno::EXIST) {
            continue;
        }
        if let (Ok(inner), Ok(at)) = (directory(from, &name), directory(to, &name)) {
            give_back(&inner, &at);
            let _ = fs::unlinkat(from, &name, AtFlags::REMOVEDIR);
        } else {
            let _ = fs::unlinkat(from, &name, AtFlags::empty());
        }
    }
}

fn directory(parent: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Nobody has put another directory in its place.
fn is_still(entry: &Entry, found: &fs::Stat) -> Result<(), Errno> {
    let now = fs::statat(&entry.parent, &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino) { Ok(()) } else { Err(Errno::STALE) }
}

/// Extended attributes; what a security module keeps there it sets itself.
fn extended(old: &OwnedFd, new: &OwnedFd) -> Result<(), Errno> {
    let (mut list, mut value) = (vec![0; ATTRIBUTES], vec![0; ATTRIBUTES]);
    let length = fs::flistxattr(old, &mut list)?;
    let names = list.get(..length).unwrap_or_default().split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty() && !name.starts_with(b"security.")) {
        let length = fs::fgetxattr(old, name, &mut value)?;
        fs::fsetxattr(new, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    Ok(())
}

fn times(directory: &OwnedFd, found: &fs::Stat) -> Result<(), Errno> {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    };
    fs::futimens(directory, &times)
}

fn random() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}
