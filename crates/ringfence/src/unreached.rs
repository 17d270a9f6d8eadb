//! What a sandbox of root's cannot be given: who builds it has root's id, and none of its rights over the directories of others.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringfence_plan::{Plan, Refused, Survey};

use crate::terminal;

/// Looks at the way to each tree that root does not take hold of itself.
///
/// # Errors
/// A directory on one of them lets neither root nor everybody through.
pub(crate) fn check(plan: &Plan, survey: &Survey) -> Result<(), Refused> {
    let mut passed = BTreeSet::new();
    let trees = plan.trees.iter().filter(|tree| plan.ids.mapped && !tree.mapped);
    for tree in trees {
        let way = tree.host.ancestors().skip(1).take_while(|above| passed.insert(above.to_path_buf()));
        let shut =
            way.filter_map(|above| Some((above, above.metadata().ok()?))).filter(|(_, found)| !passes(found));
        if let Some((above, found)) = shut.last() {
            return Err(refused(&tree.host, (above, &found), survey));
        }
    }
    Ok(())
}

/// By the mode alone, as for who has no capabilities (path_resolution(7)).
fn passes(found: &Metadata) -> bool {
    let class = match found.uid() {
        0 => 6,
        _ if of_group(found) => 3,
        _ => 0,
    };
    found.mode() >> class & 1 != 0
}

fn of_group(found: &Metadata) -> bool {
    let own = rustix::process::getegid().as_raw() == found.gid();
    own || rustix::process::getgroups().is_ok_and(|all| all.iter().any(|one| one.as_raw() == found.gid()))
}

fn refused(host: &Path, (above, found): (&Path, &Metadata), survey: &Survey) -> Refused {
    let (shown, mode) = (host.display(), found.mode() & 0o7777);
    let cause = format!(
        "{shown} lies in {}, which does not let root through (mode {mode:o}), and a sandbox that root starts is built \
         without root's rights over what is another user's",
        above.display()
    );
    let remedy = format!(
        "start ringfence as the user with id {}, whose directory it is, or let others through: `chmod {}+x {}`",
        found.uid(),
        if of_group(found) { "g" } else { "o" },
        terminal::path(above)
    );
    let mut rules = survey.read.iter().chain(&survey.exec).chain(&survey.write);
    match rules.find(|rule| rule.place.as_ref().is_some_and(|place| place.real == host)) {
        Some(rule) => Refused::rule(&rule.grant.origin, cause, remedy),
        None => Refused { part: shown.to_string(), cause, remedy },
    }
}
