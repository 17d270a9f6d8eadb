//! The user's own git, asked for what only it knows and told what only it writes: versions of files, and commits. It runs
//! on the host for `apply --branch` and `apply --merge` alone, without hooks, and never for a sandbox.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringfence_workspace::{Entry, escape};

use crate::failure::{Context, Failure};

/// What git would execute of the repository's or the user's configuration in what is asked of it here: nothing of that.
const SETTINGS: [&str; 7] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=false",
    "core.pager=cat",
    "gc.auto=0",
    "maintenance.auto=false",
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
            .hint("`apply --branch` and `--merge` need it")
    })
}

fn bare(workspace: &Path) -> Result<Command, Failure> {
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
fn git(workspace: &Path) -> Result<Command, Failure> {
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

/// What the index has of a file; `None`: nothing, or there is no git.
pub(crate) fn known(workspace: &Path, path: &Path) -> Option<Vec<u8>> {
    let mut name = OsString::from(":./");
    name.push(path);
    let done =
        git(workspace).ok()?.args(["cat-file", "blob"]).arg(name).stderr(Stdio::null()).output().ok()?;
    done.status.success().then_some(done.stdout)
}

fn asked(workspace: &Path, arguments: &[&str]) -> Result<String, Failure> {
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

/// Those of the paths that git is told to ignore, and does not know.
fn ignored(workspace: &Path, entries: &[Entry]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut command = git(workspace)?;
    command.args(["check-ignore", "-z", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting git")?;
    let mut input = child.stdin.take();
    let text: Vec<u8> =
        entries.iter().flat_map(|entry| [entry.path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    let writer = std::thread::spawn(move || input.as_mut().map(|input| input.write_all(&text)));
    let done = child.wait_with_output().context("git check-ignore")?;
    let _ = writer.join();
    // 1: none of them.
    if !matches!(done.status.code(), Some(0 | 1)) {
        return Err(Failure::new("git check-ignore failed"));
    }
    Ok(done.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Puts the entries on a new branch, as one commit on top of what is checked out, by this author. The working tree, the
/// index and `HEAD` stay as they are. The commit's name and how many entries it has.
pub(crate) fn commit(
    workspace: &Path,
    branch: &str,
    author: &str,
    message: &str,
    entries: &[Entry],
) -> Result<(String, usize), Failure> {
    asked(workspace, &["check-ref-format", "--branch", branch])?;
    let name = format!("refs/heads/{branch}");
    if asked(workspace, &["rev-parse", "--verify", "--quiet", &name]).is_ok() {
        return Err(Failure::new(format!("there is a branch {} already", escape(branch)))
            .hint("choose another name, or remove it with `git branch -D`"));
    }
    let prefix = asked(workspace, &["rev-parse", "--show-prefix"])?;
    let head = asked(workspace, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).ok();
    let ignored = ignored(workspace, entries)?;
    let entries: Vec<_> = entries
        .iter()
        .filter(|entry| !ignored.iter().any(|path| path == entry.path.as_os_str().as_bytes()))
        .collect();
    if entries.is_empty() {
        return Err(Failure::new(
            "nothing would be in the commit: what changed is ignored, held back or refused",
        ));
    }
    let plain: String =
        author.chars().map(|c| if c.is_control() || "<>\n".contains(c) { '-' } else { c }).collect();
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut stream = Vec::new();
    stream.extend(
        format!("commit {name}\ncommitter {plain} <{plain}@ringfence.invalid> {now} +0000\n").bytes(),
    );
    stream.extend(format!("data {}\n{message}\n", message.len()).bytes());
    if let Some(head) = &head {
        stream.extend(format!("from {head}\n").bytes());
    }
    for entry in &entries {
        let path = ringfence_workspace::git_path(&prefix, &entry.path);
        match &entry.content {
            Some((mode, content)) => {
                stream.extend([b"M ", mode.as_bytes(), b" inline ", &path[..], b"\n"].concat());
                stream.extend(format!("data {}\n", content.len()).bytes());
                stream.extend(content);
                stream.push(b'\n');
            }
            None => stream.extend([b"D ", &path[..], b"\n"].concat()),
        }
    }
    stream.extend(b"done\n");
    let mut command = git(workspace)?;
    command.args(["fast-import", "--quiet", "--done"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting git")?;
    let mut input = child.stdin.take();
    let writer = std::thread::spawn(move || input.as_mut().map(|input| input.write_all(&stream)));
    let done = child.wait_with_output().context("git fast-import")?;
    let _ = writer.join();
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        let first = text.lines().next().unwrap_or_default();
        return Err(Failure::new(format!("git fast-import: {}", escape(first))));
    }
    Ok((asked(workspace, &["rev-parse", &name])?, entries.len()))
}
