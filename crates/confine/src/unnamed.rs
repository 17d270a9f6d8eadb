//! Files of the workspace whose names are gone while somebody holds them, open or mapped: they take room that no look at the layers finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_limits::shown;
use rustix::fs::statvfs;
use rustix::process::{self, Pid};

use crate::hosted;
use crate::report::Message;

/// How often.
const EVERY: Duration = Duration::from_millis(100);
/// What is told of: so many MiB more or less than was told before.
const STEP: u32 = 16;

#[derive(Debug)]
pub(crate) struct Unnamed {
    places: Vec<PathBuf>,
    /// What may be taken of the disk; and what each file system held at the start, with a path on it.
    limit: u64,
    disks: Vec<(u64, PathBuf)>,
    /// Tier `landlock`: others are in /proc too.
    hosted: bool,
    next: Instant,
    told: (u32, bool),
    /// Somebody could not be looked at the last time: a program that is only being started passes.
    closed: bool,
}

impl Unnamed {
    /// Below these, of which `limit` bytes of the disk may be taken. `disks` are where the task may write.
    pub(crate) fn new(places: Vec<PathBuf>, disks: Vec<PathBuf>, limit: u64, hosted: bool) -> Self {
        // One path of each file system.
        let device = |disk: &PathBuf| fs::metadata(disk).map_or(0, |found| found.dev());
        let disks: BTreeMap<u64, PathBuf> = disks.into_iter().map(|disk| (device(&disk), disk)).collect();
        let disks = disks.into_values().map(|disk| (held(&disk).unwrap_or(0), disk)).collect();
        Self { places, limit, disks, hosted, next: Instant::now(), told: (0, true), closed: false }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks, if that is due; what is new. `skip` are processes of init's own.
    pub(crate) fn look(&mut self, skip: &[Pid]) -> Option<Message> {
        let now = Instant::now();
        if self.next > now {
            return None;
        }
        self.next = now + EVERY;
        let (bytes, seen) = self.sum(skip);
        let whole = seen || !std::mem::replace(&mut self.closed, !seen);
        let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
        if self.told.1 == whole && self.told.0.abs_diff(mebibytes) < STEP {
            return None;
        }
        self.told = (mebibytes, whole);
        Some(Message::Unnamed { mebibytes, whole })
    }

    fn sum(&self, skip: &[Pid]) -> (u64, bool) {
        let (mut files, mut whole) = (BTreeMap::new(), true);
        let mut mapped = BTreeSet::new();
        // Mappings are many: they are looked at where the disk says that it matters.
        let much = self
            .disks
            .iter()
            .any(|(before, disk)| held(disk).is_none_or(|now| now.saturating_sub(*before) > self.limit));
        let own = process::getpid();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            let theirs = if self.hosted { hosted::is_descendant(pid) } else { !ours(pid) };
            if pid == own || skip.contains(&pid) || !theirs {
                continue;
            }
            let pid = pid.as_raw_nonzero().get();
            let at = shown(pid);
            match fs::read_dir(at.join("fd")) {
                Ok(held) => held.flatten().for_each(|held| self.one(&held.path(), &mut files)),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => whole = false,
                Err(_) => {}
            }
            if much {
                self.one(&at.join("exe"), &mut files);
                match fs::read(at.join("maps")) {
                    Ok(text) => {
                        let lines = text.split(|byte| *byte == b'\n');
                        mapped.extend(lines.filter_map(|line| self.map(line)));
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => whole = false,
                    Err(_) => {}
                }
            }
        }
        // Nobody here learns how large such a file is.
        whole &= mapped.iter().all(|inode| files.keys().any(|(_, known)| known == inode));
        (files.values().sum(), whole)
    }

    /// The inode of a mapped file of the workspace whose name is gone (proc_pid_maps(5)).
    fn map(&self, line: &[u8]) -> Option<u64> {
        let line = line.strip_suffix(b" (deleted)")?;
        let start = line.iter().position(|byte| *byte == b'/')?;
        let (head, path) = line.split_at(start);
        if is_memory(path) {
            return None;
        }
        let path = Path::new(OsStr::from_bytes(path));
        let inode = std::str::from_utf8(head).ok()?.split_whitespace().nth(4)?.parse().ok()?;
        self.places.iter().any(|place| path.starts_with(place)).then_some(inode)
    }

    fn one(&self, held: &Path, files: &mut BTreeMap<(u64, u64), u64>) {
        let Ok(target) = fs::read_link(held) else { return };
        let bytes = target.as_os_str().as_bytes();
        let here = bytes.ends_with(b" (deleted)") && !bytes.starts_with(b"/memfd:");
        if here
            && self.places.iter().any(|place| target.starts_with(place))
            && let Ok(found) = fs::metadata(held)
            && found.is_file()
        {
            files.insert((found.dev(), found.ino()), found.blocks().saturating_mul(512));
        }
    }
}

/// Memory that has the name of a file in proc_pid_maps(5): shared, of memfd_create(2), and of shmget(2). Such names lie directly in the
/// root, where no task writes.
fn is_memory(path: &[u8]) -> bool {
    let name = path.strip_prefix(b"/").filter(|name| !name.contains(&b'/')).unwrap_or_default();
    let key =
        name.strip_prefix(b"SYSV").filter(|key| key.len() == 8 && key.iter().all(u8::is_ascii_hexdigit));
    path == b"/dev/zero" || name.starts_with(b"memfd:") || key.is_some()
}

/// Bytes that the file system of this holds, where it says.
fn held(disk: &Path) -> Option<u64> {
    let found = statvfs(disk).ok()?;
    Some(found.f_blocks.saturating_sub(found.f_bfree).saturating_mul(found.f_frsize))
}

/// What is not the task's: it has no parent here.
fn ours(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    parent.is_none_or(|parent| parent == "0")
}
