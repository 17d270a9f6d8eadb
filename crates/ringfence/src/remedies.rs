//! What would allow a file, as this host has it: links on the way are granted beside what they lead to, a pattern may hold it all the same,
//! and who removes a name needs its directory.

use std::path::{Path, PathBuf};

use ringfence_confine::survey::resolve;
use ringfence_plan::{Content, Link, Node, Plan, Step};
use ringfence_policy::{Access, Decision, Judge, Reason};

use crate::host::Host;

/// What is said of a file: with the rule that would hold it beside a grant, and with what stands above its links' target.
pub(crate) fn decide(judge: &Judge<'_>, host: &Host, path: &Path, access: Access) -> Decision {
    let decision = judge.file(path, access);
    let missing = !decision.is_allow() && matches!(decision.reason(), Reason::BuiltIn(_));
    if !missing || host.has(path) != Some(true) {
        return decision;
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(by) = [path, &real].iter().find_map(|path| judge.denied_if_granted(path)) {
        return Decision::Refuse { by };
    }
    if real == path {
        return decision;
    }
    let behind = judge.file(&real, access);
    let stands = match behind.reason() {
        Reason::Rule { .. } => !behind.is_allow(),
        Reason::BuiltIn(why) => why.contains("is a known secret"),
    };
    if stands { behind } else { decision }
}

/// The same of a name that is to go.
pub(crate) fn decide_removal(judge: &Judge<'_>, host: &Host, path: &Path) -> Decision {
    let decision = decide(judge, host, path, Access::Write);
    match path.parent() {
        Some(directory) if decision.is_allow() => decide(judge, host, directory, Access::Write),
        _ => decision,
    }
}

/// The lines that would allow it, if any do: both names of what links lead to, since a run refuses a grant of one alone.
pub(crate) fn lines(
    judge: &Judge<'_>,
    (host, home): (&Host, &Path),
    path: &Path,
    access: Access,
) -> Vec<String> {
    let by_name = by_name(judge, host, path, access);
    let refused = matches!(decide(judge, host, path, access), Decision::Refuse { by: Reason::Rule { .. } });
    if refused || !by_name.is_empty() {
        return by_name;
    }
    if let Some(name) = judge.secret_name_of(path) {
        return lines(judge, (host, home), &name, access);
    }
    let own = judge.remedy(path, access);
    let Some(real) = chosen(host, home, path) else { return own };
    let behind = judge.remedy(&real, access);
    match (own.as_slice(), behind.as_slice()) {
        (_, []) if judge.file(&real, access).is_allow() => own,
        ([], behind) if judge.file(path, access).is_allow() => behind.to_vec(),
        ([table, own], [same, behind]) if table == same => {
            let list = |line: &str| {
                let (key, value) = line.split_once(" = ")?;
                Some((key.to_owned(), value.strip_prefix('[')?.strip_suffix(']')?.to_owned()))
            };
            match (list(own), list(behind)) {
                (Some((key, own)), Some((_, behind))) => {
                    vec![table.clone(), format!("{key} = [{own}, {behind}]")]
                }
                _ => vec![table.clone(), behind.clone()],
            }
        }
        ([_, _], behind) => behind.to_vec(),
        _ => Vec::new(),
    }
}

/// The lines that allow what a rule refuses: those of what is denied for a grant by a link alone, which its own name opens.
pub(crate) fn by_name(judge: &Judge<'_>, host: &Host, path: &Path, access: Access) -> Vec<String> {
    let real = path.canonicalize().ok().filter(|_| host.has(path) == Some(true));
    let real = real.filter(|real| judge.opened_by_name(real, access));
    real.map(|real| judge.lines(&real, access)).unwrap_or_default()
}

/// What a path leads to by links of somebody's choosing, if that is there: the system's own are granted with what they lead to.
fn chosen(host: &Host, home: &Path, path: &Path) -> Option<PathBuf> {
    if host.has(path) != Some(true) {
        return None;
    }
    let place = resolve(path, false).ok()?;
    let any = place.links.iter().any(|link| !link.system || link.path.starts_with(home));
    any.then_some(place.real)
}

/// The first link on the way that the sandbox does not show.
pub(crate) fn hidden_link(plan: &Plan, judge: &Judge<'_>, path: &Path) -> Option<PathBuf> {
    let place = path.ancestors().find_map(|above| resolve(above, false).ok())?;
    let within = |directory: &Path| match judge.file(directory, Access::Read) {
        Decision::Allow { by: Reason::Rule { .. } } => true,
        decision => decision.is_allow() && directory.starts_with(&plan.workspace),
    };
    let shown = |link: &Link| {
        let made = |step: &Step| matches!(step, Step::Symlink { path, .. } if *path == link.path);
        let node = |node: &Node| matches!(node.content, Content::Link { .. }) && node.path == link.path;
        // A directory that is shown has it; a rule that names it alone may lead to what no rule names.
        link.path.parent().is_some_and(&within)
            || plan.steps.iter().any(made)
            || plan.void.iter().flatten().any(node)
    };
    place.links.into_iter().find(|link| plan.hosted.is_none() && !shown(link)).map(|link| link.path)
}
