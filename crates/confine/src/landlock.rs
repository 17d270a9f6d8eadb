//! Landlock on the task (landlock(7)): rules from the plan, every right the kernel knows handled.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use ringfence_plan::{Landlock, Right};
use rustix::fs::{self, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
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

    /// What lies at one of these paths is another than when the domain was made: the rules for that very path hold for it too.
    pub(crate) fn renew(&self, plan: &Landlock, paths: &[PathBuf]) -> Result<(), Errno> {
        let abi = ABI::from(i32::try_from(plan.abi).unwrap_or(0));
        for (right, path) in plan.rules.iter().filter(|(_, path)| plan.files && paths.contains(path)) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let there = fs::openat2(CWD, path, flags, Mode::empty(), resolve)?;
            let access = rights(*right, abi, true);
            ringfence_sys::landlock::allow_beneath(self.0.as_fd(), access.bits(), there.as_fd())?;
        }
        Ok(())
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
        created = if plan.except.iter().any(|hidden| hidden.starts_with(path)) {
            beside(created, *right, abi, path, &plan.except)?
        } else {
            // What is not there needs no right: an optional grant's mount point may be hidden by a deny.
            let Some(file) = found(plan, path) else { continue };
            let directory = fs::fstat(&file)
                .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory);
            add(created, file, rights(*right, abi, directory))?
        };
    }
    Ok(created)
}

/// Where nothing is mounted, what was found before may have become a link since, and lead anywhere: then nobody gets a right there.
/// Links of the system, and to the run's own directories, are followed.
fn found(plan: &Landlock, path: &Path) -> Option<OwnedFd> {
    const SYSTEM: [&str; 4] = ["/dev", "/etc", "/proc", "/sys"];
    let own = |path: &Path| plan.rules.iter().any(|(right, own)| *right == Right::Own && own == path);
    let layer = plan.rules.iter().any(|(right, layer)| *right == Right::Layer && layer == path);
    let hosted = plan.rules.iter().any(|(right, _)| *right == Right::Own);
    let plain = hosted && !layer && !own(path) && !SYSTEM.iter().any(|system| path.starts_with(system));
    let resolve = if plain { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
}

fn add(
    created: RulesetCreated,
    file: impl AsFd,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    if access.is_empty() { Ok(created) } else { created.add_rule(PathBeneath::new(file, access)) }
}

/// Adds a right for everything in a directory that does not lead to what is hidden; names can be listed everywhere. What appears
/// there later has no right.
fn beside(
    mut created: RulesetCreated,
    right: Right,
    abi: ABI,
    path: &Path,
    except: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    // It was found without links, and what is hidden below it as well.
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) else {
        return Ok(created);
    };
    created = add(created, directory.as_fd(), AccessFs::ReadDir.into())?;
    let Ok(entries) = Dir::read_from(&directory) else { return Ok(created) };
    for entry in entries.filter_map(Result::ok) {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let child = path.join(name);
        if [".", ".."].map(OsStr::new).contains(&name) || except.contains(&child) {
            continue;
        }
        if except.iter().any(|hidden| hidden.starts_with(&child)) {
            created = beside(created, right, abi, &child, except)?;
            continue;
        }
        let Ok(file) = open(directory.as_fd(), name, OFlags::PATH) else { continue };
        let kind = fs::fstat(&file).map(|found| FileType::from_raw_mode(found.st_mode));
        // A link is nothing by itself, and what it leads to has a rule of its own or none.
        if let Ok(kind) = kind
            && kind != FileType::Symlink
        {
            created = add(created, file, rights(right, abi, kind == FileType::Directory))?;
        }
    }
    Ok(created)
}

fn open(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn rights(right: Right, abi: ABI, directory: bool) -> BitFlags<AccessFs> {
    let all = AccessFs::from_all(abi);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let access = match right {
        Right::Read => read,
        Right::Write => all & !(devices | AccessFs::Execute | AccessFs::IoctlDev),
        Right::Own => all & !(devices | AccessFs::Execute),
        Right::Layer => all & !(AccessFs::MakeBlock | AccessFs::Execute | AccessFs::IoctlDev),
        Right::Execute => read | AccessFs::Execute,
        Right::Device => AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev | read,
    };
    // A rule on a file may hold only what applies to files.
    if directory { access & all } else { access & AccessFs::from_file(abi) }
}
