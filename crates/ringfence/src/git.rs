//! The user's own git, asked for what only it knows. It runs on the host for `apply --branch`, `apply --merge` and `diff --git` alone,
//! without hooks, and never for a sandbox.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Context, Failure};

/// What git would execute of the repository's or the user's configuration in what is asked of it here: nothing of that.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=false",
    "core.pager=cat",
    "gc.auto=0",
    "maintenance.auto=false",
    // What is imported stays a pack: to unpack it gives loose objects that are there already, also borrowed ones, a new time.
    "fastimport.unpackLimit=0",
    // Files of a tree that look like a repository are none.
    "safe.bareRepository=explicit",
];

/// The program itself comes from no directory that a task may have written to: what is in the workspace, or depends on where one
/// stands, is passed over.
fn program(workspace: &Path) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).filter(|directory| directory.is_absolute()).find_map(|directory| {
            let file = directory.join("git").canonicalize().ok()?;
            let foreign =
                !file.starts_with(workspace) && !directory.canonicalize().ok()?.starts_with(workspace);
            (foreign && file.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0))
                .then(|| directory.join("git"))
        });
    found.ok_or_else(|| {
        Failure::new("no `git` in PATH outside of the workspace")
            .hint("`apply --branch`, `apply --merge` and `diff --git` need it")
    })
}

pub(crate) fn bare(workspace: &Path) -> Result<Command, Failure> {
    let workspace_real = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
    let mut command = Command::new(program(&workspace_real)?);
    command.arg("-C").arg(workspace);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    // No protocol at all: objects that are missing are fetched by nobody (git(1), GIT_ALLOW_PROTOCOL).
    command.env("GIT_ALLOW_PROTOCOL", "");
    for variable in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_COMMON_DIR",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_EXTERNAL_DIFF",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// Git in a directory: no hooks, no watcher, nothing fetched, nobody asked.
pub(crate) fn git(workspace: &Path) -> Result<Command, Failure> {
    let mut command = bare(workspace)?;
    for name in configured_hooks(workspace)? {
        command.args(["-c", &format!("hook.{name}.enabled=false"), "-c", &format!("hook.{name}.event=")]);
    }
    Ok(command)
}

/// Hooks that newer versions take from any configuration (git-config(1), `hook.<name>.command`). Reading it executes nothing.
fn configured_hooks(workspace: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut command = bare(workspace)?;
    command.args(["config", "--includes", "-z", "--name-only", "--get-regexp", r"^hook\."]);
    let done = command.stderr(Stdio::null()).output().context("starting git")?;
    let text = String::from_utf8(done.stdout).context("the names of configured hooks")?;
    let names =
        text.split('\0').filter_map(|key| Some(key.strip_prefix("hook.")?.rsplit_once('.')?.0.to_owned()));
    Ok(names.collect())
}

/// What an object holds; `None`: there is none, or no git.
pub(crate) fn object(workspace: &Path, name: &str) -> Option<Vec<u8>> {
    let mut command = git(workspace).ok()?;
    command.args(["cat-file", "blob", name]).env("GIT_NO_REPLACE_OBJECTS", "1").stderr(Stdio::null());
    let done = command.output().ok()?;
    done.status.success().then_some(done.stdout)
}

pub(crate) fn asked(workspace: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let done = git(workspace)?.args(arguments).output().context("starting git")?;
    if !done.status.success() {
        return Err(Failure::new(format!(
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
