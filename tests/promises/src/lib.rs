//! A place of its own for each test: a home, a workspace and a state directory, and the real binary to run there.

#![forbid(unsafe_code)]

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use world::World;

/// A fresh home with a workspace in it; gone when dropped.
#[derive(Debug)]
pub struct Place {
    /// Holds everything.
    pub base: tempfile::TempDir,
    /// $HOME.
    pub home: PathBuf,
    /// Current directory of what is run.
    pub workspace: PathBuf,
    /// $RINGFENCE_STATE.
    pub state: PathBuf,
    /// The host seems to allow no namespaces, so that tier `landlock` is what holds.
    pub hosted: bool,
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot make its place has failed")]
impl Place {
    /// Makes it.
    #[must_use]
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// One that is not in /tmp, of which each sandbox has its own: below the home of whoever tests.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn in_home() -> Self {
        Self::below(Path::new(&std::env::var_os("HOME").expect("a home")))
    }

    /// One in /var/tmp, which sandboxes have of their own too.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn in_var_tmp() -> Self {
        Self::below(Path::new("/var/tmp"))
    }

    fn below(directory: &Path) -> Self {
        let base =
            tempfile::Builder::new().prefix("rf-").tempdir_in(directory).expect("a temporary directory");
        let root = base.path().canonicalize().expect("its path");
        let (home, workspace, state) = (root.join("home"), root.join("home/w"), root.join("state"));
        fs::create_dir_all(&workspace).expect("a workspace");
        Self { base, home, workspace, state, hosted: false }
    }

    /// In tier `landlock` if a test's module is of it: one file of tests may be two modules.
    #[must_use]
    pub fn in_tier(self, module: &str) -> Self {
        Self { hosted: module.contains("landlock"), ..self }
    }

    /// Writes a file below the workspace, or anywhere if absolute.
    pub fn write(&self, path: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.workspace.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, text).expect("a file");
        path
    }

    /// A file of the workspace, or anywhere if absolute.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.workspace.join(path)).ok()
    }

    /// The binary with these arguments, in the workspace.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        let (verb, rest) = arguments.split_at(arguments.len().min(1));
        command.args(verb);
        if self.hosted {
            command.env("RINGFENCE_TEST_HOST", "no-userns");
        }
        // Root's files are root's: nothing less than root could work on them.
        if self.hosted && root() && matches!(verb, ["run" | "start" | "plan"]) {
            command.args(["--allow-degraded", "root-uid"]);
        }
        command.args(rest).current_dir(&self.workspace).stdin(Stdio::null());
        command.env("HOME", &self.home).env("RINGFENCE_STATE", &self.state);
        command.env_remove("RINGFENCE_POLICY").env_remove("XDG_STATE_HOME");
        command
    }

    /// Runs it.
    #[must_use]
    pub fn ringfence(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).output().expect("the binary starts"))
    }

    /// Runs a shell script inside, under the preset `default` and these lines of policy.
    #[must_use]
    pub fn run(&self, policy: &str, script: &str) -> Outcome {
        outcome(self.to_run(policy, script).output().expect("the binary starts"))
    }

    /// The same, to be started.
    #[must_use]
    pub fn to_run(&self, policy: &str, script: &str) -> Command {
        let path = self.policy(policy);
        self.command(&["run", "--quiet", "--policy", &path, "--workspace", ".", "--", "sh", "-c", script])
    }

    /// Has a script of the host's work in the workspace; what it printed.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn host(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-ec", script]).current_dir(&self.workspace).env("HOME", &self.home);
        let done = command.env("GIT_CONFIG_NOSYSTEM", "1").output().expect("bash");
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A verb that is started by another program, whose last arguments it is.
    #[must_use]
    pub fn under(&self, program: &str, arguments: &[&str], verb: &Command) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg(verb.get_program()).args(verb.get_args());
        command.current_dir(&self.workspace).stdin(Stdio::null());
        command.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Writes a policy file outside the workspace.
    #[must_use]
    pub fn policy(&self, lines: &str) -> String {
        let path = self.base.path().join("policy.toml");
        fs::write(&path, format!("version = 1\nextends = [\"default\"]\n{lines}\n")).expect("a policy");
        path.display().to_string()
    }

    /// The events of all runs so far; the last line of a log may be only half there.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let runs = fs::read_dir(self.state.join("runs")).into_iter().flatten().flatten();
        let logs = runs.filter_map(|run| fs::read_to_string(run.path().join("events.jsonl")).ok());
        let events =
            |log: String| log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>();
        logs.flat_map(events).collect()
    }

    /// The run that began last.
    #[must_use]
    pub fn last_run(&self) -> String {
        let runs = fs::read_dir(self.state.join("runs")).into_iter().flatten().flatten();
        let names = runs.map(|run| run.file_name().to_string_lossy().into_owned());
        names.max().unwrap_or_default()
    }

    /// What the events of this kind say.
    #[must_use]
    pub fn told(&self, kind: &str) -> Vec<Value> {
        let events = self.events().into_iter().filter(|event| event["kind"] == kind);
        events.map(|event| event["detail"].clone()).collect()
    }

    /// Waits until the owner is asked about this path or command.
    ///
    /// # Panics
    /// Nobody asks within 20 seconds.
    #[track_caller]
    pub fn wait_for(&self, path: &str) {
        let since = Instant::now();
        while !self.told("ask").iter().any(|event| event["path"] == path) {
            assert!(since.elapsed() < Duration::from_secs(20), "nobody asks for {path}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every path below the home, and below the state directory, with sizes: what must be as before.
    #[must_use]
    pub fn listing(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut pending = vec![self.home.clone(), self.state.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.path().symlink_metadata() else { continue };
                if metadata.is_dir() {
                    pending.push(entry.path());
                }
                found.push((entry.path(), if metadata.is_dir() { 0 } else { metadata.len() }));
            }
        }
        found.sort();
        found
    }
}

/// Both streams of a child, at its end.
///
/// # Panics
/// It cannot be waited for.
#[must_use]
#[expect(clippy::expect_used, reason = "a test that cannot wait has failed")]
pub fn text(child: Child) -> (String, String) {
    let done = outcome(child.wait_with_output().expect("its end"));
    (done.out, done.err)
}

fn outcome(output: Output) -> Outcome {
    Outcome {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The binary under test: $RINGFENCE_BINARY, else the debug build, made by the test runner before.
#[must_use]
#[expect(clippy::panic, reason = "a test without the binary has failed")]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("RINGFENCE_BINARY") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let found = own.ancestors().map(|directory| directory.join("ringfence")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no `ringfence` beside {}: cargo build -p ringfence", own.display()))
}

/// Whether this is root of the initial user namespace.
#[must_use]
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Packages of Python in a directory beside what was built, installed if `known` is not there yet; its path.
///
/// # Panics
/// They cannot be installed.
#[must_use]
#[expect(clippy::expect_used, reason = "a test that lacks its clients has failed")]
pub fn python(directory: &str, known: &str, packages: &[&str]) -> String {
    let clients = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/clients"));
    fs::create_dir_all(clients).expect("a directory beside what was built");
    let place = clients.join(directory);
    // One installs, the others wait; who may not write here finds them installed.
    let lock = fs::File::create(clients.join(format!("{directory}.lock"))).ok();
    if let Some(lock) = &lock {
        rustix::fs::flock(lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    }
    if !place.join(known).is_dir() {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-m", "pip", "install", "-q", "--target"]).arg(&place).args(packages);
        let done = command.status().expect("pip");
        assert!(done.success(), "{packages:?} cannot be installed");
    }
    fs::canonicalize(place).expect("a directory").display().to_string()
}
