//! Judges the changes of a run: what is shown, what is held back, what stands in the way of all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::began::{Began, Start};
use crate::beneath::{Tree, names};
use crate::change::{Change, FileType, HoldReason, Kind};
use crate::content;
use crate::danger::Danger;
use crate::git;
use crate::index;
use crate::layer::{Identity, Layer, Timestamp};
use crate::link;
use crate::operation::{Operation, operations};
use crate::options::Options;
use crate::outputs;
use crate::overlay::Upper;
use crate::pieces::Chosen;
use crate::refuse::{Failure, Reason, Refusal, Refused};
use crate::renames::pair;
use crate::restored::Restored;
use crate::review::Review;
use crate::rules::{Rules, spread};
use crate::secrets::{self, Scan};
use crate::text::Budget;
use crate::unfinished;
use crate::walk::walk;

/// An apply that may begin: every change was judged and none stands in the way.
#[derive(Debug)]
pub struct Apply {
    pub(crate) layers: Vec<Layer>,
    pub(crate) changes: Vec<Change>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) chosen: Vec<Chosen>,
    /// What was left out and cannot be looked at: it stays with the run.
    pub(crate) unseen: Vec<Refusal>,
}

impl Apply {
    /// What was left out and cannot be looked at, since another file system lies over it.
    pub fn unseen(&self) -> &[Refusal] {
        &self.unseen
    }

    /// Every change, those held back too.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// What the task changed, with the lines counted. The order is by layer, then by path.
pub fn diff(layers: &[Layer]) -> Result<Vec<Change>, Failure> {
    Ok(Review::open(layers, &[], &[])?.changes)
}

/// How many changes there are, by names and attributes; a file whose contents cannot be compared counts as changed.
///
/// # Errors
/// [`Failure`]: a directory of a layer that its task closed, where modes may not be changed.
pub fn count(layers: &[Layer]) -> Result<u64, Failure> {
    Ok(count_from(layers, None)?.0)
}

/// The same, and what the task began with, as far as that is known by `start`. No file of the host is opened for it.
///
/// # Errors
/// As above.
pub fn count_from(layers: &[Layer], start: Option<&Start>) -> Result<(u64, Began), Failure> {
    let (mut all, mut hosts, mut uppers) = (Vec::new(), Vec::new(), Vec::new());
    for (index, layer) in layers.iter().enumerate() {
        let (upper, host) = open(layer)?;
        let layer = &Layer { scan: None, ..layer.clone() };
        all.append(&mut assess(layer, index, &upper, &host, &Restored::default())?.0);
        hosts.push(host);
        uppers.push(upper);
    }
    let mut began = start.map_or_else(Began::default, |start| start.look_back(layers, &all));
    began.look_at_host(layers, &all, &hosts);
    // Where the host's own index may not be read, what it said at the start stands for it.
    let looked = all
        .iter()
        .filter(|change| uppers.get(change.index).is_some_and(|upper| is_a_look(change, upper, &began)));
    let looks = looked.count();
    Ok(((all.len() - looks) as u64, began))
}

/// Did git inside write its index anew, with nothing in it that was not there when the task began?
fn is_a_look(change: &Change, upper: &Upper, began: &Began) -> bool {
    let Some((old, size)) = change.old.zip(change.new_size) else { return false };
    change.kind == Kind::Modified
        && change.new_mode == change.old_mode
        && began.is_index(&change.layer, &change.path)
        && upper
            .file(&change.path)
            .ok()
            .and_then(|file| index::meaning_of(file, size))
            .is_some_and(|meaning| began.says_the_same(&change.layer, &change.path, old.mode, &meaning))
}

/// Judges an apply of the whole.
pub fn plan_apply(layers: &[Layer]) -> Result<Apply, Refused> {
    plan_apply_with(layers, &Options::default())
}

/// The same with options.
pub fn plan_apply_with(layers: &[Layer], options: &Options) -> Result<Apply, Refused> {
    let restored = Restored::load_all(&options.journals).beside(&options.others, layers);
    let (mut refusals, mut unseen) = (Vec::new(), Vec::new());
    let mut all = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let fail = |failure: Failure| {
            let reason = Reason::failed(failure.doing)(failure.errno);
            Refused::one(&layer.name, &failure.path, reason)
        };
        let (upper, host) = open(layer).map_err(fail)?;
        if let Some(reason) = whole(layer, &host) {
            refusals.push(Refusal::new(&layer.name, Path::new(""), reason));
            continue;
        }
        let (mut changes, obstacles) = assess(layer, index, &upper, &host, &restored).map_err(fail)?;
        if !options.only.is_empty() {
            // As far as `diff` shows them.
            pair(&mut changes, &upper, &host, &mut Budget::look());
        }
        options.leave_out(&mut changes);
        spread(&mut changes);
        for change in &mut changes {
            let danger = match &change.held {
                Some(HoldReason::RunsOnHost { kind, .. }) => Some(*kind),
                _ => None,
            };
            let accepted = danger.is_some_and(|kind| options.kinds.contains(&kind));
            if accepted || danger.is_some() && options.names(change) {
                // Whoever accepts a kind knows nothing of what else is in one of them.
                let secret = change.secret.as_ref().filter(|_| layer.scan == Some(Scan::Hold));
                let known = options.kinds.contains(&Danger::Secrets) || options.names(change);
                let out = || link::out(change).filter(|_| !options.lets_out(change));
                let secret = secret.filter(|_| !known).map(|secret| secrets::held(secret));
                change.held = secret.or_else(out);
                if change.held.is_none() {
                    change.refused = refuse(change, layer, &host, &restored);
                }
            }
        }
        judge_renames(&mut changes, layer, &upper, &host, &restored);
        options.keep_hollow(&mut changes);
        for change in &mut changes {
            let chosen =
                options.chosen.iter().find(|chosen| chosen.layer == index && chosen.path == change.path);
            if let Some(chosen) = chosen {
                settle(change, chosen);
            }
        }
        let apart = |obstacle: &&Refusal| {
            obstacle.reason == Reason::OtherMount && !options.concerns(layer, &obstacle.path)
        };
        unseen.extend(obstacles.iter().filter(apart).cloned());
        let landing = || changes.iter().filter(|change| change.held.is_none());
        let refused = landing().filter_map(|change| {
            change.refused.clone().map(|reason| Refusal::new(&layer.name, &change.path, reason))
        });
        refusals.extend(refused);
        refusals.extend(obstacles.into_iter().filter(|obstacle| {
            landing().any(|change| change.path.starts_with(&obstacle.path))
                || obstacle.reason == Reason::OtherMount && options.concerns(layer, &obstacle.path)
        }));
        all.append(&mut changes);
    }
    if !refusals.is_empty() {
        return Err(Refused { refusals });
    }
    let operations = operations(&all);
    let chosen = options.chosen.clone();
    Ok(Apply { layers: layers.to_vec(), changes: all, operations, chosen, unseen })
}

/// What renames mean for what lands.
pub(crate) fn judge_renames(
    changes: &mut [Change],
    layer: &Layer,
    upper: &Upper,
    host: &Tree,
    restored: &Restored,
) {
    if follow_renames(changes, upper, host) {
        for change in changes.iter_mut().filter(|change| moved_by_the_task(change, upper, host)) {
            change.origin = false;
            change.refused = refuse(change, layer, host, restored);
        }
    }
    // What was accepted lands with the directory that it is in, or not at all.
    spread(changes);
}

/// What is held back under its new name keeps its old one. Whether renames were looked for.
fn follow_renames(changes: &mut [Change], upper: &Upper, host: &Tree) -> bool {
    let waits = |change: &Change| {
        change.kind == Kind::Created && change.file_type != FileType::Directory && change.held.is_some()
    };
    let gone = |change: &Change| change.refused == Some(Reason::GoneFromHost);
    if !changes.iter().any(|change| waits(change) || gone(change)) {
        return false;
    }
    pair(changes, upper, host, &mut Budget::whole());
    keep_bare(changes);
    let held: BTreeMap<PathBuf, HoldReason> = changes
        .iter()
        .filter(|change| waits(change))
        .filter_map(|change| Some((change.path.clone(), change.held.clone()?)))
        .collect();
    for change in changes.iter_mut().filter(|change| change.held.is_none()) {
        if let Some(reason) = change.renamed_to.as_ref().and_then(|to| held.get(to)) {
            change.held = Some(reason.clone());
            change.refused = None;
        }
    }
    true
}

/// Links, and files with nothing in them, are no renames for a reader; here they are, by what they lead to and by their names.
fn keep_bare(changes: &mut [Change]) {
    let key = |change: &Change| {
        let gone = change.kind == Kind::Deleted;
        let (target, size) =
            if gone { (&change.old_target, change.old_size) } else { (&change.target, change.new_size) };
        match change.file_type {
            FileType::Symlink => target.clone().map(|target| (true, target)),
            FileType::File if size == Some(0) => Some((false, change.path.file_name()?.into())),
            _ => None,
        }
    };
    let waiting: BTreeMap<(bool, PathBuf), HoldReason> = changes
        .iter()
        .filter(|change| change.kind == Kind::Created)
        .filter_map(|change| Some((key(change)?, change.held.clone()?)))
        .collect();
    for change in changes.iter_mut().filter(|change| change.kind == Kind::Deleted && change.held.is_none()) {
        if let Some(reason) = key(change).and_then(|key| waiting.get(&key)) {
            change.held = Some(reason.clone());
            change.refused = None;
        }
    }
}

/// What seems to be gone from the host is there, under the name that the task renamed it from, and as it was.
fn moved_by_the_task(change: &Change, upper: &Upper, host: &Tree) -> bool {
    let (Some(from), Some(size)) = (&change.renamed_from, change.new_size) else { return false };
    let same = || content::same(upper.file(&change.path)?, host.file(from)?, size);
    change.refused == Some(Reason::GoneFromHost) && change.old_size == Some(size) && same().unwrap_or(false)
}

/// What was chosen lands over what it was made from, and over nothing else.
fn settle(change: &mut Change, chosen: &Chosen) {
    if change.old != chosen.old || change.file_type != FileType::File {
        change.refused = Some(Reason::ChangedOnHost);
    } else if chosen.merged && change.refused == Some(Reason::ChangedOnHost) {
        change.refused = None;
    }
}

pub(crate) fn open(layer: &Layer) -> Result<(Upper, Tree), Failure> {
    let upper = Upper::open(&layer.upper).map_err(Failure::of("open", &layer.upper))?;
    let host = Tree::host(&layer.host).map_err(Failure::of("open", &layer.host))?;
    Ok((upper, host))
}

/// The changes of one layer, judged, and what else stands in the way.
pub(crate) fn assess(
    layer: &Layer,
    index: usize,
    upper: &Upper,
    host: &Tree,
    restored: &Restored,
) -> Result<(Vec<Change>, Vec<Refusal>), Failure> {
    let mut found = walk(layer, index, upper, host, restored)?;
    let halves = unfinished::places(&found.changes);
    outputs::keep(layer, &mut found.changes)?;
    let rules = Rules::new(layer)
        .map_err(|_| Failure {
            doing: "compile the protected patterns of",
            path: layer.host.clone(),
            errno: rustix::io::Errno::INVAL,
        })?
        .follow(host)
        .map_err(Failure::of("look for the links of", &layer.host))?;
    rules.mark(&mut found.changes, upper, host);
    unfinished::hold(&mut found.changes, &halves);
    for change in &mut found.changes {
        change.refused = match change.held {
            Some(_) => None,
            None => refuse(change, layer, host, restored),
        };
    }
    Ok((found.changes, found.obstacles))
}

/// What stands in the way of the layer as a whole.
pub(crate) fn whole(layer: &Layer, host: &Tree) -> Option<Reason> {
    if let Err(reason) = layer.root.expect(host.root(), None) {
        return Some(reason);
    }
    if Timestamp::now() < layer.started {
        return Some(Reason::ClockSetBack);
    }
    interrupted(host)
}

/// Does an earlier apply of whatever run stand half done here?
pub(crate) fn interrupted(host: &Tree) -> Option<Reason> {
    let names = match names(host.root()) {
        Ok(names) => names,
        Err(errno) => return Some(Reason::failed("list the workspace")(errno)),
    };
    names.iter().any(|name| reserved(Path::new(name))).then_some(Reason::Interrupted)
}

/// Why this change forbids the whole. What its owner can allow (`--merge`) is asked last: that allows nothing else.
fn refuse(change: &Change, layer: &Layer, host: &Tree, restored: &Restored) -> Option<Reason> {
    let root = rustix::process::geteuid().is_root();
    // Root could remove or replace what the workspace's owner could not.
    let foreign = |found: Identity| root && found.uid != host.identity.uid;
    if change.old.is_some_and(foreign) || change.parent.is_some_and(foreign) {
        return Some(Reason::OtherOwner);
    }
    if change.brings()
        && let Some(reason) = refuse_new(change, layer)
    {
        return Some(reason);
    }
    let changed = |old: &Identity| {
        old.changed >= layer.started
            && !restored.knows_from(change.index, &change.path, layer.started, old)
            && !only_looked_at(change, old, layer, host)
    };
    change.old.as_ref().is_some_and(changed).then_some(Reason::ChangedOnHost)
}

/// Did git on the host write its index anew, with nothing in it that was not there when the task began? Landing compares once more whether
/// it is the file that was looked at.
fn only_looked_at(change: &Change, old: &Identity, layer: &Layer, host: &Tree) -> bool {
    if FileType::of(old.mode) != FileType::File || !layer.began.is_index(&layer.name, &change.path) {
        return false;
    }
    let now = index::meaning_at(host, &change.path, old.size).ok().flatten();
    now.is_some_and(|now| layer.began.says_the_same(&layer.name, &change.path, old.mode, &now))
}

fn refuse_new(change: &Change, layer: &Layer) -> Option<Reason> {
    let mode = change.new_mode.unwrap_or(0);
    let copied = change.origin && gone(change, layer);
    if change.kind == Kind::Created
        && !change.covered
        && (copied || layer.began.had(&layer.name, &change.path))
    {
        return Some(Reason::GoneFromHost);
    }
    match change.file_type {
        FileType::Fifo | FileType::Socket | FileType::Device => return Some(Reason::Special),
        FileType::File if mode & 0o6000 != 0 => return Some(Reason::Setuid),
        FileType::Directory
            if mode & !change.old_mode.unwrap_or(0) & 0o6000 != 0
                && (mode & 0o4000 != 0 || !change.inherited_group) =>
        {
            return Some(Reason::Setuid);
        }
        _ => {}
    }
    if change.capabilities {
        return Some(Reason::Capabilities);
    }
    if change.path.iter().any(git::disguised) {
        return Some(Reason::DisguisedGit);
    }
    reserved(&change.path).then_some(Reason::ReservedName)
}

/// It was copied from the host, where it is not any more. A file may have been renamed by the task instead: then the
/// host's directory did not change.
fn gone(change: &Change, layer: &Layer) -> bool {
    change.file_type == FileType::Directory
        || change.parent.is_some_and(|parent| parent.changed >= layer.started)
}

/// What an apply builds in stands in the workspace under a name of this form.
pub(crate) const STAGE: &str = ".ringfence-apply-";

fn reserved(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;

    path.iter().next().is_some_and(|first| first.as_bytes().starts_with(STAGE.as_bytes()))
}
