//! `runtime.watch_writes`: calls that change a file where the mount is read-only. The kernel refuses those by itself, and nobody
//! hears of it; here they are told of first, and so are those that take away what is hidden or protected, which is a mount of its own.
//! Nothing is decided: the call goes on, so whoever lies about its path deceives the record of its own words alone.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ringfence_plan::syscalls;
use ringfence_sys::memory;
use ringfence_sys::seccomp::Notification;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};

use crate::child::{self, Own};
use crate::connections::mount_of;
use crate::purpose::Purpose;
use crate::{caller, mountinfo};

/// FUSE_SUPER_MAGIC (linux/magic.h): there, the root's server tells.
const FUSE: u64 = 0x6573_5546;

/// The path that such a call will be refused and what for, as far as can be told.
pub(crate) fn refused(call: &Notification, own: &Own) -> Option<(PathBuf, Purpose)> {
    syscalls::written(call.number)?.iter().find_map(|(directory, path)| {
        let argument = |number: u8| call.arguments.get(usize::from(number)).copied();
        let named = argument(*path).and_then(|address| caller::string(call.thread, address));
        let directory = directory.and_then(argument);
        let intent = intent(call)?;
        let whole = match named.map(PathBuf::from).filter(|named| !named.as_os_str().is_empty()) {
            Some(named) if named.is_absolute() => named,
            Some(named) => begin(call.thread, directory)?.join(named),
            None if matches!(intent, Intent::Attributes { .. }) => begin(call.thread, Some(directory?))?,
            None => return None,
        };
        match intent {
            Intent::Name => in_parent(&whole).or_else(|| kept(call, &whole, own)),
            Intent::Attributes { more } => {
                let found = find(&whole, more)?;
                (is_shown(&found, own) || read_only(&found)).then(|| real(&found)).flatten()
            }
            Intent::Open { flags } => opened(&whole, flags, own),
        }
        .map(|path| {
            let there = || fs::statat(CWD, &whole, AtFlags::SYMLINK_NOFOLLOW).is_ok();
            (path, if removes(call) && there() { Purpose::Remove } else { Purpose::Write })
        })
    })
}

/// Whether it takes a name away.
fn removes(call: &Notification) -> bool {
    match i64::from(call.number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink | libc::SYS_rmdir => true,
        libc::SYS_unlinkat => true,
        _ => syscalls::renames(call.number).is_some(),
    }
}

/// What a call is going to change.
enum Intent {
    /// A name in a directory.
    Name,
    /// What a file has beside its bytes.
    Attributes { more: OFlags },
    /// A file, or its name where there is none.
    Open { flags: OFlags },
}

fn intent(call: &Notification) -> Option<Intent> {
    let flags = |flags: u64| Some(Intent::Open { flags: OFlags::from_bits_retain(flags as u32) });
    match i64::from(call.number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => return Some(Intent::Open { flags: OFlags::WRONLY | OFlags::CREATE }),
        libc::SYS_truncate => return Some(Intent::Open { flags: OFlags::WRONLY }),
        libc::SYS_openat2 => {
            // struct open_how begins with the flags, 64 bits wide (openat2(2)).
            let mut bytes = [0; 8];
            memory::read(call.thread, *call.arguments.get(2)?, &mut bytes).ok()?;
            return flags(u64::from_ne_bytes(bytes));
        }
        _ => {}
    }
    if let Some(follows) = syscalls::attributes(call.number, &call.arguments) {
        return Some(Intent::Attributes { more: if follows { OFlags::empty() } else { OFlags::NOFOLLOW } });
    }
    match syscalls::opened(call.number) {
        Some((at, _)) => flags(*call.arguments.get(at)?),
        None => Some(Intent::Name),
    }
}

/// Where a relative path begins.
fn begin(thread: i32, directory: Option<u64>) -> Option<PathBuf> {
    // Descriptors are 32 bits wide.
    let link = match directory.map(|directory| directory as u32 as i32) {
        None | Some(libc::AT_FDCWD) => format!("/proc/{thread}/cwd"),
        Some(number) => format!("/proc/{thread}/fd/{number}"),
    };
    let path = fs::readlinkat(CWD, link, Vec::new()).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}

fn opened(path: &Path, flags: OFlags, own: &Own) -> Option<PathBuf> {
    let unnamed = flags.contains(OFlags::TMPFILE);
    let writes = flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC);
    match find(path, OFlags::empty()) {
        Some(found) if writes || unnamed => {
            let kind = FileType::from_raw_mode(fs::fstat(&found).ok()?.st_mode);
            let meant = if unnamed { FileType::Directory } else { FileType::RegularFile };
            (kind == meant && (is_shown(&found, own) || read_only(&found))).then(|| real(&found)).flatten()
        }
        None if flags.contains(OFlags::CREATE) => in_parent(path),
        _ => None,
    }
}

fn in_parent(path: &Path) -> Option<PathBuf> {
    let parent = find(path.parent()?, OFlags::empty())?;
    let whole = real(&parent)?.join(path.file_name()?);
    // The kernel remembers that those are not there, and does not ask the root's server.
    let mut remembered = ringfence_void::ALWAYS_ASKED.iter().chain(ringfence_void::OFTEN_ASKED);
    let mut untold = || remembered.any(|asked| whole.as_os_str() == *asked);
    (read_only(&parent) || untold()).then_some(whole)
}

/// What its directory does not let go: where something is mounted, as what is hidden or protected is (EBUSY; rename(2), unlink(2)), and what
/// the root's server shows.
fn kept(call: &Notification, path: &Path, own: &Own) -> Option<PathBuf> {
    let parent = find(path.parent().filter(|_| removes(call))?, OFlags::empty())?;
    let name = path.file_name()?;
    let whole = real(&parent)?.join(name);
    let shown = || is_shown(&parent, own) && fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    (mountinfo::points().ok()?.contains(&whole) || shown()).then_some(whole)
}

fn find(path: &Path, more: OFlags) -> Option<OwnedFd> {
    // Devices and FIFOs are not opened by this, only found.
    let flags = OFlags::PATH | OFlags::CLOEXEC | more;
    fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()
}

/// Whether the root's server shows it, who hears only of names that are not there and of what is hidden, where that is read. A workspace
/// may be a FUSE file system as well.
fn is_shown(file: &OwnedFd, own: &Own) -> bool {
    let masked = || own.root.is_some_and(|root| child::device(file, c"", AtFlags::EMPTY_PATH) == Ok(root));
    mount_of(file).is_ok_and(|mount| own.void.contains(&mount)) || masked()
}

fn read_only(file: &OwnedFd) -> bool {
    let fuse = fs::fstatfs(file).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(FUSE));
    !fuse && fs::fstatvfs(file).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn real(file: &OwnedFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = fs::readlinkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new()).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}
