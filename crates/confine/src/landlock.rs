//! Landlock on the task (landlock(7)): rules from the plan, every right the kernel knows handled.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use ringfence_plan::{Landlock, Right};
use rustix::io::Errno;

/// The rules, bound to what their paths were when the sandbox began: no command can put something else there for the next.
#[derive(Debug)]
pub(crate) struct Domain(OwnedFd);

impl Domain {
    /// Makes it; whatever the kernel cannot hold is an error.
    pub(crate) fn new(plan: &Landlock) -> Result<Self, Errno> {
        let ruleset = create(plan).map_err(|_| Errno::PERM)?;
        let ruleset = Option::<OwnedFd>::from(ruleset).ok_or(Errno::OPNOTSUPP)?;
        // Out of the way of a command's streams.
        rustix::io::fcntl_dupfd_cloexec(ruleset, 3).map(Self)
    }

    /// Puts the calling thread into it. no_new_privs is set already.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        ringfence_sys::landlock::restrict_self(self.0.as_fd())
    }
}

fn create(plan: &Landlock) -> Result<RulesetCreated, RulesetError> {
    let abi = ABI::from(i32::try_from(plan.abi).unwrap_or(0));
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if plan.files {
        ruleset = ruleset.handle_access(AccessFs::from_all(abi))?;
    }
    if plan.scoped {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut created = ruleset.create()?;
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
    Ok(created)
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
