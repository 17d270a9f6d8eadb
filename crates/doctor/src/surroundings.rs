//! Where this process runs: containers and sandboxes around it, which explain what is refused.

use std::path::Path;

use ringfence_plan::Invoker;

use crate::Check;

/// What is around this process; the innermost first, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    Ringfence,
    Bubblewrap,
    Firejail,
    GVisor,
    Kubernetes,
    Podman,
    Docker,
    /// LXC, systemd-nspawn, or whatever says `container=`.
    Container,
    Wsl,
}

impl Around {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ringfence => "inside a ringfence sandbox",
            Self::Bubblewrap => "inside bwrap",
            Self::Firejail => "inside firejail",
            Self::Kubernetes => "in a Kubernetes pod",
            Self::Docker => "in a Docker container, or an image made for one",
            Self::Podman => "in a Podman container",
            Self::Container => "in a container",
            Self::GVisor => "under gVisor, whose kernel is not Linux",
            Self::Wsl => "under WSL2",
        }
    }
}

/// What is known of this process and what surrounds it.
pub(crate) struct Surroundings {
    pub(crate) around: Vec<Around>,
    /// uid 0 of the initial user namespace.
    pub(crate) root: bool,
    /// In a user namespace of somebody's own.
    pub(crate) nested: bool,
    /// A container's pid 1 is itself filtered or without privileges: a mark of one may also lie in an image that a
    /// machine was made from.
    pub(crate) container_confines: bool,
    /// A system call filter is in force on this process.
    pub(crate) filtered: bool,
    pub(crate) no_new_privileges: bool,
    /// AppArmor's label, where it confines this process.
    pub(crate) apparmor: Option<String>,
    /// Ubuntu's switch: only programs with a profile may make user namespaces.
    pub(crate) profile_needed: bool,
}

impl Surroundings {
    pub(crate) fn look(invoker: &Invoker) -> Self {
        let (status, init) = (read("/proc/self/status"), read("/proc/1/status"));
        let label = read("/proc/self/attr/current");
        let label = label.trim_matches(['\n', '\0']);
        Self {
            around: around(),
            root: invoker.root,
            nested: !read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
            container_confines: field(&init, "Seccomp") == Some("2")
                || !may_administer(&init)
                || label.ends_with("(enforce)"),
            filtered: field(&status, "Seccomp") == Some("2"),
            no_new_privileges: field(&status, "NoNewPrivs") == Some("1"),
            profile_needed: read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1",
            apparmor: label.ends_with("(enforce)").then(|| label.to_owned()),
        }
    }

    pub(crate) fn is(&self, around: Around) -> bool {
        self.around.contains(&around)
    }

    /// The innermost thing around this process that may refuse what the host's kernel allows.
    pub(crate) fn confining(&self) -> Option<Around> {
        self.around.iter().copied().find(|around| match around {
            Around::Wsl => false,
            Around::Ringfence | Around::Bubblewrap | Around::Firejail | Around::GVisor => true,
            _ => self.container_confines,
        })
    }

    pub(crate) fn contained(&self) -> bool {
        self.confining().is_some()
    }

    pub(crate) fn check(&self) -> Check {
        let mut found: Vec<String> = self.around.iter().map(|around| around.text().to_owned()).collect();
        if self.nested {
            found.push("in a user namespace of its own".into());
        }
        if self.filtered {
            found.push("a seccomp filter is in force".into());
        }
        if let Some(label) = &self.apparmor {
            found.push(format!("AppArmor confines this process as `{label}`"));
        }
        if self.no_new_privileges {
            found.push("no_new_privs is set, which is no obstacle".into());
        }
        if found.is_empty() {
            return Check::good("surroundings", "no container or sandbox was recognised");
        }
        Check::good("surroundings", found.join("; "))
    }
}

/// A field of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// CAP_SYS_ADMIN can be had: containers take it away by default.
fn may_administer(status: &str) -> bool {
    let bounds = field(status, "CapBnd").and_then(|bits| u64::from_str_radix(bits, 16).ok());
    bounds.is_none_or(|bits| bits & (1 << 21) != 0)
}

pub(crate) fn around() -> Vec<Around> {
    let init = read("/proc/1/comm");
    let group = read("/proc/1/cgroup");
    let variable = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let exists = |path| Path::new(path).exists();
    let mut found = Vec::new();
    let mut add = |condition: bool, around| found.extend(condition.then_some(around));
    // A run calls its init so, and only that pid 1 is seen inside.
    add(init.trim() == "ringfence-init", Around::Ringfence);
    add(init.trim() == "bwrap", Around::Bubblewrap);
    add(init.trim() == "firejail", Around::Firejail);
    add(gvisor(), Around::GVisor);
    let kubernetes = variable("KUBERNETES_SERVICE_HOST") || group.contains("kubepods");
    add(kubernetes, Around::Kubernetes);
    let podman = exists("/run/.containerenv") || group.contains("libpod");
    add(podman && !kubernetes, Around::Podman);
    let docker = exists("/.dockerenv") || group.contains("docker");
    add(docker && !kubernetes && !podman, Around::Docker);
    add(variable("container") && !kubernetes && !podman && !docker, Around::Container);
    let release = read("/proc/sys/kernel/osrelease").to_lowercase();
    add(release.contains("microsoft"), Around::Wsl);
    found
}

/// gVisor claims a fixed Linux version with the date of its first one, or names itself.
fn gvisor() -> bool {
    let version = read("/proc/version");
    version.to_lowercase().contains("gvisor") || version.contains("#1 SMP Sun Jan 10 15:06:54 PST 2016")
}

/// A file of /proc, empty where there is none.
pub(crate) fn read(path: &str) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
