//! `cargo xtask bench --trees FILES`: large workspaces, where everything must cost what changed and not what exists.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::bench::{Comparison, compare};
use crate::hosted::peer;
use crate::speed::write_project;

/// Files of a directory.
const FAN: usize = 500;
/// Bytes of a file, so that 100,000 of them are 1 GB; of more files, fewer each.
const TOTAL: usize = 1 << 30;
/// What the task changes.
const CHANGE: &str = "for i in 0 1 2 3 4 5 6 7 8 9; do echo changed >> d$i/f$i; done";
/// The workspace that the large one is measured against.
const SMALL: usize = 1000;
/// How often each verb is measured, in the small workspace and in the large one in turns.
const ROUNDS: usize = 7;

/// What is done in a workspace, in this order, and the milliseconds promised for 10 changes among 1,000,000 files.
const VERBS: [(&str, &[&str], Option<f64>); 12] = [
    ("run: change 10 files", &["run", "--preset", "default", "--", "sh", "-c", CHANGE], None),
    ("diff", &["diff"], Some(50.0)),
    ("apply", &["apply"], Some(50.0)),
    ("undo", &["undo"], None),
    ("start", &["start", "box", "--preset", "default"], None),
    ("exec: change 10 files", &["exec", "box", "--", "sh", "-c", CHANGE], None),
    ("checkpoint", &["checkpoint", "box", "one"], Some(5.0)),
    ("exec: change 10 files again", &["exec", "box", "--", "sh", "-c", CHANGE], None),
    ("rollback", &["rollback", "box", "one"], None),
    ("fork", &["fork", "box", "second", "--from", "one"], None),
    ("stop", &["stop", "second"], None),
    ("stop the first", &["stop", "box"], None),
];

/// Makes the trees, and prints how long each verb takes in both and each of its peers in the large one.
pub(crate) fn trees(binary: &Path, scratch: &Path, files: usize, runs: usize) -> Result<(), String> {
    let large = scratch.join("tree");
    let small = scratch.join("small");
    fill(&large, files).and_then(|()| fill(&small, SMALL)).map_err(|error| error.to_string())?;
    // Otherwise the first command that syncs pays for the tree's making.
    time(Command::new("sync"))?;
    println!("{files} files, {} MB, against {SMALL}", files * size(files) / 1_000_000);
    let starts = compare(
        "start of review, in the large workspace against the small one",
        || ringfence(binary, &large, &["run", "--preset", "default", "--", "true"]),
        || ringfence(binary, &small, &["run", "--preset", "default", "--", "true"]),
        runs,
    )?;
    print!("{}", starts.judged(1.2));
    verbs(binary, &small, &large)?;
    print!("{}", build(binary, scratch)?.judged(1.05));
    peers(scratch, &large)
}

fn ringfence(binary: &Path, workspace: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).current_dir(workspace).env("RINGFENCE_STATE", workspace.with_extension("state"));
    command
}

/// The medians of each verb in both workspaces.
fn verbs(binary: &Path, small: &Path, large: &Path) -> Result<(), String> {
    let mut times = vec![[Vec::new(), Vec::new()]; VERBS.len()];
    for _ in 0..ROUNDS {
        for (side, workspace) in [small, large].into_iter().enumerate() {
            for (times, (_, arguments, _)) in times.iter_mut().zip(VERBS) {
                times[side].push(time(ringfence(binary, workspace, arguments))?);
            }
        }
    }
    println!("{:>10} {:>10}  medians of {ROUNDS}, ms", "small", "large");
    for (times, (name, _, most)) in times.iter_mut().zip(VERBS) {
        let [few, many] = times.each_mut().map(|list| {
            list.sort_by(f64::total_cmp);
            list[ROUNDS / 2]
        });
        let bound = most.map(|most| format!("; target: {most:.0} ms at most")).unwrap_or_default();
        let missed = if most.is_some_and(|most| many > most) { ", missed" } else { "" };
        println!("{few:>10.1} {many:>10.1}  {name}{bound}{missed}");
    }
    Ok(())
}

/// A build whose objects all go into the layer, against the same outside.
fn build(binary: &Path, scratch: &Path) -> Result<Comparison, String> {
    let [inside, outside] = ["inside", "outside"].map(|name| scratch.join(name));
    for directory in [&inside, &outside] {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        write_project(directory)?;
    }
    let line = ["sh", "-c", "make -s clean && make -s -j2"];
    let native = || {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(&outside);
        command
    };
    let review = [&["run", "--quiet", "--preset", "default", "--"], &line[..]].concat();
    compare("a build in review against native", || ringfence(binary, &inside, &review), native, ROUNDS)
}

/// What others take for the same in the large workspace, once each.
fn peers(scratch: &Path, workspace: &Path) -> Result<(), String> {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(workspace);
        command.env("GIT_AUTHOR_NAME", "x").env("GIT_AUTHOR_EMAIL", "x@example.org");
        command.env("GIT_COMMITTER_NAME", "x").env("GIT_COMMITTER_EMAIL", "x@example.org");
        command
    };
    // Its copy-on-write of the working directory: where the task's process opens files, the supervisor opens copies.
    let peer = peer()?;
    let theirs = |action: &str, script: &str| {
        let mut command = Command::new(&peer);
        command.args(["run", "-r", "/usr", "-r", "/lib", "-r", "/lib64", "-r", "/bin", "-r", "/etc"]);
        command.arg("--workdir").arg(workspace).arg("--fs-storage").arg(scratch.join("peer"));
        command.args(["--on-exit", action, "--", "sh", "-c", script]).current_dir(workspace);
        command
    };
    for (name, command) in [
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
