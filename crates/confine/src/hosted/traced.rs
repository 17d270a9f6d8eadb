//! Files in /proc of whom the task traces, for debuggers in tier `landlock`, where nothing of any process is shown.
//!
//! Nothing new is given: the kernel has let the caller trace that process (ptrace(2)), whose memory is open to it from then on. What is
//! opened is for reading, whatever was asked: debuggers that cannot write there write by ptrace(2).

use std::os::fd::OwnedFd;

use ringfence_sys::seccomp::Notification;
use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::process::{self, Pid};

use super::descendants::is_descendant;
use super::judge::text;
use crate::proc::group;

/// Longer than any name of one.
const LONGEST: usize = 64;
/// What gdb reads of a process: its memory, where what lies, its threads, and who it is. No links, which lead elsewhere.
const FILES: [&str; 9] =
    ["mem", "auxv", "maps", "smaps", "cmdline", "comm", "status", "stat", "coredump_filter"];
/// More than the lines of proc_pid_status(5) up to `TracerPid`.
const STATUS: usize = 1024;

/// Whether this call is one that may ask for it.
pub(crate) fn opens(number: i32) -> bool {
    path_and_flags(number).is_some()
}

/// Numbers of the arguments.
fn path_and_flags(number: i32) -> Option<(usize, usize)> {
    match i64::from(number) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => Some((0, 1)),
        libc::SYS_openat => Some((1, 2)),
        _ => None,
    }
}

/// What a call opens, and whether it is closed on exec; `None` for every other file, which is the kernel's to judge. The answer must
/// be one that fails if the caller is gone.
pub(crate) fn opened(call: &Notification) -> Option<(OwnedFd, bool)> {
    let (path, flags) = path_and_flags(call.number)?;
    let (path, flags) = (*call.arguments.get(path)?, *call.arguments.get(flags)? as u32);
    let path = text(call.thread, path, LONGEST).ok()?;
    let (process, below) = named(&path)?;
    let caller = group(call.thread).ok()?;
    let process = process.unwrap_or(caller);
    let file = open(process, &below, caller).ok()?;
    Some((file, flags & OFlags::CLOEXEC.bits() != 0))
}

/// Opens a file of a process that the caller is, or traces.
fn open(process: i32, below: &str, caller: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // This stays that process: nothing can be opened below it when it is gone, whoever has its number then.
    let directory = OFlags::PATH | OFlags::DIRECTORY | flags;
    let place = fs::openat(CWD, format!("/proc/{process}"), directory, Mode::empty())?;
    let file = fs::openat(&place, below, OFlags::RDONLY | flags, Mode::empty())?;
    let pid = Pid::from_raw(process).filter(|pid| *pid != process::getpid()).ok_or(Errno::ACCESS)?;
    if !is_descendant(pid) {
        return Err(Errno::ACCESS);
    }
    // Of the thread that is meant: a tracer has threads, not processes.
    let thread = match below.split_once('/') {
        Some((task, rest)) => format!("{task}/{}/status", rest.split('/').next().unwrap_or_default()),
        None => "status".to_owned(),
    };
    let status = fs::openat(&place, thread, OFlags::RDONLY | flags, Mode::empty())?;
    let mut bytes = [0; STATUS];
    let length = io::read(&status, &mut bytes)?;
    let tracer = tracer(bytes.get(..length).unwrap_or_default()).ok_or(Errno::ACCESS)?;
    if process == caller || tracer != 0 && group(tracer)? == caller { Ok(file) } else { Err(Errno::ACCESS) }
}

/// The thread that traces; 0 where nobody does.
fn tracer(status: &[u8]) -> Option<i32> {
    let status = String::from_utf8_lossy(status);
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}

/// Whose file it is, `None` for the caller's own, and which: `/proc/PROCESS/FILE`, or `/proc/PROCESS/task/THREAD/FILE`.
fn named(path: &[u8]) -> Option<(Option<i32>, String)> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix("/proc/")?;
    let (process, below) = path.split_once('/')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| digits && *number > 0)
    };
    let known = match below.split('/').collect::<Vec<_>>()[..] {
        ["task"] | ["task", ""] => true,
        ["task", thread, file] => number(thread).is_some() && FILES.contains(&file),
        [file] => FILES.contains(&file),
        _ => false,
    };
    let process = if process == "self" { None } else { Some(number(process)?) };
    known.then(|| (process, below.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_numbers_alone() {
        for (path, process, below) in [
            ("/proc/7/mem", Some(7), "mem"),
            ("/proc/7/task/8/mem", Some(7), "task/8/mem"),
            ("/proc/7/task", Some(7), "task"),
            ("/proc/self/mem", None, "mem"),
        ] {
            assert_eq!(named(path.as_bytes()), Some((process, below.to_owned())), "{path}");
        }
        for other in [
            "/proc/7/environ",
            "/proc/7/exe",
            "/proc/0/mem",
            "/proc/7/../1/mem",
            "/proc/7/task/../mem",
            "/proc//mem",
            "/proc/+7/mem",
            "/proc/7/task//mem",
            "/proc/7/task/8",
            "proc/7/mem",
        ] {
            assert_eq!(named(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn who_is_traced_by_nobody_has_no_tracer() {
        let status = std::fs::read("/proc/self/status").unwrap();
        assert_eq!(tracer(status.get(..STATUS.min(status.len())).unwrap()), Some(0));
        assert_eq!(tracer(b"Name:\tx\nTracerPid:\t42\n"), Some(42));
        assert_eq!(tracer(b"Name:\tx"), None);
    }
}
