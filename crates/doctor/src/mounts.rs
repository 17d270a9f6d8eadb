//! What can be mounted: each in a mount namespace that is gone again at once.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{Host, Invoker};
use ringfence_sys::mount::{self, Attributes};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::attempt::{Answer, MOUNT, PROCESSES, USER, attempt, with_child, words};
use crate::namespaces::untried;
use crate::scratch::Scratch;
use crate::surroundings::{Surroundings, read};
use crate::{Check, remedy};

const MOUNTS: &str = "mounts";
const PROC: &str = "a fresh /proc";
const OVERLAY: &str = "copy-on-write";
const FUSE: &str = "/dev/fuse";
const MAPPED: &str = "idmapped mounts";
const EMPTY: &CStr = c"";

/// The modes that work without an overlay.
const NO_OVERLAY: &str = "`ringfence run` is refused in the modes `review` (the default) and `discard`";
const OTHER_MODES: &str = "choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`";

pub(crate) fn check(
    around: &Surroundings,
    host: &Host,
    invoker: &Invoker,
    namespaces: bool,
    scratch: Option<&Scratch>,
    checks: &mut Vec<Check>,
) {
    if !namespaces {
        checks.extend([MOUNTS, OVERLAY, FUSE].map(untried));
        // What hides parts of it can be seen without trying.
        let hidden = hidden();
        checks.push(if hidden.is_empty() { untried(PROC) } else { masked(around, host, &hidden) });
        return;
    }
    let mounts = mounts(around, host);
    let can = mounts.state == crate::State::Good;
    checks.push(mounts);
    if can {
        checks.push(proc(around, host));
        checks.push(overlay(around, host, scratch));
    } else {
        checks.extend([PROC, OVERLAY].map(|name| Check::unknown(name, "nothing can be mounted")));
    }
    if invoker.root {
        checks.push(mapped(&invoker.cwd, host));
    }
    checks.push(fuse());
}

fn mounts(around: &Surroundings, host: &Host) -> Check {
    let answer = attempt(MOUNT, || attach(&tmpfs()?, c"/"));
    match answer {
        Answer::Works => Check::good(MOUNTS, "a tmpfs was mounted"),
        Answer::Late => Check::unknown(MOUNTS, answer.to_string()),
        _ => {
            let who = match (&around.apparmor, around.filtered) {
                (Some(label), _) => format!("AppArmor's `{label}` refuses them"),
                (None, true) => {
                    "a Landlock domain or a seccomp filter around this process refuses them".into()
                }
                (None, false) => {
                    "a Landlock domain or another security module around this process refuses them".into()
                }
            };
            let remedy = if around.contained() {
                remedy::surroundings(around)
            } else {
                vec![
                    "start ringfence outside of what put this process there: nobody can leave a Landlock domain \
                     (nono, landrun, sandlock, codex and others make one)"
                        .into(),
                ]
            };
            Check::of_namespaces(host, MOUNTS, format!("{who} ({answer})")).with_remedy(remedy)
        }
    }
}

fn proc(around: &Surroundings, host: &Host) -> Check {
    if !host.proc {
        return masked(around, host, &hidden());
    }
    let answer = attempt(PROCESSES, || {
        let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        attach(&fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags())?, c"/proc")
    });
    match answer {
        Answer::Works => Check::good(PROC, "mounted"),
        Answer::Fails(Errno::PERM) => masked(around, host, &hidden()),
        Answer::Late => Check::unknown(PROC, answer.to_string()),
        _ => Check::of_namespaces(host, PROC, answer.to_string()).with_remedy(remedy::surroundings(around)),
    }
}

/// The kernel gives a user namespace a fresh proc only where an unmasked one is in sight.
fn masked(around: &Surroundings, host: &Host, hidden: &[String]) -> Check {
    let found = match hidden {
        [] => "no unmasked /proc is in sight, so the kernel lets nobody mount a new one".to_owned(),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("mounts cover {first}{more}, so the kernel lets nobody mount a new one")
        }
    };
    let mut remedy = remedy::surroundings(around);
    if !around.contained() {
        remedy =
            vec!["start ringfence where nothing is mounted on parts of /proc (`findmnt -R /proc`)".into()];
    }
    Check::of_namespaces(host, PROC, found).with_remedy(remedy)
}

/// What is mounted below /proc. binfmt_misc covers nothing, being mounted on an empty directory.
fn hidden() -> Vec<String> {
    let mounts = read("/proc/self/mountinfo");
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with("/proc/") && *point != "/proc/sys/fs/binfmt_misc")
        .map(str::to_owned)
        .collect()
}

fn overlay(around: &Surroundings, host: &Host, scratch: Option<&Scratch>) -> Check {
    if !host.overlay {
        return Check::missing(
            OVERLAY,
            "this kernel cannot mount an overlay in a user namespace (Linux 5.11)",
        )
        .with_effect(NO_OVERLAY)
        .with_remedy(vec!["boot Linux 6.1 or later".into(), OTHER_MODES.into()]);
    }
    let Some((scratch, places)) = scratch.and_then(|scratch| Some((scratch, places(scratch)?))) else {
        return Check::unknown(OVERLAY, "the state directory cannot be written");
    };
    let answer = attempt(MOUNT, || lay(&places));
    let kind = file_system(scratch.path()).unwrap_or_else(|| "its file system".into());
    let (found, remedy) = match answer {
        Answer::Works => return Check::good(OVERLAY, format!("an overlay over {kind} was mounted")),
        Answer::Late => return Check::unknown(OVERLAY, answer.to_string()),
        Answer::Fails(Errno::NODEV) => {
            ("this kernel has no overlayfs loaded".to_owned(), vec!["sudo modprobe overlay".to_owned()])
        }
        Answer::Fails(Errno::INVAL | Errno::OPNOTSUPP) => (
            format!(
                "{kind}, where the state directory lies, cannot hold the changes of an overlay ({answer})"
            ),
            vec!["export RINGFENCE_STATE=DIRECTORY   # on ext4, xfs, btrfs or tmpfs".to_owned()],
        ),
        // There a run that is refused this takes the other tier.
        Answer::Fails(Errno::PERM | Errno::ACCESS | Errno::NOSYS) if around.contained() => {
            return Check::of_namespaces(host, OVERLAY, format!("an overlay is refused ({answer})"))
                .with_remedy(remedy::surroundings(around));
        }
        _ => (format!("an overlay is refused ({answer})"), remedy::surroundings(around)),
    };
    let remedy = remedy.into_iter().chain([OTHER_MODES.to_owned()]).collect();
    Check::missing(OVERLAY, found).with_effect(NO_OVERLAY).with_remedy(remedy)
}

/// Lower, upper and work directory, and where the overlay goes.
fn places(scratch: &Scratch) -> Option<[PathBuf; 4]> {
    let one = |name| scratch.directory(&format!("overlay/{name}")).ok();
    Some([one("lower")?, one("upper")?, one("work")?, one("merged")?])
}

fn lay([lower, upper, work, merged]: &[PathBuf; 4]) -> Result<(), Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"lowerdir", lower)?;
    fsconfig_set_string(&context, c"upperdir", upper)?;
    fsconfig_set_string(&context, c"workdir", work)?;
    fsconfig_set_flag(&context, c"userxattr")?;
    fsconfig_create(&context)?;
    attach(&fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags())?, merged.as_path())
}

/// The type of the file system that a path is on.
fn file_system(path: &Path) -> Option<String> {
    let device = path.metadata().ok()?.dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = read("/proc/self/mountinfo");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    line.split(" - ").nth(1)?.split(' ').next().map(str::to_owned)
}

/// Root's sandboxes only: the directory that would be worked on, shown with another owner.
fn mapped(directory: &Path, host: &Host) -> Check {
    let kind = file_system(directory).unwrap_or_else(|| "its file system".into());
    let outcome = with_child(USER, |pid, _, _| {
        let map = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
        let map = rustix::fs::openat(CWD, map, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = open_tree(CWD, directory, flags)?;
        mount::set_attributes(tree.as_fd(), EMPTY, false, Attributes::default(), Some(map.as_fd()))
    });
    match outcome.and_then(|inner| inner) {
        Ok(()) => Check::good(MAPPED, format!("{kind}, where this directory lies, can be idmapped")),
        Err(Errno::INVAL) => {
            Check::missing(MAPPED, format!("{kind}, where {} lies, cannot be idmapped", directory.display()))
                .with_effect("what root's sandboxes would write here is refused")
                .with_remedy(vec![
            "work on ext4, xfs, btrfs or tmpfs; or start ringfence as the files' owner, who needs no mapping"
                .into(),
        ])
        }
        Err(errno) => Check::of_namespaces(host, MAPPED, words(errno))
            .with_remedy(vec!["start ringfence as the files' owner, who needs no mapping".into()]),
    }
}

fn fuse() -> Check {
    let effect = "the root of a sandbox is an empty tmpfs: the same refusals, without an event each";
    let answer = attempt(USER, || {
        rustix::fs::openat(CWD, c"/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map(drop)
    });
    match answer {
        Answer::Works => Check::good(FUSE, "opened in a user namespace"),
        Answer::Fails(Errno::NOENT) => Check::degraded(FUSE, "it is not there", effect).with_remedy(vec![
            "sudo modprobe fuse   # in a container: docker run --device /dev/fuse ...".into(),
        ]),
        Answer::Fails(Errno::ACCESS | Errno::PERM) => {
            let mode = Path::new(FUSE).metadata().map(|metadata| metadata.mode() & 0o777).unwrap_or_default();
            let allowed = mode & 0o006 == 0o006;
            let found = format!("it cannot be opened: mode {mode:04o}, owner root ({answer})");
            let remedy = if allowed {
                vec!["let the container have the device: docker run --device /dev/fuse ...".to_owned()]
            } else {
                vec![
                    "sudo chmod 0666 /dev/fuse".to_owned(),
                    "echo 'KERNEL==\"fuse\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/60-fuse.rules   # for later boots".to_owned(),
                ]
            };
            Check::degraded(FUSE, found, effect).with_remedy(remedy)
        }
        Answer::Late => Check::unknown(FUSE, answer.to_string()),
        _ => Check::degraded(FUSE, format!("it cannot be opened ({answer})"), effect)
            .with_remedy(vec!["sudo modprobe fuse".into()]),
    }
}

fn tmpfs() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags())
}

fn flags() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn attach(mount: &OwnedFd, at: impl rustix::path::Arg) -> Result<(), Errno> {
    move_mount(mount, EMPTY, CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
