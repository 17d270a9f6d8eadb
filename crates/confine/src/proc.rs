//! Short files of /proc, and whose thread one is, asked while somebody waits: the standard library begins with 32 bytes and
//! asks for the size first, which is ten calls of the kernel where three do.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

/// Enough for what proc_pid_stat(5) and proc_pid_status(5) describe.
const PART: usize = 4096;

/// All of it.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, Errno> {
    let file = fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut text, mut length) = (vec![0; PART], 0);
    loop {
        let read = io::read(&file, text.get_mut(length..).unwrap_or_default())?;
        length += read;
        // The kernel writes such a file whole where it has the room.
        if length < text.len() {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(length + PART, 0);
    }
}

/// Where a descriptor leads to, as the kernel says it. The directory is opened once, and by none of the processes that one makes.
pub(crate) fn path_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    static OWN: OnceLock<(Pid, OwnedFd)> = OnceLock::new();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let own = match OWN.get() {
        Some(own) => own,
        None => {
            let own = fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
            OWN.get_or_init(|| (getpid(), own))
        }
    };
    let number = file.as_raw_fd().to_string();
    let path = match own {
        (process, own) if *process == getpid() => fs::readlinkat(own, number, Vec::new()),
        _ => fs::readlinkat(CWD, by_descriptor(file), Vec::new()),
    };
    path.map(std::ffi::CString::into_bytes)
}

/// A path by which a call without a descriptor reaches what one names.
pub(crate) fn by_descriptor(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The process a thread belongs to.
pub(crate) fn group(thread: i32) -> Result<i32, Errno> {
    holder(thread).map(|(process, _)| process)
}

/// The same, and held.
pub(crate) fn holder(thread: i32) -> Result<(i32, OwnedFd), Errno> {
    let open = |process| {
        pidfd_open(Pid::from_raw(process).ok_or(Errno::SRCH)?, PidfdFlags::empty())
            .map(|pidfd| (process, pidfd))
    };
    // It takes no number but that of a process (pidfd_open(2)), which most callers have: to read about them costs far more.
    if let Ok(found) = open(thread) {
        return Ok(found);
    }
    let status = read(&format!("/proc/{thread}/status")).map_err(|_| Errno::SRCH)?;
    let status = String::from_utf8_lossy(&status);
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:")).ok_or(Errno::SRCH)?;
    let process = line.trim().parse().map_err(|_| Errno::SRCH)?;
    // By the thread that calls, where the kernel can (Linux 6.9): the first one may have ended, and has nothing any more.
    let by_thread = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
    match Pid::from_raw(thread).map(|thread| pidfd_open(thread, by_thread)) {
        Some(Ok(pidfd)) => Ok((process, pidfd)),
        _ => open(process),
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, group};

    #[test]
    fn a_thread_belongs_to_its_process() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let other = std::thread::spawn(|| {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            (thread, group(thread))
        });
        let (thread, process) = other.join().unwrap();
        assert_ne!(thread, own);
        assert_eq!((group(own), process), (Ok(own), Ok(own)));
        assert_eq!(group(i32::MAX), Err(Errno::SRCH));
    }

    #[test]
    fn short_and_long_files_are_read_whole() {
        let read = |path: &str| super::read(path).unwrap();
        assert_eq!(read("/proc/self/environ"), std::fs::read("/proc/self/environ").unwrap());
        assert!(String::from_utf8(read("/proc/self/status")).unwrap().ends_with('\n'));
        let long = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(long.path(), [7; 3 * super::PART]).unwrap();
        assert_eq!(read(long.path().to_str().unwrap()), [7; 3 * super::PART]);
        assert!(super::read("/proc/0/stat").is_err());
    }
}
