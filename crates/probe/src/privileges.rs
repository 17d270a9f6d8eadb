//! Rights that this process has, could get, or was refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringfence_audit::Level;
use ringfence_sys::harmless;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::thread::{
    CapabilitySet, SecureComputingMode, capability_is_in_bounding_set, no_new_privs, secure_computing_mode,
};

use crate::Request;
use crate::isolate::status;
use crate::look::{entries, field, shown, text};
use crate::report::{Out, State};

/// Capabilities by their number (capability.h), and whether each equals the machine where it holds outside of a user namespace.
const CAPABILITIES: &[(&str, bool)] = &[
    ("CHOWN", true),
    ("DAC_OVERRIDE", true),
    ("DAC_READ_SEARCH", true),
    ("FOWNER", true),
    ("FSETID", false),
    ("KILL", false),
    ("SETGID", true),
    ("SETUID", true),
    ("SETPCAP", false),
    ("LINUX_IMMUTABLE", false),
    ("NET_BIND_SERVICE", false),
    ("NET_BROADCAST", false),
    ("NET_ADMIN", true),
    ("NET_RAW", false),
    ("IPC_LOCK", false),
    ("IPC_OWNER", false),
    ("SYS_MODULE", true),
    ("SYS_RAWIO", true),
    ("SYS_CHROOT", false),
    ("SYS_PTRACE", true),
    ("SYS_PACCT", false),
    ("SYS_ADMIN", true),
    ("SYS_BOOT", true),
    ("SYS_NICE", false),
    ("SYS_RESOURCE", false),
    ("SYS_TIME", false),
    ("SYS_TTY_CONFIG", false),
    ("MKNOD", true),
    ("LEASE", false),
    ("AUDIT_WRITE", false),
    ("AUDIT_CONTROL", true),
    ("SETFCAP", true),
    ("MAC_OVERRIDE", true),
    ("MAC_ADMIN", true),
    ("SYSLOG", false),
    ("WAKE_ALARM", false),
    ("BLOCK_SUSPEND", false),
    ("AUDIT_READ", false),
    ("PERFMON", true),
    ("BPF", true),
    ("CHECKPOINT_RESTORE", true),
];
/// Entries of a directory of programs.
const PROGRAMS: &[&str] = &[
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/lib/openssh",
    "/usr/lib/dbus-1.0",
    "/opt",
];

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    capabilities(out);
    // Asked of the kernel, since there may be no /proc.
    let confined = no_new_privs().ok();
    match confined {
        Some(confined) => out.either(
            "new-privileges",
            Level::Low,
            !confined,
            (
                "a program may give more rights than its caller has (no_new_privs is not set)",
                "no program gives more rights than its caller has (no_new_privs)",
            ),
            "set-user-id programs, and files with capabilities, are run as what they say",
        ),
        None => out.unknown("new-privileges", Level::Low, "whether no_new_privs is set was not told"),
    }
    setuid(confined == Some(true), out);
    filter(out);
    landlock(out);
    let label = text("/proc/self/attr/current");
    let label = label.trim_matches(['\0', '\n', ' ']);
    let confined =
        !label.is_empty() && label != "unconfined" && !label.starts_with("unconfined_u") && label != "kernel";
    out.either(
        "security-module",
        Level::Note,
        !confined,
        ("no security module confines this process by a label", &format!("confined as `{label}`")),
        "AppArmor or SELinux would hold what else lets through",
    );
    let root = rustix::process::geteuid().is_root();
    let map = text("/proc/self/uid_map");
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let (state, what) = match (root, whole) {
        (true, true) => (State::Open, "this is root of the machine's own user namespace"),
        (true, false) => (State::Closed, "this is root of a user namespace, and somebody else outside"),
        (false, _) => (State::Closed, "this is not root"),
    };
    out.tell(
        "root",
        state,
        Level::High,
        what,
        if state == State::Open { "what is left of the boundary is capabilities and filters" } else { "" },
        Vec::new(),
    );
}

fn filter(out: &mut Out<'_>) {
    let status = text("/proc/self/status");
    let filters =
        field(&status, "Seccomp_filters").map(|number| format!(" ({number} filters)")).unwrap_or_default();
    // A filter may refuse the question, and strict mode ends who asks: the file first.
    let filtered = match field(&status, "Seccomp") {
        Some(mode) => Some(mode != "0"),
        None => secure_computing_mode().ok().map(|mode| mode != SecureComputingMode::Disabled),
    };
    let Some(filtered) = filtered else {
        return out.unknown("seccomp", Level::Low, "whether system calls are filtered was not told");
    };
    let closed = format!("system calls are filtered{filters}");
    let words = ("no system call is filtered", closed.as_str());
    let why = "all of the kernel can be talked to, old and rarely used parts as well";
    out.either("seccomp", Level::Low, !filtered, words, why);
}

fn capabilities(out: &mut Out<'_>) {
    let Ok(sets) = rustix::thread::capabilities(None) else {
        return out.unknown("capabilities", Level::High, "what this process has was not told");
    };
    let effective = (sets.effective | sets.permitted).bits();
    let named = |bits: u64, strong: bool| -> Vec<String> {
        let fits = |(number, (name, equals)): (usize, &(&str, bool))| {
            (bits >> number & 1 == 1 && (*equals || !strong)).then(|| format!("CAP_{name}"))
        };
        CAPABILITIES.iter().enumerate().filter_map(fits).collect()
    };
    let outside = text("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
    let level = match (outside, named(effective, true).is_empty()) {
        (true, false) => Level::High,
        (true, true) => Level::Medium,
        (false, _) => Level::Low,
    };
    out.list(
        "capabilities",
        level,
        named(effective, false),
        "this process has capabilities",
        "this process has no capability",
        if outside {
            "they hold on the machine itself"
        } else {
            "they hold in a user namespace, and reach more of the kernel"
        },
    );
    let bounding = (0..CAPABILITIES.len()).filter(|number| {
        let one = CapabilitySet::from_bits_retain(1 << number);
        capability_is_in_bounding_set(one).is_ok_and(|held| held)
    });
    let bounding = bounding.fold(0u64, |bits, number| bits | 1 << number);
    out.list(
        "capabilities-bounding",
        Level::Note,
        named(bounding & !effective, true),
        "further capabilities could be got by set-user-id programs",
        "no further capability could be got",
        "the bounding set still has them",
    );
}

fn setuid(confined: bool, out: &mut Out<'_>) {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for directory in PROGRAMS {
        let honoured = statvfs(*directory).is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOSUID));
        if confined || !honoured {
            continue;
        }
        for path in entries(Path::new(directory)) {
            let Ok(metadata) = path.metadata() else { continue };
            let set = metadata.is_file() && metadata.mode() & 0o6000 != 0 && metadata.mode() & 0o111 != 0;
            if set && !seen.contains(&(metadata.dev(), metadata.ino())) {
                seen.push((metadata.dev(), metadata.ino()));
                found.push(shown(&path));
            }
        }
    }
    out.list(
        "setuid-programs",
        Level::Medium,
        found,
        "set-user-id programs would run as their owner",
        "no set-user-id program would run as its owner",
        "a hole in one of them is a way to its owner's rights",
    );
}

/// A thread can be in 16 domains: how many more a child can enter tells how many there are.
fn landlock(out: &mut Out<'_>) {
    const MOST: i32 = 16;
    match status(|| {
        harmless::landlock_room().and_then(|room| i32::try_from(room).ok()).map_or(100, |room| room)
    }) {
        Some(room @ 0..=MOST) => {
            let inside = MOST - room;
            let closed = format!("in {inside} Landlock domains");
            out.either(
                "landlock",
                Level::Low,
                inside == 0,
                ("in no Landlock domain", &closed),
                "files and the network are held by mounts and permissions alone",
            );
        }
        _ => out.unknown(
            "landlock",
            Level::Low,
            "Landlock is missing or refused: whether a domain is entered is not known",
        ),
    }
}
