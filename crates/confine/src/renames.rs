//! Renames of directories in a copy-on-write workspace. An overlay refuses them (EXDEV) for what lies in the tree below it, since the
//! mark that would say so (`redirect_dir`) is not for mounts of a user namespace (Linux, Documentation/filesystems/overlayfs.rst), and
//! programs that do not copy then, like `git mv`, fail. Here such a directory is made anew first, with the same contents: files are
//! renamed, which copies them up. The rename itself is then the kernel's to judge and to make.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_plan::syscalls;
use ringfence_sys::clone::Forked;
use ringfence_sys::seccomp::{self, Notification};
use ringfence_sys::{exec, fork};
use rustix::fs::{
    self, AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::caller;
use crate::child::Own;

/// Of directories in each other; who has deeper ones copies.
const DEEPEST: usize = 128;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX (linux/limits.h).
const ATTRIBUTES: usize = 64 << 10;

/// Whether this call is answered by [`answer`].
pub(crate) fn is(own: &Own, call: &Notification) -> bool {
    own.copies && syscalls::renames(call.number).is_some()
}

/// Lets the call go on, as soon as it can succeed; the process that sees to that, if one must.
pub(crate) fn answer(listener: &OwnedFd, own: &Own, call: &Notification) -> Option<Pid> {
    let _ = match tried(listener, own, call) {
        Some((old, new, Err(Errno::XDEV))) => return prepare(listener, call, &[old, new]),
        Some((.., Ok(()))) => seccomp::answer(listener.as_fd(), call.id, Ok(0)),
        // The kernel says what is wrong with it.
        _ => seccomp::proceed(listener.as_fd(), call.id),
    };
    None
}

/// A name in a directory of the workspace.
struct Entry {
    parent: OwnedFd,
    name: CString,
}

/// Whether a directory can be renamed only trying tells. `None`: it is none, or not of a copy-on-write workspace.
fn tried(listener: &OwnedFd, own: &Own, call: &Notification) -> Option<(Entry, Entry, Result<(), Errno>)> {
    let [old, new] = syscalls::renames(call.number)?;
    let old = Entry::find(call, *old)?;
    if !old.is_directory() {
        return None;
    }
    let new = Entry::find(call, *new)?;
    let mount = mount(&old.parent).filter(|mount| own.copied().any(|copied| copied == *mount))?;
    // Landlock cannot tell two places of one workspace from each other, so whatever is renamed here the task could rename.
    let same = self::mount(&new.parent) == Some(mount) && in_own_root(call.thread);
    if !same || !seccomp::still_waits(listener.as_fd(), call.id) {
        return None;
    }
    let flags = if i64::from(call.number) == libc::SYS_renameat2 { call.arguments[4] as u32 } else { 0 };
    let flags = RenameFlags::from_bits(flags).filter(|flags| !flags.contains(RenameFlags::WHITEOUT))?;
    let outcome = fs::renameat_with(&old.parent, &old.name, &new.parent, &new.name, flags);
    Some((old, new, outcome))
}

impl Entry {
    /// What the call means by two of its arguments, a descriptor of a directory and a path.
    fn find(call: &Notification, (directory, path): (Option<u8>, u8)) -> Option<Self> {
        let argument = |number: u8| call.arguments.get(usize::from(number)).copied();
        let path = caller::string(call.thread, argument(path)?)?;
        let path = path.as_bytes();
        let path = path.get(..path.iter().rposition(|byte| *byte != b'/')? + 1)?;
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(0) => (&b"/"[..], path.get(1..)?),
            Some(at) => (path.get(..at)?, path.get(at + 1..)?),
            None => (&b"."[..], path),
        };
        if matches!(name, b"." | b"..") {
            return None;
        }
        // Descriptors are 32 bits wide.
        let start = match directory.and_then(argument).map(|number| number as u32 as i32) {
            _ if path.starts_with(b"/") => "/".to_owned(),
            None | Some(libc::AT_FDCWD) => format!("/proc/{}/cwd", call.thread),
            Some(number) => format!("/proc/{}/fd/{number}", call.thread),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let start = fs::openat(CWD, start, flags, Mode::empty()).ok()?;
        let parent = OsStr::from_bytes(parent);
        let parent = fs::openat2(start, parent, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
        Some(Self { parent, name: CString::new(name).ok()? })
    }

    fn is_directory(&self) -> bool {
        fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
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
fn prepare(listener: &OwnedFd, call: &Notification, entries: &[Entry]) -> Option<Pid> {
    match fork::fork() {
        Ok(Forked::Parent(pid, _)) => Some(pid),
        Ok(Forked::Child) => {
            for entry in entries {
                // A name that is free, or a directory that is of the upper layer already, needs nothing.
                if entry.is_directory() && !somebody_is_in(entry) {
                    let _ = renew(entry, DEEPEST);
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

/// Whose working directory is in it would find itself nowhere.
fn somebody_is_in(entry: &Entry) -> bool {
    let Ok(parent) = fs::readlinkat(CWD, by_descriptor(&entry.parent), Vec::new()) else { return true };
    let path = Path::new(OsStr::from_bytes(parent.as_bytes())).join(OsStr::from_bytes(entry.name.as_bytes()));
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
        .any(|directory| directory.starts_with(&path))
}

fn by_descriptor(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Puts a new directory with the same contents and attributes in the place of this one. On an error everything is as before.
fn renew(entry: &Entry, depth: usize) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let old = directory(&entry.parent, &entry.name)?;
    if mount(&old) != mount(&entry.parent) {
        return Err(Errno::BUSY);
    }
    let found = fs::fstat(&old)?;
    let name = CString::new(format!(".ringfence-{:016x}", random()?)).map_err(|_| Errno::INVAL)?;
    fs::mkdirat(&entry.parent, &name, Mode::RWXU)?;
    let made = directory(&entry.parent, &name);
    let moved = made.and_then(|new| {
        fill(&old, &new, depth)?;
        let finished = attributes(&old, &new, &found)
            .and_then(|()| fs::unlinkat(&entry.parent, &entry.name, AtFlags::REMOVEDIR))
            .and_then(|()| fs::renameat(&entry.parent, &name, &entry.parent, &entry.name))
            .and_then(|()| times(&new, &found));
        finished.inspect_err(|_| empty(&new, &old))
    });
    moved.inspect_err(|_| {
        let _ = fs::unlinkat(&entry.parent, &name, AtFlags::REMOVEDIR);
        let _ = times(&old, &found);
    })
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

/// Moves all that is in one directory to the other, or nothing.
fn fill(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
    for name in names(from)? {
        if let Err(errno) = carry(from, &name, to, depth) {
            empty(to, from);
            return Err(errno);
        }
    }
    Ok(())
}

fn carry(from: &OwnedFd, name: &CString, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
    let moved = || fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE);
    match moved() {
        Err(Errno::XDEV) => {
            let entry = Entry { parent: from.try_clone().map_err(|_| Errno::MFILE)?, name: name.clone() };
            renew(&entry, depth)?;
            moved()
        }
        outcome => outcome,
    }
}

/// Back, as far as that can be; what stays where it is is still in the workspace.
fn empty(from: &OwnedFd, to: &OwnedFd) {
    for name in names(from).unwrap_or_default() {
        let _ = fs::renameat_with(from, &name, to, &name, RenameFlags::NOREPLACE);
    }
}

fn attributes(old: &OwnedFd, new: &OwnedFd, found: &fs::Stat) -> Result<(), Errno> {
    let (mut list, mut value) = (vec![0; ATTRIBUTES], vec![0; ATTRIBUTES]);
    let length = fs::flistxattr(old, &mut list)?;
    for name in
        list.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty())
    {
        let length = fs::fgetxattr(old, name, &mut value)?;
        fs::fsetxattr(new, name, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    fs::fchmod(new, Mode::from_raw_mode(found.st_mode & 0o7777))
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
