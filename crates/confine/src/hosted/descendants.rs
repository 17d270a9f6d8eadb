//! Processes below this one: all of them by one call, which the Landlock domain they share with it keeps from everybody else; and
//! whether one is, by /proc.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{self, Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal};

use crate::landlock::Scoped;
use crate::proc;

/// One of them: its number, and when it began, since numbers come again (proc(5), stat, fields 4, 20 and 22).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    pid: i32,
    parent: i32,
    began: u64,
}

/// Sends a signal to everybody in this process's innermost domain but itself. The kernel does so for all at once, and ends a
/// fork that is under way (kill(2), signal(7)): nobody is faster, as one is who is looked up first.
pub(crate) fn signal(_only: &Scoped, signal: Signal) {
    // kill(-1, ...).
    let _ = process::kill_process_group(Pid::INIT, signal);
}

/// Sends it to each process below this one; where no domain bounds signals, and others are not to have it.
pub(crate) fn signal_below(signal: Signal) {
    for found in all() {
        send(found, signal);
    }
}

/// Ends all of them, and waits until none is left.
pub(crate) fn end(only: &Scoped) {
    loop {
        signal(only, Signal::KILL);
        if reap() {
            return;
        }
        // Whoever is in the kernel gets there in a moment; a disk that hangs is waited for.
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

/// Takes the status of all children that have ended: whether no child is left. Without one there is nobody: orphans come here.
fn reap() -> bool {
    loop {
        match process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Err(Errno::CHILD) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
}

/// A number may have come again since it was looked up: the descriptor names whoever has it now, and then it is looked up again.
fn send(found: Found, signal: Signal) {
    let Some(pid) = Pid::from_raw(found.pid) else { return };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(named) if look(found.pid).is_some_and(|now| now.began == found.began) => {
            let _ = pidfd_send_signal(&named, signal);
        }
        _ => {}
    }
}

/// Whether a process is one of them, or this one.
pub(crate) fn is_descendant(pid: Pid) -> bool {
    let own = process::getpid().as_raw_nonzero().get();
    let mut at = pid.as_raw_nonzero().get();
    while at != own {
        match look(at) {
            Some(found) if found.parent > 0 => at = found.parent,
            _ => return false,
        }
    }
    true
}

/// Threads of all processes of this user, the sandbox's own among them: what RLIMIT_NPROC counts (getrlimit(2)).
pub(crate) fn threads_of_user() -> u64 {
    let own = process::getuid().as_raw();
    let mut count = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if fs::metadata(&path).is_ok_and(|found| found.uid() == own)
            && let Ok(status) = fs::read_to_string(path.join("status"))
        {
            let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
            count += line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or(1);
        }
    }
    count
}

fn all() -> Vec<Found> {
    let own = process::getpid().as_raw_nonzero().get();
    let mut children: BTreeMap<i32, Vec<Found>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(found) = pid.and_then(look) {
            children.entry(found.parent).or_default().push(found);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![own];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            open.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// A process that has not ended.
fn look(pid: i32) -> Option<Found> {
    let stat = proc::read(&format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything.
    let stat = String::from_utf8_lossy(&stat);
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    // Who has ended is only waited for; its children have gone to a subreaper. Where the first thread alone has, the others go on.
    (!matches!(state, "Z" | "X") || threads > 1).then_some(Found { pid, parent, began })
}
