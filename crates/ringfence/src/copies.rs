//! What tier `landlock` has in place of mounts: directories of the run's own, and copies of what is worked on.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_plan::{Exposed, Invoker, Plan, Trust};
use ringfence_policy::Mode;
use ringfence_record::State;
use ringfence_workspace::{Copied, Layer};
use rustix::io::Errno;

use crate::failure::{Context, Failure};
use crate::{layers, terminal};

/// Where another user than the invoker comes by the directories of root's runs; root's own.
pub(crate) const ASIDE: &str = "/var/tmp/ringfence-root";

/// Where changes can be kept.
pub(crate) const HOLDS: &str =
    "set RINGFENCE_STATE to a directory on ext4, xfs, btrfs or tmpfs, in a container on a volume";

/// A copy that takes longer is told of.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often.
const EVERY: Duration = Duration::from_millis(100);
/// How long what a killed run began may take to end.
const ENDING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Makes them all, for the user that the task will be; what holds the copies until [`settle`] is done.
pub(crate) fn make(
    plan: &Plan,
    invoker: &Invoker,
    state: &State,
    (trust, exposed): (Option<&Trust>, &Exposed),
) -> Result<Vec<OwnedFd>, Failure> {
    let Some(hosted) = &plan.hosted else { return Ok(Vec::new()) };
    let foreign = plan.ids.outside_uid != invoker.uid;
    if foreign {
        // Everybody may go through, nobody else may list it. Whoever was faster with the name is an error.
        let mut open = std::fs::DirBuilder::new();
        open.mode(0o711);
        match open.create(ASIDE) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context(format!("making {ASIDE}"));
            }
            _ => {}
        }
        let found = std::fs::symlink_metadata(ASIDE).context(ASIDE)?;
        if !found.is_dir() || found.uid() != invoker.uid || found.mode() & 0o022 != 0 {
            return Err(Failure::new(format!("{ASIDE} is not a directory of root's alone"))
                .hint("somebody else made it: look at it, and remove it"));
        }
        let made = open.create(&hosted.base);
        made.context(format!("making {}", hosted.base.display()))?;
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    // Whoever has a directory can put links into it. So each is the task's only when all in it is made, and what holds it last.
    let own = |path: &Path| match foreign {
        true => lchown(path, Some(plan.ids.outside_uid), Some(plan.ids.outside_gid))
            .context(format!("giving {} to the task", path.display())),
        false => Ok(()),
    };
    let create = |path: &Path| builder.create(path).context(format!("making {}", path.display()));
    for (path, text) in hosted.trust.iter().zip(trust.iter().flat_map(|trust| [&trust.own, &trust.all])) {
        write_for_all(path, text).context(format!("writing {}", path.display()))?;
    }
    let mut made: BTreeSet<&Path> = hosted.own.iter().map(PathBuf::as_path).collect();
    made.iter().try_for_each(|path| create(path))?;
    for (path, target) in &hosted.links {
        if let Some(parent) = path.parent() {
            create(parent)?;
            let below = |above: &&Path| hosted.own.iter().any(|own| above.starts_with(own));
            made.extend(parent.ancestors().take_while(below));
        }
        symlink(target, path).context(format!("making {}", path.display()))?;
    }
    for (path, named) in &hosted.exposed {
        if let Some(parent) = path.parent() {
            create(parent)?;
            let below = |above: &&Path| hosted.own.iter().any(|own| above.starts_with(own));
            made.extend(parent.ancestors().take_while(below));
        }
        let text = exposed.files.get(named).map_or("", String::as_str);
        std::fs::write(path, text).context(format!("making {}", path.display()))?;
        made.insert(path);
    }
    if plan.mode == Mode::Temporary {
        create(&hosted.workspace)?;
        made.extend(hosted.workspace.ancestors().take(2));
        made.iter().rev().try_for_each(|path| own(path))?;
        return Ok(Vec::new());
    }
    made.iter().rev().try_for_each(|path| own(path))?;
    layers::make(plan, state)?;
    let mut held = Vec::new();
    let hidden: Vec<PathBuf> = hosted.hidden.iter().map(|hidden| hidden.path.clone()).collect();
    for layer in &plan.layers {
        let copy = layer.directory.join("copy");
        let upper = layer.directory.join("upper");
        for path in [&copy, &upper] {
            create(path)?;
        }
        fill(layer, &hidden, foreign)?;
        held.push(ringfence_workspace::hold(&layer.directory).context("the lock of the workspace's copy")?);
        // The manifest is the task's user's too: who captures is that.
        for path in [&copy, &upper, &layer.directory.join("manifest"), &layer.directory] {
            own(path)?;
        }
    }
    Ok(held)
}

/// Copies what is worked on. `foreign`: the task is another user.
fn fill(layer: &ringfence_plan::Layer, hidden: &[PathBuf], foreign: bool) -> Result<(), Failure> {
    ringfence_workspace::holds_removals(&layer.directory).map_err(|errno| {
        let place = if foreign { ASIDE } else { "the state directory" };
        let told = format!("{place}: its file system cannot hold what a task removes: {errno}");
        let told = Failure::new(told);
        let told = if foreign { told } else { told.hint(HOLDS) };
        told.hint("choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`, which keep nothing")
    })?;
    let mut told = Told::new("copying the workspace");
    let copied = ringfence_workspace::copy(&layer.host, &layer.directory, hidden, foreign, &mut |done| {
        told.tell(done)
    });
    told.end();
    let copied = copied.map_err(|failure| {
        let closed = failure.errno == Errno::ACCESS;
        let told = Failure::new(format!("the copy of the workspace: {failure}"));
        let told = match closed {
            true => told.hint("open it to yourself (`chmod u+r`, `u+rx` for a directory), or hide it from the task: `files.deny`"),
            false => told,
        };
        told.hint("choose `workspace.mode = \"direct\"`, `\"read\"` or `\"temporary\"`, which need none")
    })?;
    if copied.left_out > 0 {
        let one = copied.left_out == 1;
        terminal::error(&format!(
            "{} {} of {} (FIFOs, sockets, devices) {} not in the copy that the task works on",
            terminal::label("note:"),
            if one { "1 entry".to_owned() } else { format!("{} entries", copied.left_out) },
            terminal::escape(&layer.host),
            if one { "is" } else { "are" },
        ));
    }
    Ok(())
}

/// In a directory of its own; certificates are no secret, and the task may be another user.
fn write_for_all(path: &Path, text: &str) -> std::io::Result<()> {
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
        open(parent, 0o755)?;
    }
    std::fs::write(path, text)?;
    open(path, 0o644)
}

/// How far a copy is, for a person.
pub(crate) struct Told {
    what: &'static str,
    begun: Instant,
    next: Duration,
    shown: bool,
}

impl Told {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), next: PATIENCE, shown: false }
    }

    /// Whether to go on: not once the user asked for an end.
    pub(crate) fn tell(&mut self, done: Copied) -> bool {
        if ringfence_supervise::asked_to_end() {
            return false;
        }
        let passed = self.begun.elapsed();
        if passed >= self.next && std::io::stderr().is_terminal() {
            self.next = passed + EVERY;
            self.shown = true;
            let text = format!(
                "\r\u{1b}[Kringfence: {}: {} entries, {} MiB",
                self.what,
                done.entries,
                done.bytes >> 20
            );
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        true
    }

    pub(crate) fn end(&self) {
        if self.shown {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// When nothing runs any more, in whatever way it ended: what changed is kept, what was the run's own goes. It is called in a
/// process that can reach nothing else; what goes wrong is seen by who looks at the changes, see [`catch_up`].
pub(crate) fn settle(plan: &Plan) {
    let Some(hosted) = &plan.hosted else { return };
    // What holds them is the supervisor's.
    let temporary = (plan.mode == Mode::Temporary).then_some(&hosted.workspace);
    for path in hosted.own.iter().chain(temporary) {
        let _ = ringfence_workspace::empty_tree(path);
    }
    let kept = plan.mode != Mode::Discard || !layers::no_outputs(plan);
    for layer in &plan.layers {
        let _ = match kept {
            true => ringfence_workspace::capture(&layer.directory).map_err(|failure| vec![failure]),
            // Only its owner may empty it.
            false => ringfence_workspace::empty_tree(&layer.directory),
        };
    }
}

/// Afterwards, by the supervisor: what is empty by now.
pub(crate) fn clear(plan: &Plan) {
    let Some(hosted) = &plan.hosted else { return };
    for path in &hosted.trust {
        let _ = std::fs::remove_file(path);
    }
    if let Some(directory) = hosted.trust.first().and_then(|path| path.parent()) {
        let _ = std::fs::remove_dir(directory);
    }
    let workspace = hosted.workspace.ancestors().take(2).filter(|_| plan.mode == Mode::Temporary);
    for path in hosted.own.iter().map(PathBuf::as_path).chain(workspace) {
        let _ = std::fs::remove_dir(path);
    }
    if plan.layers.iter().all(|layer| !layer.directory.exists()) {
        let _ = std::fs::remove_dir(&hosted.base);
    }
}

/// Where everybody who could have kept the changes was killed, they are kept now. Whoever still does that is waited for: the
/// supervisor's end is not that of what it began.
pub(crate) fn catch_up(layers: &[Layer]) -> Result<(), Failure> {
    let until = Instant::now() + ENDING;
    for directory in layers.iter().filter_map(|layer| layer.upper.parent()) {
        let held = loop {
            match ringfence_workspace::hold(directory) {
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
                held => break held,
            }
        };
        match held {
            Err(Errno::NOENT) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Failure::new("what the run changed is still being put together")
                    .hint("wait until its last process has ended, and try again"));
            }
            Err(errno) => return Err(errno).context("the lock of the workspace's copy"),
            Ok(_held) => ringfence_workspace::capture(directory)
                .map_err(|failure| Failure::new(format!("what the run changed: {failure}")))?,
        }
    }
    Ok(())
}
