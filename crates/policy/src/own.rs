//! What every sandbox has of its own, whatever its policy grants.

use std::path::Path;

use crate::decision::{Access, Decision, Judge, allow, refuse};

/// Parts of /proc that tell of the host's kernel or memory.
pub const PROC_HIDDEN: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "kmsg",
    "kallsyms",
    "kpagecount",
    "kpageflags",
    "kpagecgroup",
    "vmcore",
    "slabinfo",
    "vmallocinfo",
    "modules",
    "mdstat",
    "config.gz",
    "acpi",
    "scsi",
    "dynamic_debug",
];

/// What the kernel shows of a process to whoever may trace it (proc(5)); nobody may trace init.
const PRIVATE: &[&str] = &[
    "auxv",
    "clear_refs",
    "cwd",
    "environ",
    "exe",
    "fd",
    "fdinfo",
    "io",
    "map_files",
    "maps",
    "mem",
    "mountstats",
    "numa_maps",
    "pagemap",
    "personality",
    "root",
    "smaps",
    "smaps_rollup",
    "stack",
    "syscall",
    "timers",
    "timerslack_ns",
];

impl Judge<'_> {
    /// What each sandbox has of its own.
    pub(crate) fn own(&self, path: &Path, access: Access) -> Option<Decision> {
        const DEVICES: &[&str] =
            &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
        const MADE: &[&str] = &[
            "/etc/passwd",
            "/etc/group",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/machine-id",
            "/etc/nsswitch.conf",
            "/etc/resolv.conf",
        ];
        let is_one_of = |list: &[&str]| list.iter().any(|own| Path::new(own) == path);
        let whole = |list: &[&str]| list.iter().any(|own| path.starts_with(own));
        let hidden = || {
            let below = |list: &[&str], of: &str| {
                let name = path.strip_prefix(of).ok().and_then(|rest| rest.iter().next());
                name.is_some_and(|name| list.iter().any(|own| name == *own))
            };
            !self.policy.runtime.user_namespaces && below(PROC_HIDDEN, "/proc") || below(PRIVATE, "/proc/1")
        };
        match access {
            Access::Exec if path.starts_with("/tmp") && self.policy.runtime.tmp_exec => {
                Some(allow("`runtime.tmp_exec` allows programs in the sandbox's own /tmp"))
            }
            Access::Exec => None,
            _ if path.starts_with("/tmp") || path.starts_with("/var/tmp") => {
                Some(allow("it is in the sandbox's own /tmp"))
            }
            _ if is_one_of(DEVICES) => Some(allow("it is a device that every sandbox has")),
            _ if is_one_of(&["/dev/ptmx"]) || whole(&["/dev/pts"]) => {
                Some(allow("it is a terminal of the sandbox's own"))
            }
            _ if whole(&["/dev/shm"]) => Some(allow("it is in the sandbox's own /dev/shm")),
            Access::Read if is_one_of(&["/run/ringfence/refusals"]) => {
                Some(allow("it tells the task what it was refused"))
            }
            Access::Read if is_one_of(MADE) => Some(allow("the sandbox makes its own")),
            Access::Read if hidden() => Some(refuse(
                "the sandbox's own /proc tells neither of the kernel's memory nor of its init's".to_owned(),
            )),
            Access::Read if path.starts_with("/proc") => Some(allow("it is in the sandbox's own /proc")),
            _ => None,
        }
    }
}
