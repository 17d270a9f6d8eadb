//! The copy-on-write directories of a run: made before it, looked at after it.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, MASKS, Plan};
use ringfence_policy::{Leaks, Mode};
use ringfence_record::{RunDir, RunRecord, State};
use ringfence_workspace::{Began, Layer, Root, Scan, Start, Timestamp};
use rustix::fs::{
    AtFlags, CWD, Mode as Bits, OFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags, flistxattr, fstat,
    ioctl_getflags, openat, setxattr, utimensat,
};
use serde_json::{Value, json};

use crate::clock::Instant;
use crate::failure::{Context, Failure};

/// Where layers wait to be removed, below the state directory.
const ASIDE: &str = "aside";
/// What the task began with, in the run's directory.
const BEGAN: &str = "began.json";

/// Where layers wait to be removed.
pub(crate) fn aside(state: &State) -> std::io::Result<PathBuf> {
    let aside = state.path().join(ASIDE);
    match std::fs::create_dir(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(aside),
    }
}

/// Makes `upper` and `work` of each layer, for the owner whose files they will hold.
pub(crate) fn make(plan: &Plan, state: &State) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for layer in &plan.layers {
        let reused = reuse(state, &layer.directory);
        // The task's own id is all that will ever go through them; root may have had those of an earlier run made for somebody else.
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = match plan.ids.mapped {
            true => Some((plan.ids.owner_uid, plan.ids.owner_gid)),
            false => Some(own).filter(|(uid, _)| reused && *uid == 0),
        };
        for path in [layer.directory.clone(), layer.directory.join("upper"), layer.directory.join("work")] {
            if !reused {
                builder.create(&path).context(format!("making {}", path.display()))?;
            }
            if let Some((uid, gid)) = owner {
                chown(&path, Some(uid), Some(gid))
                    .context(format!("giving {} to the workspace's owner", path.display()))?;
            }
        }
        // The overlay's root shows the mode of `upper`.
        let mode = std::fs::metadata(&layer.host)
            .context(format!("looking at {}", layer.host.display()))?
            .permissions();
        std::fs::set_permissions(layer.directory.join("upper"), mode).context("the layer's mode")?;
        mask(layer, owner)
            .context(format!("what stands in for what is hidden in {}", layer.host.display()))?;
    }
    Ok(())
}

/// Makes something empty in the place of what is hidden. The directories on the way show the mode and the times of the host's.
fn mask(layer: &ringfence_plan::Layer, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    if layer.masked.is_empty() {
        return Ok(());
    }
    let top = layer.directory.join(MASKS);
    std::fs::create_dir(&top)?;
    let own = |path: &Path| owner.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)));
    own(&top)?;
    let hidden: BTreeSet<&Path> =
        layer.masked.iter().filter(|masked| masked.directory).map(|masked| masked.path.as_path()).collect();
    let mut made = BTreeSet::new();
    for masked in &layer.masked {
        let above: Vec<&Path> =
            masked.path.ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        if above.iter().any(|path| hidden.contains(path)) {
            continue;
        }
        for path in above.into_iter().rev().filter(|path| made.insert(path.to_path_buf())) {
            std::fs::create_dir(top.join(path))?;
            own(&top.join(path))?;
        }
        let at = top.join(&masked.path);
        if masked.directory {
            std::fs::DirBuilder::new().mode(0o755).create(&at)?;
            // Nothing of the host's shows through (Documentation/filesystems/overlayfs.rst).
            setxattr(&at, "user.overlay.opaque", b"y", XattrFlags::CREATE)?;
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o555))?;
        } else {
            OpenOptions::new().write(true).create_new(true).mode(0o000).open(&at)?;
        }
        own(&at)?;
    }
    for path in made.iter().rev() {
        let (at, host) = (top.join(path), layer.host.join(path));
        let stat = rustix::fs::lstat(&host)?;
        let mut mode = stat.st_mode & 0o7777;
        if rustix::process::geteuid().is_root() {
            chown(&at, Some(stat.st_uid), Some(stat.st_gid))?;
        } else if stat.st_uid != rustix::process::geteuid().as_raw() {
            // Somebody else's, which nothing can be written to.
            mode &= 0o555;
        } else {
            let _ = chown(&at, None, Some(stat.st_gid));
        }
        // Of a directory that nobody may write to, none could be set any more.
        ringfence_workspace::copy_shown(&host, &at)?;
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(mode))?;
        let times = Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        };
        utimensat(CWD, &at, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Takes the directories of a layer that an earlier run put aside as they were made: a file system that journals takes
/// longer to make and remove directories than a short command runs.
fn reuse(state: &State, layer: &Path) -> bool {
    let entries = std::fs::read_dir(state.path().join(ASIDE)).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| !is_doomed(path)).take(4) {
        // Each name is that of one run and one layer: what was looked at is what is taken, by one run alone.
        if as_made(&path).unwrap_or(false) && std::fs::rename(&path, layer).is_ok() {
            set_work_aside(&path, layer);
            let (upper, now) = (layer.join("upper"), Timespec { tv_sec: 0, tv_nsec: UTIME_NOW });
            let times = Timestamps { last_access: now, last_modification: now };
            return utimensat(CWD, upper, &times, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        }
    }
    false
}

/// Whether a task left nothing at all in a layer: no entry, no attribute, no flag, and not the room that many entries took.
fn as_made(layer: &Path) -> std::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let names = std::fs::read_dir(layer)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    if names != ["upper", "work"] || !std::fs::symlink_metadata(layer.join("work"))?.is_dir() {
        return Ok(false);
    }
    let directory = openat(CWD, layer, flags, Bits::empty())?;
    let upper = openat(&directory, "upper", flags, Bits::empty())?;
    let stat = fstat(&upper)?;
    if stat.st_size > stat.st_blksize.max(4096) {
        return Ok(false);
    }
    let mut attributes = [0u8; 256];
    let length = flistxattr(&upper, &mut attributes[..])?;
    // What overlayfs gives every upper directory (Documentation/filesystems/overlayfs.rst, "uuid").
    let own = |name: &[u8]| matches!(name, b"" | b"user.overlay.uuid" | b"trusted.overlay.uuid");
    let bare = attributes.get(..length).is_some_and(|names| names.split(|byte| *byte == 0).all(own));
    let same = match (ioctl_getflags(&directory), ioctl_getflags(&upper)) {
        (Ok(one), Ok(other)) => one == other,
        // The file system has none.
        (one, other) => one.is_err() && other.is_err(),
    };
    Ok(bare && same && std::fs::read_dir(layer.join("upper"))?.next().is_none())
}

/// The layers as the run's record keeps them.
pub(crate) fn describe(plan: &Plan, started: Instant) -> Value {
    plan.layers
        .iter()
        .map(|layer| {
            let found = Root::of(&layer.host).ok();
            let bare = Root { device: layer.device, inode: layer.inode, born: None, file_system: None };
            // What was surveyed is what the sandbox works on.
            let root = found.filter(|found| (found.device, found.inode) == (bare.device, bare.inode));
            let root = root.unwrap_or(bare);
            json!({
                "name": layer.name,
                "host": layer.host,
                "upper": layer.directory.join("upper"),
                "started": { "sec": started.0, "nsec": started.1 },
                "device": root.device,
                "inode": root.inode,
                "born": root.born,
                "file_system": root.file_system,
                "protect": layer.protect,
                "obeyed": layer.obeyed,
                "outputs": layer.outputs,
                "scan": layer.leaks.map(|action| if action == Leaks::Warn { Scan::Warn } else { Scan::Hold }),
            })
        })
        .collect()
}

/// What becomes of a run's changes, if nobody decides about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They wait, until they are old.
    Wait,
    /// They wait for ever.
    Keep,
    /// They go when it ends.
    Remove,
}

/// What became of a run's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There were none, or they are thrown away.
    None,
    /// So many changes wait.
    Changes(u64),
    /// Some do.
    Uncounted,
}

/// Why that is not known, and what tells it.
pub(crate) fn uncounted(plan: &Plan, invoker: &Invoker, run: &str) -> String {
    let why = match plan.hosted.is_some() && plan.ids.outside_uid != invoker.uid {
        true => format!(
            "what changed is kept as uid {}, whom the supervisor may not become any more",
            plan.ids.outside_uid
        ),
        false => "what changed is put together by who looks at it".into(),
    };
    format!("{why}: `ringfence diff {run} --stat`")
}

/// After the run: what is empty or thrown away goes; the rest waits for review.
pub(crate) fn settle(
    plan: &Plan,
    state: &State,
    run: &RunDir,
    record: &RunRecord,
    remove: bool,
    start: Option<&Start>,
) -> Settled {
    if plan.layers.is_empty() {
        return Settled::None;
    }
    // Who was to see to it was killed: what changed is found out by whoever looks.
    if (plan.mode != Mode::Discard || !no_outputs(plan))
        && plan.layers.iter().any(|layer| ringfence_workspace::captures(&layer.directory))
    {
        return Settled::Uncounted;
    }
    // Several layers lie one over the other: they are put together by whoever looks.
    let several = run.path().join(crate::points::STACK).exists();
    if several && !remove && (plan.mode != Mode::Discard || !no_outputs(plan)) {
        remember(run, record, start);
        return Settled::Uncounted;
    }
    let empty = !several
        && plan.layers.iter().all(|layer| {
            std::fs::read_dir(layer.directory.join("upper")).is_ok_and(|mut entries| entries.next().is_none())
        });
    if empty {
        retire(plan, state, run);
        return Settled::Changes(0);
    }
    let layers = crate::commands::waiting::layers(record).ok();
    let found = layers.and_then(|layers| ringfence_workspace::count_from(&layers, start).ok());
    let count = found.as_ref().map(|(count, _)| *count);
    let nothing = plan.mode == Mode::Discard && (no_outputs(plan) || count == Some(0));
    if nothing || remove {
        retire(plan, state, run);
        // A directory that its task closed to everybody is left to a later run: the supervisor may not change modes any more.
        for layer in &plan.layers {
            let _ = ringfence_workspace::remove_tree(&put_aside(state, run, &layer.name));
        }
        return Settled::None;
    }
    if let Some((_, began)) = found {
        write(run, &began);
    }
    count.map_or(Settled::Uncounted, Settled::Changes)
}

/// Opens what will be asked at the end: from then on no file of the host can be opened.
pub(crate) fn hold(plan: &Plan, (sec, nsec): Instant) -> Option<Start> {
    let workspace = plan.layers.iter().find(|layer| layer.name == "workspace")?;
    Start::hold(&workspace.host, Timestamp { sec, nsec })
}

/// The same of layers that lay one over the other.
fn remember(run: &RunDir, record: &RunRecord, start: Option<&Start>) {
    let (Ok(layers), Ok(Some(stack))) =
        (crate::commands::waiting::layers(record), crate::points::stack(run.path()))
    else {
        return;
    };
    let all: Vec<_> = layers
        .iter()
        .filter_map(|layer| Some((layer, stack.get(&layer.name)?)))
        .flat_map(|(layer, made)| {
            made.between.iter().chain([&made.upper]).map(move |name| {
                let upper = crate::points::home(layer).join(name);
                Layer { upper, ..layer.clone() }
            })
        })
        .collect();
    if let Ok((_, began)) = ringfence_workspace::count_from(&all, start) {
        write(run, &began);
    }
}

/// Without it a merge is refused, and a look of git's stands in the way: nothing is lost.
fn write(run: &RunDir, began: &Began) {
    if let Some(text) = serde_json::to_vec(began).ok().filter(|_| !began.is_empty()) {
        let _ = std::fs::write(run.path().join(BEGAN), text);
    }
}

/// What the task of a run began with, as far as that is known.
pub(crate) fn began(run: &RunDir) -> Began {
    let text = std::fs::read(run.path().join(BEGAN)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Does nothing of a workspace that is thrown away come out?
pub(crate) fn no_outputs(plan: &Plan) -> bool {
    plan.layers.iter().all(|layer| layer.outputs.as_ref().is_some_and(Vec::is_empty))
}

/// Puts empty layers aside: removing their eight directories now would be a tenth of a short run. A later run has the
/// time while its own boundary is built, see [`sweep`].
fn retire(plan: &Plan, state: &State, run: &RunDir) {
    for layer in &plan.layers {
        if std::fs::rename(&layer.directory, put_aside(state, run, &layer.name)).is_err() {
            // A Landlock domain of somebody else's may forbid to move directories.
            remove_empty(&layer.directory);
        }
    }
}

fn put_aside(state: &State, run: &RunDir, layer: &str) -> PathBuf {
    state.path().join(ASIDE).join(format!("{}-{layer}", run.id()))
}

/// Removes a few of the layers that earlier runs put aside.
pub(crate) fn sweep(state: &State) {
    let Ok(entries) = std::fs::read_dir(state.path().join(ASIDE)) else { return };
    for entry in entries.filter_map(Result::ok).take(4) {
        let mut doomed = entry.path();
        if !is_doomed(&doomed) {
            // Under another name nobody takes it again while it goes.
            let mut name = std::ffi::OsString::from(".");
            name.push(entry.file_name());
            doomed.set_file_name(name);
            if std::fs::rename(entry.path(), &doomed).is_err() {
                continue;
            }
        }
        remove_empty(&doomed);
        // What a kill left half done is still there, and removed whatever it holds.
        if doomed.exists() {
            let _ = ringfence_workspace::remove_tree(&doomed);
        }
    }
}

/// Somebody removes it.
fn is_doomed(layer: &Path) -> bool {
    layer.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The same as [`remove_unrecorded`], and once a day what is old goes. It looks at every run, so only verbs that do so anyway call it.
pub(crate) fn sweep_unrecorded(state: &State) {
    remove_unrecorded(state);
    sweep(state);
    crate::cleanup::daily(state);
}

/// Removes what killed runs left that never began.
pub(crate) fn remove_unrecorded(state: &State) {
    for path in state.unrecorded().unwrap_or_default() {
        let _ = ringfence_workspace::remove_tree(&path);
    }
}

/// What overlayfs made for itself in a layer goes into a doomed directory's name, for [`sweep`]: removing it takes a journal longer than
/// the rest of a start takes, and nobody waits for that one.
fn set_work_aside(earlier: &Path, layer: &Path) {
    let (work, mut name) = (layer.join("work/work"), std::ffi::OsString::from("."));
    name.push(earlier.file_name().unwrap_or_default());
    // A directory that is moved is written to: it names where it is.
    let _ = std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o700));
    if std::fs::rename(&work, earlier.with_file_name(name)).is_err() || layer.join("work/index").exists() {
        clear_work(layer);
    }
}

fn remove_empty(layer: &Path) {
    clear_work(layer);
    for name in ["work", "upper", ""] {
        let _ = std::fs::remove_dir(layer.join(name));
    }
}

/// Removes the directories that overlayfs makes for itself (Documentation/filesystems/overlayfs.rst).
fn clear_work(layer: &Path) {
    // They carry no permission at all.
    for name in ["work/work", "work/work/incompat", "work/work/incompat/volatile"] {
        let _ = std::fs::set_permissions(layer.join(name), std::fs::Permissions::from_mode(0o700));
    }
    let _ = std::fs::remove_file(layer.join("work/work/incompat/volatile/dirty"));
    for name in ["work/work/incompat/volatile", "work/work/incompat", "work/work", "work/index"] {
        let _ = std::fs::remove_dir(layer.join(name));
    }
}
