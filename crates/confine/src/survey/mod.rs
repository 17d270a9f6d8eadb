//! Looks at the host's files where the policy mentions them, once, before the plan is made.
//!
//! Costs a few system calls a rule. Only patterns with wildcards walk a tree, all of them in one walk.

mod git;
mod marked;
mod place;
mod programs;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use ringfence_plan::{Found, Invoker, Place, Refused, Survey};
use ringfence_policy::{Grant, Mode, Policy, Rule};
use rustix::io::Errno;

pub use place::resolve;

/// Looks. `workspace` is the directory to work on, as the invoker or the policy names it.
///
/// # Errors
/// A path that must exist and does not, a workspace that cannot be one.
pub fn survey(policy: &Policy, invoker: &Invoker, workspace: &Path) -> Result<Survey, Refused> {
    let place = workspace_place(policy, workspace, invoker)?;
    let mut survey = Survey {
        read: find(&policy.files.read, invoker, &place)?,
        exec: find(&policy.files.exec, invoker, &place)?,
        write: find(&policy.files.write, invoker, &place)?,
        search_path: programs::search_path(invoker),
        homes: vec![invoker.home.clone()],
        workspace: place,
        programs: Vec::new(),
        hidden: Vec::new(),
        protected: Vec::new(),
        absent_protected: Vec::new(),
        hooks: None,
        git: Vec::new(),
        notes: Vec::new(),
    };
    if let Some(commands) = &policy.commands {
        survey.programs = programs::find(commands, &survey, invoker)?;
    }
    if policy.workspace.git && policy.workspace.mode != Mode::Temporary {
        git::follow(&mut survey, invoker);
    }
    marked::mark(policy, invoker, &mut survey)?;
    Ok(survey)
}

fn workspace_place(policy: &Policy, workspace: &Path, invoker: &Invoker) -> Result<Place, Refused> {
    let cause = match resolve(workspace, invoker.root) {
        Ok(place) => return Ok(place),
        Err(Errno::NOENT) => "does not exist",
        Err(Errno::LOOP) => "is a loop of symbolic links",
        Err(Errno::ACCESS) => "cannot be reached: permission denied",
        Err(Errno::NOTDIR) => "leads through something that is not a directory",
        Err(_) => "cannot be looked at",
    };
    let hint = match &policy.workspace.path {
        Some(rule) => format!("correct `workspace.path` in {}:{}", rule.origin.source, rule.origin.line),
        None => "name an existing directory with `--workspace`".into(),
    };
    Err(Refused::workspace(format!("{} {cause}", workspace.display()), hint))
}

fn find(rules: &[Rule<Grant>], invoker: &Invoker, workspace: &Place) -> Result<Vec<Found>, Refused> {
    rules.iter().map(|rule| found(rule, invoker, workspace)).collect()
}

fn found(rule: &Rule<Grant>, invoker: &Invoker, workspace: &Place) -> Result<Found, Refused> {
    let path = &rule.value.path;
    let cause = match resolve(path, invoker.root) {
        Ok(mut place) => {
            // Where tasks of root write, links are root's as well, and still somebody's choosing.
            for link in &mut place.links {
                link.system &=
                    !link.path.starts_with(&invoker.home) && !link.path.starts_with(&workspace.real);
            }
            return Ok(Found { grant: rule.clone(), place: Some(place) });
        }
        Err(_) if rule.value.optional => return Ok(Found { grant: rule.clone(), place: None }),
        Err(Errno::NOENT | Errno::NOTDIR) => "does not exist",
        Err(Errno::LOOP) => "is a loop of symbolic links",
        Err(Errno::ACCESS) => "cannot be reached: permission denied",
        Err(_) => "cannot be looked at",
    };
    Err(Refused::rule(
        &rule.origin,
        format!("{} {cause}", path.display()),
        format!("write \"{}?\" if it need not exist", path.display()),
    ))
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

    /// Whether the path is one of them or lies below one.
    fn covers(&self, path: &Path) -> bool {
        path.ancestors().any(|ancestor| self.0.contains(ancestor.as_os_str()))
    }

    /// Whether the path is one of them.
    fn is(&self, path: &Path) -> bool {
        self.0.contains(path.as_os_str())
    }
}
