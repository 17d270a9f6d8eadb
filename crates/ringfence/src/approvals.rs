//! What an owner grants while a sandbox runs: judged by the policy, written down, then opened.

use std::cell::RefCell;
use std::path::Path;

use ringfence_confine::survey;
use ringfence_plan::{Plan, Step};
use ringfence_policy::{Context as PolicyContext, Judge, Policy, check_grant};
use ringfence_record::{Event, Writer};
use ringfence_supervise::{Clerk, Opening, Wish};

/// Decides for one run. The log is also others' to write.
pub(crate) struct Approvals<'a> {
    policy: &'a Policy,
    plan: &'a Plan,
    context: PolicyContext,
    log: &'a RefCell<&'a mut Writer>,
}

/// Whether anything may be granted while it runs.
pub(crate) fn any(policy: &Policy) -> bool {
    !policy.approvals.read.is_empty()
}

impl<'a> Approvals<'a> {
    /// For one run.
    pub(crate) fn new(
        policy: &'a Policy,
        plan: &'a Plan,
        context: PolicyContext,
        log: &'a RefCell<&'a mut Writer>,
    ) -> Self {
        Self { policy, plan, context, log }
    }

    /// How it would be shown; the policy has been asked.
    fn opening(&self, number: u32, path: &Path) -> Result<Opening, String> {
        let shown = path.display();
        let found = path.symlink_metadata().map_err(|error| format!("`{shown}`: {error}"))?;
        let directory = found.is_dir();
        if !directory && !found.is_file() {
            return Err(format!("`{shown}` is neither a file nor a directory"));
        }
        if let Some(below) = self.mounts().map(|(at, _)| at).find(|at| at.starts_with(path)) {
            return Err(format!("`{}` is granted below it: grant what is beside it", below.display()));
        }
        let on =
            self.mounts().filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.as_os_str().len());
        let own = match on {
            None if self.plan.void.is_none() => {
                return Err(
                    "the sandbox's root is in memory, which can show nothing new (no /dev/fuse)".into()
                );
            }
            None => false,
            Some((_, true)) => true,
            Some((at, false)) => {
                return Err(format!("`{shown}` lies in `{}`, which is granted as it is", at.display()));
            }
        };
        let hidden = if directory {
            survey::denied_below(self.policy, path).map_err(|error| {
                format!("`{shown}` cannot be searched for what `files.deny` hides in it: {error}")
            })?
        } else {
            Vec::new()
        };
        Ok(Opening { number, path: path.to_path_buf(), directory, own, hidden })
    }

    /// Mounts other than the root, each with whether it is the sandbox's own and may be written.
    fn mounts(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Tmpfs { path, flags, .. } => Some((path.as_path(), !flags.read_only)),
                Step::Bind { path, .. }
                | Step::Overlay { path, .. }
                | Step::Hide { path, .. }
                | Step::Processes { path, .. }
                | Step::Device { path }
                | Step::Terminals { path } => Some((path.as_path(), false)),
                _ => None,
            })
            .filter(|(path, _)| *path != Path::new("/"))
    }
}

impl Clerk for Approvals<'_> {
    fn grant(&mut self, number: u32, wish: &Wish) -> Result<Opening, String> {
        let judge = Judge::new(self.policy, &self.plan.workspace);
        let rule = judge.grantable(&wish.path)?;
        if let Some(invalid) = check_grant(&wish.path, false, &self.context) {
            return Err(invalid.message);
        }
        let opening = self.opening(number, &wish.path)?;
        let event = Event::Grant {
            path: wish.path.to_string_lossy().into_owned(),
            access: "read".into(),
            seconds: wish.seconds,
            why: wish.why.clone(),
            rule: format!("`{}` in `approvals.grantable.read` ({})", rule.value.text(), rule.origin),
        };
        match self.log.borrow_mut().append(&event) {
            Ok(_) => Ok(opening),
            Err(error) => Err(format!("it could not be written down: {error}")),
        }
    }

    fn ended(&mut self, _: u32, path: &Path, cause: &str) -> bool {
        let event = Event::Revoke { path: path.to_string_lossy().into_owned(), cause: cause.to_owned() };
        self.log.borrow_mut().append(&event).is_ok()
    }
}
