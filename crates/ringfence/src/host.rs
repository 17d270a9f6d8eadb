//! What the host has, without waking what is not there: a look must not mount a file system or wait for a server.

use std::cell::OnceCell;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use ringfence_confine::mountinfo::unescaped;
use ringfence_plan::{Invoker, Plan};
use rustix::fs::{Access, AtFlags, CWD, StatxFlags, accessat, statx};
use rustix::io::Errno;

/// File systems whose answers come from elsewhere, or make something happen.
const ELSEWHERE: &[&str] =
    &["autofs", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "coda", "lustre", "glusterfs"];

const HABITS: [&str; 3] = ["/sys", "/sys/fs/selinux", "/selinux"];

/// Looks for names on it.
pub(crate) struct Host {
    /// Mount points of such file systems.
    elsewhere: OnceCell<Vec<PathBuf>>,
    task: Option<Task>,
}

/// Whom a task of root's is to the host's files: its id in the kernel owns none, and only some mounts give it those of the workspace's
/// owner (mount_setattr(2), MOUNT_ATTR_IDMAP).
pub(crate) struct Task {
    uid: u32,
    gid: u32,
    home: PathBuf,
    /// It has the host's own files, through the host's own directories.
    hosted: bool,
    /// What it is shown of the host's, and whether it has its owner's id there: above those, directories are the sandbox's own.
    trees: Vec<(PathBuf, bool)>,
}

impl Task {
    /// In tier `namespace`; `None`: it has its owner's own id.
    pub(crate) fn of(invoker: &Invoker, workspace: &Path) -> Option<Self> {
        let owner = workspace.metadata().ok().filter(|_| invoker.root)?;
        let home = invoker.home.clone();
        Some(Self { uid: owner.uid(), gid: owner.gid(), home, hosted: false, trees: Vec::new() })
    }

    /// The same of a plan: in tier `landlock` it has an id of the host's, and none of root's capabilities.
    pub(crate) fn planned(invoker: &Invoker, plan: &Plan) -> Option<Self> {
        if plan.hosted.is_none() {
            let trees = plan.trees.iter().map(|tree| (tree.host.clone(), tree.mapped)).collect();
            return Self::of(invoker, &plan.workspace).map(|task| Self { trees, ..task });
        }
        let (uid, gid) = (plan.ids.outside_uid, plan.ids.outside_gid);
        invoker.root.then(|| Self { uid, gid, home: invoker.home.clone(), hosted: true, trees: Vec::new() })
    }

    /// Whether the mode keeps it from whoever it is there.
    fn barred(&self, path: &Path, access: ringfence_policy::Access) -> bool {
        let (Ok(real), Ok(found)) = (path.canonicalize(), path.metadata()) else { return false };
        let (bit, writes) = match access {
            ringfence_policy::Access::Read => (4, false),
            ringfence_policy::Access::Write => (2, true),
            ringfence_policy::Access::Exec => (1, false),
        };
        let own = found.uid() == self.uid;
        let mapped = self.hosted || writes || own && self.uid != 0 || real.starts_with(&self.home);
        let tree = self.trees.iter().filter(|(tree, _)| real.starts_with(tree));
        let tree = tree.max_by_key(|(tree, _)| tree.as_os_str().len());
        let (root, as_owner) = match tree {
            Some((tree, mapped)) => (Some(tree.as_path()), *mapped),
            None => (self.hosted.then_some(Path::new("/")), true),
        };
        let shut = |above: &Path| above.metadata().is_ok_and(|found| !self.may(&found, 1, as_owner));
        let way =
            real.ancestors().skip(1).take_while(|above| root.is_some_and(|root| above.starts_with(root)));
        !self.may(&found, bit, mapped) || way.into_iter().any(shut)
    }

    /// Whether the mode has this bit for it.
    fn may(&self, found: &Metadata, bit: u32, mapped: bool) -> bool {
        let class = match mapped {
            true if found.uid() == self.uid => 6,
            true if found.gid() == self.gid => 3,
            _ => 0,
        };
        found.mode() >> class & bit != 0
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { elsewhere: OnceCell::new(), task: None }
    }

    /// As such a task has it.
    pub(crate) fn of_task(task: Option<Task>) -> Self {
        Self { task, ..Self::new() }
    }

    /// Whether libraries look for it by habit, as libselinux does in every `cp`: that says nothing about a program.
    pub(crate) fn habit(path: &Path, purpose: &str) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        // Runtimes ask how much of the machine is theirs.
        let share =
            path.starts_with("/sys/fs/cgroup") && (name.starts_with(b"memory.") || name.starts_with(b"cpu."));
        purpose == "look" && HABITS.map(Path::new).contains(&path) || purpose == "read" && share
    }

    /// The same as [`Self::has`] of what was to be written, which its directory would have had.
    pub(crate) fn could_have(&self, path: &Path, purpose: &str) -> Option<bool> {
        // That was there, or it could not have been opened.
        if purpose == "map" {
            return None;
        }
        match (self.has(path), path.parent()) {
            (Some(false), Some(parent)) if purpose == "write" => self.has(parent),
            (has, _) => has,
        }
    }

    /// The same of a path below a name where the way ended, of which nothing more may be heard: as if it were there where a secret is on
    /// that way.
    pub(crate) fn could_have_below(&self, ended: &Path, path: &Path, purpose: &str) -> Option<bool> {
        let has = self.could_have(path, purpose);
        let secret = || self.secret_on_the_way(ended).is_some();
        if has == Some(false) && ended != path && secret() { Some(true) } else { has }
    }

    /// Where a name that leads up leads, as far as that; `None`: what it leads up from is no directory, or not to be looked at.
    pub(crate) fn led_up(&self, named: &Path) -> Option<PathBuf> {
        let parts: Vec<_> = named.components().collect();
        let last = parts.iter().rposition(|part| *part == Component::ParentDir)?;
        let (up, rest) = parts.split_at(last + 1);
        let mut from = PathBuf::new();
        for part in up {
            if *part != Component::ParentDir {
                from.push(part);
            } else if self.has(&from) == Some(true) && from.is_dir() {
                from = from.canonicalize().ok()?;
                from.pop();
            } else {
                return None;
            }
        }
        Some(from.join(rest.iter().collect::<PathBuf>()))
    }

    /// A secret that it has, in whatever home, at, above or below a path.
    pub(crate) fn secret_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        ringfence_policy::secret_on_the_way(path, |path| self.has(path) == Some(true))
    }

    /// What a grant has to name: a name that is not there is its directory's to make.
    pub(crate) fn named<'a>(&self, path: &'a Path, write: bool) -> &'a Path {
        let above = path.parent().filter(|_| write && self.has(path) == Some(false));
        above.filter(|above| self.has(above) == Some(true)).unwrap_or(path)
    }

    /// Whether its own permissions keep it from this user, whom no grant gives more.
    pub(crate) fn barred(&self, path: &Path, access: ringfence_policy::Access) -> bool {
        let flag = match access {
            ringfence_policy::Access::Read => Access::READ_OK,
            ringfence_policy::Access::Write => Access::WRITE_OK,
            ringfence_policy::Access::Exec => Access::EXEC_OK,
        };
        let kept = || {
            let asked = accessat(CWD, path, flag, AtFlags::EACCESS);
            matches!(asked, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
        };
        !self.is_elsewhere(path)
            && (kept() || self.task.as_ref().is_some_and(|task| task.barred(path, access)))
    }

    /// Whether a grant of it is none: it is not there, or a link to what is not.
    pub(crate) fn leads_nowhere(&self, path: &Path) -> bool {
        let gone = || {
            matches!(
                accessat(CWD, path, Access::EXISTS, AtFlags::EACCESS),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
            )
        };
        self.has(path) == Some(false) || self.has(path) == Some(true) && gone()
    }

    fn is_elsewhere(&self, path: &Path) -> bool {
        self.elsewhere.get_or_init(elsewhere).iter().any(|mount| path.starts_with(mount))
    }

    /// Whether there is anything of that name; `None` if it is not looked for, or this user may not see it.
    pub(crate) fn has(&self, path: &Path) -> Option<bool> {
        if self.is_elsewhere(path) {
            return None;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(CWD, path, flags, StatxFlags::TYPE) {
            Ok(_) => Some(true),
            // Bytes of its name were lost where it was written down.
            Err(_) if path.to_str().is_some_and(|path| path.contains(char::REPLACEMENT_CHARACTER)) => None,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL) => Some(false),
            Err(_) => None,
        }
    }
}

/// By mountinfo (proc_pid_mountinfo(5)): the fifth field is the place, the kind follows a lone hyphen.
fn elsewhere() -> Vec<PathBuf> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .filter_map(|line| {
            let (place, kind) = (line.split(' ').nth(4)?, line.split_once(" - ")?.1.split(' ').next()?);
            let foreign = ELSEWHERE.contains(&kind) || kind.starts_with("fuse.");
            foreign.then(|| unescaped(place.as_bytes()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_not() {
        let host = Host::new();
        assert_eq!(host.has(Path::new("/proc/self")), Some(true));
        assert_eq!(host.has(Path::new("/no-such-name")), Some(false));
        assert_eq!(host.has(Path::new("/proc/version/x")), Some(false));
        let never = Host { elsewhere: OnceCell::from(vec![PathBuf::from("/proc")]), task: None };
        assert_eq!(never.has(Path::new("/proc/self")), None);
    }
}
