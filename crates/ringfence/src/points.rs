//! Checkpoints: which copy-on-write layers a sandbox has, which of them a point stands for, and how one becomes the other.
//!
//! The run's `stack.json` says what its directories are made of now; its keeper writes it when that has changed, and nobody else while
//! it lives. `points.json` is the list of points, written under a lock by whoever takes one.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use ringfence_confine::Message;
use ringfence_record::{Event, RunDir, RunRecord, Status, Timestamp};
use ringfence_supervise::{Ask, Note, Sandbox as _};
use ringfence_workspace::{Copied, How, Layer};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};
use crate::leaks;

pub(crate) const STACK: &str = "stack.json";
pub(crate) const POINTS: &str = "points.json";
const LOCK: &str = "points.lock";
/// What all layers of a sandbox that ended are made one in, below a layer's directory.
const WHOLE: &str = "whole";
/// What a fork begins with.
pub(crate) const BASE: &str = "base";
/// More layers than this are made one first: a mount names some fourteen at most.
const DEEPEST: usize = 10;

/// What one directory is made of, the lowest first; names below the layer's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) between: Vec<String>,
    pub(crate) upper: String,
}

/// By the names of the layers.
pub(crate) type Stack = BTreeMap<String, Made>;

/// A named point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) taken: Timestamp,
    /// Taken while a command ran: a copy.
    pub(crate) copied: bool,
    /// What it stands for, by layer, the lowest first.
    pub(crate) layers: BTreeMap<String, Vec<String>>,
}

/// The name of what a rollback keeps under this number.
pub(crate) fn kept(number: u32) -> String {
    format!("before-{number}")
}

/// The points of a run, while nobody else changes them.
pub(crate) struct Points {
    directory: PathBuf,
    pub(crate) all: Vec<Point>,
    pub(crate) layers: Vec<Layer>,
    _lock: File,
}

/// What the directories of a run are made of; `None`: it has had no point, and has one layer each.
pub(crate) fn stack(run: &Path) -> Result<Option<Stack>, Failure> {
    match std::fs::read(run.join(STACK)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).context("what the run's layers are"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("what the run's layers are"),
    }
}

/// Writes that down, for a sandbox that does not live.
pub(crate) fn write_stack(run: &Path, stack: &Stack) -> Result<(), Failure> {
    write(&run.join(STACK), stack)
}

/// The directory of a layer.
pub(crate) fn home(layer: &Layer) -> &Path {
    layer.upper.parent().unwrap_or(&layer.upper)
}

impl Points {
    pub(crate) fn open(run: &RunDir, record: &RunRecord) -> Result<Self, Failure> {
        let layers = crate::commands::waiting::layers(record)?;
        if layers.is_empty() {
            return Err(Failure::new(format!("run {} works on no copy-on-write directory", run.id()))
                .hint("checkpoints are of `workspace.mode = \"review\"` and `\"discard\"`"));
        }
        if let Some(gone) = layers.iter().find(|layer| !home(layer).exists()) {
            return Err(no_more(run, record, gone));
        }
        if layers.iter().any(|layer| home(layer).join("copy").exists()) {
            return Err(tier());
        }
        let directory = run.path().to_owned();
        let lock = File::create(directory.join(LOCK)).context("the lock of the run's checkpoints")?;
        flock(&lock, FlockOperation::LockExclusive).context("the lock of the run's checkpoints")?;
        let all = match std::fs::read(directory.join(POINTS)) {
            Ok(text) => serde_json::from_slice(&text).context("the run's checkpoints")?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).context("the run's checkpoints"),
        };
        Ok(Self { directory, all, layers, _lock: lock })
    }

    /// By its name or number; without one, the last that its owner took: what a rollback keeps would take that back.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&Point, Failure> {
        let wanted = |point: &&Point| match name {
            Some(name) => point.name == name,
            None => point.name != kept(point.number),
        };
        let by_number = || {
            let number: u32 = name?.parse().ok()?;
            self.all.iter().find(|point| point.number == number)
        };
        self.all.iter().rev().find(wanted).or_else(by_number).ok_or_else(|| match name {
            Some(name) => Failure::new(format!("no checkpoint `{}`", crate::terminal::escape(name)))
                .hint("`ringfence checkpoint RUN --list` lists them"),
            None => {
                Failure::new("there is no checkpoint yet").hint("`ringfence checkpoint RUN NAME` takes one")
            }
        })
    }

    /// What is mounted now.
    pub(crate) fn stack(&self) -> Result<Stack, Failure> {
        let first = |layer: &Layer| (layer.name.clone(), Made { between: Vec::new(), upper: "upper".into() });
        Ok(stack(&self.directory)?.unwrap_or_else(|| self.layers.iter().map(first).collect()))
    }

    /// The number of the next point, under which nothing lies yet.
    pub(crate) fn next(&self) -> u32 {
        let taken = |number: u32| {
            self.layers.iter().any(|layer| {
                ["upper", "copy", "joined"]
                    .iter()
                    .any(|kind| home(layer).join(format!("{kind}-{number}")).exists())
            })
        };
        let from = self.all.iter().map(|point| point.number).max().unwrap_or(0) + 1;
        (from..).find(|number| !taken(*number)).unwrap_or(from)
    }

    pub(crate) fn check_name(&self, name: &str) -> Result<(), Failure> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with(['-', '.']) {
            return Err(Failure::new(format!(
                "`{}` is no name for a checkpoint",
                crate::terminal::escape(name)
            ))
            .hint("use letters, digits, `-`, `_` and `.`, at most 64"));
        }
        if self.all.iter().any(|point| point.name == name) {
            return Err(Failure::new(format!("there is a checkpoint `{name}` already")));
        }
        Ok(())
    }

    /// An empty layer under this number, to be written to from now on, over `below`.
    pub(crate) fn fresh(&self, number: u32, below: &BTreeMap<String, Vec<String>>) -> Result<Stack, Failure> {
        let now = self.stack()?;
        let mut stack = Stack::new();
        for layer in &self.layers {
            let (home, upper) = (home(layer), format!("upper-{number}"));
            let made = now.get(&layer.name).map_or("upper", |made| made.upper.as_str());
            let like = std::fs::metadata(home.join(made)).context("the layer's directory")?;
            for (name, mode) in [(upper.clone(), like.mode() & 0o7777), (format!("work-{number}"), 0o700)] {
                let path = home.join(name);
                std::fs::DirBuilder::new().mode(0o700).create(&path).context(path.display().to_string())?;
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                    .context("the layer's mode")?;
                if rustix::process::geteuid().is_root() {
                    chown(&path, Some(like.uid()), Some(like.gid())).context("the layer's owner")?;
                }
            }
            let mut between = below.get(&layer.name).cloned().unwrap_or_default();
            if between.len() > DEEPEST {
                between = vec![self.join(home, &between, number)?];
            }
            stack.insert(layer.name.clone(), Made { between, upper });
        }
        Ok(stack)
    }

    /// Layers that are not written any more, as one.
    fn join(&self, home: &Path, between: &[String], number: u32) -> Result<String, Failure> {
        let name = format!("joined-{number}");
        let all: Vec<PathBuf> = between.iter().map(|name| home.join(name)).collect();
        flatten(&all, &home.join(&name), How::Link)?;
        Ok(name)
    }

    /// Undoes [`Self::fresh`].
    pub(crate) fn forget(&self, number: u32) {
        for layer in &self.layers {
            for kind in ["upper", "work", "joined"] {
                let _ = ringfence_workspace::remove_tree(&home(layer).join(format!("{kind}-{number}")));
            }
        }
    }

    /// What is written to now, copied under this number.
    pub(crate) fn copy(&self, number: u32) -> Result<(BTreeMap<String, Vec<String>>, Copied), Failure> {
        let (now, mut layers, mut done) = (self.stack()?, BTreeMap::new(), Copied::default());
        for layer in &self.layers {
            let Some(made) = now.get(&layer.name) else { continue };
            let name = format!("copy-{number}");
            let copied = flatten(&[home(layer).join(&made.upper)], &home(layer).join(&name), How::Copy)?;
            done.entries += copied.entries;
            done.bytes += copied.bytes;
            layers.insert(layer.name.clone(), made.between.iter().cloned().chain([name]).collect());
        }
        Ok((layers, done))
    }

    /// Adds a point.
    pub(crate) fn add(&mut self, point: Point) -> Result<(), Failure> {
        self.all.push(point);
        write(&self.directory.join(POINTS), &self.all)
    }

    /// The directories that a point stands for.
    fn paths(&self, layer: &Layer, names: &BTreeMap<String, Vec<String>>) -> Vec<PathBuf> {
        names.get(&layer.name).into_iter().flatten().map(|name| home(layer).join(name)).collect()
    }

    /// What a point stands for as layers of one directory each, for as long as this lives.
    pub(crate) fn view(&self, names: &BTreeMap<String, Vec<String>>) -> Result<View, Failure> {
        let mut view = View { layers: Vec::new() };
        for layer in &self.layers {
            let upper = home(layer).join(format!("view-{}", std::process::id()));
            let _ = ringfence_workspace::remove_tree(&upper);
            view.layers.push(Layer { upper: upper.clone(), ..layer.clone() });
            flatten(&self.paths(layer, names), &upper, How::Link)?;
        }
        Ok(view)
    }

    /// For a fork: where its layers come from, by name.
    pub(crate) fn sources(&self, names: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<PathBuf>> {
        self.layers.iter().map(|layer| (layer.name.clone(), self.paths(layer, names))).collect()
    }
}

/// The layers of a point, each made one.
pub(crate) struct View {
    pub(crate) layers: Vec<Layer>,
}

impl Drop for View {
    fn drop(&mut self) {
        for layer in &self.layers {
            let _ = ringfence_workspace::remove_tree(&layer.upper);
        }
    }
}

/// Makes `into` and fills it. None: an empty one.
pub(crate) fn flatten(layers: &[PathBuf], into: &Path, how: How) -> Result<Copied, Failure> {
    std::fs::DirBuilder::new().mode(0o700).create(into).context(into.display().to_string())?;
    ringfence_workspace::flatten(layers, into, how).context("putting the layers together").inspect_err(|_| {
        let _ = ringfence_workspace::remove_tree(into);
    })
}

/// After the end of a sandbox that had points: one directory each that holds all of its changes. The points stay.
pub(crate) fn settle(run: &RunDir, record: &mut RunRecord, layers: &mut [Layer]) -> Result<(), Failure> {
    let Some(stack) = stack(run.path())? else { return Ok(()) };
    let mut changed = false;
    for (index, layer) in layers.iter_mut().enumerate() {
        let Some(made) = stack.get(&layer.name) else { continue };
        let home = home(layer).to_owned();
        if layer.upper == home.join(WHOLE) || !home.exists() {
            continue;
        }
        let beside = home.join("whole.new");
        ringfence_workspace::remove_tree(&beside).map_err(|_| Failure::new("an earlier attempt stays"))?;
        let all: Vec<_> = made.between.iter().chain([&made.upper]).map(|name| home.join(name)).collect();
        flatten(&all, &beside, How::Link)?;
        let whole = home.join(WHOLE);
        ringfence_workspace::remove_tree(&whole).map_err(|_| Failure::new("an earlier attempt stays"))?;
        std::fs::rename(&beside, &whole).context("putting the layers together")?;
        if let Some(entry) = record.layers.get_mut(index).and_then(|entry| entry.get_mut("upper")) {
            *entry = serde_json::Value::String(whole.display().to_string());
        }
        layer.upper = whole;
        changed = true;
    }
    if changed {
        run.write_record(record, false).context("the run's record")?;
    }
    Ok(())
}

/// After the end: the layers are others now, and are put together anew by whoever looks.
pub(crate) fn unsettle(run: &RunDir, record: &mut RunRecord, layers: &[Layer]) -> Result<(), Failure> {
    for (index, layer) in layers.iter().enumerate() {
        let upper = home(layer).join("upper");
        if let Some(entry) = record.layers.get_mut(index).and_then(|entry| entry.get_mut("upper")) {
            *entry = serde_json::Value::String(upper.display().to_string());
        }
    }
    run.write_record(record, false).context("the run's record")
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let beside = path.with_extension("json.new");
    let text = serde_json::to_vec(value).context("the run's checkpoints")?;
    std::fs::write(&beside, text).context(beside.display().to_string())?;
    std::fs::rename(&beside, path).context(path.display().to_string())
}

/// What is written to the log of `run` about it.
pub(crate) fn event(note: Note, run: &str) -> Event {
    let uid = rustix::process::getuid().as_raw();
    match note {
        Note::Checkpoint { point: checkpoint, number, copied } => {
            Event::WorkspaceCheckpoint { checkpoint, number, copied, uid }
        }
        Note::Rollback { point: checkpoint, number, kept } => {
            Event::WorkspaceRollback { checkpoint, number, kept, uid }
        }
        Note::Fork { point: checkpoint, into, sandbox } => {
            Event::WorkspaceFork { from: run.to_owned(), checkpoint, into, sandbox, uid }
        }
        Note::Leak { secret, way, action } => leaks::event(secret, way, action),
    }
}

/// Writes it to the log of a run: its keeper does while it lives.
pub(crate) fn note(run: &RunDir, record: &mut RunRecord, note: Note) -> Result<(), Failure> {
    if record.running() {
        let remote = crate::named::call(run)?;
        remote.ask(&Ask::Note(note), &[]).context("asking the sandbox")?;
        return match remote.report() {
            Some((Message::Answer { done: true, .. }, _)) => Ok(()),
            Some((Message::Answer { text, .. }, _)) => Err(Failure::new(text)),
            _ => Err(Failure::new("the sandbox ended before it answered")),
        };
    }
    let mut log = run.resume_events(record.identity.clone()).context("the run's log")?;
    record.head = Some(log.append(&event(note, run.id())).context("the run's log")?);
    run.write_record(record, false).context("the run's record")
}

/// Its layers were removed, and what the points stand for with them.
fn no_more(run: &RunDir, record: &RunRecord, gone: &Layer) -> Failure {
    let id = run.id();
    let (became, hint) = match record.status {
        Status::Applied => (
            "have landed".to_owned(),
            format!(
                "`ringfence undo {id}` puts back what that replaced; `apply --leave PATH`, or a `ringfence fork` before it, keeps points"
            ),
        ),
        Status::Undone => (
            "had landed, and were undone".to_owned(),
            format!("what had landed is kept in {}", run.path().display()),
        ),
        Status::Discarded => (
            "were thrown away".to_owned(),
            "another run begins from the host's files: `ringfence start NAME`".to_owned(),
        ),
        _ => (
            format!("are gone: there is no {}", home(gone).display()),
            "a clean-up takes what is old (`ringfence prune --help`)".to_owned(),
        ),
    };
    Failure::new(format!("the changes of run {id} {became}, and its checkpoints went with them")).hint(hint)
}

/// Why there are none there.
pub(crate) fn tier() -> Failure {
    Failure::new(
        "tier `landlock` works on a copy of the workspace, in which there are no layers to keep or drop",
    )
    .with_status(Failure::REFUSED)
    .hint("checkpoints and forks need tier `namespace`: `ringfence doctor` says what it is missing here")
}
