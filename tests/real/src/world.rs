//! A fresh home with a workspace in it, and the same script run there inside and outside.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::inputs::copy;

const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Gone when dropped.
#[derive(Debug)]
pub struct World {
    /// Holds everything.
    pub base: PathBuf,
    /// $HOME.
    pub home: PathBuf,
    /// Current directory of what is run.
    pub workspace: PathBuf,
    /// $RINGFENCE_STATE.
    pub state: PathBuf,
    path: OsString,
    _kept: tempfile::TempDir,
}

/// What was printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status, or 128 and the signal's number.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// The lines of the standard output that satisfy `wanted`, sorted.
    #[must_use]
    pub fn lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
        let mut lines: Vec<&str> = self.out.lines().filter(|line| wanted(line)).collect();
        lines.sort_unstable();
        lines
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// An overlay leaves a directory without any permission in the run's state, which an ordinary user cannot look into.
impl Drop for World {
    fn drop(&mut self) {
        let open = ["-R", "-f", "u+rwX", "--"];
        let _ = Command::new("chmod").args(open).arg(&self.base).stderr(Stdio::null()).status();
    }
}

#[expect(clippy::expect_used, reason = "a test that cannot make its place has failed")]
impl World {
    /// Makes it.
    #[must_use]
    pub fn new() -> Self {
        let kept = tempfile::Builder::new().prefix("rf-real-").tempdir().expect("a temporary directory");
        let base = kept.path().canonicalize().expect("its path");
        let (home, workspace, state) = (base.join("home"), base.join("home/work"), base.join("state"));
        fs::create_dir_all(&workspace).expect("a workspace");
        Self { base, home, workspace, state, path: USUAL_PATH.into(), _kept: kept }
    }

    /// The same, with a copy of `input` as the workspace.
    #[must_use]
    pub fn with(input: &Path) -> Self {
        let world = Self::new();
        world.reset(input);
        world
    }

    /// Makes the workspace a copy of `input` again.
    pub fn reset(&self, input: &Path) {
        fs::remove_dir_all(&self.workspace).expect("the workspace is removed");
        copy(input, &self.workspace);
    }

    /// Puts a directory of programs first in $PATH.
    #[must_use]
    pub fn programs(mut self, directory: &Path) -> Self {
        let mut path = directory.as_os_str().to_owned();
        path.push(":");
        path.push(&self.path);
        self.path = path;
        self
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

    /// Writes a policy outside the workspace that extends `preset` by these lines, and names it.
    #[must_use]
    pub fn policy(&self, preset: &str, lines: &str) -> String {
        let path = self.base.join(format!("{preset}.toml"));
        fs::write(&path, format!("version = 1\nextends = [\"{preset}\"]\n{lines}\n")).expect("a policy");
        path.display().to_string()
    }

    /// A program in the workspace with an environment made from nothing, the same for inside and outside.
    #[must_use]
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env_clear().current_dir(&self.workspace).stdin(Stdio::null());
        command.env("HOME", &self.home).env("PATH", &self.path).env("LANG", "C.UTF-8");
        command.env("RINGFENCE_STATE", &self.state).env("TERM", "dumb");
        if hosted() {
            command.env("RINGFENCE_TEST_HOST", "no-userns");
        }
        command
    }

    /// `ringfence` with these arguments.
    #[must_use]
    pub fn ringfence(&self, arguments: &[&str]) -> Outcome {
        let (verb, rest) = arguments.split_at(arguments.len().min(1));
        let leave = if matches!(verb, ["run" | "start"]) { leave() } else { &[] };
        outcome(self.command(crate::binary()).args(verb).args(leave).args(rest))
    }

    /// A script outside.
    #[must_use]
    pub fn outside(&self, script: &str) -> Outcome {
        outcome(self.command("bash").args(["-c", script]).env_remove("RINGFENCE_STATE"))
    }

    /// A script inside, under a shipped policy.
    #[must_use]
    pub fn preset(&self, preset: &str, script: &str) -> Outcome {
        self.ringfence(&["run", "--quiet", "--preset", preset, "--", "bash", "-c", script])
    }

    /// A script inside, under a policy that extends a shipped one by these lines.
    #[must_use]
    pub fn inside(&self, preset: &str, lines: &str, script: &str) -> Outcome {
        let policy = self.policy(preset, lines);
        let run = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--"];
        self.ringfence(&[&run[..], &["bash", "-c", script]].concat())
    }
}

/// Tells how much longer something took inside than outside.
pub fn slower(name: &str, inside: Duration, outside: Duration) {
    let tier = if hosted() { "landlock" } else { "namespace" };
    let (inside, outside) = (inside.as_secs_f64(), outside.as_secs_f64());
    println!("{name} in tier `{tier}`: {inside:.2} s, outside {outside:.2} s, ratio {:.3}", inside / outside);
}

/// Whether the tests are of tier `landlock`: $RINGFENCE_REAL_TIER says so.
fn hosted() -> bool {
    std::env::var_os("RINGFENCE_REAL_TIER").is_some_and(|tier| tier == "landlock")
}

/// Root's files are root's: nothing less than root could work on them there.
fn leave() -> &'static [&'static str] {
    if hosted() && rustix::process::geteuid().is_root() { &["--allow-degraded", "root-uid"] } else { &[] }
}

/// Runs it to its end.
///
/// # Panics
/// If it cannot be started.
#[must_use]
#[expect(clippy::panic, reason = "a test that cannot start its program has failed")]
pub fn outcome(command: &mut Command) -> Outcome {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Outcome {
        status: status.unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// The processes of this machine whose command line has these words in it; words end with NUL.
#[must_use]
pub fn processes(words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if name.bytes().all(|byte| byte.is_ascii_digit()) && String::from_utf8_lossy(&line).contains(words) {
            found.push(name);
        }
    }
    found
}
