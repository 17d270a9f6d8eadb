//! What this host can do and who asks, as data: `confine` fills it, the plan is made from it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Directories in which programs are looked for behind those of PATH.
pub(crate) const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Capabilities of the kernel (DESIGN's table of what a host must have).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Host {
    /// Kernel version as major and minor number.
    pub kernel: (u32, u32),
    /// Why user namespaces cannot be made, or `None` if nothing is known to forbid them.
    pub no_user_namespaces: Option<String>,
    /// Highest Landlock ABI; 0: none.
    pub landlock: u32,
    /// seccomp filters.
    pub seccomp: bool,
    /// overlayfs.
    pub overlay: bool,
    /// Why the root cannot be a FUSE file system, or `None` if it can as far as is known.
    pub no_fuse: Option<String>,
    /// A proc that can be mounted, as far as can be known before trying.
    pub proc: bool,
    /// Why no control group can be made for what the policy limits, or `None` if one can or none is needed.
    pub no_control_groups: Option<String>,
    /// `kernel.yama.ptrace_scope`; 0 without Yama. At 2 only who has CAP_SYS_PTRACE reads another's memory, at 3 nobody does.
    pub yama: u8,
    /// `vm.memfd_noexec`, and whether it leaves flagless memfds usable (Linux 6.6).
    pub memfd_noexec: bool,
}

/// Who runs ringfence.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Invoker {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups; they stay, since dropping them needs privilege.
    pub groups: Vec<u32>,
    /// uid 0 of the initial user namespace.
    pub root: bool,
    /// Home directory.
    pub home: PathBuf,
    /// Current directory.
    pub cwd: PathBuf,
    /// Where runs are recorded; never visible inside.
    pub state: PathBuf,
    /// Environment; only what the policy passes reaches the task.
    #[serde(skip)]
    pub variables: BTreeMap<OsString, OsString>,
}

impl Invoker {
    /// Directories that may hold a program of a bare name: those of PATH in their order, then the usual ones.
    #[must_use]
    pub fn searched(&self) -> Vec<PathBuf> {
        let own = self.variables.get(OsStr::new("PATH")).map_or(OsStr::new(""), OsString::as_os_str);
        let mut found: Vec<PathBuf> = Vec::new();
        for path in std::env::split_paths(own).chain(std::env::split_paths(USUAL_PATH)) {
            if path.is_absolute() && !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }
}
