//! Landlock on the task (landlock(7)): rules from the plan, every right the kernel knows handled.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, Scope,
};
use ringfence_plan::{Landlock, Right};
use ringfence_sys::landlock::allow_beneath;
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Entries of hidden directories that are looked through for files with names elsewhere.
const MOST_HIDDEN: usize = 100_000;

/// The rules, bound to what their paths were when the sandbox began: no command can put something else there for the next.
#[derive(Debug)]
pub(crate) struct Domain(OwnedFd);

/// What the paths of a plan's rules lead to, each found once, with what is allowed there.
#[derive(Debug)]
pub(crate) struct Found(Vec<Object>);

#[derive(Debug)]
struct Object {
    /// Number of its rule.
    rule: usize,
    access: BitFlags<AccessFs>,
    file: OwnedFd,
}

impl Found {
    /// Looks for all of them.
    pub(crate) fn of(plan: &Landlock) -> Self {
        let mut found = Vec::with_capacity(plan.rules.len());
        let names = OnceCell::new();
        for (rule, (right, path)) in plan.rules.iter().enumerate() {
            let at = (rule, *right, abi(plan));
            if plan.except.iter().any(|hidden| hidden.starts_with(path)) {
                beside(&mut found, at, path, (&plan.except, &names));
            // What is not there needs no right: an optional grant's mount point may be hidden by a deny.
            } else if let Some(file) = look(plan, path) {
                let directory = fs::fstat(&file)
                    .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory);
                found.push(Object { rule, access: rights(*right, abi(plan), directory), file });
            }
        }
        Self(found)
    }

    /// What must stay open until a domain is made of it.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|object| &object.file)
    }
}

fn abi(plan: &Landlock) -> ABI {
    ABI::from(i32::try_from(plan.abi).unwrap_or(0))
}

impl Domain {
    /// Makes it; whatever the kernel cannot hold is an error.
    pub(crate) fn new(plan: &Landlock) -> Result<Self, Errno> {
        Self::of(plan, &Found::of(plan))
    }

    /// The same of what was found already, for these rules or for more that begin with them.
    pub(crate) fn of(plan: &Landlock, found: &Found) -> Result<Self, Errno> {
        let ruleset = create(plan).map_err(|error| cause(&error))?;
        let ruleset = ruleset.ok_or(Errno::OPNOTSUPP)?;
        let own = found.0.iter().filter(|object| object.rule < plan.rules.len() && !object.access.is_empty());
        for object in own {
            allow_beneath(ruleset.as_fd(), object.access.bits(), object.file.as_fd())?;
        }
        // Out of the way of a command's streams.
        rustix::io::fcntl_dupfd_cloexec(ruleset, 3).map(Self)
    }

    /// What lies at one of these paths is another than when the domain was made: the rules for that very path hold for it too.
    pub(crate) fn renew(&self, plan: &Landlock, paths: &[PathBuf]) -> Result<(), Errno> {
        for (right, path) in plan.rules.iter().filter(|(_, path)| plan.files && paths.contains(path)) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            let there = fs::openat2(CWD, path, flags, Mode::empty(), resolve)?;
            let access = rights(*right, abi(plan), true);
            allow_beneath(self.0.as_fd(), access.bits(), there.as_fd())?;
        }
        Ok(())
    }

    /// Puts the calling thread into it. no_new_privs is set already.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        ringfence_sys::landlock::restrict_self(self.0.as_fd())
    }
}

/// Signals of this process reach nobody outside of the domain that it entered last.
#[derive(Debug)]
pub(crate) struct Scoped(());

impl Scoped {
    /// Enters a domain of a plan that bounds signals.
    pub(crate) fn of(plan: &Landlock, domain: &Domain) -> Result<Self, Errno> {
        if !plan.scoped {
            return Err(Errno::OPNOTSUPP);
        }
        domain.enter()?;
        Ok(Self(()))
    }

    /// Enters a domain that bounds signals, and nothing else; an error where the kernel cannot (before ABI 6). Every domain forbids
    /// to move files between directories unless it says otherwise (landlock(7), LANDLOCK_ACCESS_FS_REFER).
    pub(crate) fn enter() -> Result<Self, Errno> {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.handle_access(AccessFs::Refer).and_then(|ruleset| ruleset.scope(Scope::Signal));
        let ruleset: Option<OwnedFd> =
            ruleset.and_then(|ruleset| ruleset.create()).map_err(|error| cause(&error))?.into();
        let ruleset = ruleset.ok_or(Errno::OPNOTSUPP)?;
        let root = fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        allow_beneath(ruleset.as_fd(), BitFlags::from(AccessFs::Refer).bits(), root.as_fd())?;
        ringfence_sys::landlock::restrict_self(ruleset.as_fd())?;
        Ok(Self(()))
    }
}

fn create(plan: &Landlock) -> Result<Option<OwnedFd>, RulesetError> {
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if plan.files {
        ruleset = ruleset.handle_access(AccessFs::from_all(abi(plan)))?;
    }
    if plan.scoped {
        ruleset = ruleset.scope(Scope::from_all(abi(plan)))?;
    }
    ruleset.create().map(Into::into)
}

/// The kernel's error, where it was the kernel that refused.
pub(crate) fn cause(error: &RulesetError) -> Errno {
    let first: &dyn std::error::Error = error;
    let mut all = std::iter::successors(Some(first), |error| error.source());
    all.find_map(|error| Errno::from_io_error(error.downcast_ref()?)).unwrap_or(Errno::PERM)
}

/// Where nothing is mounted, what was found before may have become a link since, and lead anywhere: then nobody gets a right there.
/// Links of the system, and to the run's own directories, are followed.
fn look(plan: &Landlock, path: &Path) -> Option<OwnedFd> {
    const SYSTEM: [&str; 4] = ["/dev", "/etc", "/proc", "/sys"];
    let own = |path: &Path| plan.rules.iter().any(|(right, own)| *right == Right::Own && own == path);
    let layer = plan.rules.iter().any(|(right, layer)| *right == Right::Layer && layer == path);
    let hosted = plan.rules.iter().any(|(right, _)| *right == Right::Own);
    let plain = hosted && !layer && !own(path) && !SYSTEM.iter().any(|system| path.starts_with(system));
    let resolve = if plain { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
}

/// Why a file gets no right though a rule covers it, if that is so: it stands beside what is hidden, and has another name, which is hidden
/// or may be.
#[must_use]
pub fn hidden_by_names(plan: &Landlock, path: &Path) -> Option<String> {
    let stat = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let other = FileType::from_raw_mode(stat.st_mode) != FileType::Directory && stat.st_nlink > 1;
    let directory = path.parent()?;
    let beside = plan.except.iter().any(|hidden| hidden.starts_with(directory));
    let itself = plan.rules.iter().any(|(_, rule)| rule == path);
    if !other || !beside || itself {
        return None;
    }
    const RIGHTS: &str = "and a right of tier `landlock` on a file holds by all of its names";
    match Names::of(&plan.except).0 {
        Ok(known) if !known.contains(&(stat.st_dev, stat.st_ino)) => None,
        Ok(_) => Some(format!("it has another name (hard link), by which it is hidden, {RIGHTS}")),
        Err(unknown) => Some(format!(
            "it has another name (hard link), which may lie in {}, hidden and not to be looked through, {RIGHTS}",
            unknown.display()
        )),
    }
}

/// What a reader of the plan would not expect of such files.
#[must_use]
pub fn told_of_names(plan: &Landlock) -> Option<String> {
    if plan.except.is_empty() {
        return None;
    }
    match Names::of(&plan.except).0 {
        Ok(known) if known.is_empty() => None,
        Ok(known) => Some(format!(
            "hidden files with other names (hard links), {}: tier `landlock` hides those names that stand beside the way to what is hidden",
            known.len()
        )),
        Err(unknown) => Some(format!(
            "{} is hidden and cannot be looked through: tier `landlock` hides every file with more than one name (hard links) beside the way to what is hidden, since one may lie there",
            unknown.display()
        )),
    }
}

/// Files that are hidden and have other names as well, by device and inode; an error: where there are too many to say, or nobody can list
/// them.
struct Names(Result<HashSet<(u64, u64)>, PathBuf>);

impl Names {
    fn of(except: &[PathBuf]) -> Self {
        let (mut found, mut left, mut entries) = (HashSet::new(), except.to_vec(), 0);
        while let Some(path) = left.pop() {
            let stat = match fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(_) => return Self(Err(path)),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if stat.st_nlink > 1 {
                    found.insert((stat.st_dev, stat.st_ino));
                }
                continue;
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let list = fs::openat(CWD, &path, flags, Mode::empty()).and_then(Dir::new);
            let Ok(list) = list else { return Self(Err(path)) };
            for entry in list {
                let Ok(entry) = entry else { return Self(Err(path)) };
                let name = entry.file_name().to_bytes();
                if ![&b"."[..], b".."].contains(&name) {
                    left.push(path.join(OsStr::from_bytes(name)));
                    entries += 1;
                }
            }
            if entries > MOST_HIDDEN {
                return Self(Err(path));
            }
        }
        Self(Ok(found))
    }

    fn hold(&self, stat: &Stat) -> bool {
        self.0.as_ref().map_or(true, |known| known.contains(&(stat.st_dev, stat.st_ino)))
    }
}

/// Finds everything in a directory that does not lead to what is hidden; names can be listed everywhere. What appears there later has
/// no right.
fn beside(
    found: &mut Vec<Object>,
    at: (usize, Right, ABI),
    path: &Path,
    hidden: (&[PathBuf], &OnceCell<Names>),
) {
    let (rule, right, abi) = at;
    let (except, names) = hidden;
    // It was found without links, and what is hidden below it as well.
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) else {
        return;
    };
    for entry in Dir::read_from(&directory).into_iter().flatten().filter_map(Result::ok) {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let child = path.join(name);
        if [".", ".."].map(OsStr::new).contains(&name) || except.contains(&child) {
            continue;
        }
        if except.iter().any(|hidden| hidden.starts_with(&child)) {
            beside(found, at, &child, hidden);
            continue;
        }
        let Ok(file) = open(directory.as_fd(), name, OFlags::PATH) else { continue };
        let Ok(stat) = fs::fstat(&file) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A right on a file holds by all of its names, a hidden one among them.
        let other = kind != FileType::Directory && stat.st_nlink > 1;
        if other && names.get_or_init(|| Names::of(except)).hold(&stat) {
            continue;
        }
        // A link is nothing by itself, and what it leads to has a rule of its own or none.
        if kind != FileType::Symlink {
            let access = rights(right, abi, kind == FileType::Directory);
            found.push(Object { rule, access, file });
        }
    }
    found.push(Object { rule, access: AccessFs::ReadDir.into(), file: directory });
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
