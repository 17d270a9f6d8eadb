//! What can be written outside of the current directory, and whether something on the host runs it later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringfence_audit::{Level, places};

use crate::Request;
use crate::look::{Store, entries, shown, store, text, writable};
use crate::report::Out;

/// Mount points that are looked at.
const MOUNTS: usize = 512;
/// File systems that hold no files of anybody's.
const KERNEL: &[&str] = &[
    "proc",
    "sysfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
    "pstore",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "hugetlbfs",
    "autofs",
    "devtmpfs",
    "nsfs",
    "efivarfs",
    "rpc_pipefs",
];

pub(crate) fn look(request: &Request, out: &mut Out<'_>) {
    let cwd = request.cwd.as_path();
    let outside = |path: &Path| !path.starts_with(cwd);
    let mut later: BTreeMap<Store, Vec<String>> = BTreeMap::new();
    let mut seen = Vec::new();
    let own_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let listed =
        places(&request.home).into_iter().filter(|place| place.level == Level::High).map(|place| place.path);
    for path in listed.chain(own_path.into_iter().filter(|path| path.is_absolute())) {
        if outside(&path) && writable(&path) {
            later.entry(store(&path)).or_default().push(shown(&path));
            seen.push(path);
        }
    }
    let why = "what is written there is run by a shell, a tool, an agent or the system of the host later";
    let none = "nothing that runs later can be written";
    told(out, "writes-run-later", later, [Level::Medium, Level::Medium, Level::High], none, why);
    let mut elsewhere: BTreeMap<Store, Vec<String>> = BTreeMap::new();
    for path in candidates(request) {
        // What lies in a root that can be written is told of nevertheless.
        let below = seen.iter().any(|seen| seen != Path::new("/") && path.starts_with(seen));
        if outside(&path) && !below && writable(&path) {
            elsewhere.entry(store(&path)).or_default().push(shown(&path));
            seen.push(path);
        }
    }
    let none = "nothing outside of the current directory can be written";
    let why = "files of others, or of the host, can be changed or removed, and data left for others";
    told(out, "writes-outside", elsewhere, [Level::Note, Level::Low, Level::Medium], none, why);
    out.either(
        "writes-here",
        Level::Note,
        writable(cwd),
        ("the current directory can be written", "the current directory cannot be written"),
        "that is what it is for, where changes are looked at before they count",
    );
}

/// By where it is kept: in memory and in layers, it may be the environment's own.
fn told(
    out: &mut Out<'_>,
    id: &str,
    found: BTreeMap<Store, Vec<String>>,
    levels: [Level; 3],
    none: &str,
    why: &str,
) {
    let [memory, layers, disk] = levels;
    for (kept, suffix, level, open) in [
        (Store::Disk, "", disk, "can be written"),
        (Store::Layers, "-layer", layers, "can be written, in a layer that may be this environment's own"),
        (Store::Memory, "-memory", memory, "can be written, in memory that may be this environment's own"),
    ] {
        let names = found.get(&kept).cloned().unwrap_or_default();
        let what = format!("{} {open}", names.len());
        out.list(&format!("{id}{suffix}"), level, names, &what, none, why);
    }
}

fn candidates(request: &Request) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    found.extend(mounts());
    found.extend(entries(Path::new("/")));
    for directory in ["/var", "/run", "/home", "/mnt", "/media", "/srv"] {
        found.extend(entries(Path::new(directory)));
    }
    found.push("/dev/shm".into());
    found.push(request.home.clone());
    found.extend(entries(&request.home));
    if let Some(parent) = request.cwd.parent() {
        found.push(parent.to_path_buf());
        found.extend(entries(parent));
    }
    found.retain(|path| !["/proc", "/sys"].iter().any(|kernel| path.starts_with(kernel)));
    // Above before below, so that what lies in one that was told of is not told again.
    found.sort_by_key(|path| path.as_os_str().len());
    found.dedup();
    found
}

/// Mount points of file systems that hold files (proc(5), mountinfo).
fn mounts() -> Vec<PathBuf> {
    let table = text("/proc/self/mountinfo");
    let one = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let kind = tail.split(' ').next()?;
        let point = head.split(' ').nth(4)?;
        (!KERNEL.contains(&kind)).then(|| PathBuf::from(point.replace("\\040", " ")))
    };
    table.lines().filter_map(one).take(MOUNTS).collect()
}
