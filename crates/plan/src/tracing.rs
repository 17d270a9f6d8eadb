//! Yama: where the kernel lets nobody look into another process, init cannot either.

use ringfence_policy::{NetworkRules, Policy};

use crate::{Degraded, Host, Refused};

/// Nobody looks, whatever capability they have.
const NOBODY: u8 = 3;
/// Only who has a capability, as init has over a sandbox of its own user namespace.
pub(crate) const CAPABLE: u8 = 2;

/// What judges by the memory of the task is refused where it cannot be read; the rest goes on.
pub(crate) fn check(
    policy: &Policy,
    host: &Host,
    guarded: bool,
    degraded: &mut Vec<Degraded>,
) -> Result<(), Refused> {
    if host.yama < NOBODY {
        return Ok(());
    }
    let part = match (guarded, NetworkRules::of(policy)) {
        (true, _) => Some("a look into a task, by which each start is judged as `[commands]` wants it"),
        (false, Some(_)) => Some("a look into a task, by which each connection is judged for `[network]`"),
        (false, None) => None,
    };
    match part {
        Some(part) => Err(Refused::host(part, cause(host), REMEDY)),
        None => {
            let effect = format!(
                "{}: connections to unix sockets are refused, and of a path that is refused its first name alone is seen",
                cause(host)
            );
            degraded.push(Degraded { name: "ptrace".into(), effect });
            Ok(())
        }
    }
}

/// How to get rid of it: what is 3 stays 3 until the next boot.
pub(crate) const REMEDY: &str = "set kernel.yama.ptrace_scope to 1 in /etc/sysctl.d, and boot again";

/// In one sentence.
pub(crate) fn cause(host: &Host) -> String {
    format!(
        "kernel.yama.ptrace_scope is {}, so that ringfence's init may not look into a task (ptrace)",
        host.yama
    )
}
