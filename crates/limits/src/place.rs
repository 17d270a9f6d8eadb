//! Where this process may make control groups: cgroup v2 where the controllers are delegated to it, else v1 (cgroups(7)).

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// A directory below which groups can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One hierarchy with every controller that is asked for.
    Unified(PathBuf),
    /// A hierarchy for each controller: memory, pids, cpu; what is not there is `None`.
    Separate {
        /// memory
        memory: Option<PathBuf>,
        /// pids
        pids: Option<PathBuf>,
        /// cpu
        cpu: Option<PathBuf>,
    },
}

/// Looks for a place with these controllers of `memory`, `pids` and `cpu`.
///
/// # Errors
/// Why there is none, in words.
pub fn probe(controllers: &[&str]) -> Result<Place, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    find(&mounts, &own, controllers, &writable)
}

fn writable(directory: &Path) -> bool {
    access(directory, Access::WRITE_OK).is_ok()
        && access(directory.join("cgroup.procs"), Access::WRITE_OK).is_ok()
}

/// The decision, apart from the host.
fn find(
    mounts: &str,
    own: &str,
    controllers: &[&str],
    writable: &dyn Fn(&Path) -> bool,
) -> Result<Place, String> {
    let unified = unified(mounts, own, controllers, writable);
    if let Some(place) = unified {
        return Ok(Place::Unified(place));
    }
    let one = |name: &str| {
        let directory = separate(mounts, own, name)?;
        (controllers.contains(&name) && writable(&directory)).then_some(directory)
    };
    let (memory, pids, cpu) = (one("memory"), one("pids"), one("cpu"));
    let missing: Vec<&str> = controllers
        .iter()
        .copied()
        .filter(|name| match *name {
            "memory" => memory.is_none(),
            "pids" => pids.is_none(),
            _ => cpu.is_none(),
        })
        .collect();
    if missing.is_empty() {
        return Ok(Place::Separate { memory, pids, cpu });
    }
    Err(format!("no control group with `{}` may be made here", missing.join("`, `")))
}

/// The nearest group at or above our own that hands the controllers on to its children. A group with processes in it
/// hands none on but the root (Documentation/admin-guide/cgroup-v2.rst, No Internal Process Constraint).
fn unified(
    mounts: &str,
    own: &str,
    controllers: &[&str],
    writable: &dyn Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let (root, mount) = mount_of(mounts, |kind, _| kind == "cgroup2")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
    let mount = PathBuf::from(mount);
    let start = mount.join(below.trim_start_matches('/'));
    start
        .ancestors()
        .take_while(|directory| directory.starts_with(&mount))
        .find(|directory| {
            let handed =
                std::fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
            controllers.iter().all(|name| handed.split_whitespace().any(|word| word == *name))
                && writable(directory)
        })
        .map(Path::to_path_buf)
}

/// Our own group in the hierarchy of one controller.
fn separate(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let has = |options: &str| options.split(',').any(|word| word == controller);
    let (root, mount) = mount_of(mounts, |kind, options| kind == "cgroup" && has(options))?;
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        has(names).then_some(path)
    })?;
    // In a container the hierarchy's root as it is mounted is our own group.
    let below = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
    Some(Path::new(mount).join(below.trim_start_matches('/')))
}

/// Root within its file system, and mount point, of the first mount that fits (proc(5), mountinfo).
fn mount_of(mounts: &str, fits: impl Fn(&str, &str) -> bool) -> Option<(&str, &str)> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, mount) = (front.next()?, front.next()?);
        let mut back = back.split(' ');
        let (kind, options) = (back.next()?, back.nth(1)?);
        fits(kind, options).then_some((root, mount))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 29 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
32 29 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";

    #[test]
    fn each_controller_of_the_first_version_is_found_in_its_hierarchy() {
        let own = "5:memory:/a\n4:pids:/\n3:cpu,cpuacct:/b/c\n";
        let place = find(V1, own, &["memory", "pids", "cpu"], &|_| true).unwrap();
        assert_eq!(
            place,
            Place::Separate {
                memory: Some("/sys/fs/cgroup/memory/a".into()),
                pids: Some("/sys/fs/cgroup/pids/".into()),
                cpu: Some("/sys/fs/cgroup/cpu,cpuacct/b/c".into()),
            }
        );
        let refused = find(V1, own, &["memory", "pids"], &|path| !path.starts_with("/sys/fs/cgroup/pids"));
        assert_eq!(refused.unwrap_err(), "no control group with `pids` may be made here");
    }

    #[test]
    fn the_nearest_group_that_hands_on_is_taken() {
        // A model of the file tree: the kernel here may offer the first version only.
        let home = tempfile::tempdir().unwrap();
        let mounts = format!("30 29 0:26 / {} rw - cgroup2 cgroup2 rw", home.path().display());
        let own = home.path().join("user.slice/app.slice/a.scope");
        std::fs::create_dir_all(&own).unwrap();
        let slice = home.path().join("user.slice/app.slice");
        std::fs::write(slice.join("cgroup.subtree_control"), "memory pids\n").unwrap();
        std::fs::write(own.join("cgroup.subtree_control"), "\n").unwrap();
        let line = "0::/user.slice/app.slice/a.scope\n";
        assert_eq!(find(&mounts, line, &["memory"], &|_| true), Ok(Place::Unified(slice.clone())));
        assert!(find(&mounts, line, &["memory", "cpu"], &|_| true).is_err());
        assert!(find(&mounts, line, &["memory"], &|path| path != slice).is_err());
    }
}
