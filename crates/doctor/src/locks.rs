//! The locks beside the mounts: seccomp, Landlock, memfd_noexec; and whether the supervisor may look at a task.

use std::os::fd::AsRawFd;

use landlock::{AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use ringfence_plan::{Host, Invoker};
use ringfence_sys::memory;
use ringfence_sys::seccomp::{self, Instruction};
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use rustix::thread::set_no_new_privs;

use crate::attempt::{Answer, USER, attempt, with_child, words};
use crate::surroundings::{Around, Surroundings, read};
use crate::{Check, remedy};

const FILTER: &str = "seccomp listener";
const LANDLOCK: &str = "Landlock";
const MEMFD: &str = "vm.memfd_noexec";
const TRACE: &str = "looking at a task";

/// BPF_RET | BPF_K with SECCOMP_RET_ALLOW: everything goes on as before.
const ALLOW: Instruction = Instruction { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 };

pub(crate) fn check(
    around: &Surroundings,
    host: &Host,
    invoker: &Invoker,
    namespaces: bool,
    checks: &mut Vec<Check>,
) {
    checks.push(filter(around, host));
    checks.push(landlock(host));
    checks.push(memfd(host, invoker));
    checks.push(trace(around, namespaces));
}

fn filter(around: &Surroundings, host: &Host) -> Check {
    if !host.seccomp {
        return Check::missing(FILTER, "this kernel has no system call filters")
            .with_remedy(vec!["use a kernel with CONFIG_SECCOMP_FILTER".into()]);
    }
    let answer = attempt(0, || {
        set_no_new_privs(true)?;
        seccomp::install_with_listener(&[ALLOW]).map(drop)
    });
    match answer {
        Answer::Works => Check::good(FILTER, "a filter with a listener was installed"),
        Answer::Late => Check::unknown(FILTER, answer.to_string()),
        Answer::Fails(Errno::BUSY) => {
            let found = "somebody else's filter around this process has the one listener that the kernel allows (EBUSY)";
            let remedy = if around.is(Around::Wsl) {
                vec![
                    "in %UserProfile%\\.wslconfig:\n[wsl2]\nnetworkingMode=nat".into(),
                    "wsl.exe --shutdown   # mirrored networking puts the listener on every process".into(),
                ]
            } else if around.contained() {
                remedy::surroundings(around)
            } else {
                vec!["start ringfence outside of the program that watches this one's system calls".into()]
            };
            Check::missing(FILTER, found).with_remedy(remedy)
        }
        _ => Check::missing(FILTER, format!("installing a filter is refused ({answer})"))
            .with_remedy(remedy::surroundings(around)),
    }
}

fn landlock(host: &Host) -> Check {
    let alone = "the mounts alone hold the files, and policies with `commands.allow` are refused";
    let newer = |version: &str| vec![format!("boot Linux {version} or later")];
    if host.landlock == 0 {
        let modules = read("/sys/kernel/security/lsm");
        let listed = modules.trim();
        let found = if listed.is_empty() {
            "this kernel has none, or it is not enabled, or a filter hides it".to_owned()
        } else {
            format!("it is not enabled: lsm={listed}")
        };
        let list = if listed.is_empty() { "..." } else { listed };
        return Check::degraded(LANDLOCK, found, alone).with_remedy(vec![format!(
            "boot with `lsm=landlock,{list}` (Linux 5.13 or later, CONFIG_SECURITY_LANDLOCK)"
        )]);
    }
    let found = format!("ABI {}", host.landlock);
    match attempt(0, || domain().ok_or(Errno::PERM)) {
        Answer::Works => {}
        Answer::Late => return Check::unknown(LANDLOCK, found),
        answer => {
            let found = format!("{found}, but entering a domain is refused ({answer}); 16 may be nested");
            return Check::missing(LANDLOCK, found)
                .with_remedy(vec!["start ringfence outside of the sandboxes around it".into()]);
        }
    }
    match host.landlock {
        1 | 2 => Check::degraded(
            LANDLOCK,
            format!("{found}: truncation of files is not governed (ABI 3)"),
            "the mounts alone keep read-only files from being truncated",
        )
        .with_remedy(newer("6.2")),
        3..=5 => Check::degraded(
            LANDLOCK,
            format!("{found}: no scopes for signals and abstract sockets (ABI 6)"),
            "the pid and network namespaces alone keep those inside",
        )
        .with_remedy(newer("6.12")),
        _ => Check::good(LANDLOCK, format!("{found}, with scopes for signals and abstract sockets")),
    }
}

/// Enters a domain that refuses what nobody here does.
fn domain() -> Option<()> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::MakeBlock)
        .and_then(Ruleset::create)
        .ok()?;
    ruleset.restrict_self().ok().map(drop)
}

fn memfd(host: &Host, invoker: &Invoker) -> Check {
    let effect = "memfd_create works only with MFD_NOEXEC_SEAL inside, so that nothing executes from memory";
    if !host.memfd_noexec {
        return Check::degraded(MEMFD, "this kernel has none that is usable (Linux 6.6)", effect)
            .with_remedy(vec!["boot Linux 6.6 or later".into()]);
    }
    if !invoker.root {
        return Check::degraded(MEMFD, "only root may set it for a sandbox", effect);
    }
    Check::good(MEMFD, "root sets it for each sandbox")
}

/// Both are asked of the kernel when a task connects to a unix socket.
fn trace(around: &Surroundings, namespaces: bool) -> Check {
    let word = *b"ringfence";
    let address = word.as_ptr().addr() as u64;
    let outcome = with_child(if namespaces { USER } else { 0 }, |pid, pidfd, fd| {
        let mut copy = [0; 9];
        let memory = memory::read(pid.as_raw_nonzero().get(), address, &mut copy);
        let taken = pidfd_getfd(pidfd, fd.as_raw_fd(), PidfdGetfdFlags::empty());
        memory.and(taken.map(drop))
    });
    let errno = match outcome {
        Ok(Ok(())) => return Check::good(TRACE, "its memory and descriptors can be read"),
        Err(errno) => return Check::unknown(TRACE, words(errno)),
        Ok(Err(errno)) => errno,
    };
    let effect = "every connection of a task to a unix socket is refused";
    let yama = read("/proc/sys/kernel/yama/ptrace_scope");
    if matches!(yama.trim(), "2" | "3") && !around.filtered {
        let found = format!("kernel.yama.ptrace_scope is {} ({})", yama.trim(), words(errno));
        let mut remedy = remedy::sysctl("kernel.yama.ptrace_scope=1");
        if yama.trim() == "3" {
            remedy = vec!["remove kernel.yama.ptrace_scope=3 from /etc/sysctl.d and reboot".into()];
        }
        return Check::degraded(TRACE, found, effect).with_remedy(remedy);
    }
    let who = if around.filtered { "a seccomp filter" } else { "the kernel or a security module" };
    let mut remedy = remedy::surroundings(around);
    if around.is(Around::Docker) {
        remedy = vec![
            "docker run --cap-add SYS_PTRACE ...   # or a seccomp profile that allows pidfd_getfd".into(),
        ];
    }
    Check::degraded(
        TRACE,
        format!("{who} refuses process_vm_readv or pidfd_getfd ({})", words(errno)),
        effect,
    )
    .with_remedy(remedy)
}
