//! The side of the runner that starts worlds and hands rows to them.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::Broken;
use crate::summary::Summary;
use crate::table::Control;
use crate::table::Row;
use crate::table::rows;
use crate::verdict::Report;
use crate::verdict::Verdict;

/// The first unprivileged user that a world runs as; each job has its own, so that per-user quotas are not shared.
const FIRST_USER: u32 = 65500;
const FILES: [(&str, &str); 5] = [
    ("world.sh", include_str!("../world/world.sh")),
    ("template.sh", include_str!("../world/template.sh")),
    ("world.py", include_str!("../world/world.py")),
    ("web.py", include_str!("../world/web.py")),
    ("terminal.py", include_str!("../world/terminal.py")),
];

/// Who launches ringfence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody: the attempt runs without the boundary, in namespaces that keep it harmless.
    Control,
    /// The same with the kernel's uid 0, still without a capability outside its namespaces.
    RootControl,
    /// An ordinary user.
    User,
    /// Root.
    Root,
}

impl Who {
    /// As it is written in the table and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::RootControl => "root-control",
            Self::User => "user",
            Self::Root => "root",
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this group.
    pub group: Option<String>,
    /// Only these rows, whatever part they wait for.
    pub ids: Vec<String>,
    /// The launching users; `Control` is added by itself.
    pub who: Vec<Who>,
    /// Worlds at a time.
    pub jobs: u32,
    /// The binary under test; without one only the control runs are done.
    pub binary: Option<PathBuf>,
    /// Show first that each row works without the boundary; without it a row that is refused counts as held.
    pub control: bool,
    /// Control runs of the rows that are judged without one, too.
    pub control_all: bool,
    /// The host seems to allow no namespaces, so that tier `landlock` is what holds.
    pub hosted: bool,
}

/// Runs the table.
///
/// # Errors
/// What kept the runner from running; a row that fails is no error here.
pub fn run(options: &Options) -> Result<Summary, Broken> {
    let chosen: Vec<Row> = rows()?.into_iter().filter(|row| wanted(row, options)).collect();
    if chosen.is_empty() {
        return Err(Broken("no row of the table has that group or id".to_owned()));
    }
    let who = possible(&options.who);
    let mut queue: Vec<(Who, &Row)> = Vec::new();
    for row in chosen.iter().filter(|row| row.stage == "run" || !options.ids.is_empty()) {
        if options.control
            && let Some(control) = control(row, options.control_all)
            && !row.premise.on_host
        {
            queue.push((control, row));
        }
        if options.binary.is_some() {
            queue.extend(who.iter().map(|who| (*who, row)));
        }
    }
    // The slow ones first, so that no job ends long after the others.
    queue.sort_by_key(|(who, row)| (std::cmp::Reverse(weight(row)), *who));
    let directory = Scratch::new()?;
    // Not by its path: a build meanwhile may have put another file there.
    fs::copy("/proc/self/exe", directory.0.join("runner"))?;
    if let Some(binary) = &options.binary {
        fs::copy(binary, directory.0.join("ringfence"))
            .map_err(|error| Broken(format!("{}: {error}", binary.display())))?;
    }
    let queue = Mutex::new(VecDeque::from(queue));
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for job in 0..options.jobs.max(1) {
            let (queue, reports, directory) = (&queue, &reports, &directory.0);
            scope.spawn(move || work_off((job, options.hosted), directory, queue, reports));
        }
    });
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let who = if options.binary.is_some() { who } else { Vec::new() };
    let mut summary = Summary::new(chosen, who, reports, !options.ids.is_empty(), options.control_all);
    summary.controlled = options.control;
    Ok(summary)
}

fn wanted(row: &Row, options: &Options) -> bool {
    !(if options.hosted { row.only_namespace } else { row.only_hosted })
        && options.group.as_ref().is_none_or(|group| *group == row.group)
        && (options.ids.is_empty() || options.ids.contains(&row.id))
}

/// Who shows that a row works without the boundary, if anybody can.
pub(crate) fn control(row: &Row, all: bool) -> Option<Who> {
    let root = rustix::process::getuid().is_root();
    match row.control {
        Control::Works => Some(Who::Control),
        Control::WorksForRoot if root => Some(Who::RootControl),
        Control::Alone if all && root => Some(Who::RootControl),
        Control::Alone if all => Some(Who::Control),
        Control::WorksForRoot | Control::Alone => None,
    }
}

/// Root's rows need root.
fn possible(asked: &[Who]) -> Vec<Who> {
    let root = rustix::process::getuid().is_root();
    asked.iter().copied().filter(|who| *who == Who::User || (*who == Who::Root && root)).collect()
}

/// A guess at the seconds a row takes: what it sleeps, and how often it loops.
fn weight(row: &Row) -> u64 {
    let mut sum = 0;
    let text: String =
        row.clauses.iter().map(|clause| clause.text.as_str()).chain([row.attempt.as_str()]).collect();
    for (word, unit) in [("sleep ", 1), ("seq ", 1000)] {
        for part in text.split(word).skip(1) {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            sum += digits.parse::<u64>().unwrap_or_default() * 3 / unit / 2;
        }
    }
    sum
}

type Reports = BTreeMap<(Who, String), Report>;

fn work_off(
    job: (u32, bool),
    directory: &Path,
    queue: &Mutex<VecDeque<(Who, &Row)>>,
    reports: &Mutex<Reports>,
) {
    let mut worlds: BTreeMap<Who, World> = BTreeMap::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((who, row)) = next else { return };
        let report = ask(&mut worlds, job, directory, who, row).unwrap_or_else(|error| {
            worlds.remove(&who);
            Report {
                id: row.id.clone(),
                verdict: Verdict::NotJudged,
                why: vec![format!("the world of {} failed: {error}", who.name())],
                waiting: Vec::new(),
                output: String::new(),
                seconds: 0.0,
            }
        });
        let mut kept = reports.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert((who, row.id.clone()), report);
    }
}

fn ask(
    worlds: &mut BTreeMap<Who, World>,
    job: (u32, bool),
    directory: &Path,
    who: Who,
    row: &Row,
) -> Result<Report, Broken> {
    let world = match worlds.entry(who) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(World::start(job, directory, who)?),
    };
    writeln!(world.requests, "{}", row.id)?;
    world.requests.flush()?;
    let mut line = String::new();
    world.answers.read_line(&mut line)?;
    if line.is_empty() {
        return Err(Broken("it ended".to_owned()));
    }
    serde_json::from_str(&line).map_err(|error| Broken(error.to_string()))
}

/// A world that waits for rows; it ends with its standard input.
struct World {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl World {
    fn start((job, hosted): (u32, bool), directory: &Path, who: Who) -> Result<Self, Broken> {
        let root = rustix::process::getuid().is_root();
        let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let (uid, gid) = match (who, root) {
            (Who::Root | Who::RootControl, _) => (0, 0),
            (_, true) => (FIRST_USER + job, FIRST_USER + job),
            (_, false) => own,
        };
        let scratch = directory.join(format!("{job}-{}", who.name()));
        lay_out(&scratch, directory, (uid, gid))?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        let kind = match (who, root) {
            (Who::Control, true) => {
                command.args(["--user", "--map-root-user"]).uid(uid).gid(gid);
                "control"
            }
            (Who::Control | Who::RootControl, _) => {
                command.args(["--user", "--map-root-user"]);
                "control"
            }
            (_, false) => {
                command.args(["--user", "--map-root-user"]);
                "nested"
            }
            (Who::Root, true) => "root",
            (Who::User, true) => "user",
        };
        let inner = if kind == "control" { (0, 0) } else { (uid, gid) };
        let mut child = command
            .arg("bash")
            .arg(scratch.join("home/bin/world.sh"))
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("RF_SCRATCH", &scratch)
            .env("RF_AS", kind)
            .env("RF_UID", inner.0.to_string())
            .env("RF_GID", inner.1.to_string())
            .env("RF_TIER", if hosted { "landlock" } else { "namespace" })
            .env("RF_LOWERED", std::env::var_os("RINGFENCE_TEST_HOST").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()
            .map_err(|error| Broken(format!("unshare (package util-linux): {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(requests), Some(answers)) => Ok(Self { child, requests, answers: BufReader::new(answers) }),
            _ => Err(Broken("no pipes to the world".to_owned())),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // unshare passes its death on to the namespace's first process.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn lay_out(scratch: &Path, shared: &Path, owner: (u32, u32)) -> Result<(), Broken> {
    if scratch.exists() {
        remove(scratch);
    }
    let bin = scratch.join("home/bin");
    for directory in ["etc", "root", "home/bin", "home/agent", "home/world"] {
        fs::create_dir_all(scratch.join(directory))?;
    }
    for (name, text) in FILES {
        fs::write(bin.join(name), text)?;
    }
    for program in ["runner", "ringfence"] {
        let from = shared.join(program);
        if from.exists() {
            fs::hard_link(&from, bin.join(program))?;
        }
    }
    for directory in ["", "etc", "root", "home", "home/bin", "home/agent", "home/world"] {
        let path = scratch.join(directory);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        if rustix::process::getuid().is_root() {
            chown(&path, Some(owner.0), Some(owner.1))?;
        }
    }
    Ok(())
}

/// The directory of one run of the table, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Broken> {
        let path = std::env::temp_dir().join(format!("ringfence-attacks.{}", std::process::id()));
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    // Some rows leave directories without any permission.
    Command::new("chmod").args(["-R", "u+rwX", "--"]).arg(path).stderr(Stdio::null()).status().ok();
    Command::new("rm").args(["-rf", "--"]).arg(path).status().ok();
}
