//! Everything that a policy names and this host does not have: `survey` ends at the first, who checks a policy wants all.

use std::path::Path;

use ringfence_plan::{Invoker, Refused};
use ringfence_policy::{Grant, Origin, Policy, Rule};

use super::{Look, grants, programs, survey, workspace_place};

/// What is missing, each with where it is named; an origin is `None` where no rule names it.
#[must_use]
pub fn missing(policy: &Policy, invoker: &Invoker, workspace: &Path) -> Vec<(Option<Origin>, Refused)> {
    let place = match workspace_place(policy, workspace, invoker) {
        Ok(place) => place,
        Err(refused) => {
            let origin = policy.workspace.path.as_ref().map(|rule| rule.origin.clone());
            return vec![(origin, refused)];
        }
    };
    let mut found = Vec::new();
    // What is left when those are taken out is looked at as a run does.
    let mut rest = policy.clone();
    for list in [&mut rest.files.read, &mut rest.files.exec, &mut rest.files.write] {
        list.retain(|rule: &Rule<Grant>| match grants::find(rule, invoker, &place) {
            Ok(_) => true,
            Err(refused) => {
                found.push((Some(rule.origin.clone()), refused));
                false
            }
        });
    }
    let mut without = Policy { commands: None, ..rest.clone() };
    without.guard.deny.clear();
    match survey(&without, invoker, workspace, Look::Needed) {
        Ok(looked) => {
            let lists = [
                (rest.commands.as_ref().map_or(&[][..], |commands| &commands.allow), true),
                (rest.guard.children.programs(), true),
                (&rest.approvals.commands, true),
                (&rest.guard.deny, false),
            ];
            for (list, needed) in lists {
                for (rule, refused) in programs::missing(list, needed, &looked, invoker) {
                    found.push((Some(rule.origin.clone()), refused));
                }
            }
        }
        Err(refused) => found.push((None, refused)),
    }
    found
}
