//! A host directory, an overlay over it, and a task in the overlay; snapshots to compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringfence_workspace::{
    Change, Kind, Layer, Options, Reason, Refused, Root, Timestamp, diff, plan_apply_with,
};
use tempfile::TempDir;

/// A workspace with one layer.
pub(crate) struct Case {
    pub(crate) home: TempDir,
    pub(crate) host: PathBuf,
    pub(crate) layer: Layer,
}

impl Case {
    /// `setup` is a shell script that fills the host's directory, `task` one that runs in the overlay.
    pub(crate) fn new(setup: &str, task: &str) -> Self {
        let case = Self::before(setup);
        case.task(task);
        case
    }

    /// The same on another file system.
    pub(crate) fn within(place: &Path, setup: &str, task: &str) -> Self {
        let case = Self::before_in(tempfile::tempdir_in(place).unwrap(), setup);
        case.task(task);
        case
    }

    /// Everything up to the start of the task.
    pub(crate) fn before(setup: &str) -> Self {
        Self::before_in(tempfile::tempdir().unwrap(), setup)
    }

    pub(crate) fn before_in(home: TempDir, setup: &str) -> Self {
        let host = home.path().join("host");
        for name in ["host", "upper", "work", "merged", "outside"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        fs::write(home.path().join("outside/secret"), "CANARY").unwrap();
        shell(&host, setup);
        // The clock of the kernel's file times advances in ticks of up to 10 ms.
        std::thread::sleep(Duration::from_millis(25));
        let layer = Layer {
            name: "workspace".into(),
            host: host.clone(),
            upper: home.path().join("upper"),
            started: Timestamp::now(),
            root: Root::of(&host).unwrap(),
            protect: Vec::new(),
            obeyed: Vec::new(),
            scan: None,
            secrets: Default::default(),
            began: Default::default(),
            outputs: None,
        };
        Self { home, host, layer }
    }

    /// Runs a script in the overlay, as the sandbox mounts it.
    pub(crate) fn task(&self, script: &str) {
        let mount = "mount -t overlay overlay -o userxattr,lowerdir=host,upperdir=upper,workdir=work merged && cd merged";
        let status = Command::new("unshare")
            .args(["-Urm", "bash", "-ec", &format!("{mount}\n{script}")])
            .current_dir(self.home.path())
            .status()
            .unwrap();
        assert!(status.success(), "the task failed");
        std::thread::sleep(Duration::from_millis(25));
    }

    pub(crate) fn protect(mut self, patterns: &[&str]) -> Self {
        self.layer.protect = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        self
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        vec![self.layer.clone()]
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.home.path().join("apply")
    }

    /// Something happens on the host after the task.
    pub(crate) fn on_host(&self, script: &str) {
        shell(&self.host, script);
    }

    pub(crate) fn diff(&self) -> Vec<Change> {
        diff(&self.layers()).unwrap()
    }

    /// `A path`, `M path`, ... of what is not brought about by a directory's change.
    pub(crate) fn summary(&self) -> Vec<String> {
        self.diff().iter().map(summarize).collect()
    }

    pub(crate) fn apply(&self) -> Result<ringfence_workspace::Applied, Refused> {
        let options = Options { journals: vec![self.journal()], ..Options::default() };
        ringfence_workspace::apply(plan_apply_with(&self.layers(), &options)?, &self.journal())
    }

    /// Applying must be refused for this path, and change nothing.
    pub(crate) fn refused(&self, path: &str, wanted: impl Fn(&Reason) -> bool) {
        let before = snapshot(&self.host);
        let refused = self.apply().expect_err("the apply was not refused");
        let named =
            refused.refusals.iter().any(|refusal| refusal.path == Path::new(path) && wanted(&refusal.reason));
        assert!(named, "{path}: {refused}");
        assert!(refused.refusals.iter().all(|refusal| !refusal.remedy.is_empty()));
        assert_eq!(before, snapshot(&self.host), "a refused apply changed something");
        assert_eq!(fs::read(self.home.path().join("outside/secret")).unwrap(), b"CANARY");
    }

    /// Applying must succeed, and leave the host as this script makes a copy of it.
    pub(crate) fn lands_like(&self, setup: &str, task: &str) {
        self.apply().unwrap();
        let other = tempfile::tempdir().unwrap();
        shell(other.path(), setup);
        shell(other.path(), task);
        assert_eq!(snapshot(&self.host), snapshot(other.path()));
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.host.join(path)).unwrap()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(self.home.path()).status();
    }
}

pub(crate) fn summarize(change: &Change) -> String {
    format!("{} {}", change.kind.letter(), change.path.to_string_lossy())
}

pub(crate) fn change<'a>(changes: &'a [Change], path: &str) -> &'a Change {
    changes
        .iter()
        .find(|change| change.path == Path::new(path))
        .unwrap_or_else(|| panic!("no change of {path}"))
}

pub(crate) fn kind(changes: &[Change], path: &str) -> Kind {
    change(changes, path).kind
}

pub(crate) fn shell(directory: &Path, script: &str) {
    let status = Command::new("bash").args(["-ec", script]).current_dir(directory).status().unwrap();
    assert!(status.success(), "failed: {script}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Every entry with its type, permission bits and content.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut queue = vec![root.to_owned()];
    while let Some(directory) = queue.pop() {
        let mode = fs::metadata(&directory).unwrap().permissions();
        // Root reads it as it is; nobody's own closed directory gets a new change time from this look.
        let closed = !is_root() && mode.mode() & 0o500 != 0o500;
        if closed {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let what = if stat.is_dir() {
                queue.push(path.clone());
                "directory".to_owned()
            } else if stat.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if stat.is_file() && stat.len() < 1 << 20 {
                content(&path, &stat)
            } else {
                format!("{} bytes", stat.len())
            };
            let mode = if stat.is_symlink() { 0 } else { stat.mode() & 0o7777 };
            let name = path.strip_prefix(root).unwrap().to_owned();
            all.insert(name, format!("{mode:o} {what}{}", attributes(&path)));
        }
        if closed {
            // Queued directories below are still to be read, so it stays open until the end of this process's look.
            queue.insert(0, directory.clone());
            let (inside, rest): (Vec<_>, Vec<_>) = queue
                .drain(..)
                .filter(|path| path != &directory)
                .partition(|path| path.starts_with(&directory));
            for path in inside {
                all.extend(
                    snapshot(&path)
                        .into_iter()
                        .map(|(below, what)| (path.strip_prefix(root).unwrap().join(below), what)),
                );
            }
            queue = rest;
            fs::set_permissions(&directory, mode).unwrap();
        }
    }
    all
}

/// The user's extended attributes.
fn attributes(path: &Path) -> String {
    let mut list = vec![0_u8; 65_536];
    let length = rustix::fs::llistxattr(path, &mut list).unwrap_or(0);
    let mut names: Vec<_> =
        list[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")).collect();
    names.sort_unstable();
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 65_536];
        rustix::fs::lgetxattr(path, name, &mut value).map(|length| value[..length].escape_ascii().to_string())
    };
    names.iter().map(|name| format!(" {}={:?}", name.escape_ascii(), value(name))).collect()
}

fn content(path: &Path, stat: &fs::Metadata) -> String {
    let readable = is_root() || stat.mode() & 0o400 != 0;
    if !readable {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let bytes = fs::read(path).unwrap();
    if !readable {
        fs::set_permissions(path, stat.permissions()).unwrap();
    }
    bytes.escape_ascii().to_string()
}

/// Names below a directory that an apply builds in.
pub(crate) fn leftovers(root: &Path) -> Vec<PathBuf> {
    fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().as_bytes().starts_with(b".ringfence"))
        .collect()
}
