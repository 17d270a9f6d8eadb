//! Files of the kernel that change the machine, and control groups. They are opened for writing, and not written.

use std::path::{Path, PathBuf};

use ringfence_audit::Level;

use crate::Request;
use crate::look::{directory_writable, file_writable, readable, text};
use crate::report::Out;

/// Each leads to code that runs as root of the machine, or to its configuration.
const HANDLES: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/security/apparmor/.load",
    "/sys/power/state",
];
/// Settings of the machine.
const SETTINGS: &[&str] = &[
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/hostname",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/panic_on_oom",
    "/proc/irq/default_smp_affinity",
    "/proc/self/oom_score_adj",
];
/// What tells of the machine.
const TELLING: &[&str] = &[
    "/proc/kcore",
    "/proc/vmallocinfo",
    "/proc/timer_list",
    "/sys/firmware/acpi/tables",
    "/sys/firmware/dmi/entries",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/sys/fs/bpf",
];

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    let those = |list: &[&str], fits: &dyn Fn(&Path) -> bool| -> Vec<String> {
        list.iter()
            .filter(|path| **path != "/proc/self/oom_score_adj" && fits(Path::new(path)))
            .map(|path| (*path).to_owned())
            .collect()
    };
    out.list(
        "kernel-handles",
        Level::High,
        those(HANDLES, &file_writable),
        "files of the kernel that run code as root can be written",
        "no file of the kernel that runs code can be written",
        "what is written there is run by the kernel, outside of any boundary",
    );
    out.list(
        "kernel-settings",
        Level::Medium,
        those(SETTINGS, &file_writable),
        "settings of the kernel can be written",
        "no setting of the kernel can be written",
        "they hold for the whole machine, or weaken what protects it",
    );
    out.list(
        "kernel-files",
        Level::Low,
        those(TELLING, &|path| readable(path) && !empty(path)),
        "files of the kernel that tell of the machine can be read",
        "files of the kernel that tell of the machine are hidden",
        "what the machine is made of and does, its memory among it",
    );
    groups(out);
}

fn empty(path: &Path) -> bool {
    path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn groups(out: &mut Out<'_>) {
    let own = text("/proc/self/cgroup");
    let mut writable = Vec::new();
    let mut limits = Vec::new();
    for line in own.lines().take(32) {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mount = match controllers {
            "" => ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
                .map(PathBuf::from)
                .into_iter()
                .find(|mount| mount.join("cgroup.procs").exists()),
            name => Some(Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name="))),
        };
        let Some(mount) = mount else { continue };
        let directory = mount.join(path.trim_start_matches('/'));
        if file_writable(&directory.join("cgroup.procs")) || directory_writable(&directory) {
            writable.push(directory.display().to_string());
        }
        if file_writable(&mount.join("release_agent")) {
            writable.push(format!("{}/release_agent", mount.display()));
        }
        for (file, name) in [
            ("memory.max", "memory"),
            ("memory/memory.limit_in_bytes", "memory"),
            ("pids.max", "processes"),
            ("cpu.max", "processors"),
        ] {
            let value = text(directory.join(file));
            let value = value.trim();
            if !value.is_empty() && !value.starts_with("max") && value.len() < 19 {
                limits.push(name);
            }
        }
    }
    out.list(
        "control-groups",
        Level::Medium,
        writable,
        "control groups can be written",
        "no control group can be written",
        "limits can be lifted there, and other processes frozen",
    );
    let missing: Vec<String> = ["memory", "processes"]
        .iter()
        .filter(|name| !limits.contains(name))
        .map(|name| (*name).to_owned())
        .collect();
    let rlimits = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let missing = missing.into_iter().filter(|name| name != "processes" || rlimits.is_none()).collect();
    out.list(
        "limits",
        Level::Low,
        missing,
        "no limit is seen on these",
        "memory and processes are limited",
        "one task can take what all others need; a limit further up is not seen from here",
    );
}
