//! The calls that change attributes, or read extended ones by a path, made by init on the file that it found: the task's own call is
//! never let through, since what its path leads to may change after it was judged.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::seccomp::Notification;
use ringfence_sys::{memory, modes};
use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, inotify};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::judge::{Judge, Judged, Target, text};
use crate::proc::{by_descriptor, group};

/// XATTR_NAME_MAX and XATTR_SIZE_MAX (linux/limits.h).
const NAME: usize = 255;
const VALUE: usize = 64 << 10;
/// UTIME_NOW (utimensat(2)).
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0x3fff_ffff };

/// What is to be done to a file.
enum Change {
    Mode(u32),
    Owner(u32, u32),
    Times([Timespec; 2]),
    Set(CString, Vec<u8>, u32),
    Remove(CString),
}

/// How extended attributes are read.
struct Read {
    /// Of one, else their names.
    one: bool,
    follows: bool,
}

impl Read {
    fn of(number: i32) -> Option<Self> {
        let (one, follows) = match i64::from(number) {
            libc::SYS_getxattr => (true, true),
            libc::SYS_lgetxattr => (true, false),
            libc::SYS_listxattr => (false, true),
            libc::SYS_llistxattr => (false, false),
            _ => return None,
        };
        Some(Self { one, follows })
    }
}

impl Judge {
    /// Makes a call that [`Self::makes`]; `waits` says whether its caller still does, so that what was read was its own.
    pub(crate) fn make(&self, call: &Notification, waits: impl Fn() -> bool) -> Result<Judged, Errno> {
        let thread = call.thread;
        if i64::from(call.number) == libc::SYS_inotify_add_watch {
            return self.watch(call, waits);
        }
        if let Some(read) = Read::of(call.number) {
            return self.read(call, read, waits);
        }
        // The kernel, too, reads what is to be done first.
        let change = change(thread, call)?;
        let target = self.target(thread, call)?;
        // Whoever was known before and lives after its memory was read is the caller.
        if !target.known && !waits() {
            return Err(Errno::SRCH);
        }
        // What the copy turns into is read as an overlay's, whose marks no task sets (`workspace/src/overlay.rs`).
        if matches!(&change, Change::Set(name, ..) if name.to_bytes().starts_with(b"user.overlay.")) {
            return Err(Errno::OPNOTSUPP);
        }
        if matches!(change, Change::Mode(mode) if mode & 0o6000 != 0) {
            return Ok(Judged::Never);
        }
        if !self.written(&target) {
            return Ok(Judged::Refused(target.path().to_owned()));
        }
        apply(&target, &change).map(|()| Judged::Done(0))
    }

    /// What may not be read has no attributes: programs ask for some of every file that they list, so that this is no news.
    fn read(&self, call: &Notification, read: Read, waits: impl Fn() -> bool) -> Result<Judged, Errno> {
        let (thread, here) = (call.thread, libc::AT_FDCWD as u64);
        let [path, second, third, fourth, ..] = call.arguments;
        let target = self.path_at(thread, here, path, read.follows)?;
        let mut bytes = vec![0; VALUE];
        let shown = self.shown(&target);
        let (length, to, room) = if read.one {
            let name = name(thread, second)?;
            let value = if shown {
                fs::getxattr(by_descriptor(&target.file), &name, &mut bytes)
            } else {
                Err(Errno::NODATA)
            };
            (value?, third, fourth)
        } else {
            let names = if shown { fs::listxattr(by_descriptor(&target.file), &mut bytes) } else { Ok(0) };
            (names?, second, third)
        };
        let told = bytes.get(..length).ok_or(Errno::RANGE)?;
        if !waits() {
            return Err(Errno::SRCH);
        }
        // No room is the question how much it takes (getxattr(2)).
        if room != 0 && room < length as u64 {
            return Err(Errno::RANGE);
        }
        if room != 0 && length > 0 {
            memory::write(thread, to, told)?;
        }
        Ok(Judged::Done(i64::try_from(length).map_err(|_| Errno::RANGE)?))
    }

    /// A watch tells what happens to a file, and in a directory also the names.
    fn watch(&self, call: &Notification, waits: impl Fn() -> bool) -> Result<Judged, Errno> {
        let [descriptor, path, mask, ..] = call.arguments;
        let mask = mask as u32;
        let follow = mask & inotify::WatchFlags::DONT_FOLLOW.bits() == 0;
        let target = self.path_at(call.thread, libc::AT_FDCWD as u64, path, follow)?;
        let process = Pid::from_raw(group(call.thread)?).ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(process, PidfdFlags::empty())?;
        let number = (descriptor as u32).cast_signed();
        // Where that is forbidden, as in many containers, nothing can be watched.
        let watcher = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty())?;
        if !waits() {
            return Err(Errno::SRCH);
        }
        if !self.shown(&target) {
            return Ok(Judged::Refused(target.path().to_owned()));
        }
        // The link in /proc is followed once more.
        let flags = inotify::WatchFlags::from_bits_retain(mask & !inotify::WatchFlags::DONT_FOLLOW.bits());
        let added = inotify::add_watch(&watcher, by_descriptor(&target.file), flags)?;
        Ok(Judged::Done(added.into()))
    }

    fn target(&self, thread: i32, call: &Notification) -> Result<Target, Errno> {
        let [a, b, c, d, e, _] = call.arguments;
        let here = libc::AT_FDCWD as u64;
        let flagged = |directory, path, flags: u64| {
            let flags = flags as u32;
            let known = libc::AT_SYMLINK_NOFOLLOW as u32 | libc::AT_EMPTY_PATH as u32;
            if flags & !known != 0 {
                return Err(Errno::INVAL);
            }
            let empty =
                flags & libc::AT_EMPTY_PATH as u32 != 0 && (path == 0 || text(thread, path, 2)?.is_empty());
            if empty && directory as u32 != libc::AT_FDCWD as u32 {
                return self.descriptor(thread, directory);
            }
            self.path_at(thread, directory, path, flags & libc::AT_SYMLINK_NOFOLLOW as u32 == 0)
        };
        match i64::from(call.number) {
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chmod | libc::SYS_chown | libc::SYS_utime | libc::SYS_utimes => {
                self.path_at(thread, here, a, true)
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => self.path_at(thread, here, a, false),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_futimesat => self.by_null(thread, a, b, true),
            libc::SYS_setxattr | libc::SYS_removexattr => self.path_at(thread, here, a, true),
            libc::SYS_lsetxattr | libc::SYS_lremovexattr => self.path_at(thread, here, a, false),
            libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr | libc::SYS_fremovexattr => {
                self.descriptor(thread, a)
            }
            libc::SYS_fchmodat => self.path_at(thread, a, b, true),
            libc::SYS_fchmodat2 => flagged(a, b, d),
            libc::SYS_fchownat => flagged(a, b, e),
            libc::SYS_utimensat if b == 0 => self.by_null(thread, a, b, true),
            libc::SYS_utimensat => flagged(a, b, d),
            // Newer calls, whose arguments lie in structures: callers fall back.
            _ => {
                let _ = c;
                Err(Errno::NOSYS)
            }
        }
    }

    /// A missing path is the descriptor itself (utimensat(2)).
    fn by_null(&self, thread: i32, directory: u64, path: u64, follow: bool) -> Result<Target, Errno> {
        if path == 0 {
            self.descriptor(thread, directory)
        } else {
            self.path_at(thread, directory, path, follow)
        }
    }
}

fn change(thread: i32, call: &Notification) -> Result<Change, Errno> {
    let [_, b, c, d, e, _] = call.arguments;
    Ok(match i64::from(call.number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => Change::Mode(b as u32),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown | libc::SYS_lchown => Change::Owner(b as u32, c as u32),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime => Change::Times(times(thread, b, Unit::Seconds)?),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes => Change::Times(times(thread, b, Unit::Micro)?),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat => Change::Times(times(thread, c, Unit::Micro)?),
        libc::SYS_fchmod => Change::Mode(b as u32),
        libc::SYS_fchmodat | libc::SYS_fchmodat2 => Change::Mode(c as u32),
        libc::SYS_fchown => Change::Owner(b as u32, c as u32),
        libc::SYS_fchownat => Change::Owner(c as u32, d as u32),
        libc::SYS_utimensat => Change::Times(times(thread, c, Unit::Nano)?),
        libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => {
            let length = usize::try_from(d).ok().filter(|length| *length <= VALUE).ok_or(Errno::TOOBIG)?;
            let mut value = vec![0; length];
            if length > 0 {
                memory::read(thread, c, &mut value)?;
            }
            Change::Set(name(thread, b)?, value, e as u32)
        }
        libc::SYS_removexattr | libc::SYS_lremovexattr | libc::SYS_fremovexattr => {
            Change::Remove(name(thread, b)?)
        }
        _ => return Err(Errno::NOSYS),
    })
}

fn name(thread: i32, address: u64) -> Result<CString, Errno> {
    let name = text(thread, address, NAME + 1).map_err(|errno| match errno {
        Errno::NAMETOOLONG => Errno::RANGE,
        errno => errno,
    })?;
    CString::new(name).map_err(|_| Errno::INVAL)
}

#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Micro,
    Nano,
}

/// `struct utimbuf`, two `struct timeval`, or two `struct timespec`; null is now.
fn times(thread: i32, address: u64, unit: Unit) -> Result<[Timespec; 2], Errno> {
    if address == 0 {
        return Ok([NOW, NOW]);
    }
    let mut bytes = [0; 32];
    let length = if matches!(unit, Unit::Seconds) { 16 } else { 32 };
    memory::read(thread, address, bytes.get_mut(..length).ok_or(Errno::INVAL)?)?;
    let (numbers, _) = bytes.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|number| i64::from_ne_bytes(*number));
    let mut next = || numbers.next().unwrap_or(0);
    let mut one = || {
        let tv_sec = next();
        let tv_nsec = match unit {
            Unit::Seconds => 0,
            Unit::Micro => {
                let micro = next();
                if !(0..1_000_000).contains(&micro) {
                    return Err(Errno::INVAL);
                }
                micro * 1000
            }
            Unit::Nano => next(),
        };
        Ok(Timespec { tv_sec, tv_nsec })
    };
    Ok([one()?, one()?])
}

fn apply(target: &Target, change: &Change) -> Result<(), Errno> {
    let file = &target.file;
    let link = target.kind == FileType::Symlink;
    match change {
        // A link has no mode, and no attributes of a user's.
        Change::Mode(_) | Change::Set(..) | Change::Remove(_) if link => Err(Errno::OPNOTSUPP),
        Change::Mode(mode) => match changed(target, *mode) {
            // Kernels and filters that do not know the call; or nobody may, which this says again.
            Err(Errno::NOSYS | Errno::PERM) => {
                fs::chmodat(CWD, by_descriptor(file), Mode::from_raw_mode(*mode), AtFlags::empty())
            }
            done => done,
        },
        Change::Owner(uid, gid) => {
            let id = |id: u32| (id != u32::MAX).then_some(id);
            fs::chownat(
                file,
                c"",
                id(*uid).map(Uid::from_raw),
                id(*gid).map(Gid::from_raw),
                AtFlags::EMPTY_PATH,
            )
        }
        Change::Times([last_access, last_modification]) => {
            let times = Timestamps { last_access: *last_access, last_modification: *last_modification };
            match if target.own { fs::futimens(file, &times) } else { Err(Errno::BADF) } {
                Err(Errno::BADF) => fs::utimensat(file, c"", &times, AtFlags::EMPTY_PATH),
                done => done,
            }
        }
        Change::Set(name, value, flags) => set(file, name, value, *flags),
        Change::Remove(name) => fs::removexattr(by_descriptor(file), name.as_c_str()),
    }
}

/// By the shortest way there is; a descriptor that opens nothing (O_PATH) has its own.
fn changed(target: &Target, mode: u32) -> Result<(), Errno> {
    let own = if target.own { fs::fchmod(&target.file, Mode::from_raw_mode(mode)) } else { Err(Errno::BADF) };
    match own {
        Err(Errno::BADF) => modes::change(target.file.as_fd(), mode),
        done => done,
    }
}

fn set(file: &OwnedFd, name: &CStr, value: &[u8], flags: u32) -> Result<(), Errno> {
    fs::setxattr(by_descriptor(file), name, value, XattrFlags::from_bits_retain(flags))
}
