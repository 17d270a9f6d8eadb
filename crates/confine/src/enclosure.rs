//! The supervisor's own confinement: entered when all that it needs of the host is in its hands, before the first byte from
//! the sandbox. It reads reports, output and the layer's names, all of them hostile.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use ringfence_plan::enforcer;
use ringfence_sys::seccomp::{self, Instruction};
use rustix::io::Errno;
use rustix::process::{self, DumpableBehavior};
use rustix::thread::{self, CapabilitySet};

use crate::child::keep_capabilities;
use crate::landlock::cause;
use crate::parent::{Failure, fail};
use crate::probe;

/// All of the host that is left to it. Directories that are not there are left out.
#[derive(Debug, Default)]
pub struct Enclosure {
    /// Directories of its own: everything below.
    pub own: Vec<PathBuf>,
    /// Directories below which names can be listed, and no file opened.
    pub names: Vec<PathBuf>,
    /// Directories below which files can be read, which a task that works on the host's own files can read itself.
    pub looks: Vec<PathBuf>,
    /// Directories from which files and directories can be removed.
    pub notes: Vec<PathBuf>,
    /// Directories in which files can be read and written, and none made.
    pub groups: Vec<PathBuf>,
    /// The kernel uid of root's sandbox, if it has another than the invoker's.
    pub task: Option<u32>,
}

/// Enters it, for good. Where the kernel has no Landlock, the list of system calls alone holds: no other process is reached,
/// but files of the host are. The process must have one thread.
///
/// # Errors
/// [`Failure`]: the sandbox must not go on.
pub fn enclose(enclosure: &Enclosure) -> Result<(), Failure> {
    let failed = fail("confining the supervisor itself");
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(&failed)?;
    thread::set_no_new_privs(true).map_err(&failed)?;
    let kept = match enclosure.task {
        // What another id's files and processes need.
        Some(_) => {
            CapabilitySet::KILL | CapabilitySet::CHOWN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER
        }
        None => CapabilitySet::empty(),
    };
    keep_capabilities(kept).map_err(&failed)?;
    let abi = probe::landlock();
    if abi > 0 {
        match restrict(enclosure, ABI::from(i32::try_from(abi).unwrap_or(0))) {
            Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => {}
            Ok(_) => return Err(failed(Errno::OPNOTSUPP)),
            Err(error) => return Err(failed(cause(&error))),
        }
    }
    let process = process::getpid().as_raw_nonzero().get().unsigned_abs();
    let program: Vec<Instruction> = enforcer::program(process, enclosure.task)
        .iter()
        .map(|op| Instruction { code: op.code, jt: op.jt, jf: op.jf, k: op.k })
        .collect();
    seccomp::install(&program).map_err(&failed)?;
    #[cfg(debug_assertions)]
    crate::intruder::act();
    Ok(())
}

fn restrict(enclosure: &Enclosure, abi: ABI) -> Result<RestrictionStatus, RulesetError> {
    let all = AccessFs::from_all(abi);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all)?;
    let net = AccessNet::from_all(abi);
    if !net.is_empty() {
        ruleset = ruleset.handle_access(net)?;
    }
    let mut created = ruleset.create()?.no_new_privs(false);
    let rules: [(&[PathBuf], BitFlags<AccessFs>); 5] = [
        (&enclosure.own, all),
        (&enclosure.names, AccessFs::ReadDir.into()),
        (&enclosure.looks, AccessFs::ReadDir | AccessFs::ReadFile),
        (&enclosure.notes, AccessFs::RemoveFile | AccessFs::RemoveDir),
        (&enclosure.groups, (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate) & all),
    ];
    for (paths, access) in rules {
        for path in paths {
            // What is to be looked through may be a file by now: that needs no look, and the rights are those of directories.
            if path.is_dir()
                && let Ok(file) = PathFd::new(path)
            {
                created = created.add_rule(PathBeneath::new(file, access))?;
            }
        }
    }
    created.restrict_self()
}
