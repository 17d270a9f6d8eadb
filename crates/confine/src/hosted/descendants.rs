//! All processes below this one, found in /proc: both who stands above them and orphans, which come to the nearest subreaper.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{
    self, Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, pidfd_open, pidfd_send_signal,
};

use crate::proc;

/// Rounds in which new processes may still be found before those that are known are ended.
const ROUNDS: usize = 100;

/// One of them: its number, and when it began, since numbers come again (proc(5), stat, fields 4 and 22).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    pid: i32,
    parent: i32,
    began: u64,
}

/// Sends all of them a signal.
pub(crate) fn signal(signal: Signal) {
    for found in all() {
        send(found, signal);
    }
}

/// Ends all of them, and waits until none is left: first nobody can fork any more, then nobody goes on.
pub(crate) fn end() {
    // Without a child there is nobody: orphans come to this process. Then nobody's /proc need be read.
    if reap() {
        return;
    }
    let mut known: Vec<Found> = Vec::new();
    for _ in 0..ROUNDS {
        let found = all();
        if found.iter().all(|found| known.binary_search(found).is_ok()) {
            break;
        }
        for one in &found {
            if let Some(pid) = Pid::from_raw(one.pid) {
                // Not for a process with more rights, which nothing here can be.
                let none = Rlimit { current: Some(0), maximum: Some(0) };
                let _ = process::prlimit(Some(pid), Resource::Nproc, none);
            }
            send(*one, Signal::STOP);
        }
        known = found;
        known.sort_unstable();
    }
    loop {
        for one in all() {
            send(one, Signal::KILL);
        }
        // What /proc does not show (hidepid) is a child at the latest when what stands between has ended.
        for pid in children() {
            let _ = process::kill_process(pid, Signal::KILL);
        }
        if reap() {
            return;
        }
        // Whoever is in the kernel gets there in a moment; a disk that hangs is waited for.
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

/// Takes the status of all children that have ended: whether no child is left.
fn reap() -> bool {
    loop {
        match process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Err(Errno::CHILD) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
}

/// The children of this process, which has one thread; not reaped, so that their numbers are theirs.
fn children() -> Vec<Pid> {
    let own = process::getpid().as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)).collect()
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

fn look(pid: i32) -> Option<Found> {
    let stat = proc::read(&format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything.
    let stat = String::from_utf8_lossy(&stat);
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let began = fields.nth(17)?.parse().ok()?;
    // Who has ended is only waited for; its children have gone to a subreaper.
    (state != "Z" && state != "X").then_some(Found { pid, parent, began })
}
