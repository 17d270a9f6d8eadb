//! Where no control group can be made: looks at the processes of a sandbox every 100 ms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Limits;
use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::Exceeded;

/// Looks for memory and processes. Init's descendants are all there are: whoever loses its parent becomes init's child.
#[derive(Debug)]
pub struct Watcher {
    init: Pid,
    memory: Option<u64>,
    processes: Option<u64>,
    /// The sandbox's own file systems in memory.
    held: Vec<OwnedFd>,
}

impl Watcher {
    /// Of everything below this process, which is not counted itself; `held` are file systems in memory.
    #[must_use]
    pub fn new(limits: &Limits, init: Pid, held: Vec<OwnedFd>) -> Self {
        Self { init, memory: limits.memory, processes: limits.processes, held }
    }

    /// Looks once.
    #[must_use]
    pub fn exceeded(&self) -> Option<Exceeded> {
        // Who makes looking impossible is over the limit, as far as anybody can tell.
        let Ok(found) = descendants(self.init.as_raw_nonzero().get()) else {
            let processes = || self.processes.map(Exceeded::processes);
            return self.memory.map(Exceeded::memory).or_else(processes);
        };
        if let Some(limit) = self.processes
            && found.iter().map(|pid| threads(*pid)).sum::<u64>() > limit
        {
            return Some(Exceeded::processes(limit));
        }
        let limit = self.memory?;
        let files: u64 = self.held.iter().map(filled).sum();
        // What is mapped too counts twice: more, never less.
        let shared = unnamed(&found) + segments() + messages() + semaphores();
        let used = files + shared + found.iter().map(|pid| memory(*pid)).sum::<u64>();
        (used > limit).then(|| Exceeded::memory(limit))
    }
}

/// All processes below that one, by one look at /proc.
fn descendants(init: i32) -> std::io::Result<BTreeSet<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => String::from_utf8_lossy(&stat).into_owned(),
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![init];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    Ok(found)
}

/// It has ended meanwhile.
fn gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// Bytes that each file costs the kernel, in memory and in an overlay over that, empty or not.
const FILE: u64 = 2048;

/// Bytes that files take in a file system.
fn filled(at: &OwnedFd) -> u64 {
    fstatfs(at).map_or(0, |found| {
        let blocks = found.f_blocks.saturating_sub(found.f_bfree);
        let files = found.f_files.saturating_sub(found.f_ffree);
        let content = blocks.saturating_mul(u64::try_from(found.f_bsize).unwrap_or(0));
        content.saturating_add(files.saturating_mul(FILE))
    })
}

/// Bytes in files without a name that processes have open (memfd_create(2)). Nothing is known of a process that made itself
/// undumpable.
fn unnamed(processes: &BTreeSet<i32>) -> u64 {
    let mut files = BTreeMap::new();
    for pid in processes {
        for entry in fs::read_dir(shown(*pid).join("fd")).into_iter().flatten().filter_map(Result::ok) {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if target.as_os_str().as_bytes().starts_with(b"/memfd:")
                && let Ok(found) = fs::metadata(entry.path())
            {
                files.insert((found.dev(), found.ino()), found.blocks().saturating_mul(512));
            }
        }
    }
    files.values().sum()
}

/// Where proc(5) shows what a process has: by its first thread, or by another one where that has ended.
#[must_use]
pub fn shown(pid: i32) -> PathBuf {
    let process = PathBuf::from(format!("/proc/{pid}"));
    // Who forbids to be looked at still says how much it has.
    let there = |at: &PathBuf| status(at, "VmRSS:").is_some();
    if there(&process) {
        return process;
    }
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().filter_map(Result::ok);
    threads.map(|thread| thread.path()).find(there).unwrap_or(process)
}

/// Bytes that wait in System V message queues (proc_sysvipc(5)).
fn messages() -> u64 {
    column("/proc/sysvipc/msg", &["cbytes"])
}

/// Bytes of System V semaphores: each is a `struct sem` of the kernel's (ipc/sem.c), a line of its cache.
fn semaphores() -> u64 {
    column("/proc/sysvipc/sem", &["nsems"]).saturating_mul(64)
}

/// Bytes in System V shared memory, attached or not; its size where what is used of it is not told (proc_sysvipc(5)).
fn segments() -> u64 {
    column("/proc/sysvipc/shm", &["rss", "size"])
}

/// The sum of the first of these columns that is there.
fn column(path: &str, names: &[&str]) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let at = names.iter().find_map(|name| header.iter().position(|column| column == name));
    lines.filter_map(|line| line.get(at?)?.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

fn threads(pid: i32) -> u64 {
    status(Path::new(&format!("/proc/{pid}")), "Threads:").unwrap_or(1)
}

/// Proportional set size; what is shared counts once over all (proc(5), smaps_rollup). The resident size where that may not be
/// read: more, never less. And the tables of pages, which empty address space has too.
fn memory(pid: i32) -> u64 {
    let at = shown(pid);
    let text = fs::read_to_string(at.join("smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let pages = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let pages = pages.or_else(|| status(&at, "VmRSS:")).unwrap_or(0);
    (pages + status(&at, "VmPTE:").unwrap_or(0)).saturating_mul(1024)
}

fn status(at: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(at.join("status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Ends(Child);

    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn grandchildren_count_and_memory_adds_up() {
        let script = "sleep 30 & python3 -c 'x = bytearray(64 << 20); import time; print(flush=True); time.sleep(30)'; wait";
        let mut shell = Ends(
            Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap(),
        );
        std::io::Read::read_exact(shell.0.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let root = Pid::from_child(&shell.0);
        let watcher = |memory, processes| {
            Watcher::new(&Limits { memory, processes, ..Limits::default() }, root, Vec::new())
        };
        assert_eq!(watcher(Some(16 << 20), None).exceeded(), Some(Exceeded::memory(16 << 20)));
        assert_eq!(watcher(Some(4 << 30), Some(100)).exceeded(), None);
        assert_eq!(watcher(None, Some(1)).exceeded(), Some(Exceeded::processes(1)));
        for pid in descendants(root.as_raw_nonzero().get()).unwrap() {
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
        }
    }
}
