//! Makes an apply all or nothing, whatever interrupted it: takes every step back, or finishes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;

use crate::attributes;
use crate::beneath::{Tree, by_descriptor, change_mode, look_at, names};
use crate::change::FileType;
use crate::index;
use crate::journal::{FILE, Journal, Place, Standing, Story, UNDO};
use crate::keep;
use crate::layer::{Identity, Timestamp};
use crate::operation::{Action, Operation};
use crate::refuse::{Reason, Refusal, Refused};
use crate::remove::remove_at;
use crate::restored::Restored;
use crate::root::{Root, is_overlay};
use crate::shift::{Spot, shift, swap};
use crate::stage;

/// What became of an interrupted apply.
#[derive(Clone, Debug)]
pub enum Recovered {
    /// There was none.
    Nothing,
    /// The host is as it was before.
    RolledBack,
    /// The whole landed.
    Finished,
}

/// Finishes or rolls back the apply whose journal is in this directory. It can be called at any time, and again. An
/// error names what could not be put back because the host changed meanwhile, and where it is kept.
///
/// Where a directory was moved away meanwhile, what was done in it cannot be taken back: that is an error too, and a later
/// call, with the directory in its place again, goes on. [`recover_leaving`] gives up on such directories instead.
pub fn recover(journal_dir: &Path) -> Result<Recovered, Refused> {
    let recovered = recover_as(journal_dir, false)?;
    crate::undo::forget(journal_dir);
    if matches!(recovered, Recovered::Finished) {
        crate::undo::look_again(journal_dir);
    }
    Ok(recovered)
}

/// The same for a directory that does not come back: what was taken from it is kept, what was put into it stays.
pub fn recover_leaving(journal_dir: &Path) -> Result<Recovered, Refused> {
    recover_as(journal_dir, true)
}

/// Whether the apply whose journal is in this directory landed, all of it; another one needs a directory of its own.
pub fn landed(journal_dir: &Path) -> bool {
    Journal::look(journal_dir).is_ok_and(|story| story.done == Some(true))
}

/// When the journal in this directory was written last.
pub fn written(journal_dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(journal_dir.join(FILE)).and_then(|found| found.modified()).ok()
}

/// When the apply or undo of the journal in this directory was begun, before its first step; `None`: it does not tell.
pub fn begun(journal_dir: &Path) -> Option<Timestamp> {
    Journal::look(journal_dir).ok()?.begun
}

/// Whether an apply or undo whose journal is in this directory was begun and not ended, or cannot be read.
pub fn unfinished(journal_dir: &Path) -> bool {
    match Journal::look(journal_dir) {
        Ok(story) => story.done.is_none(),
        Err(errno) => errno != Errno::NOENT,
    }
}

fn recover_as(journal_dir: &Path, leaving: bool) -> Result<Recovered, Refused> {
    let failed =
        |doing: &'static str| move |errno| Refused::one("", journal_dir, Reason::failed(doing)(errno));
    match rustix::fs::lstat(journal_dir.join(FILE)) {
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(Recovered::Nothing),
        Err(errno) => return Err(failed("look at the journal")(errno)),
    }
    let (mut journal, mut story) = Journal::open(journal_dir).map_err(failed("read the journal"))?;
    if story.done.is_some() {
        return Ok(Recovered::Nothing);
    }
    if !story.planned {
        // Nothing of ours was made on the host.
        journal.done(false).map_err(failed("write the journal"))?;
        return Ok(Recovered::RolledBack);
    }
    let sites = Sites::open(&story.layers, &story.stage)?;
    story.mounted_anew(&sites);
    let landed = story.landed;
    let left = match landed {
        true => sites.finish(&journal, &story),
        false => sites.roll_back(&journal, &story, &Parents::new(), leaving),
    };
    if only_left(&left) {
        if landed {
            journal.stands(&sites.stood(&story)).map_err(failed("write the journal"))?;
            if crate::undo::is_reverted(journal_dir) {
                let apply = journal_dir.parent().map(Restored::load).unwrap_or_default();
                let mut traces = Restored::load(journal_dir).with_merges(apply);
                traces.remember_undone(&story, &sites.hosts, false);
                let _ = traces.save(journal_dir);
            }
        }
        journal.done(landed).map_err(failed("write the journal"))?;
    }
    match (left.is_empty(), landed) {
        (true, true) => Ok(Recovered::Finished),
        (true, false) => Ok(Recovered::RolledBack),
        (false, _) => Err(Refused { refusals: left }),
    }
}

/// Is everything done that can be, and at most something kept for a look?
pub(crate) fn only_left(refusals: &[Refusal]) -> bool {
    refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Left { .. }))
}

/// The host's directories of one apply, locked.
#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) places: Vec<Place>,
    pub(crate) hosts: Vec<Tree>,
    stage: String,
}

impl Sites {
    /// Opens and locks them. They must be the directories that were judged.
    pub(crate) fn open(places: &[Place], stage: &str) -> Result<Self, Refused> {
        let (mut hosts, mut found) = (Vec::new(), Vec::new());
        for place in places {
            let refused = |reason| Refused::one(&place.name, Path::new(""), reason);
            let host = Tree::host(&place.host)
                .map_err(|errno| refused(Reason::failed("open the workspace")(errno)))?;
            place.root.expect(host.root(), Some(stage)).map_err(refused)?;
            match rustix::fs::flock(host.root(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let root = Root { device: host.identity.device, ..place.root };
                    found.push(Place { root, ..place.clone() });
                    hosts.push(host);
                }
                Err(Errno::WOULDBLOCK) => return Err(refused(Reason::Busy)),
                Err(errno) => return Err(refused(Reason::failed("lock the workspace")(errno))),
            }
        }
        Ok(Self { places: found, hosts, stage: stage.to_owned() })
    }

    /// Takes back every step that was taken, in reverse order.
    pub(crate) fn roll_back(
        &self,
        journal: &Journal,
        story: &Story,
        parents: &Parents,
        leaving: bool,
    ) -> Vec<Refusal> {
        let mut left = Vec::new();
        let stages = self.stages(&mut left);
        // Before everything new was built no step was taken, and what stands in the stage is new.
        for operation in story.operations.iter().rev().filter(|_| story.ready) {
            let Some((host, place)) = self.site(operation) else { continue };
            let parent = parent_held(host, operation, parents);
            let outcome = match (operation.action, stages.get(&operation.layer)) {
                (Action::Mode, _) => mode_back(parent, operation),
                (_, Some(stage)) => step_back(parent, stage, operation, story.staged.get(&operation.number)),
                // Without a place to build in, no other step was taken.
                (_, None) => Ok(Back::Clean),
            };
            let reason = match outcome {
                Ok(Back::Clean) => continue,
                Ok(Back::Moved) if !leaving => Reason::DirectoryReplaced,
                Ok(Back::Keep | Back::Moved) => {
                    let kept = stages.get(&operation.layer);
                    match kept.map(|stage| keep_aside(stage, journal, operation, &self.stage)) {
                        Some(Ok(kept)) => Reason::Left { kept },
                        Some(Err(errno)) => Reason::failed("keep what could not be put back")(errno),
                        None => continue,
                    }
                }
                Err(errno) => Reason::failed("put back the original")(errno),
            };
            left.push(Refusal::new(&place.name, &operation.path, reason));
        }
        // While something could not be put back or kept, nothing is removed.
        if only_left(&left) {
            self.remove_stages(&mut left);
        }
        if story.ready {
            self.restore_parents(story, &mut left);
            let mut restored = Restored::load(&journal.path);
            restored.remember(&story.operations, &self.hosts);
            // Without it the next apply is refused, which loses nothing.
            let _ = restored.save(&journal.path);
        }
        self.sync(|host| rustix::fs::syncfs(host), &mut left);
        left
    }

    /// A directory that had to be opened to its owner for a step is closed again, if a kill came in between.
    fn restore_parents(&self, story: &Story, left: &mut Vec<Refusal>) {
        for operation in story.operations.iter().filter(|operation| !operation.parent.owner_may_enter()) {
            let Some((host, place)) = self.site(operation) else { continue };
            let Ok(directory) = parent(host, operation) else { continue };
            let judged = operation.parent.mode;
            let outcome =
                rustix::fs::fstat(&directory).and_then(|found| match found.st_mode == judged | 0o700 {
                    true => rustix::fs::fchmod(&directory, Mode::from_raw_mode(judged & 0o7777)),
                    false => Ok(()),
                });
            if let Err(errno) = outcome {
                let reason = Reason::failed("close the directory again")(errno);
                left.push(Refusal::new(&place.name, &operation.path, reason));
            }
        }
    }

    /// Moves what was replaced to where it is kept, and clears up.
    pub(crate) fn finish(&self, journal: &Journal, story: &Story) -> Vec<Refusal> {
        let mut left = Vec::new();
        let stages = self.stages(&mut left);
        for operation in story.operations.iter().filter(|operation| operation.old.is_some()) {
            let (Some(stage), Some((_, place))) = (stages.get(&operation.layer), self.site(operation)) else {
                continue;
            };
            if let Err(errno) = keep_replaced(stage, journal, operation) {
                let reason = Reason::failed("keep what was replaced")(errno);
                left.push(Refusal::new(&place.name, &operation.path, reason));
            }
        }
        if let Err(errno) = journal.undo().and_then(|undo| rustix::fs::fsync(undo.root())) {
            let reason = Reason::failed("sync what was replaced")(errno);
            left.push(Refusal::new("", &journal.path, reason));
        }
        if left.is_empty() {
            self.remove_stages(&mut left);
            // Only names were moved since all was on disk.
            self.sync(|host| rustix::fs::fsync(host), &mut left);
        }
        left
    }

    /// What is new on the host, as it stands now.
    pub(crate) fn standing(&self, operations: &[Operation]) -> Standing {
        let new = operations
            .iter()
            .filter(|operation| matches!(operation.action, Action::Create | Action::Replace));
        let look = |operation: &Operation| {
            let (host, place) = self.site(operation)?;
            let found = host.look(&operation.path).ok().flatten()?;
            let meaning = index::named_so(&place.name, &operation.path)
                .then(|| index::meaning_at(host, &operation.path, found.size).ok().flatten());
            Some((operation.number, (found, meaning.flatten())))
        };
        new.filter_map(look).collect()
    }

    /// The same after an interruption: what somebody changed since it was built is not what landed.
    fn stood(&self, story: &Story) -> Standing {
        let mut standing = self.standing(&story.operations);
        for operation in &story.operations {
            let (Some(built), Some((found, meaning))) =
                (story.staged.get(&operation.number), standing.get_mut(&operation.number))
            else {
                continue;
            };
            let inside = || {
                let host = self.hosts.get(operation.layer)?;
                changed_inside(host, &operation.path, built).ok()
            };
            if !built.same_content(found) || inside().unwrap_or(true) {
                (*found, *meaning) = (*built, None);
            }
        }
        standing
    }

    pub(crate) fn site(&self, operation: &Operation) -> Option<(&Tree, &Place)> {
        Some((self.hosts.get(operation.layer)?, self.places.get(operation.layer)?))
    }

    fn stages(&self, left: &mut Vec<Refusal>) -> BTreeMap<usize, Tree> {
        let mut stages = BTreeMap::new();
        for (index, (host, place)) in self.hosts.iter().zip(&self.places).enumerate() {
            match stage::open(host, &self.stage) {
                Ok(stage) => {
                    stages.insert(index, stage);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let reason = Reason::failed("open the directory of the interrupted apply")(errno);
                    left.push(Refusal::new(&place.name, Path::new(&self.stage), reason));
                }
            }
        }
        stages
    }

    fn remove_stages(&self, left: &mut Vec<Refusal>) {
        for (host, place) in self.hosts.iter().zip(&self.places) {
            // On a file system that became read-only, removing what is not there fails too.
            if matches!(look_at(host.root(), OsStr::new(&self.stage)), Ok(None)) {
                continue;
            }
            for failure in remove_at(host.root(), OsStr::new(&self.stage), Path::new(&self.stage))
                .err()
                .unwrap_or_default()
            {
                left.push(Refusal::new(
                    &place.name,
                    &failure.path,
                    Reason::failed(failure.doing)(failure.errno),
                ));
            }
        }
    }

    fn sync(&self, how: fn(BorrowedFd<'_>) -> Result<(), Errno>, left: &mut Vec<Refusal>) {
        for (host, place) in self.hosts.iter().zip(&self.places) {
            if let Err(errno) = how(host.root()) {
                left.push(Refusal::new(
                    &place.name,
                    Path::new(""),
                    Reason::failed("sync the workspace")(errno),
                ));
            }
        }
    }
}

impl Story {
    /// Gives what was written down, which is all on the devices of the workspace, the numbers that those have now.
    pub(crate) fn mounted_anew(&mut self, sites: &Sites) {
        for (layer, (then, now)) in self.layers.iter_mut().zip(&sites.places).enumerate() {
            let before = then.root.device;
            let overlay = sites.hosts.get(layer).is_some_and(|host| is_overlay(host.root()));
            // An overlay may show files with numbers of their own, which nobody else's replaces.
            let renumber = |identity: &mut Identity| {
                let directory = FileType::of(identity.mode) == FileType::Directory;
                if !overlay || directory || identity.device == before {
                    identity.device = now.root.device;
                }
            };
            for operation in self.operations.iter_mut().filter(|operation| operation.layer == layer) {
                renumber(&mut operation.parent);
                operation.old.as_mut().map(renumber);
                self.staged.get_mut(&operation.number).map(renumber);
                self.stands.get_mut(&operation.number).map(renumber);
            }
            then.root = now.root;
        }
    }
}

impl Drop for Sites {
    /// Not left to the descriptors: a child forked meanwhile may hold copies for a moment.
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = rustix::fs::flock(host.root(), FlockOperation::Unlock);
        }
    }
}

enum Back {
    /// As if the step had not been taken.
    Clean,
    /// Its place is taken by something else: the object in the stage must not be removed with it.
    Keep,
    /// The directory it is in is not where it was, so it cannot be taken back.
    Moved,
}

/// Takes one step back, as far as it was taken: what stands where is told by inode numbers.
fn step_back(
    parent: Result<OwnedFd, Errno>,
    stage: &Tree,
    operation: &Operation,
    new: Option<&Identity>,
) -> Result<Back, Errno> {
    let number = stage::name(operation.number);
    let built = Spot { directory: stage.root(), name: number.as_os_str() };
    let aside = look_at(stage.root(), number.as_os_str())?;
    let done = match operation.action {
        Action::Create => aside.is_none(),
        _ => taken(aside.as_ref(), new),
    };
    let parent = match parent {
        Ok(parent) => parent,
        Err(_) if done => return Ok(Back::Moved),
        Err(_) => return Ok(Back::Clean),
    };
    let place = Spot { directory: parent.as_fd(), name: operation.path.file_name().ok_or(Errno::INVAL)? };
    let there = look_at(place.directory, place.name)?;
    let landed = matches!((&there, new), (Some(there), Some(new)) if there.same_object(new));
    match (operation.action, landed, aside.is_some()) {
        (Action::Replace, true, true) => swap(built, place)?,
        (Action::Create, true, false) => shift(place, built)?,
        (Action::Replace | Action::Remove, false, true) if taken(aside.as_ref(), new) => {
            if there.is_some() {
                return Ok(Back::Keep);
            }
            shift(built, place)?;
        }
        _ => {}
    }
    restore_mode(place, operation)?;
    // What landed and was edited on the host since is somebody's work now.
    let edited = match (&there, new) {
        (Some(there), Some(new)) if landed => {
            !there.same_content(new) || touched(stage, &number, there, new)?
        }
        _ => false,
    };
    Ok(if edited { Back::Keep } else { Back::Clean })
}

/// Did anybody change something in a directory since it was built? It is back in the stage, where nobody reaches it.
fn touched(stage: &Tree, number: &Path, there: &Identity, new: &Identity) -> Result<bool, Errno> {
    Ok(changed_inside(stage, number, new)?
        || FileType::of(new.mode) == FileType::Directory && there.modified != new.modified)
}

/// Was something in this directory changed after that was built?
pub(crate) fn changed_inside(tree: &Tree, path: &Path, built: &Identity) -> Result<bool, Errno> {
    if FileType::of(built.mode) != FileType::Directory {
        return Ok(false);
    }
    let mut queue = vec![path.to_owned()];
    while let Some(path) = queue.pop() {
        // Closed to its owner: it was built so, and nobody got in.
        let Ok(directory) = tree.directory(&path) else { continue };
        for name in names(&directory)? {
            let found = match look_at(&directory, &name) {
                Err(Errno::ACCESS) => break,
                other => other?,
            };
            let Some(found) = found else { continue };
            if found.changed > built.changed {
                return Ok(true);
            }
            if FileType::of(found.mode) == FileType::Directory {
                queue.push(path.join(name));
            }
        }
    }
    Ok(false)
}

/// Is the object in the stage one that was taken from the host?
fn taken(aside: Option<&Identity>, new: Option<&Identity>) -> bool {
    match (aside, new) {
        (Some(aside), Some(new)) => !aside.same_object(new),
        // A step without a new object: whatever is there was taken. One whose object was not built yet took nothing.
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn mode_back(parent: Result<OwnedFd, Errno>, operation: &Operation) -> Result<Back, Errno> {
    // In another place, or gone: whoever moved it can see its mode.
    let Ok(parent) = parent else { return Ok(Back::Clean) };
    let place = Spot { directory: parent.as_fd(), name: operation.path.file_name().ok_or(Errno::INVAL)? };
    restore_settings(place, operation)?;
    restore_mode(place, operation)?;
    Ok(Back::Clean)
}

/// A directory of the host gets back the mode it had, if it has the one that we gave it.
fn restore_mode(place: Spot<'_>, operation: &Operation) -> Result<(), Errno> {
    let Some(old) = operation.old.filter(|old| FileType::of(old.mode) == FileType::Directory) else {
        return Ok(());
    };
    let Some(there) = look_at(place.directory, place.name)? else { return Ok(()) };
    let ours = there.mode & 0o7777 == operation.mode || there.mode == old.mode | 0o700;
    if there.same_object(&old) && there.mode != old.mode && ours {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let handle = rustix::fs::openat(place.directory, place.name, flags, Mode::empty())?;
        if Identity::of(&rustix::fs::fstat(&handle)?).same_object(&old) {
            change_mode(handle.as_fd(), old.mode)?;
        }
    }
    Ok(())
}

/// A directory of the host gets back the attributes that a step gave it, as far as it has those.
fn restore_settings(place: Spot<'_>, operation: &Operation) -> Result<(), Errno> {
    let (Some(old), false) = (operation.old, operation.settings.is_empty()) else { return Ok(()) };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(place.directory, place.name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let found = Identity::of(&rustix::fs::fstat(&handle)?);
    if !found.same_object(&old) {
        return Ok(());
    }
    let path = by_descriptor(handle.as_fd(), OsStr::new(""));
    let closed = !found.owner_may_enter();
    if closed {
        change_mode(handle.as_fd(), found.mode | 0o700)?;
    }
    for setting in &operation.settings {
        if attributes::value(&path, &setting.name)? == setting.new {
            attributes::set(&path, &setting.name, setting.old.as_deref())?;
        }
    }
    if closed {
        change_mode(handle.as_fd(), found.mode)?;
    }
    Ok(())
}

/// The directory that a step is done in, if it is still the one that was judged.
pub(crate) fn parent(host: &Tree, operation: &Operation) -> Result<OwnedFd, Errno> {
    let parent = host.parent(&operation.path)?;
    let found = Identity::of(&rustix::fs::fstat(&parent)?);
    if found.same_object(&operation.parent) { Ok(parent) } else { Err(Errno::STALE) }
}

/// Directories in which steps were taken, as far as there are descriptors: they can be taken back even if the directory was
/// moved since.
pub(crate) type Parents = BTreeMap<(usize, PathBuf), OwnedFd>;

fn parent_held(host: &Tree, operation: &Operation, parents: &Parents) -> Result<OwnedFd, Errno> {
    let path = operation.path.parent().unwrap_or(Path::new("")).to_owned();
    match parents.get(&(operation.layer, path)) {
        Some(parent) => rustix::io::fcntl_dupfd_cloexec(parent, 0),
        None => parent(host, operation),
    }
}

/// Moves the object that a step took from the host to where an undo finds it; copies it where a rename cannot.
fn keep_replaced(stage: &Tree, journal: &Journal, operation: &Operation) -> Result<(), Errno> {
    let number = stage::name(operation.number);
    let undo = journal.undo()?;
    if look_at(stage.root(), number.as_os_str())?.is_none() {
        return Ok(());
    }
    let from = Spot { directory: stage.root(), name: number.as_os_str() };
    let to = Spot { directory: undo.root(), name: number.as_os_str() };
    match shift(from, to) {
        // Where a rename cannot reach, the copy was made before anything landed.
        Err(Errno::XDEV) if look_at(undo.root(), number.as_os_str())?.is_some() => Ok(()),
        Err(Errno::XDEV | Errno::EXIST) => keep::copy(stage, &number, &undo, &number),
        other => other,
    }
}

/// Moves what could not be put back to a directory of its own, which no later apply or undo touches.
fn keep_aside(stage: &Tree, journal: &Journal, operation: &Operation, token: &str) -> Result<PathBuf, Errno> {
    let number = stage::name(operation.number);
    let name = format!("{KEPT}{}", token.trim_start_matches(crate::assess::STAGE));
    let directory = journal.path.join(name);
    let kept = directory.join(&number);
    if look_at(stage.root(), number.as_os_str())?.is_none() {
        return Ok(kept);
    }
    match rustix::fs::mkdir(&directory, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let to = Tree::own(&directory)?;
    let spot = |directory| Spot { directory, name: number.as_os_str() };
    match shift(spot(stage.root()), spot(to.root())) {
        Err(Errno::XDEV) => keep::copy(stage, &number, &to, &number)?,
        other => other?,
    }
    Ok(kept)
}

/// How the directories of what could not be put back begin.
const KEPT: &str = "kept-";

/// What an apply's journal keeps of the host: what an undo brings back, and what could not be put back.
pub fn kept(journal_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(journal_dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    let ours = names.filter(|name| name == UNDO || name.to_string_lossy().starts_with(KEPT));
    ours.map(|name| journal_dir.join(name)).collect()
}
