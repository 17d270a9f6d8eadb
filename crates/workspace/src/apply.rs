//! Lands the whole of a run's changes on the host, or nothing.
//!
//! 1. The journal names every step.
//! 2. What is new is built in a directory of its own inside the workspace.
//! 3. Each step is one rename: new and old are swapped, so that what was replaced is in our hands when it is compared
//!    with what was judged.
//! 4. The journal says that all landed. Until then everything is taken back.
//! 5. What was replaced is kept for undo.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::assess::{Apply, STAGE, whole};
use crate::attributes;
use crate::beneath::{Tree, by_descriptor, change_mode, look_at};
use crate::change::Change;
use crate::journal::{Journal, Place, Story, UNDO};
use crate::keep;
use crate::layer::Identity;
use crate::operation::{Action, Operation};
use crate::overlay::Upper;
use crate::pieces::Chosen;
use crate::recover::{Parents, Sites, changed_inside, only_left, parent};
use crate::refuse::{Reason, Refusal, Refused};
use crate::restored::Restored;
use crate::root::is_overlay;
use crate::shift::{Spot, shift, swap};
use crate::stage::{self, Site};
use crate::unsynced::Unsynced;

/// More objects than this are synced by one `syncfs` instead of one by one.
const FEW: usize = 256;

/// What landed.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The changes that are on the host now.
    pub landed: Vec<Change>,
    /// The changes that were held back.
    pub held: Vec<Change>,
    /// Files of which only some pieces landed.
    pub in_part: Vec<PathBuf>,
    /// Where what they replaced is kept, each under the number of its step in the journal.
    pub undo: PathBuf,
    /// What could not be cleared up after everything landed; [`crate::recover()`] tries again.
    pub left: Vec<Refusal>,
}

/// How far an apply is: for a progress display, and for tests that interrupt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The journal names all steps, this many.
    Planned(usize),
    /// The new object of a step is built, and not yet in the journal.
    Staged(usize),
    /// Everything new is on disk.
    Ready,
    /// A step is about to be judged again.
    Landing(usize),
    /// It was, and its rename comes next.
    Judged(usize),
    /// Its rename is done.
    Moved(usize),
    /// All landed.
    Landed,
    /// What was replaced is kept.
    Kept,
    /// The end.
    Done,
}

/// Lands it. The journal directory is made if it is missing; it must be on a file system of ours, and belongs to this
/// apply alone.
pub fn apply(plan: Apply, journal_dir: &Path) -> Result<Applied, Refused> {
    apply_watched(plan, journal_dir, &mut |_| {})
}

/// The same, telling how far it is.
pub fn apply_watched(
    plan: Apply,
    journal_dir: &Path,
    watch: &mut dyn FnMut(Progress),
) -> Result<Applied, Refused> {
    let Apply { layers, changes, operations, chosen, unseen } = plan;
    let at_journal = |reason| Refused::one("", journal_dir, reason);
    let token = token().map_err(|errno| at_journal(Reason::failed("read random bytes")(errno)))?;
    let places: Vec<Place> = layers
        .iter()
        .map(|layer| Place { name: layer.name.clone(), host: layer.host.clone(), root: layer.root })
        .collect();
    let sites = Sites::open(&places, &token)?;
    for (layer, host) in layers.iter().zip(&sites.hosts) {
        if let Some(reason) = whole(layer, host) {
            return Err(Refused::one(&layer.name, Path::new(""), reason));
        }
    }
    let mut uppers = Vec::new();
    for layer in &layers {
        let upper = Upper::open(&layer.upper);
        uppers.push(upper.map_err(|errno| {
            Refused::one(&layer.name, &layer.upper, Reason::failed("open the layer")(errno))
        })?);
    }
    let source = Source::Layers { uppers: &uppers, changes: &changes, chosen: &chosen };
    let mut left = carry_out(&sites, operations, &source, journal_dir, token, watch)?;
    left.extend(unseen);
    let (held, landed) = changes.into_iter().partition(|change| change.held.is_some());
    let in_part = chosen.into_iter().filter(|chosen| !chosen.merged).map(|chosen| chosen.path).collect();
    Ok(Applied { landed, held, in_part, undo: journal_dir.join(UNDO), left })
}

/// Where what is new comes from.
pub(crate) enum Source<'a> {
    /// The layers of a task.
    Layers { uppers: &'a [Upper], changes: &'a [Change], chosen: &'a [Chosen] },
    /// What an apply replaced: by the numbers of the steps now, those of the steps then.
    /// `unseen` are steps in directories that another one opens first: they are judged when it is their turn.
    Kept { kept: &'a Tree, numbers: &'a BTreeMap<usize, usize>, unseen: &'a BTreeSet<usize> },
}

/// Takes all steps or none, and says what could not be cleared up.
pub(crate) fn carry_out(
    sites: &Sites,
    operations: Vec<Operation>,
    source: &Source<'_>,
    journal_dir: &Path,
    token: String,
    watch: &mut dyn FnMut(Progress),
) -> Result<Vec<Refusal>, Refused> {
    let at_journal = |reason| Refused::one("", journal_dir, reason);
    clear_rolled_back(journal_dir).map_err(at_journal)?;
    let mut journal = Journal::create(journal_dir, &token, sites.places.clone(), &operations).map_err(
        |errno| match errno {
            Errno::EXIST => at_journal(Reason::JournalExists),
            errno => at_journal(Reason::failed("write the journal")(errno)),
        },
    )?;
    if let Source::Layers { chosen, .. } = source
        && let Some(merging) = Restored::merging(chosen)
    {
        merging
            .save(journal_dir)
            .map_err(|errno| at_journal(Reason::failed("note what is merged")(errno)))?;
    }
    watch(Progress::Planned(operations.len()));
    let mut story = Story { stage: token, planned: true, operations, ..Story::default() };
    let mut work = Work { sites, source, journal: &mut journal, watch, parents: Parents::new() };
    if let Err(refusal) = work.land(&mut story) {
        let parents = work.parents;
        let mut refusals = vec![refusal];
        refusals.extend(sites.roll_back(&journal, &story, &parents, false));
        if only_left(refusals.get(1..).unwrap_or(&[]))
            && let Err(errno) = journal.done(false)
        {
            refusals.push(Refusal::new("", journal_dir, Reason::failed("write the journal")(errno)));
        }
        return Err(Refused { refusals });
    }
    watch(Progress::Landed);
    source.leave_traces(sites, journal_dir);
    let mut left = sites.finish(&journal, &story);
    watch(Progress::Kept);
    if left.is_empty()
        && let Err(errno) =
            journal.stands(&sites.standing(&story.operations)).and_then(|()| journal.done(true))
    {
        left.push(Refusal::new("", journal_dir, Reason::failed("write the journal")(errno)));
    }
    watch(Progress::Done);
    Ok(left)
}

impl Source<'_> {
    /// Building more objects than a few, each is not synced by itself.
    fn few(&self) -> bool {
        match self {
            Self::Layers { changes, .. } => changes.len() <= FEW,
            Self::Kept { numbers, .. } => numbers.len() <= FEW,
        }
    }

    fn unseen(&self, operation: &Operation) -> bool {
        matches!(self, Self::Kept { unseen, .. } if unseen.contains(&operation.number))
    }

    /// What the next apply must not take for somebody's work. Without it that is refused, which loses nothing.
    fn leave_traces(&self, sites: &Sites, journal_dir: &Path) {
        let mut traces = Restored::default();
        if let Self::Layers { changes, chosen, .. } = self
            && (!chosen.is_empty() || changes.iter().any(|change| change.held.is_some()))
        {
            traces.remember_landed(changes, &sites.hosts);
            traces.remember_chosen(chosen, &sites.hosts);
            let _ = traces.save(journal_dir);
        }
    }
}

struct Work<'a> {
    sites: &'a Sites,
    source: &'a Source<'a>,
    journal: &'a mut Journal,
    watch: &'a mut dyn FnMut(Progress),
    parents: Parents,
}

impl Work<'_> {
    /// Everything up to the point of no return. On an error the caller rolls back.
    fn land(&mut self, story: &mut Story) -> Result<(), Refusal> {
        let stages = self.stages(story)?;
        self.build(story, &stages)?;
        self.keep_copies(story, &stages)?;
        self.sync_stages(&stages)?;
        self.journal.ready().map_err(|errno| self.failed("write the journal")(errno))?;
        story.ready = true;
        (self.watch)(Progress::Ready);
        let mut moved = BTreeSet::new();
        for operation in &story.operations {
            (self.watch)(Progress::Landing(operation.number));
            self.step(operation, stages.get(operation.layer), &mut moved)?;
        }
        self.sync(story, &stages)?;
        self.journal.landed().map_err(|errno| self.failed("write the journal")(errno))?;
        story.landed = true;
        Ok(())
    }

    fn stages(&self, story: &Story) -> Result<Vec<Tree>, Refusal> {
        let mut stages = Vec::new();
        for (host, place) in self.sites.hosts.iter().zip(&self.sites.places) {
            stages.push(stage::make(host, &story.stage).map_err(|errno| {
                Refusal::new(
                    &place.name,
                    Path::new(""),
                    Reason::failed("make a directory in the workspace")(errno),
                )
            })?);
        }
        Ok(stages)
    }

    fn build(&mut self, story: &mut Story, stages: &[Tree]) -> Result<(), Refusal> {
        let mut unsynced = Unsynced::default();
        for operation in &story.operations {
            if !matches!(operation.action, Action::Create | Action::Replace) {
                continue;
            }
            let (Some((host, place)), Some(stage)) =
                (self.sites.site(operation), stages.get(operation.layer))
            else {
                continue;
            };
            let refused = |path: &Path, reason| Refusal::new(&place.name, path, reason);
            let identity = match self.source {
                Source::Layers { uppers, changes, chosen } => {
                    let Some(upper) = uppers.get(operation.layer) else { continue };
                    let site = Site { upper, host, stage, chosen };
                    let unsynced = self.source.few().then_some(&mut unsynced);
                    stage::build(&site, operation, below(changes, operation), unsynced)
                        .map_err(|(path, reason)| refused(&path, reason))?
                }
                Source::Kept { kept, numbers, .. } => {
                    let then = numbers.get(&operation.number).copied().unwrap_or(usize::MAX);
                    let failed = Reason::failed("bring back what was replaced");
                    stage::bring(kept, then, stage, operation.number)
                        .map_err(|errno| refused(&operation.path, failed(errno)))?
                }
            };
            story.staged.insert(operation.number, identity);
            (self.watch)(Progress::Staged(operation.number));
            self.journal
                .staged(operation.number, identity)
                .map_err(|errno| self.failed("write the journal")(errno))?;
        }
        unsynced.sync().map_err(|failed| {
            let (path, reason) = stage::not_synced(failed);
            Refusal::new("", &path, reason)
        })
    }

    /// Where a rename cannot bring what is replaced to its keep, it is copied before anything happens to it.
    fn keep_copies(&self, story: &Story, stages: &[Tree]) -> Result<(), Refusal> {
        let undo = self.journal.undo().map_err(|errno| self.failed("open the directory for undo")(errno))?;
        for (index, stage) in stages.iter().enumerate() {
            if reaches(stage, &undo).map_err(|errno| self.failed("prepare undo")(errno))? {
                continue;
            }
            let replaced = story.operations.iter().filter(|operation| {
                operation.layer == index && matches!(operation.action, Action::Replace | Action::Remove)
            });
            for operation in replaced {
                let Some((host, place)) = self.sites.site(operation) else { continue };
                keep::copy(host, &operation.path, &undo, &stage::name(operation.number)).map_err(
                    |errno| {
                        Refusal::new(
                            &place.name,
                            &operation.path,
                            Reason::failed("keep a copy for undo")(errno),
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    /// Takes one step.
    fn step(
        &mut self,
        operation: &Operation,
        stage: Option<&Tree>,
        moved: &mut BTreeSet<(u64, u64)>,
    ) -> Result<(), Refusal> {
        let (Some((host, place)), Some(stage)) = (self.sites.site(operation), stage) else { return Ok(()) };
        let refused = |reason| Refusal::new(&place.name, &operation.path, reason);
        let failed = |doing: &'static str| move |errno| refused(step_failed(doing, errno));
        let parent = parent(host, operation).map_err(failed("open the directory"))?;
        self.remember(operation, &parent).map_err(failed("keep the directory open"))?;
        let name = operation.path.file_name().ok_or_else(|| refused(Reason::ChangedOnHost))?;
        let there = look_at(&parent, name).map_err(failed("look at the original"))?;
        if let Some(landed) = operation.old.filter(|_| self.source.unseen(operation)) {
            let removed = operation.action == Action::Remove;
            if removed
                && changed_inside(host, &operation.path, &landed).map_err(failed("look at what landed"))?
            {
                return Err(refused(Reason::ChangedSinceApply));
            }
            moved.insert((landed.device, landed.inode));
        }
        if !as_judged(operation, there.as_ref(), moved) {
            return Err(refused(Reason::ChangedOnHost));
        }
        if operation.action == Action::Mode {
            return mode(host, operation).map_err(failed("change the mode"));
        }
        let number = stage::name(operation.number);
        let built = Spot { directory: stage.root(), name: number.as_os_str() };
        let target = Spot { directory: parent.as_fd(), name };
        (self.watch)(Progress::Judged(operation.number));
        match operation.action {
            Action::Replace => swap(built, target),
            Action::Remove => shift(target, built),
            Action::Create | Action::Mode => shift(built, target),
        }
        .map_err(|errno| match errno {
            Errno::XDEV if is_overlay(parent.as_fd()) => refused(Reason::LowerLayer),
            errno => failed("move the new version to its place")(errno),
        })?;
        (self.watch)(Progress::Moved(operation.number));
        let Some(old) = operation.old else { return Ok(()) };
        moved.insert((old.device, old.inode));
        // Now nobody else can touch it: is it what was judged? If not, the rollback brings it back.
        let taken = look_at(stage.root(), number.as_os_str()).map_err(failed("look at the original"))?;
        if taken.is_some_and(|taken| taken.same_content(&old)) {
            return Ok(());
        }
        Err(refused(Reason::ChangedOnHost))
    }

    /// Keeps a directory open for taking the step back.
    fn remember(&mut self, operation: &Operation, parent: &OwnedFd) -> Result<(), Errno> {
        let path = operation.path.parent().unwrap_or(Path::new(""));
        let key = (operation.layer, path.to_owned());
        if self.parents.len() < FEW && !self.parents.contains_key(&key) {
            self.parents.insert(key, rustix::io::fcntl_dupfd_cloexec(parent, 0)?);
        }
        Ok(())
    }

    /// Everything new, while nothing else is changed yet.
    fn sync_stages(&self, stages: &[Tree]) -> Result<(), Refusal> {
        for (host, stage) in self.sites.hosts.iter().zip(stages) {
            let sync = || match self.source.few() {
                true => rustix::fs::fsync(stage.root()).and_then(|()| rustix::fs::fsync(host.root())),
                false => rustix::fs::syncfs(host.root()),
            };
            sync().map_err(|errno| self.failed("sync the workspace")(errno))?;
        }
        Ok(())
    }

    /// Every step, and what was replaced, whoever wrote that and never synced it: undo brings it back.
    fn sync(&self, story: &Story, stages: &[Tree]) -> Result<(), Refusal> {
        for (index, (host, stage)) in self.sites.hosts.iter().zip(stages).enumerate() {
            let sync = || {
                rustix::fs::syncfs(host.root())?;
                if !self.source.few() {
                    return Ok(());
                }
                // Not every file system tells its server of that (FUSE, 9p); where it does, nothing is left to do here.
                rustix::fs::fsync(stage.root())?;
                rustix::fs::fsync(host.root())?;
                let of_layer = |operation: &&Operation| operation.layer == index;
                let parents: BTreeSet<_> =
                    story.operations.iter().filter(of_layer).filter_map(|step| step.path.parent()).collect();
                for path in parents {
                    match host.directory(path) {
                        Ok(directory) => rustix::fs::fsync(directory)?,
                        // Its owner may not read it any more.
                        Err(Errno::ACCESS) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Ok(())
            };
            sync().map_err(|errno| self.failed("sync the workspace")(errno))?;
        }
        Ok(())
    }

    fn failed(&self, doing: &str) -> impl FnOnce(Errno) -> Refusal {
        let (path, reason) = (self.journal.path.clone(), Reason::failed(doing));
        move |errno| Refusal::new("", &path, reason(errno))
    }
}

/// The changes at and below the path of a step: they stand together, in order.
fn below<'a>(changes: &'a [Change], operation: &Operation) -> &'a [Change] {
    let key = |change: &Change| (change.index, change.path.clone());
    let start = changes.partition_point(|change| key(change) < (operation.layer, operation.path.clone()));
    let rest = changes.get(start..).unwrap_or(&[]);
    let inside =
        |change: &&Change| change.index == operation.layer && change.path.starts_with(&operation.path);
    rest.get(..rest.iter().take_while(inside).count()).unwrap_or(&[])
}

/// Is what stands there what was judged? An inode that an earlier step moved under another name got a new change time.
fn as_judged(operation: &Operation, there: Option<&Identity>, moved: &BTreeSet<(u64, u64)>) -> bool {
    match (operation.old, there) {
        (None, None) => true,
        (Some(old), Some(there)) if operation.action == Action::Mode => {
            old.same_object(there) && old.mode == there.mode
        }
        (Some(old), Some(there)) if moved.contains(&(old.device, old.inode)) => old.same_content(there),
        (Some(old), Some(there)) => old == *there,
        _ => false,
    }
}

/// What a failed system call of a step means.
fn step_failed(doing: &str, errno: Errno) -> Reason {
    match errno {
        Errno::EXIST => Reason::ChangedOnHost,
        Errno::LOOP | Errno::STALE | Errno::NOTDIR | Errno::NOENT => Reason::DirectoryReplaced,
        Errno::XDEV => Reason::OtherMount,
        Errno::ACCESS => Reason::Closed,
        errno => Reason::failed(doing)(errno),
    }
}

fn mode(host: &Tree, operation: &Operation) -> Result<(), Errno> {
    let handle = host.handle(&operation.path)?;
    let found = Identity::of(&rustix::fs::fstat(&handle)?);
    if !operation.old.is_some_and(|old| old.same_object(&found)) {
        return Err(Errno::STALE);
    }
    if !operation.settings.is_empty() {
        change_mode(handle.as_fd(), found.mode | 0o700)?;
        let place = by_descriptor(handle.as_fd(), std::ffi::OsStr::new(""));
        for setting in &operation.settings {
            attributes::set(&place, &setting.name, setting.new.as_deref())?;
        }
    }
    change_mode(handle.as_fd(), operation.mode)
}

/// Can a rename bring something from one to the other?
fn reaches(from: &Tree, to: &Tree) -> Result<bool, Errno> {
    let name = std::ffi::OsStr::new("probe");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    drop(rustix::fs::openat(from.root(), name, flags, Mode::empty())?);
    let moved = shift(Spot { directory: from.root(), name }, Spot { directory: to.root(), name });
    let (directory, outcome) = match moved {
        Ok(()) => (to.root(), Ok(true)),
        Err(Errno::XDEV) => (from.root(), Ok(false)),
        Err(errno) => (from.root(), Err(errno)),
    };
    rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty())?;
    outcome
}

/// An earlier apply of this run that changed nothing leaves only its journal, which makes room for the next.
fn clear_rolled_back(journal_dir: &Path) -> Result<(), Reason> {
    match Journal::open(journal_dir) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Reason::failed("read the journal")(errno)),
        Ok((_, Story { done: Some(true), .. })) => Err(Reason::JournalExists),
        Ok((_, Story { done: None, .. })) => Err(Reason::Interrupted),
        Ok((journal, Story { done: Some(false), .. })) => {
            let name = crate::journal::FILE;
            let outcome = rustix::fs::unlinkat(journal.directory.root(), name, rustix::fs::AtFlags::empty());
            outcome.map_err(Reason::failed("remove the old journal"))
        }
    }
}

/// The name of the directory in which the new objects are built.
pub(crate) fn token() -> Result<String, Errno> {
    let mut random = [0_u8; 8];
    getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(format!("{STAGE}{:016x}", u64::from_ne_bytes(random)))
}
