//! Looking without harm: nothing but regular files and directories is opened, nothing waits, and nothing is read without a bound.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, StatFs, accessat, fstat, openat, stat, statfs,
};
use rustix::io::Errno;

/// Entries of a directory that are looked at.
pub(crate) const ENTRIES: usize = 4096;
/// Bytes of a file of the kernel.
const MOST: u64 = 4 << 20;
/// File systems that live in memory (statfs(2)).
const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
const OVERLAY: i64 = 0x794c_7630;

/// What is there, behind links.
pub(crate) fn kind(path: &Path) -> Result<FileType, Errno> {
    stat(path).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// Opens it for reading or writing, if it is what it should be before and after. Opening a device may have an effect, and a FIFO wakes
/// who waits at its other end.
fn open(path: &Path, wanted: FileType, flags: OFlags) -> Result<OwnedFd, Errno> {
    if kind(path)? != wanted {
        return Err(Errno::INVAL);
    }
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != wanted {
        return Err(Errno::INVAL);
    }
    Ok(file)
}

/// Whether a file can be read, or a directory listed.
pub(crate) fn readable(path: &Path) -> bool {
    match kind(path) {
        Ok(FileType::RegularFile) => open(path, FileType::RegularFile, OFlags::RDONLY).is_ok(),
        Ok(FileType::Directory) => {
            open(path, FileType::Directory, OFlags::RDONLY | OFlags::DIRECTORY).is_ok()
        }
        _ => false,
    }
}

/// Whether a file can be written. It is opened for that, and not written; nothing of it changes.
pub(crate) fn file_writable(path: &Path) -> bool {
    open(path, FileType::RegularFile, OFlags::WRONLY).is_ok()
}

/// Whether files can be made in a directory: one without a name is made there, and is gone at once. Where the file system has none, what its
/// permissions say.
pub(crate) fn directory_writable(path: &Path) -> bool {
    if kind(path) != Ok(FileType::Directory) {
        return false;
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(CWD, path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => true,
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
        }
        Err(_) => false,
    }
}

/// Of either kind.
pub(crate) fn writable(path: &Path) -> bool {
    match kind(path) {
        Ok(FileType::RegularFile) => file_writable(path),
        Ok(FileType::Directory) => directory_writable(path),
        _ => false,
    }
}

/// How much it matters that something there can be written: what is in memory, or in layers, may be the environment's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Memory,
    Layers,
    Disk,
}

pub(crate) fn store(path: &Path) -> Store {
    match statfs(path) {
        Ok(StatFs { f_type, .. }) if MEMORY.contains(&f_type) => Store::Memory,
        Ok(StatFs { f_type, .. }) if f_type == OVERLAY => Store::Layers,
        _ => Store::Disk,
    }
}

/// The beginning of a regular file, as text; empty where there is none.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = open(path.as_ref(), FileType::RegularFile, OFlags::RDONLY) {
        let _ = File::from(file).take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The entries of a directory, the first of them, in order.
pub(crate) fn entries(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .take(ENTRIES)
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// A field of /proc/PID/status.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
