//! Puts back what an apply replaced: the same steps the other way round, by the same journal, all or nothing.
//!
//! What stands on the host must be what landed, untouched since. What the undo takes away is kept in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::apply::{Progress, Source, carry_out, token};
use crate::assess::interrupted;
use crate::attributes;
use crate::beneath::{Tree, by_descriptor, look_at, names};
use crate::beside::Beside;
use crate::change::FileType;
use crate::index;
use crate::journal::{Journal, Story, UNDO};
use crate::layer::Identity;
use crate::operation::{Action, Operation, enterable, numbered, ordered};
use crate::recover::{Sites, landed};
use crate::refuse::{Reason, Refusal, Refused};
use crate::restored::Restored;

/// The journal of the undo, in that of the apply.
const REVERTED: &str = "reverted";

/// Where the undo of an apply keeps its journal: it is to be recovered, and given to the next apply, like one of an apply.
pub fn reverted(journal_dir: &Path) -> PathBuf {
    journal_dir.join(REVERTED)
}

/// Whether this is the journal of an undo.
pub(crate) fn is_reverted(journal_dir: &Path) -> bool {
    journal_dir.file_name() == Some(OsStr::new(REVERTED))
}

/// Where this is the journal of an undo that stands: what it put back has its place again, and a second name of it would only show
/// changes made there.
pub(crate) fn forget(reverted: &Path) {
    if is_reverted(reverted)
        && let Some(kept) = reverted.parent().map(|apply| apply.join(UNDO)).filter(|kept| kept.exists())
        && landed(reverted)
    {
        let _ = crate::remove::remove_tree(&kept);
    }
}

/// Where a recovery finished an undo: what it put back stands as it does now, with its second names gone.
pub(crate) fn look_again(reverted: &Path) {
    let look = || {
        let (_, story) = Journal::open(reverted).ok()?;
        let sites = Sites::open(&story.layers, &story.stage).ok()?;
        let mut traces = Restored::load(reverted);
        traces.look_again(&sites.hosts);
        traces.save(reverted).ok()
    };
    if is_reverted(reverted) {
        look();
    }
}

/// Whether the apply whose journal is in this directory landed, was not undone, and what it replaced is still kept.
pub fn undoable(journal_dir: &Path) -> bool {
    journal_dir.join(UNDO).exists() && landed(journal_dir) && !landed(&reverted(journal_dir))
}

/// An undo that may begin: everything was judged, and nothing stands in the way.
#[derive(Debug)]
pub struct Undo {
    journal_dir: PathBuf,
    sites: Sites,
    token: String,
    kept: Tree,
    operations: Vec<Operation>,
    /// By the numbers of the steps, those of the steps of the apply.
    numbers: BTreeMap<usize, usize>,
    unseen: BTreeSet<usize>,
    others_modes: Vec<PathBuf>,
}

/// Judges an undo. `later` are the journals of what came after the apply, and of its undo: their traces are no conflict. `others` are
/// the journals of applies of other runs, in the order in which they were undone: what those replaced and put back is none either.
///
/// # Errors
/// [`Refused`]: it did not land, something of it was changed on the host since, or a system call failed.
pub fn plan_undo(journal_dir: &Path, later: &[PathBuf], others: &[PathBuf]) -> Result<Undo, Refused> {
    let at = |reason| Refused::one("", journal_dir, reason);
    let failed = |doing: &'static str| move |errno| at(Reason::failed(doing)(errno));
    let (_, mut story) = Journal::open(journal_dir).map_err(failed("read the journal"))?;
    if story.done != Some(true) {
        return Err(at(Reason::Interrupted));
    }
    let token = token().map_err(failed("read random bytes"))?;
    let sites = Sites::open(&story.layers, &token)?;
    story.mounted_anew(&sites);
    for (place, host) in story.layers.iter().zip(&sites.hosts) {
        if let Some(reason) = interrupted(host) {
            return Err(Refused::one(&place.name, Path::new(""), reason));
        }
    }
    let kept = Tree::own(&journal_dir.join(UNDO)).map_err(failed("open what was kept"))?;
    // One that was taken back left its traces too.
    let traces: Vec<_> = later.iter().cloned().chain([reverted(journal_dir)]).collect();
    let hosts: Vec<_> = story.layers.iter().map(|place| &*place.host).collect();
    let known = Known { restored: Restored::load_all(&traces), beside: Beside::load(others, &hosts) };
    let Steps { mut operations, unseen, others_modes } = reverse(&story, &sites, &kept, &known)?;
    let numbers: BTreeMap<_, _> =
        operations.iter().enumerate().map(|(now, operation)| (now, operation.number)).collect();
    let unseen = numbers.iter().filter(|(_, then)| unseen.contains(then)).map(|(now, _)| *now).collect();
    numbered(&mut operations);
    let journal_dir = journal_dir.to_owned();
    Ok(Undo { journal_dir, sites, token, kept, operations, numbers, unseen, others_modes })
}

impl Undo {
    /// The paths that it puts back, with the names of their layers.
    pub fn paths(&self) -> Vec<(String, PathBuf)> {
        let path = |operation: &Operation| {
            let place = self.sites.places.get(operation.layer)?;
            Some((place.name.clone(), operation.path.clone()))
        };
        self.operations.iter().filter_map(path).collect()
    }

    /// Directories of which somebody changed the mode since: they keep it.
    pub fn others_modes(&self) -> &[PathBuf] {
        &self.others_modes
    }

    /// Where what it takes away will be kept.
    pub fn kept(&self) -> PathBuf {
        reverted(&self.journal_dir).join(UNDO)
    }

    /// Puts it back. What could not be cleared up is returned; [`crate::recover()`] tries again.
    ///
    /// # Errors
    /// [`Refused`]: something was changed meanwhile, or a system call failed; then the host is as it was.
    pub fn carry_out(self, watch: &mut dyn FnMut(Progress)) -> Result<Vec<Refusal>, Refused> {
        let journal = reverted(&self.journal_dir);
        let source = Source::Kept { kept: &self.kept, numbers: &self.numbers, unseen: &self.unseen };
        let operations = self.operations.clone();
        let left = carry_out(&self.sites, operations, &source, &journal, self.token, watch)?;
        // Without them the next apply is refused, which loses nothing.
        let mut traces = Restored::load(&self.journal_dir).merges();
        if let Ok((_, story)) = Journal::open(&journal) {
            traces.remember_undone(&story, &self.sites.hosts, true);
        }
        if left.is_empty() {
            forget(&journal);
        }
        traces.look_again(&self.sites.hosts);
        let _ = traces.save(&journal);
        Ok(left)
    }
}

/// What changed on the host by our own doing.
struct Known {
    restored: Restored,
    beside: Beside,
}

impl Known {
    fn touched(&self, Operation { layer, path, .. }: &Operation, stood: &Identity, there: &Identity) -> bool {
        self.restored.knows(*layer, path, there) || self.beside.leads(*layer, path, stood, there)
    }
}

/// The steps back.
#[derive(Default)]
struct Steps {
    operations: Vec<Operation>,
    /// Those that cannot be judged before another one has opened a directory, by their numbers then.
    unseen: BTreeSet<usize>,
    others_modes: Vec<PathBuf>,
}

/// The steps back in their order, each still with its number then.
fn reverse(story: &Story, sites: &Sites, kept: &Tree, known: &Known) -> Result<Steps, Refused> {
    let (mut steps, mut refusals) = (Steps::default(), Vec::new());
    for operation in &story.operations {
        let Some((host, place)) = sites.site(operation) else { continue };
        if let Err(reason) = back(story, operation, host, kept, known, &mut steps) {
            refusals.push(Refusal::new(&place.name, &operation.path, reason));
        }
    }
    if !refusals.is_empty() {
        return Err(Refused { refusals });
    }
    ordered(&mut steps.operations);
    Ok(steps)
}

/// Judges one of them.
fn back(
    story: &Story,
    operation: &Operation,
    host: &Tree,
    kept: &Tree,
    known: &Known,
    steps: &mut Steps,
) -> Result<(), Reason> {
    let before = kept
        .look(&crate::stage::name(operation.number))
        .map_err(Reason::failed("look at what was replaced"))?;
    let lost = || Reason::failed("find what was replaced")(Errno::NOENT);
    let (action, mut mode) = match operation.action {
        Action::Create => (Action::Remove, 0),
        Action::Replace => (Action::Replace, before.ok_or_else(lost)?.mode & 0o7777),
        Action::Remove => (Action::Create, before.ok_or_else(lost)?.mode & 0o7777),
        Action::Mode => (Action::Mode, operation.old.map_or(0, |old| old.mode & 0o7777)),
    };
    let (parent, above, there) = match see(operation, host) {
        Err(Reason::Closed) if opened_before(story, operation) && operation.settings.is_empty() => {
            steps.unseen.insert(operation.number);
            (None, operation.parent, landed_as(story, operation))
        }
        other => other.map(|(parent, above, there)| (Some(parent), above, there))?,
    };
    if let Some(parent) = parent {
        let as_it_landed = match (operation.action, &there) {
            (Action::Remove, there) => there.is_none(),
            (_, None) => false,
            (Action::Mode, Some(there)) => {
                let name = operation.path.file_name().unwrap_or(OsStr::new(""));
                let path = by_descriptor(parent.as_fd(), name);
                let same = |setting: &attributes::Setting| {
                    attributes::value(&path, &setting.name).is_ok_and(|value| value == setting.new)
                };
                operation.old.is_some_and(|old| old.same_object(there)) && operation.settings.iter().all(same)
            }
            (_, Some(there)) => untouched(story, operation, host, there, known),
        };
        if !as_it_landed {
            return Err(Reason::ChangedSinceApply);
        }
    }
    // Somebody's mode of a directory stays: it is no reason to leave all the rest as it is.
    let now = there.map_or(0, |there| there.mode & 0o7777);
    if action == Action::Mode && now != operation.mode {
        if now != mode {
            steps.others_modes.push(operation.path.clone());
        }
        mode = now;
        if operation.settings.is_empty() {
            return Ok(());
        }
    }
    steps.operations.push(Operation {
        number: operation.number,
        layer: operation.layer,
        path: operation.path.clone(),
        action,
        parent: above,
        old: there,
        mode,
        settings: operation.settings.iter().cloned().map(attributes::Setting::reversed).collect(),
    });
    Ok(())
}

/// The directory that a step was done in, and what is there now.
fn see(operation: &Operation, host: &Tree) -> Result<(OwnedFd, Identity, Option<Identity>), Reason> {
    let closed = |doing: &'static str| {
        move |errno| match errno {
            Errno::ACCESS => Reason::Closed,
            errno => Reason::failed(doing)(errno),
        }
    };
    let parent = host.parent(&operation.path).map_err(|errno| match errno {
        Errno::ACCESS => Reason::Closed,
        _ => Reason::DirectoryReplaced,
    })?;
    let above = Identity::of(&rustix::fs::fstat(&parent).map_err(closed("look at the directory"))?);
    if !above.same_object(&operation.parent) {
        return Err(Reason::DirectoryReplaced);
    }
    let name = operation.path.file_name().ok_or(Reason::ChangedOnHost)?;
    let there = look_at(&parent, name).map_err(closed("look at what landed"))?;
    Ok((parent, above, there))
}

/// Did the apply close a directory above, which the undo opens again before anything else?
fn opened_before(story: &Story, operation: &Operation) -> bool {
    story.operations.iter().any(|above| {
        above.action == Action::Mode
            && above.layer == operation.layer
            && above.path != operation.path
            && operation.path.starts_with(&above.path)
            && !enterable(above.mode)
            && above.old.is_some_and(|old| enterable(old.mode))
    })
}

/// What landed, as far as the journal tells.
fn landed_as(story: &Story, operation: &Operation) -> Option<Identity> {
    match operation.action {
        Action::Remove => None,
        Action::Mode => {
            operation.old.map(|old| Identity { mode: old.mode & !0o7777 | operation.mode & 0o7777, ..old })
        }
        Action::Create | Action::Replace => {
            let number = &operation.number;
            story.stands.get(number).or(story.staged.get(number)).copied()
        }
    }
}

/// Is this what landed? In a directory that landed, nothing may be newer than it.
fn untouched(story: &Story, operation: &Operation, host: &Tree, there: &Identity, known: &Known) -> bool {
    let number = operation.number;
    // Git only looked.
    if let (Some(meaning), Some(stood)) = (story.meanings.get(&number), story.stands.get(&number))
        && (stood.mode, stood.uid, stood.gid) == (there.mode, there.uid, there.gid)
        && let Ok(Some(now)) = index::meaning_at(host, &operation.path, there.size)
        && now == *meaning
    {
        return true;
    }
    if FileType::of(there.mode) != FileType::Directory {
        return match (story.stands.get(&number), story.staged.get(&number)) {
            (Some(stood), _) => stood == there || known.touched(operation, stood, there),
            (None, Some(built)) => built.same_content(there),
            (None, None) => false,
        };
    }
    let Some(built) = story.stands.get(&number).or(story.staged.get(&number)) else { return false };
    // Its mode counts for nothing: it goes away as it is, and is kept so.
    built.same_object(there) && inside(host, operation, built, known).unwrap_or(false)
}

fn inside(host: &Tree, operation: &Operation, built: &Identity, known: &Known) -> Result<bool, Errno> {
    let moment = built.changed;
    // To its owner: where it landed so nobody got in. What was closed since has a later change time.
    let closed = |path: &Path| path != operation.path || !enterable(built.mode);
    let mut queue = vec![operation.path.clone()];
    while let Some(path) = queue.pop() {
        let directory = match host.directory(&path) {
            Err(Errno::ACCESS) if closed(&path) => continue,
            other => other?,
        };
        for name in names(&directory)? {
            let found = match look_at(&directory, &name) {
                Err(Errno::ACCESS) if closed(&path) => break,
                other => other?,
            };
            let path = path.join(&name);
            let Some(found) = found else { continue };
            if found.changed > moment
                && !known.restored.knows(operation.layer, &path, &found)
                && !known.beside.leads_from(operation.layer, &path, moment, &found)
            {
                return Ok(false);
            }
            if FileType::of(found.mode) == FileType::Directory {
                queue.push(path);
            }
        }
    }
    Ok(true)
}
