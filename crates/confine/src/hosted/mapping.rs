//! Files that a task maps as code, in tier `landlock`, where no mount forbids that (noexec) and Landlock knows no right for it.
//!
//! What is looked at may change before the kernel looks: who can change it runs code of its own choice already, for which anonymous
//! memory is as good. What this holds is the loader, and programs that load what somebody put before them.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_sys::memory;
use ringfence_sys::seccomp::Notification;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Files that are looked at in one call; who changes more at once is refused.
const MOST: usize = 1024;

/// Trees of the sandbox. What none of them covers is read, and no code.
#[derive(Clone, Debug)]
pub(crate) struct Trees {
    /// What the task can change.
    pub(crate) written: Vec<PathBuf>,
    /// Where programs may start.
    pub(crate) executed: Vec<PathBuf>,
    /// Nothing below has a right from above.
    pub(crate) hidden: Vec<PathBuf>,
    /// Where programs find libraries.
    pub(crate) libraries: Vec<PathBuf>,
    /// Directories of PATH: with a list, only what that names is code there.
    pub(crate) searched: Vec<PathBuf>,
}

fn below(path: &Path, trees: &[PathBuf]) -> bool {
    trees.iter().any(|tree| path.starts_with(tree))
}

impl Trees {
    /// Whether the kernel starts what lies there: Landlock's rules say the same.
    pub(crate) fn starts(&self, path: &Path) -> bool {
        below(path, &self.executed) && !below(path, &self.hidden)
    }

    /// Whether the task may make something else of what lies there.
    pub(crate) fn changes(&self, path: &Path) -> bool {
        below(path, &self.written)
    }

    fn code(&self, path: &Path) -> bool {
        let library = below(path, &self.libraries) && !below(path, &self.searched) && !self.changes(path);
        self.starts(path) || library && !below(path, &self.hidden)
    }

    /// Whether this call is one to judge; the filter notifies of those alone that make something code.
    pub(crate) fn maps(call: &Notification) -> bool {
        [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect].contains(&i64::from(call.number))
    }

    /// What a call would make code and is none.
    pub(crate) fn foreign(&self, call: &Notification) -> Option<PathBuf> {
        if i64::from(call.number) == libc::SYS_mmap { self.mapped(call) } else { self.protected(call) }
    }

    /// A file that was mapped for reading, as a loader does that relocates its code (DT_TEXTREL), by what the file itself says of it.
    fn protected(&self, call: &Notification) -> Option<PathBuf> {
        let [start, length, ..] = call.arguments;
        let maps = format!("/proc/{}/maps", call.thread);
        let end = start.saturating_add(length);
        let look = || -> Result<Option<PathBuf>, Errno> {
            let open = fs::openat(CWD, &maps, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let mut at = start;
            for _ in 0..MOST {
                let Some(found) = memory::mapped(open.as_fd(), at, end)? else { return Ok(None) };
                let path = PathBuf::from(OsStr::from_bytes(&found.name));
                if !self.memory(&path) && !self.code(&path) {
                    return Ok(Some(path));
                }
                at = found.end;
                if at >= end {
                    return Ok(None);
                }
            }
            Err(Errno::TOOBIG)
        };
        look().unwrap_or(Some(maps.into()))
    }

    /// Memory that the kernel gives a name: shared, with a descriptor (memfd_create(2)), or of the device that is nothing else.
    fn memory(&self, path: &Path) -> bool {
        let name = path.as_os_str().as_bytes();
        let memfd = name.starts_with(b"/memfd:") && name.ends_with(b" (deleted)") && !self.changes(path);
        memfd || [&b"/dev/zero"[..], b"/dev/zero (deleted)"].contains(&name)
    }

    fn mapped(&self, call: &Notification) -> Option<PathBuf> {
        let [.., descriptor, _] = call.arguments;
        // The kernel reads it as 32 bits.
        let descriptor = format!("/proc/{}/fd/{}", call.thread, descriptor as u32);
        // One that is not there fails by itself, as do directories; devices and pipes hold nothing of a file.
        let found = match fs::statat(CWD, &descriptor, AtFlags::empty()) {
            Err(Errno::NOENT) => return None,
            Err(_) => return Some(descriptor.into()),
            Ok(found) => found,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let Ok(path) = fs::readlinkat(CWD, &descriptor, Vec::new()) else { return Some(descriptor.into()) };
        let path = PathBuf::from(OsStr::from_bytes(path.as_bytes()));
        // Memory with a descriptor (memfd_create(2)) is the task's own, like any other.
        let memory = found.st_nlink == 0 && path.as_os_str().as_bytes().starts_with(b"/memfd:");
        (!memory && !self.code(&path)).then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_or_written_is_no_code() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        let trees = Trees {
            written: paths(&["/run/copy", "/usr/local/lib/own"]),
            executed: paths(&["/usr/bin/cat", "/opt/free"]),
            hidden: paths(&["/usr/lib/secret", "/opt/free/secret"]),
            libraries: paths(&["/usr"]),
            searched: paths(&["/usr/bin"]),
        };
        for path in ["/usr/lib/libc.so.6", "/usr/bin/cat", "/opt/free/x"] {
            assert!(trees.code(Path::new(path)), "{path}");
        }
        for path in [
            "/usr/bin/curl",
            "/run/copy/evil.so",
            "/usr/local/lib/own/x.so",
            "/usr/lib/secret/x",
            "/opt/free/secret/x",
            "/data/x.so",
            "/run/copy/#12 (deleted)",
        ] {
            assert!(!trees.code(Path::new(path)), "{path}");
        }
        assert!(trees.changes(Path::new("/run/copy")) && !trees.changes(Path::new("/run")));
    }
}
