//! `cargo xtask bench --trees FILES`: large workspaces, where everything must cost what changed and not what exists.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::hosted::peer;

/// Files of a directory.
const FAN: usize = 500;
/// Bytes of a file, so that 100,000 of them are 1 GB; of more files, fewer each.
const TOTAL: usize = 1 << 30;
/// What the task changes.
const CHANGE: &str = "for i in 0 1 2 3 4 5 6 7 8 9; do echo changed >> d$i/f$i; done";

/// Makes the tree, and prints how long each verb and each of its peers takes.
pub(crate) fn trees(binary: &Path, scratch: &Path, files: usize) -> Result<(), String> {
    let workspace = scratch.join("tree");
    let state = scratch.join("state");
    fill(&workspace, files).map_err(|error| error.to_string())?;
    // Otherwise the first command that syncs pays for the tree's making.
    time(Command::new("sync"))?;
    println!("{files} files, {} MB", files * size(files) / 1_000_000);
    let ringfence = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(&workspace).env("RINGFENCE_STATE", &state);
        command
    };
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(&workspace);
        command.env("GIT_AUTHOR_NAME", "x").env("GIT_AUTHOR_EMAIL", "x@example.org");
        command.env("GIT_COMMITTER_NAME", "x").env("GIT_COMMITTER_EMAIL", "x@example.org");
        command
    };
    // Its copy-on-write of the working directory: where the task's process opens files, the supervisor opens copies.
    let peer = peer()?;
    let theirs = |action: &str, script: &str| {
        let mut command = Command::new(&peer);
        command.args(["run", "-r", "/usr", "-r", "/lib", "-r", "/lib64", "-r", "/bin", "-r", "/etc"]);
        command.arg("--workdir").arg(&workspace).arg("--fs-storage").arg(scratch.join("peer"));
        command.args(["--on-exit", action, "--", "sh", "-c", script]).current_dir(&workspace);
        command
    };
    let preset = ["--preset", "default"];
    let run =
        |script: &'static str| ringfence(&[&["run"], &preset[..], &["--", "sh", "-c", script]].concat());
    for (name, command) in [
        ("run: nothing", run("true")),
        ("run: change 10 files", run(CHANGE)),
        ("diff", ringfence(&["diff"])),
        ("apply", ringfence(&["apply"])),
        ("undo", ringfence(&["undo"])),
        ("start", ringfence(&[&["start", "big"], &preset[..]].concat())),
        ("exec: change 10 files", ringfence(&["exec", "big", "--", "sh", "-c", CHANGE])),
        ("checkpoint", ringfence(&["checkpoint", "big", "one"])),
        ("exec: change 10 files", ringfence(&["exec", "big", "--", "sh", "-c", CHANGE])),
        ("rollback", ringfence(&["rollback", "big", "one"])),
        ("fork", ringfence(&["fork", "big", "second", "--from", "one"])),
        ("stop", ringfence(&["stop", "second"])),
        ("stop", ringfence(&["stop", "big"])),
        ("sandlock, thrown away: nothing", theirs("abort", "true")),
        ("sandlock, thrown away: change 10 files", theirs("abort", CHANGE)),
        ("sandlock, committed: change 10 files", theirs("commit", CHANGE)),
        ("cp -a --reflink=auto", shell("cp -a --reflink=auto . ../copy")),
        ("git init, add, commit", shell("git init -q . && git add -A && git commit -qm all")),
        ("git worktree add", shell("git worktree add -q ../worktree")),
        ("change 10 files, git stash", shell(&format!("{CHANGE}; git stash -q"))),
        ("git stash pop", shell("git stash pop -q")),
    ] {
        println!("  {:>10.1} ms  {name}", time(command)?);
    }
    Ok(())
}

fn size(files: usize) -> usize {
    (TOTAL / files.max(1)).min(10_737)
}

fn fill(workspace: &Path, files: usize) -> std::io::Result<()> {
    let text = vec![b'x'; size(files)];
    let directories = files.div_ceil(FAN).max(10);
    for directory in 0..directories {
        let path = workspace.join(format!("d{directory}"));
        fs::create_dir_all(&path)?;
        for file in 0..files.div_ceil(directories) {
            fs::write(path.join(format!("f{file}")), &text)?;
        }
    }
    Ok(())
}

fn time(mut command: Command) -> Result<f64, String> {
    let shown = format!("{command:?}");
    let begun = Instant::now();
    let done = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    match done.status.success() {
        true => Ok(took),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&done.stderr))),
    }
}
