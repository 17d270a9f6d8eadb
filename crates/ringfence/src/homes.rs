//! Homes of tier `landlock`, which hold links to what is granted below the invoker's: one that its task left as it was made serves a later
//! run. A file system that journals takes longer to make and remove a dozen names than a short command runs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{Hosted, Plan};
use ringfence_record::State;
use rustix::fs::{
    AtFlags, CWD, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, flistxattr, ioctl_getflags, openat,
    utimensat,
};

/// Where they wait, below the state directory.
const PLACE: &str = "homes";
/// So many are looked at.
const MOST: usize = 4;

/// Where they wait; whoever is enclosed makes no such directory any more.
pub(crate) fn place(state: &State) -> std::io::Result<PathBuf> {
    let place = state.path().join(PLACE);
    match std::fs::create_dir(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(place),
    }
}

/// A home and what is in it when it is made.
pub(crate) struct Home<'a> {
    path: &'a Path,
    /// Below each directory, by name: where a link leads, or nothing for another directory.
    entries: BTreeMap<&'a Path, BTreeMap<&'a OsStr, Option<&'a Path>>>,
    key: String,
}

impl<'a> Home<'a> {
    /// `None` where it has no links, or something else too, or is somebody else's than the invoker's.
    pub(crate) fn of(hosted: &'a Hosted, plan: &Plan) -> Option<Self> {
        let path = hosted.own.iter().find(|own| own.ends_with("home"))?;
        let own = plan.ids.outside_uid == rustix::process::geteuid().as_raw();
        if hosted.links.is_empty() || !hosted.exposed.is_empty() || !own {
            return None;
        }
        let mut entries: BTreeMap<&Path, BTreeMap<&OsStr, Option<&Path>>> = BTreeMap::new();
        let mut hasher = DefaultHasher::new();
        for (link, target) in &hosted.links {
            (link.strip_prefix(path).ok()?, target).hash(&mut hasher);
            let mut leads = Some(target.as_path());
            let mut at = link.as_path();
            while at != path.as_path() {
                let (above, name) = (at.parent()?, at.file_name()?);
                entries.entry(above).or_default().entry(name).or_insert(leads.take());
                at = above;
            }
        }
        Some(Self { path, entries, key: format!("{:016x}-", hasher.finish()) })
    }

    pub(crate) fn is(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Takes one that an earlier run left.
    pub(crate) fn take(&self, state: &State) -> bool {
        let place = state.path().join(PLACE);
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        let fits = |name: &OsStr| name.as_encoded_bytes().starts_with(self.key.as_bytes());
        let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).take(MOST).collect();
        // Those of other policies are in the way.
        let others: Vec<OsString> = names.extract_if(.., |name| !fits(name)).collect();
        for name in others {
            let _ = ringfence_workspace::remove_tree(&place.join(name));
        }
        // Whoever moves it has it alone; only then is it looked at.
        let taken = names.iter().any(|name| std::fs::rename(place.join(name), self.path).is_ok());
        // More than a few at one time were those of runs beside each other.
        if names.len() == MOST
            && let Some(name) = names.last()
        {
            let _ = ringfence_workspace::remove_tree(&place.join(name));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let usual = || ioctl_getflags(openat(CWD, state.path(), flags, Mode::empty()).ok()?).ok();
        if taken && !self.as_made(Some(usual())).unwrap_or(false) {
            let _ = ringfence_workspace::remove_tree(self.path);
            return false;
        }
        taken
    }

    /// Leaves it for a later run, unless it is empty.
    pub(crate) fn leave(&self, state: &State, run: &str) {
        if std::fs::remove_dir(self.path).is_ok() {
            return;
        }
        let kept = state.path().join(PLACE).join(format!("{}{run}", self.key));
        if std::fs::rename(self.path, &kept).is_err() {
            let _ = ringfence_workspace::remove_tree(self.path);
        }
    }

    /// Whether a task left nothing at all in it: no entry of its own, no attribute, flag, mode or group, and not the room that many
    /// entries took. Times of directories are made new. `usual`: the flags that a directory has there, where they can be known.
    pub(crate) fn as_made(&self, usual: Option<Option<IFlags>>) -> std::io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        for (directory, expected) in &self.entries {
            let open = openat(CWD, *directory, flags, Mode::empty())?;
            let found = std::fs::symlink_metadata(directory)?;
            let flagged = usual.is_some_and(|usual| ioctl_getflags(&open).ok() != usual);
            let bare = flistxattr(&open, &mut [0_u8; 64][..])? == 0 && !flagged;
            let plain = found.mode() & 0o7777 == 0o700
                && (found.uid(), found.gid()) == (uid, gid)
                && found.size() <= found.blksize().max(4096);
            if !bare || !plain {
                return Ok(false);
            }
            let mut names = 0;
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                names += 1;
                let Some(leads) = expected.get(entry.file_name().as_os_str()) else { return Ok(false) };
                let same = match leads {
                    // It is looked at itself.
                    None => entry.file_type()?.is_dir(),
                    Some(target) => {
                        let found = entry.metadata()?;
                        // Who changed something of a link changed this time.
                        let untouched =
                            (found.ctime(), found.ctime_nsec()) == (found.mtime(), found.mtime_nsec());
                        found.is_symlink()
                            && untouched
                            && (found.uid(), found.gid()) == (uid, gid)
                            && std::fs::read_link(entry.path())? == *target
                    }
                };
                if !same {
                    return Ok(false);
                }
            }
            if names != expected.len() {
                return Ok(false);
            }
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            utimensat(CWD, *directory, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(true)
    }
}
