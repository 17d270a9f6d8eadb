//! The gateway's own confinement: entered before the first byte from the sandbox.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use ringfence_confine::probe;
use ringfence_plan::enforcer;
use ringfence_policy::NetworkRules;
use ringfence_sys::seccomp::{self, Instruction};
use ringfence_sys::{exec, fds};
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

/// Questions to the host's resolver.
const DNS: u16 = 53;
/// Landlock's rights on connections (landlock(7)).
const NETWORK_ABI: u32 = 4;

/// It ends with its supervisor, which may be gone already.
pub(crate) fn die_with_supervisor(told: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut polled = [PollFd::new(&told, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if polled.iter().any(|polled| polled.revents().contains(PollFlags::HUP)) {
        return Err(Errno::PIPE);
    }
    Ok(())
}

/// As many descriptors as the host lets it have: how many.
pub(crate) fn raise_descriptors() -> usize {
    let limit = process::getrlimit(Resource::Nofile);
    let _ = process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let current = process::getrlimit(Resource::Nofile).current;
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(usize::MAX)
}

/// No file, no other process, no program; connections to these ports alone, where the kernel has Landlock for that.
/// `ids`: what it becomes, if root started it.
pub(crate) fn enter(
    ids: Option<(u32, u32)>,
    rules: &NetworkRules,
    told: BorrowedFd<'_>,
) -> Result<(), Errno> {
    thread::set_name(c"ringfence-gate")?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    // The streams are sockets that nothing uses any more; descriptor 2 is the invoker's.
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    process::chdir("/")?;
    let _ = fds::cloexec_from(3);
    if let Some((uid, gid)) = ids {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        thread::set_thread_groups(&[])?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
        // Changing ids cleared it.
        die_with_supervisor(told)?;
    }
    thread::set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    exec::wipe_start();
    let abi = probe::landlock();
    if abi > 0 {
        match restrict(ABI::from(i32::try_from(abi).unwrap_or(0)), abi >= NETWORK_ABI, &rules.ports()) {
            Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => {}
            Ok(_) => return Err(Errno::OPNOTSUPP),
            Err(_) => return Err(Errno::PERM),
        }
    }
    let own = process::getpid().as_raw_nonzero().get().unsigned_abs();
    let program: Vec<Instruction> = enforcer::gateway(own, rules.host_sockets())
        .iter()
        .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
        .collect();
    seccomp::install(&program)
}

fn restrict(abi: ABI, network: bool, ports: &[u16]) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if network {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    let mut created = ruleset.create()?.no_new_privs(false);
    if network {
        for port in ports.iter().chain([&DNS]) {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    created.restrict_self()
}
