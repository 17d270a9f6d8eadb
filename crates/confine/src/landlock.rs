//! Landlock on the task (landlock(7)): rules from the plan, every right the kernel knows handled.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use ringfence_plan::{Landlock, Right};
use rustix::io::Errno;

/// Puts the calling thread into the domain. no_new_privs is set already.
pub(crate) fn restrict(plan: &Landlock) -> Result<(), Errno> {
    match try_restrict(plan) {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => Ok(()),
        Ok(_) => Err(Errno::OPNOTSUPP),
        Err(_) => Err(Errno::PERM),
    }
}

fn try_restrict(plan: &Landlock) -> Result<RestrictionStatus, RulesetError> {
    let abi = ABI::from(i32::try_from(plan.abi).unwrap_or(0));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if plan.scoped {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut created = ruleset.create()?.no_new_privs(false);
    for (right, path) in &plan.rules {
        let Ok(file) = PathFd::new(path) else {
            // What is not there needs no right: an optional grant's mount point may be hidden by a deny.
            continue;
        };
        let access = rights(*right, abi, path);
        if !access.is_empty() {
            created = created.add_rule(PathBeneath::new(file, access))?;
        }
    }
    created.restrict_self()
}

fn rights(right: Right, abi: ABI, path: &Path) -> BitFlags<AccessFs> {
    let all = AccessFs::from_all(abi);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let access = match right {
        Right::Read => read,
        Right::Write => all & !(devices | AccessFs::Execute | AccessFs::IoctlDev),
        Right::Execute => read | AccessFs::Execute,
        Right::Device => AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev | read,
    };
    // A rule on a file may hold only what applies to files.
    if path.is_dir() { access & all } else { access & AccessFs::from_file(abi) }
}
