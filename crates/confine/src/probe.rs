//! Asks the kernel what it can do, cheaply enough for every start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ringfence_plan::{Host, Invoker};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, open, statx};
use rustix::process::{getegid, geteuid, getgroups};
use rustix::thread::{self, SecureComputingMode};

/// Name of the variable by which tests lower what the host seems to have; read in debug builds only.
pub const TEST_VARIABLE: &str = "RINGFENCE_TEST_HOST";

/// What this host can do.
#[must_use]
pub fn host() -> Host {
    let mut host = Host {
        kernel: kernel(),
        no_user_namespaces: no_user_namespaces(),
        landlock: landlock(),
        seccomp: ringfence_sys::seccomp::available(),
        overlay: kernel() >= (5, 11),
        no_fuse: no_fuse(),
        proc: true,
        no_control_groups: None,
        yama: yama(),
        memfd_noexec: kernel() >= (6, 6) && Path::new("/proc/sys/vm/memfd_noexec").exists(),
    };
    if cfg!(debug_assertions) {
        lower(&mut host, &std::env::var(TEST_VARIABLE).unwrap_or_default());
    }
    host
}

/// The highest Landlock ABI here; 0 without any.
#[must_use]
pub fn landlock() -> u32 {
    let found = ringfence_sys::landlock::abi();
    let hidden = cfg!(debug_assertions)
        && std::env::var(TEST_VARIABLE).is_ok_and(|what| what.split(',').any(|word| word == "no-landlock"));
    if hidden { 0 } else { found }
}

/// Whether somebody else's boundary is around this process, so that what the kernel offers may still be refused: a filter, a
/// Landlock domain, which needs no_new_privs, or the masks of a container.
#[must_use]
pub fn contained() -> bool {
    let filtered = !matches!(thread::secure_computing_mode(), Ok(SecureComputingMode::Disabled));
    filtered || !matches!(thread::no_new_privs(), Ok(false)) || masked()
}

/// Whether parts of /proc are covered, as container engines do: then nobody may mount a new one.
#[must_use]
pub fn masked() -> bool {
    let mount = |path: &str| {
        let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID).ok()?;
        (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
    };
    let whole = mount("/proc");
    ["/proc/kcore", "/proc/sys", "/proc/sysrq-trigger"]
        .iter()
        .filter_map(|path| mount(path))
        .any(|own| Some(own) != whole)
}

fn lower(host: &mut Host, what: &str) {
    for word in what.split(',') {
        match word {
            "no-userns" => host.no_user_namespaces = Some("hidden by a test".into()),
            "no-seccomp" => host.seccomp = false,
            "no-overlay" => host.overlay = false,
            "no-fuse" => host.no_fuse = Some("/dev/fuse: hidden by a test".into()),
            "no-proc" => host.proc = false,
            "no-memfd-noexec" => host.memfd_noexec = false,
            _ => {
                if let Some(scope) = word.strip_prefix("yama").and_then(|number| number.parse().ok()) {
                    host.yama = host.yama.max(scope);
                }
                if let Some(abi) = word.strip_prefix("abi").and_then(|number| number.parse().ok()) {
                    host.landlock = host.landlock.min(abi);
                }
            }
        }
    }
}

/// Whether the device opens; what is opened is nothing until it is mounted. Asked once: what is planned has to be what was begun.
pub(crate) fn no_fuse() -> Option<String> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
        let errno = open("/dev/fuse", flags, Mode::empty()).err()?;
        Some(format!("/dev/fuse: {errno}"))
    };
    FOUND.get_or_init(ask).clone()
}

fn yama() -> u8 {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    scope.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers =
        release.split(|character: char| !character.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Why this host's settings allow none, if they say so; what else refuses them is found out by trying.
#[must_use]
pub fn no_user_namespaces() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    if read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return Some("user.max_user_namespaces is 0".into());
    }
    if !geteuid().is_root() && read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return Some("kernel.unprivileged_userns_clone is 0".into());
    }
    None
}

/// Who is asking. `home` and `state` are decided by the caller.
#[must_use]
pub fn invoker(
    home: PathBuf,
    cwd: PathBuf,
    state: PathBuf,
    variables: BTreeMap<OsString, OsString>,
) -> Invoker {
    Invoker {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        groups: getgroups().unwrap_or_default().into_iter().map(rustix::fs::Gid::as_raw).collect(),
        root: geteuid().is_root() && initial_user_namespace(),
        home,
        cwd,
        state,
        variables,
    }
}

/// Only the initial user namespace maps all ids onto themselves (user_namespaces(7)).
fn initial_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}
