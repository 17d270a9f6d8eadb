//! `workspace.snapshot`: what is there before a task works on the host's own files, so that all of it can be put back.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ringfence_plan::{Invoker, Plan};
use ringfence_policy::{Mode, Policy};
use ringfence_record::{RunDir, RunRecord};
use ringfence_workspace::{Began, Copied, Danger, Layer, Options, Refused, Root, Secrets, Timestamp};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::copies::{self, Told};
use crate::failure::{Context, Failure};
use crate::terminal;

const PLACE: &str = "snapshot";
const TIMES: &str = "times.json";

/// When the task began and ended; `ended` is not there where its supervisor was killed.
#[derive(Serialize, Deserialize)]
struct Times {
    started: Timestamp,
    ended: Option<Timestamp>,
    /// The workspace.
    #[serde(default)]
    root: Option<Root>,
    /// What git's index said at the end.
    #[serde(default)]
    began: Began,
}

/// Where a run keeps it, if it does.
pub(crate) fn place(run: &Path) -> Option<PathBuf> {
    let place = run.join(PLACE);
    place.join(TIMES).exists().then_some(place)
}

/// Takes it, and says what that costs.
pub(crate) fn take(policy: &Policy, plan: &Plan, invoker: &Invoker, run: &Path) -> Result<(), Failure> {
    if !policy.workspace.snapshot || plan.mode != Mode::Direct {
        return Ok(());
    }
    let (begun, place) = (Instant::now(), run.join(PLACE));
    std::fs::create_dir(&place).context("the snapshot's directory")?;
    ringfence_workspace::holds_removals(&place).map_err(|errno| {
        Failure::new(format!("the state directory: its file system cannot hold what a task makes: {errno}"))
            .hint(copies::HOLDS)
            .hint("choose `snapshot = false`")
    })?;
    Root::settle(&plan.workspace);
    let free = |path: &Path| rustix::fs::statvfs(path).map_or(0, |found| found.f_bfree * found.f_frsize);
    let before = free(&place);
    let mut told = Told::new("keeping the workspace as it is");
    let done = ringfence_workspace::snapshot(&plan.workspace, &place, invoker.root, &mut |done: Copied| {
        told.tell(done)
    });
    told.end();
    let done = done.map_err(|failure| {
        Failure::new(format!("the snapshot of the workspace: {failure}"))
            .hint("choose `workspace.mode = \"review\"`, which needs none, or `snapshot = false`")
    })?;
    // Times of files tick: what the task changes at once may bear one from before.
    let mut started = now();
    started.nsec -= 20_000_000;
    if started.nsec < 0 {
        (started.sec, started.nsec) = (started.sec - 1, started.nsec + 1_000_000_000);
    }
    let root = Some(Root::of(&plan.workspace).context("the workspace")?);
    write(&place, &Times { started, ended: None, root, began: Began::default() })?;
    let cost = before.saturating_sub(free(&place)).min(done.bytes);
    terminal::error(&format!(
        "{} {} kept for `ringfence undo {}`: {} MiB in files, {} MiB of the disk, {} ms",
        terminal::label("snapshot:"),
        if done.entries == 1 { "1 entry is".to_owned() } else { format!("{} entries are", done.entries) },
        run.file_name().unwrap_or_default().display(),
        done.bytes >> 20,
        cost >> 20,
        begun.elapsed().as_millis()
    ));
    Ok(())
}

/// The task has ended: what changes from now on is somebody else's. Times of files tick every 10 ms at most: until then nobody else begins.
pub(crate) fn ended(run: &Path, workspace: &Path) -> Result<(), Failure> {
    let Some(place) = place(run) else { return Ok(()) };
    let mut times = read(&place)?;
    times.began = Began::at_end(workspace);
    times.ended = Some(now());
    std::thread::sleep(std::time::Duration::from_millis(10));
    write(&place, &times)
}

/// An apply of what was there.
pub(crate) struct Reverse {
    pub(crate) layer: Layer,
    pub(crate) options: Options,
    /// Directories that keep the mode that somebody gave them since.
    pub(crate) others_modes: Vec<PathBuf>,
}

/// What puts the workspace back, as the layer and the options of an apply.
pub(crate) fn reverse(run: &RunDir, record: &RunRecord) -> Result<Option<Reverse>, Failure> {
    let Some(place) = place(run.path()) else { return Ok(None) };
    let times = read(&place)?;
    if let Some(root) = times.root {
        let refused = |refused: Refused| Failure::from(&refused).with_status(Failure::REFUSED);
        root.must_be_at(&record.workspace).map_err(refused)?;
    }
    let started = times.ended.unwrap_or_else(|| {
        terminal::error(&format!(
            "{} the run was interrupted: what was changed after it is not told apart, and put back too",
            terminal::label("note:")
        ));
        let mut moment = now();
        moment.sec += i64::from(moment.nsec >= 980_000_000);
        moment.nsec = (moment.nsec + 20_000_000) % 1_000_000_000;
        moment
    });
    // Times of files tick: by their clock too it must have passed.
    for _ in 0..100 {
        if Timestamp::now() > started {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let host = record.workspace.clone();
    let reversed =
        ringfence_workspace::reverse(&host, &place, times.started, started).map_err(|failure| {
            let told = Failure::new(format!("comparing the workspace: {failure}"));
            match failure.errno {
                Errno::ACCESS | Errno::PERM => {
                    told.hint("open it (`chmod u+rwx`) or let its owner do that, then undo again")
                }
                _ => told,
            }
        })?;
    let root = Root::of(&host).context(host.display().to_string())?;
    let layer = Layer {
        name: "workspace".into(),
        host,
        upper: reversed.upper,
        started,
        root,
        protect: Vec::new(),
        obeyed: Vec::new(),
        outputs: None,
        scan: None,
        secrets: Secrets::default(),
        began: times.began,
    };
    // What was there is put back, whatever it is.
    let options = Options { kinds: Danger::ALL.to_vec(), journals: vec![place], ..Options::default() };
    Ok(Some(Reverse { layer, options, others_modes: reversed.others_modes }))
}

/// Closes the directories that an undo opened, if it did not take place.
pub(crate) fn close_again(run: &RunDir, record: &RunRecord) -> Result<(), Failure> {
    let Some(place) = place(run.path()) else { return Ok(()) };
    if run.journals().next().is_some_and(|journal| ringfence_workspace::landed(&journal)) {
        ringfence_workspace::opened_for_good(&place);
        return Ok(());
    }
    ringfence_workspace::close_again(&record.workspace, &place).context("the directories that an undo opened")
}

/// It is of no use any more.
pub(crate) fn remove(run: &RunDir) {
    let _ = ringfence_workspace::remove_tree(&run.path().join(PLACE));
}

fn now() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp { sec: now.tv_sec, nsec: now.tv_nsec }
}

fn read(place: &Path) -> Result<Times, Failure> {
    let text = std::fs::read(place.join(TIMES)).context("the snapshot's times")?;
    serde_json::from_slice(&text).context("the snapshot's times")
}

fn write(place: &Path, times: &Times) -> Result<(), Failure> {
    let text = serde_json::to_vec(times).context("the snapshot's times")?;
    let beside = place.join("times.new");
    let written = std::fs::File::create(&beside).and_then(|mut file| file.write_all(&text));
    written.and_then(|()| std::fs::rename(&beside, place.join(TIMES))).context("the snapshot's times")
}
