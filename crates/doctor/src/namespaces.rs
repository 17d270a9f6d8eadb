//! User namespaces and the others, made for real; where they are refused, by whom.

use std::path::Path;

use ringfence_plan::Host;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::attempt::{Answer, USER, attempt};
use crate::surroundings::{Surroundings, read};
use crate::{Check, remedy};

const NAME: &str = "user namespaces";
const OTHERS: &str = "other namespaces";

/// Whether there are user namespaces, which most other attempts need.
pub(crate) fn check(around: &Surroundings, host: &Host, binary: &Path, checks: &mut Vec<Check>) -> bool {
    let answer = attempt(USER, || Ok(()));
    let works = answer == Answer::Works && host.no_user_namespaces.is_none();
    checks.push(if works {
        Check::good(NAME, "made, and ids mapped")
    } else {
        let (found, remedy) = cause(answer, around, host, binary);
        Check::of_namespaces(host, NAME, found).with_remedy(remedy)
    });
    checks.push(if works { others(around, host) } else { untried(OTHERS) });
    works
}

/// What nobody could try.
pub(crate) fn untried(name: &'static str) -> Check {
    Check::unknown(name, "it needs a user namespace")
}

fn others(around: &Surroundings, host: &Host) -> Check {
    let all = [
        ("mount", UnshareFlags::NEWNS),
        ("pid", UnshareFlags::NEWPID),
        ("ipc", UnshareFlags::NEWIPC),
        ("uts", UnshareFlags::NEWUTS),
        ("network", UnshareFlags::NEWNET),
        ("cgroup", UnshareFlags::NEWCGROUP),
    ];
    let refused: Vec<(&str, Answer)> = all
        .iter()
        .map(|(name, flag)| (*name, attempt(USER | u64::from(flag.bits()), || Ok(()))))
        .filter(|(_, answer)| *answer != Answer::Works)
        .collect();
    if refused.is_empty() {
        return Check::good(OTHERS, "mount, pid, ipc, uts, network and cgroup");
    }
    let found: Vec<String> = refused.iter().map(|(name, answer)| format!("{name}: {answer}")).collect();
    let found = found.join(", ");
    if refused.iter().all(|(_, answer)| *answer == Answer::Late) {
        return Check::unknown(OTHERS, found);
    }
    let limited = refused.iter().any(|(_, answer)| *answer == Answer::Fails(Errno::NOSPC));
    let remedy = if limited {
        refused.iter().flat_map(|(name, _)| remedy::sysctl(&limit(name))).collect()
    } else {
        remedy::surroundings(around)
    };
    Check::of_namespaces(host, OTHERS, found).with_remedy(remedy)
}

fn limit(name: &str) -> String {
    let short = match name {
        "mount" => "mnt",
        "network" => "net",
        other => other,
    };
    format!("user.max_{short}_namespaces=15000")
}

/// Who refuses user namespaces, and what changes that; the most certain evidence first.
fn cause(answer: Answer, around: &Surroundings, host: &Host, binary: &Path) -> (String, Vec<String>) {
    let refused = matches!(answer, Answer::Fails(Errno::PERM | Errno::ACCESS));
    if let Some(cause) = &host.no_user_namespaces {
        return (cause.clone(), switched_off(cause, around));
    }
    if Path::new("/proc/self/status").exists() && !Path::new("/proc/self/ns/user").exists() {
        return (
            "this kernel was built without them".into(),
            vec!["use a kernel with CONFIG_USER_NS".into()],
        );
    }
    match answer {
        Answer::Fails(Errno::NOSPC | Errno::USERS) => {
            let found = "the limit of an enclosing user namespace is reached, as `bwrap --disable-userns` sets it";
            let mut remedy = remedy::surroundings(around);
            remedy.push("or raise user.max_user_namespaces in the namespace that limits it".into());
            (found.into(), remedy)
        }
        Answer::Fails(Errno::NOSYS) if around.filtered => {
            ("a seccomp filter hides clone3, as Docker's default does".into(), remedy::surroundings(around))
        }
        _ if refused && around.profile_needed && !around.root && !(around.filtered && around.contained()) => (
            "kernel.apparmor_restrict_unprivileged_userns is 1: AppArmor allows them only to programs with a profile"
                .into(),
            remedy::apparmor(binary),
        ),
        Answer::Fails(_) | Answer::Killed(_) if around.filtered => {
            (format!("a seccomp filter refuses them ({answer})"), remedy::surroundings(around))
        }
        Answer::Fails(Errno::PERM) if unmapped() => (
            "this process' own user or group id is not mapped in the user namespace that it is in".into(),
            vec!["run it as a user that the container maps (`id` shows no 65534 then)".into()],
        ),
        Answer::Fails(Errno::PERM) if in_chroot() => {
            ("this process is in a chroot, where the kernel allows none".into(), vec!["run it outside of the chroot".into()])
        }
        _ if refused => {
            let who = around.apparmor.as_ref().map_or_else(
                || "a security module or an outer sandbox refuses them".to_owned(),
                |label| format!("AppArmor refuses them to `{label}`"),
            );
            let mut remedy = remedy::surroundings(around);
            remedy.push("sudo ausearch -m avc -ts recent   # or: sudo dmesg | grep -i denied".into());
            (format!("{who} ({answer})"), remedy)
        }
        Answer::Fails(Errno::NOSYS) => {
            ("this kernel has no clone3 (Linux 5.3)".into(), vec!["boot Linux 6.1 or later".into()])
        }
        other => (format!("{other}"), Vec::new()),
    }
}

fn switched_off(cause: &str, around: &Surroundings) -> Vec<String> {
    let mut remedy = if cause.contains("max_user_namespaces") {
        remedy::sysctl("user.max_user_namespaces=15000")
    } else if cause.contains("unprivileged_userns_clone") {
        remedy::sysctl("kernel.unprivileged_userns_clone=1")
    } else {
        Vec::new()
    };
    if around.nested {
        remedy.push("the limit is this user namespace's own: or start ringfence outside of it".into());
    }
    remedy
}

/// The kernel shows ids without a mapping as these.
fn unmapped() -> bool {
    let overflow = |name: &str| read(&format!("/proc/sys/kernel/{name}")).trim().parse::<u32>().ok();
    let covered = |map: &str, id: u32| {
        read(map).lines().any(|line| {
            let mut fields = line.split_whitespace().map(|field| field.parse::<u32>().unwrap_or(0));
            let (start, _, count) = (fields.next(), fields.next(), fields.next());
            start.zip(count).is_some_and(|(start, count)| id >= start && id - start < count)
        })
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    (overflow("overflowuid") == Some(uid) && !covered("/proc/self/uid_map", uid))
        || (overflow("overflowgid") == Some(gid) && !covered("/proc/self/gid_map", gid))
}

/// A root that is no mount point is a chroot's; one that is may be either.
fn in_chroot() -> bool {
    let mounts = read("/proc/self/mountinfo");
    !mounts.is_empty() && !mounts.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surroundings::Around;

    fn told(answer: Answer, around: &Surroundings) -> String {
        let host = Host { no_user_namespaces: None, ..ringfence_confine::probe::host() };
        let (found, remedy) = cause(answer, around, &host, Path::new("/usr/bin/ringfence"));
        format!("{found}\n{}", remedy.join("\n"))
    }

    fn around() -> Surroundings {
        Surroundings {
            around: Vec::new(),
            root: false,
            nested: false,
            filtered: false,
            container_confines: true,
            no_new_privileges: false,
            apparmor: None,
            profile_needed: false,
        }
    }

    #[test]
    fn ubuntu_gets_its_profile() {
        let text = told(Answer::Fails(Errno::PERM), &Surroundings { profile_needed: true, ..around() });
        assert!(
            text.contains("apparmor_restrict_unprivileged_userns") && text.contains("  userns,"),
            "{text}"
        );
        let text =
            told(Answer::Fails(Errno::PERM), &Surroundings { profile_needed: true, root: true, ..around() });
        assert!(!text.contains("  userns,"), "root needs none: {text}");
    }

    #[test]
    fn containers_get_their_flags() {
        for (place, answer, flag) in [
            (Around::Docker, Errno::NOSYS, "--security-opt seccomp=unconfined"),
            (Around::Docker, Errno::PERM, "systempaths=unconfined"),
            (Around::Podman, Errno::PERM, "unmask=ALL"),
            (Around::Kubernetes, Errno::PERM, "procMount: Unmasked"),
            (Around::Ringfence, Errno::NOSYS, "without a second ringfence"),
            (Around::GVisor, Errno::PERM, "--runtime=runc"),
        ] {
            let around =
                Surroundings { around: vec![place], filtered: true, profile_needed: true, ..around() };
            let text = told(Answer::Fails(answer), &around);
            assert!(text.contains("seccomp filter") && text.contains(flag), "{text}");
        }
    }

    #[test]
    fn limits_and_modules_are_told_apart() {
        assert!(told(Answer::Fails(Errno::NOSPC), &around()).contains("enclosing user namespace"));
        let confined = Surroundings { apparmor: Some("x (enforce)".into()), ..around() };
        assert!(told(Answer::Fails(Errno::ACCESS), &confined).contains("`x (enforce)`"));
    }
}
