//! Which grants are looked at. What lies below a granted directory is granted with it: looking again would add nothing.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{Found, Invoker, KNOWN, Kind, Place, Refused, Secret, Secrets, Survey};
use ringfence_policy::{Grant, Mode, Origin, Policy, Rule, secret_above};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Shown;
use super::place::resolve;
use super::walk::entries;

/// The three lists of `files`, as far as they were looked at; what is below a granted directory is left out.
#[derive(Default)]
pub(super) struct Looked<'a> {
    pub(super) lists: [Vec<Found>; 3],
    /// Rules that were not looked at.
    pub(super) covered: Vec<&'a Rule<Grant>>,
}

/// Kinds of grants, by their place in [`Looked::lists`]; each includes reading.
const READ: usize = 0;

/// Looks at rules from short to long, so that a directory comes before all that lies below it.
pub(super) fn look<'a>(
    policy: &'a Policy,
    invoker: &Invoker,
    workspace: &Place,
) -> Result<Looked<'a>, Refused> {
    let lists = [&policy.files.read, &policy.files.exec, &policy.files.write];
    // One number each, which sorts faster than three: the length of the path; the kind, where of one path reading comes last,
    // since the others include it; and the place in the list.
    let mut order: Vec<u64> = Vec::with_capacity(lists.iter().map(|list| list.len()).sum());
    for (kind, list) in (0u64..).zip(lists) {
        let length = |rule: &Rule<Grant>| rule.value.path.as_os_str().len() as u64;
        order.extend((0u64..).zip(list).map(|(number, rule)| length(rule) << 40 | (2 - kind) << 32 | number));
    }
    order.sort_unstable();
    let mut trees = Trees::default();
    if policy.workspace.mode != Mode::Temporary {
        trees.add(&workspace.real, READ);
    }
    let mut looked = Looked::default();
    let mut found = [const { Vec::new() }; 3];
    for key in order {
        let (kind, number) = (2 - (key >> 32 & 3) as usize, (key & u64::from(u32::MAX)) as usize);
        let Some(rule) = lists.get(kind).and_then(|list| list.get(number)) else { continue };
        let held = trees.hold(&rule.value.path, kind);
        let outcome = match held && !secret_above(&rule.value.path) {
            true => None,
            false => Some(find(rule, invoker, workspace)).filter(|found| !held || found.is_ok()),
        };
        let Some(outcome) = outcome else {
            looked.covered.push(rule);
            continue;
        };
        if let Ok(Found { place: Some(place), .. }) = &outcome
            && place.links.is_empty()
            && place.kind == Kind::Directory
        {
            trees.add(&rule.value.path, kind);
        }
        if let Some(list) = found.get_mut(kind) {
            list.push((number, outcome));
        }
    }
    // In the order of the policy again, so that its first mistake is the one that is named.
    for (list, mut outcomes) in looked.lists.iter_mut().zip(found) {
        outcomes.sort_unstable_by_key(|(number, _)| *number);
        *list = outcomes.into_iter().map(|(_, outcome)| outcome).collect::<Result<_, _>>()?;
    }
    Ok(looked)
}

/// Granted directories that were found where they are named, without links.
#[derive(Default)]
struct Trees<'a> {
    kinds: HashMap<&'a OsStr, usize>,
    /// Whether any of them has a name of so many bytes: most questions are answered without a look at a name.
    lengths: Vec<bool>,
}

impl<'a> Trees<'a> {
    fn add(&mut self, path: &'a Path, kind: usize) {
        let path = path.as_os_str();
        if self.lengths.len() <= path.len() {
            self.lengths.resize(path.len() + 1, false);
        }
        if let Some(known) = self.lengths.get_mut(path.len()) {
            *known = true;
        }
        self.kinds.entry(path).or_insert(kind);
    }

    /// Whether the nearest directory at or above the path grants this kind too.
    fn hold(&self, path: &Path, kind: usize) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let ends = (1..bytes.len()).rev().filter(|at| bytes.get(*at) == Some(&b'/'));
        std::iter::once(bytes.len())
            .chain(ends)
            .filter(|end| self.lengths.get(*end) == Some(&true))
            .find_map(|end| self.kinds.get(OsStr::from_bytes(bytes.get(..end)?)))
            .is_some_and(|have| *have == kind || kind == READ)
    }
}

/// What a reader would not expect of a rule that was not looked at.
pub(super) fn note(rule: &Rule<Grant>, shown: &Shown) -> Option<String> {
    let path = rule.value.path.display();
    let what = match resolve(&rule.value.path, false) {
        Ok(place) if shown.covers(&place.real) => return None,
        Ok(place) => format!(
            "leads through a symbolic link to {}, which no rule names: grant that itself if it is meant",
            place.real.display()
        ),
        Err(_) if rule.value.optional => return None,
        Err(errno) => format!("is granted with a directory above it, but {}", cause(errno)),
    };
    Some(format!("{}: {path} {what}", rule.origin))
}

/// Of a directory of secrets: its name opens none of them, and what is meant is in it.
pub(super) fn whole(origin: &Origin, path: &Path, why: &str, home: &Path) -> Refused {
    Refused::rule(
        origin,
        format!("{} is a directory of secrets ({why}), which no grant opens as a whole", path.display()),
        files_of(path, home),
    )
}

/// The lines that work instead.
fn files_of(path: &Path, home: &Path) -> String {
    // By the names of what a link leads to, which a rule opens by itself.
    let real = resolve(path, false).map_or_else(|_| path.to_path_buf(), |place| place.real);
    let mut files: Vec<String> = entries(&real)
        .into_iter()
        .filter(|(_, kind)| matches!(kind, FileType::RegularFile | FileType::Symlink))
        .filter_map(|(path, _)| ringfence_policy::spelled_grant(&path, home))
        .collect();
    files.sort_unstable();
    let such = match files.first() {
        Some(first) => format!(", such as {first}"),
        None => String::new(),
    };
    format!("name the files in it that the task needs{such}")
}

/// The same of what may be granted while a sandbox runs, by whatever name.
pub(super) fn grantable_whole(policy: &Policy, secrets: &Secrets) -> Result<(), Refused> {
    for rule in &policy.approvals.read {
        let Some(path) = rule.value.literal() else { continue };
        let Ok(place) = resolve(path, false) else { continue };
        let is = |secret: &&Secret| secret.marked.path == place.real;
        let Some(secret) = secrets.found.iter().find(is) else { continue };
        if place.kind == Kind::Directory && secret.marked.because.starts_with(KNOWN) {
            return Err(whole(&rule.origin, path, &secret.marked.because, &policy.home));
        }
    }
    Ok(())
}

/// What rules name in a directory that is one of secrets by a link alone: a wider grant covered it, and shows nothing of it.
pub(super) fn named_within(
    policy: &Policy,
    invoker: &Invoker,
    survey: &mut Survey,
    shut: &[PathBuf],
) -> Result<(), Refused> {
    let by_link: Vec<&PathBuf> = shut.iter().filter(|shut| !secret_above(&shut.join("it"))).collect();
    if by_link.is_empty() {
        return Ok(());
    }
    let Survey { read, exec, write, workspace, .. } = survey;
    for (list, rules) in
        [(read, &policy.files.read), (exec, &policy.files.exec), (write, &policy.files.write)]
    {
        let within = |path: &Path| by_link.iter().any(|shut| path.starts_with(shut) && path != *shut);
        for rule in rules.iter().filter(|rule| within(&rule.value.path)) {
            if list.iter().all(|found| found.grant.value.path != rule.value.path) {
                list.push(find(rule, invoker, workspace)?);
            }
        }
    }
    Ok(())
}

/// A rule whose path leads through somebody's link into a directory of secrets that a wider grant holds opens nothing there: that
/// takes a rule that names what is meant in it, or a directory below. `shut`: those directories.
pub(super) fn through_links(survey: &mut Survey, shut: &[PathBuf], home: &Path) -> Result<(), Refused> {
    let chosen = |place: &Place| place.links.iter().any(|link| !link.system);
    let all = survey.read.iter().chain(&survey.exec).chain(&survey.write);
    let named: HashSet<PathBuf> = all
        .filter_map(|found| found.place.as_ref())
        .filter(|place| !chosen(place))
        .map(|place| place.real.clone())
        .collect();
    for found in survey.read.iter_mut().chain(&mut survey.exec).chain(&mut survey.write) {
        let Some(place) = found.place.as_ref().filter(|place| chosen(place)) else { continue };
        let Some(secrets) = shut.iter().find(|shut| place.real.starts_with(shut)) else { continue };
        let mut within = place.real.ancestors().take_while(|at| at != secrets);
        if within.any(|at| named.contains(at)) {
            continue;
        }
        if !found.grant.value.optional {
            let real = place.real.display();
            return Err(Refused::rule(
                &found.grant.origin,
                format!(
                    "{} leads through a symbolic link to {real}, in a directory of secrets, where a rule opens only what it names",
                    found.grant.value.path.display()
                ),
                // The directory itself no rule opens.
                match place.real == *secrets {
                    true => files_of(secrets, home),
                    false => format!("grant {real} itself if that is meant"),
                },
            ));
        }
        let path = found.grant.value.path.display();
        let real = place.real.display();
        survey.notes.push(format!(
            "{}: {path} leads through a symbolic link to {real}, in a directory of secrets: grant that itself if it is meant",
            found.grant.origin
        ));
        found.place = None;
    }
    Ok(())
}

/// Looks at one.
pub(super) fn find(rule: &Rule<Grant>, invoker: &Invoker, workspace: &Place) -> Result<Found, Refused> {
    let path = &rule.value.path;
    let errno = match resolve(path, invoker.root) {
        Ok(mut place) => {
            // Where tasks of root write, links are root's as well, and still somebody's choosing.
            for link in &mut place.links {
                link.system &=
                    !link.path.starts_with(&invoker.home) && !link.path.starts_with(&workspace.real);
            }
            return Ok(Found { grant: rule.clone(), place: Some(place) });
        }
        Err(_) if rule.value.optional => return Ok(Found { grant: rule.clone(), place: None }),
        Err(errno) => errno,
    };
    Err(Refused::rule(
        &rule.origin,
        format!("{} {}", path.display(), cause(errno)),
        format!("write \"{}?\" if it need not exist", path.display()),
    ))
}

fn cause(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT | Errno::NOTDIR => "does not exist",
        Errno::LOOP => "is a loop of symbolic links",
        Errno::ACCESS => "cannot be reached: permission denied",
        _ => "cannot be looked at",
    }
}
