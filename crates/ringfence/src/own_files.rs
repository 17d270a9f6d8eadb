//! What a run's plan says of files that no grant decides: those that a sandbox has of its own are others in each tier.

use std::path::Path;

use ringfence_plan::{Plan, REFUSALS, Right};
use ringfence_policy::{Access, Decision, Reason};

/// Where such files lie.
const PLACES: [&str; 7] = ["/dev", "/etc", "/proc", "/run/ringfence", "/sys", "/tmp", "/var/tmp"];

/// Whether the plan has to be asked about a path.
pub(crate) fn depends(path: &Path) -> bool {
    PLACES.iter().any(|place| path.starts_with(place))
}

/// A decision as it holds in the plan's tier.
pub(crate) fn in_tier(plan: &Plan, path: &Path, access: Access, decision: Decision) -> Decision {
    let built_in = |text: &str| Reason::BuiltIn(text.to_owned());
    if !matches!(decision.reason(), Reason::BuiltIn(_)) || path.starts_with(&plan.workspace) {
        return decision;
    }
    if plan.hosted.is_none() {
        let untold = path == Path::new(REFUSALS) && plan.void.is_none();
        let by =
            || built_in("this host cannot show the task what it was refused (`ringfence doctor` says why)");
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
