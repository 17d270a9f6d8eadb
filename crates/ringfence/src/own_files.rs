//! What a run's plan says of files where names alone do not decide: those that a sandbox has of its own are others in each tier, some
//! rules hold for what is there, and the home may be the sandbox's own.

use std::path::Path;

use ringfence_plan::{Content, Node, Plan, REFUSALS, Right, Step};
use ringfence_policy::{Access, Decision, Judge, Reason};

use crate::host::Host;

/// What there is to ask about a path.
pub(crate) struct Asked<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) host: &'a Host,
    pub(crate) path: &'a Path,
    pub(crate) access: Access,
}

impl Asked<'_> {
    /// What a run of this plan does, where names alone say `decision`.
    pub(crate) fn decide(&self, decision: Decision) -> Decision {
        let Self { plan, judge, path, access, .. } = self;
        if plan.hosted.is_none() && *access == Access::Write && judge.scratch(path) && !decision.is_allow() {
            return allowed("what is written there stays in the sandbox's own home, and is gone afterwards");
        }
        let decision = if plan.hosted.is_some() && *access == Access::Write && judge.scratch(path) {
            own_home(decision)
        } else {
            decision
        };
        let key = match decision.reason() {
            Reason::Rule { key, .. } => *key,
            Reason::BuiltIn(_) => "",
        };
        // In tier `landlock` the task may work on a copy, of which all is its own, and which has nothing of what is denied.
        let copied = plan.inside() != plan.workspace && path.starts_with(&plan.workspace);
        let changes = copied && (*access == Access::Write || self.host.has(path) == Some(false));
        match key {
            "files.deny" if changes || self.is_late(key) => {
                self.late(&judge.undenied(path, *access), &decision)
            }
            "workspace.protect" if changes || self.is_late(key) => allowed(&format!(
                "{}, which keeps it from landing (`ringfence apply`), not from the task",
                decision.reason()
            )),
            "files.decoy" if *access == Access::Read => allowed(&format!(
                "{}: a bait is read there, never the host's file, and whoever opens it is told of",
                decision.reason()
            )),
            _ if copied && *access == Access::Write => self.in_tier(decision),
            _ => self.kept(self.hidden(self.in_tier(decision))),
        }
    }

    /// What a rule grants and its permissions on the host keep from the task all the same.
    fn kept(&self, decision: Decision) -> Decision {
        let granted = matches!(
            decision.reason(),
            Reason::Rule { key: "files.read" | "files.write" | "files.exec", .. }
        );
        let kept = granted && decision.is_allow() && self.access != Access::Exec;
        if !kept || self.host.has(self.path) != Some(true) || !self.host.barred(self.path, self.access) {
            return decision;
        }
        let by = format!(
            "{} grants it, and its permissions on the host keep it from this user",
            decision.reason()
        );
        Decision::Refuse { by: Reason::BuiltIn(by) }
    }

    /// What a wider grant covers and the plan hides in it, for another reason than that it is denied.
    fn hidden(&self, decision: Decision) -> Decision {
        if let Some(by) = self.by_its_names().filter(|_| decision.is_allow()) {
            return Decision::Refuse { by: Reason::BuiltIn(by) };
        }
        let by = self.plan.hides(self.path).filter(|_| decision.is_allow());
        match by {
            Some(by) => {
                let by = format!("{by}: it is hidden in what is granted above it");
                Decision::Refuse { by: Reason::BuiltIn(by) }
            }
            None => decision,
        }
    }

    /// In tier `landlock` a file may be hidden for another name of its own.
    fn by_its_names(&self) -> Option<String> {
        self.plan.hosted.as_ref()?;
        let copied = self.plan.inside() != self.plan.workspace && self.path.starts_with(&self.plan.workspace);
        let landlock = self.plan.landlock.as_ref().filter(|_| !copied)?;
        ringfence_confine::hidden_by_names(landlock, self.path)
    }

    /// Whether nothing is there now, nor a directory above it, that a rule of this list could hold.
    fn is_late(&self, list: &str) -> bool {
        let there = self.path.ancestors().find(|above| self.host.has(above) != Some(false));
        there.is_some_and(|there| {
            let decision = self.judge.file(there, self.access);
            there != self.path && !matches!(decision.reason(), Reason::Rule { key, .. } if *key == list)
        })
    }

    /// What the task makes anew is its own, and stands as if nothing denied it.
    fn late(&self, decision: &Decision, denied: &Decision) -> Decision {
        let (by, rule) = (decision.reason(), denied.reason());
        match self.in_tier(decision.clone()).is_allow() {
            true => allowed(&format!(
                "{by}; {rule} hides what is there when a run starts, and not what the task makes then"
            )),
            false => decision.clone(),
        }
    }

    /// A decision as it holds in the plan's tier.
    fn in_tier(&self, decision: Decision) -> Decision {
        let Self { plan, path, access, .. } = *self;
        let built_in = |text: &str| Reason::BuiltIn(text.to_owned());
        if !matches!(decision.reason(), Reason::BuiltIn(_)) || path.starts_with(&plan.workspace) {
            return decision;
        }
        if plan.hosted.is_none() {
            // What is asked about is not there yet.
            let there =
                |node: &&Node| !matches!(node.content, Content::Asked { .. } | Content::Hidden { .. });
            let nodes = plan.void.iter().flatten().filter(there).map(|node| node.path.as_path());
            let mut shown = plan.steps.iter().map(Step::path).chain(nodes);
            let leads = |below: &Path| below.starts_with(path) && below != path;
            if access == Access::Read && !decision.is_allow() && shown.any(leads) {
                return allowed(
                    "it leads to what the sandbox shows below it, and shows nothing else of the host",
                );
            }
            let untold = path == Path::new(REFUSALS) && plan.void.is_none();
            let by = || {
                built_in("this host cannot show the task what it was refused (`ringfence doctor` says why)")
            };
            return if untold && decision.is_allow() { Decision::Refuse { by: by() } } else { decision };
        }
        let right = |right: Right| match access {
            Access::Read => true,
            Access::Write => matches!(right, Right::Write | Right::Own | Right::Device),
            Access::Exec => right == Right::Execute,
        };
        let rules = plan.landlock.iter().flat_map(|landlock| &landlock.rules);
        let mut rules = rules.filter(|(own, _)| right(*own)).map(|(_, path)| path);
        match decision.is_allow() {
            true if !rules.any(|rule| path.starts_with(rule)) => Decision::Refuse {
                by: built_in(
                    "tier `landlock` has no such file of the sandbox's own, and no rule of `files` covers it: $TMPDIR and $HOME are the run's own",
                ),
            },
            false if rules.any(|rule| path == rule) => {
                Decision::Allow { by: built_in("every sandbox of tier `landlock` is given it") }
            }
            _ => decision,
        }
    }
}

/// In tier `landlock` the home lies elsewhere.
fn own_home(decision: Decision) -> Decision {
    let Decision::Refuse { by: Reason::BuiltIn(why) } = decision else { return decision };
    let by = format!("{why}; `$HOME` is the run's own there: what is written below it is gone afterwards");
    Decision::Refuse { by: Reason::BuiltIn(by) }
}

fn allowed(sentence: &str) -> Decision {
    Decision::Allow { by: Reason::BuiltIn(sentence.to_owned()) }
}
