//! Control groups: whether limits could be exact. Nothing is made here, only permissions are read.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::Check;
use crate::surroundings::read;

const NAME: &str = "control groups";

/// What limits need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// A mounted hierarchy.
struct Hierarchy {
    at: PathBuf,
    version: u8,
    options: String,
}

impl Hierarchy {
    /// Version 1 with this controller.
    fn has(&self, controller: &str) -> bool {
        self.version == 1 && self.options.split(',').any(|name| name == controller)
    }
}

pub(crate) fn check() -> Check {
    let hierarchies = mounted(&read("/proc/self/mountinfo"));
    let own = read("/proc/self/cgroup");
    let effect = "limits are rlimits and polling, shown as `polled`; `limits.exact = true` is refused";
    let found = match unified(&hierarchies, &own) {
        Ok(place) => return Check::good(NAME, format!("version 2, delegated: {}", place.display())),
        Err(found) => found,
    };
    let legacy: Vec<PathBuf> =
        CONTROLLERS.iter().filter_map(|name| legacy(&hierarchies, &own, name)).collect();
    if legacy.len() == CONTROLLERS.len() {
        return Check::good(NAME, "version 1, writable: memory, pids");
    }
    let old = hierarchies.iter().any(|hierarchy| hierarchy.version == 1);
    let absent: Vec<&str> =
        CONTROLLERS.into_iter().filter(|name| !hierarchies.iter().any(|one| one.has(name))).collect();
    let (found, remedy) = if old && !absent.is_empty() {
        (
            format!("version 1, without the controllers {}", absent.join(" and ")),
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    } else if old {
        (
            "version 1, where only root may make groups".to_owned(),
            "boot with systemd.unified_cgroup_hierarchy=1, or run as root",
        )
    } else if hierarchies.is_empty() {
        ("none is mounted".to_owned(), "mount -t cgroup2 none /sys/fs/cgroup")
    } else {
        (found.to_owned(), "systemd-run --user --scope --property=Delegate=yes -- ringfence run ...")
    };
    Check::degraded(NAME, found, effect).with_remedy(vec![remedy.to_owned()])
}

fn mounted(mounts: &str) -> Vec<Hierarchy> {
    let one = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup2" => 2,
            "cgroup" => 1,
            _ => return None,
        };
        let options = right.nth(1).unwrap_or_default().to_owned();
        Some(Hierarchy { at: left.split(' ').nth(4)?.into(), version, options })
    };
    mounts.lines().filter_map(one).collect()
}

/// This process' own group where it may make others below it, with the controllers that limits need.
fn unified(hierarchies: &[Hierarchy], own: &str) -> Result<PathBuf, &'static str> {
    let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.version == 2).ok_or("no version 2")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no group of version 2")?;
    let place = place(&hierarchy.at, path);
    let controllers = std::fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
    if !CONTROLLERS.iter().all(|name| controllers.split_whitespace().any(|found| found == *name)) {
        return Err("version 2, without the controllers memory and pids here");
    }
    let writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    if writable(&place) && writable(&place.join("cgroup.procs")) {
        Ok(place)
    } else {
        Err("version 2, not delegated to this user")
    }
}

fn legacy(hierarchies: &[Hierarchy], own: &str, controller: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split(',').any(|name| name == controller);
    let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.has(controller))?;
    let path = own.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        has(names).then_some(path)
    })?;
    let place = place(&hierarchy.at, path);
    access(&place, Access::WRITE_OK).is_ok().then_some(place)
}

/// In a container the hierarchy may be mounted from the group itself on.
fn place(at: &Path, path: &str) -> PathBuf {
    let below = at.join(path.trim_start_matches('/'));
    if below.is_dir() { below } else { at.to_path_buf() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_mounts() {
        let text = "33 24 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                    36 24 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    40 24 0:5 / /dev rw - devtmpfs udev rw\n";
        let found = mounted(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].version, found[0].at.as_path()), (2, Path::new("/sys/fs/cgroup")));
        assert_eq!((found[1].version, found[1].options.as_str()), (1, "rw,memory"));
        assert!(found[1].has("memory") && !found[1].has("pids") && !found[0].has("memory"));
    }
}
