//! Files of the workspace whose names are gone while somebody holds them open: they take room that no look at the layers finds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// Tier `landlock`: others are in /proc too.
    hosted: bool,
    next: Instant,
    told: (u32, bool),
    /// Somebody could not be looked at the last time: a program that is only being started passes.
    closed: bool,
}

impl Unnamed {
    /// Below these.
    pub(crate) fn new(places: Vec<PathBuf>, hosted: bool) -> Self {
        Self { places, hosted, next: Instant::now(), told: (0, true), closed: false }
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
        let own = process::getpid();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            let theirs = if self.hosted { hosted::is_descendant(pid) } else { !ours(pid) };
            if pid == own || skip.contains(&pid) || !theirs {
                continue;
            }
            match fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) {
                Ok(held) => held.flatten().for_each(|held| self.one(&held.path(), &mut files)),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => whole = false,
                Err(_) => {}
            }
        }
        (files.values().sum(), whole)
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

/// What is not the task's: it has no parent here.
fn ours(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    parent.is_none_or(|parent| parent == "0")
}
