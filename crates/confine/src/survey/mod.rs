//! Looks at the host's files where the policy mentions them, once, before the plan is made.
//!
//! Costs a few system calls a granted tree. Only patterns with wildcards walk a tree, all of them in one walk.

mod below;
mod git;
mod gitconfig;
mod grants;
mod hidden;
mod homes;
mod marked;
mod missing;
mod place;
mod programs;
mod settings;
mod sockets;
mod walk;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, Place, Program, Refused, Secrets, Survey};
use ringfence_policy::{Mode, Policy};
use rustix::io::Errno;

use crate::mountinfo;

pub use below::hidden_below;
use grants::Looked;
pub use missing::missing;
pub use place::resolve;
pub use sockets::way;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What the plan depends on.
    Needed,
    /// Also rules below a granted directory, which change nothing: what is odd about them becomes a note.
    Everything,
}

/// Looks. `workspace` is the directory to work on, as the invoker or the policy names it.
///
/// # Errors
/// A path that must exist and does not, a workspace that cannot be one.
pub fn survey(policy: &Policy, invoker: &Invoker, workspace: &Path, look: Look) -> Result<Survey, Refused> {
    let place = workspace_place(policy, workspace, invoker)?;
    if invoker.root && matches!(policy.workspace.mode, Mode::Review | Mode::Discard) {
        no_mounts_below(&place.real)?;
    }
    let Looked { lists: [read, exec, write], covered } = grants::look(policy, invoker, &place)?;
    let mut survey = Survey {
        read,
        exec,
        write,
        search_path: programs::search_path(invoker),
        homes: vec![invoker.home.clone()],
        known_homes: homes::known(invoker, place.uid),
        workspace: place,
        programs: Vec::new(),
        denied: Vec::new(),
        many: Vec::new(),
        git_core: Vec::new(),
        hidden: Vec::new(),
        barred: None,
        secrets: Secrets::default(),
        protected: Vec::new(),
        absent_protected: Vec::new(),
        led_to: Vec::new(),
        obeyed: Vec::new(),
        git: Vec::new(),
        git_apart: None,
        mounts: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(commands) = &policy.commands {
        survey.programs = programs::find(&commands.allow, &survey, invoker)?;
        let children = programs::find(policy.guard.children.programs(), &survey, invoker)?;
        survey.programs.extend(children);
        // The kernel must let them start, should they be granted; until then the guard does not.
        let grantable = programs::find(&policy.approvals.commands, &survey, invoker)?;
        let grantable = grantable.into_iter().map(|program| Program { grantable: true, ..program });
        survey.programs.extend(grantable);
        programs::startable(policy, &survey)?;
        if policy.guard.pin() {
            programs::pin(&mut survey.programs)?;
        }
    }
    survey.denied = programs::find_denied(&policy.guard.deny, &survey, invoker)?;
    survey.many = programs::many(policy, &survey);
    survey.git_core = programs::git_core(policy, &survey);
    if policy.workspace.mode != Mode::Temporary {
        git::look(&mut survey, invoker, policy.workspace.git);
    }
    if policy.runtime.user_namespaces {
        let table = "the table of mounts";
        let points = mountinfo::points()
            .map_err(|error| Refused::host(table, error.to_string(), "make /proc/self/mountinfo readable"))?;
        let written = survey.write.iter().filter_map(|found| found.place.as_ref()).chain([&survey.workspace]);
        let written: Vec<&Path> = written.map(|place| place.real.as_path()).collect();
        let below = |point: &PathBuf| written.iter().any(|real| point.starts_with(real) && point != real);
        survey.mounts = points.into_iter().filter(below).collect();
    }
    sockets::check(policy, &survey)?;
    marked::mark(policy, invoker, &mut survey, look)?;
    if look == Look::Everything {
        let shown = Shown::of(policy, &survey);
        survey.notes.extend(covered.into_iter().filter_map(|rule| grants::note(rule, &shown)));
    }
    Ok(survey)
}

fn workspace_place(policy: &Policy, workspace: &Path, invoker: &Invoker) -> Result<Place, Refused> {
    let cause = match resolve(workspace, invoker.root) {
        Ok(place) => return Ok(place),
        Err(Errno::NOENT) if workspace.is_symlink() => "is a link that leads nowhere",
        Err(Errno::NOENT) => "does not exist",
        Err(Errno::LOOP) => "is a loop of symbolic links",
        Err(Errno::ACCESS) => "cannot be reached: permission denied",
        Err(Errno::NOTDIR) => "leads through something that is not a directory",
        Err(Errno::NOSYS) => {
            let found = "a filter refuses it, as inside of a ringfence sandbox, which holds no other one; or the kernel is \
                 older than 5.6";
            let remedy = "run the command without a second ringfence: the boundary around it holds already";
            return Err(Refused::host("openat2(2), by which paths are looked up", found, remedy));
        }
        Err(_) => "cannot be looked at",
    };
    let hint = match &policy.workspace.path {
        Some(rule) => format!("correct `workspace.path` in {}:{}", rule.origin.source, rule.origin.line),
        None => "name an existing directory with `--workspace`".into(),
    };
    Err(Refused::workspace(format!("{} {cause}", workspace.display()), hint))
}

/// A copy-on-write view shows one file system. The kernel refuses an ordinary user's view of more; root's it would make.
fn no_mounts_below(workspace: &Path) -> Result<(), Refused> {
    let points = mountinfo::points().unwrap_or_default();
    let below = points.into_iter().find(|point| point != workspace && point.starts_with(workspace));
    match below {
        Some(point) => Err(Refused::workspace(
            format!("{} is a mount below the workspace, which copy-on-write cannot show", point.display()),
            "choose `workspace.mode = \"direct\"` or \"read\", or unmount it",
        )),
        None => Ok(()),
    }
}

/// Every path whose content the sandbox may show: the workspace, the grants, git's directories.
struct Shown(HashSet<OsString>);

impl Shown {
    fn of(policy: &Policy, survey: &Survey) -> Self {
        let granted = survey
            .read
            .iter()
            .chain(&survey.exec)
            .chain(&survey.write)
            .filter_map(|found| found.place.as_ref());
        let workspace = (policy.workspace.mode != Mode::Temporary).then_some(&survey.workspace);
        let git = survey.git.iter().map(|git| &git.place);
        Self(granted.chain(workspace).chain(git).map(|place| place.real.clone().into_os_string()).collect())
    }

    /// This tree alone.
    fn only(root: &Path) -> Self {
        Self(HashSet::from([root.as_os_str().to_owned()]))
    }

    fn everything() -> Self {
        Self::only(Path::new("/"))
    }

    fn is_everything(&self) -> bool {
        self.is(Path::new("/"))
    }

    /// Whether the path is one of them or lies below one.
    fn covers(&self, path: &Path) -> bool {
        path.ancestors().any(|ancestor| self.0.contains(ancestor.as_os_str()))
    }

    /// Whether the path is one of them.
    fn is(&self, path: &Path) -> bool {
        self.0.contains(path.as_os_str())
    }
}
