//! What git is told to ignore of what a task changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringfence_workspace::{Entry, escape};

use crate::failure::{Context, Failure};
use crate::git::{asked, bare, git};

/// The file with patterns in each directory.
const PATTERNS: &str = ".gitignore";

/// Those of the paths that git is told to ignore, and does not know. `prefix`: where the workspace is in the repository; `run`: the
/// run's directory.
pub(crate) fn of(
    (workspace, run): (&Path, &Path),
    prefix: &str,
    entries: &[Entry],
) -> Result<BTreeSet<Vec<u8>>, Failure> {
    // Where the host has a link and the task a directory on the way, git refuses to say anything of what is beyond. Each is asked once.
    let mut links: BTreeMap<&Path, bool> = BTreeMap::new();
    let (mut beyond, mut plain) = (Vec::new(), Vec::new());
    for entry in entries {
        let mut above = entry.path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let link =
            above.any(|above| *links.entry(above).or_insert_with(|| workspace.join(above).is_symlink()));
        if link { beyond.push(entry) } else { plain.push(entry) }
    }
    let mut found = check(git(workspace)?, &plain)?;
    if !beyond.is_empty() {
        found.extend(behind_links((workspace, run), prefix, entries, &beyond)?);
    }
    Ok(found)
}

/// Gone when dropped; what a kill left goes with the next preview.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = ringfence_workspace::remove_tree(&self.0);
    }
}

/// Asks in a working tree that has the patterns alone, and directories where the host has those links.
fn behind_links(
    (workspace, run): (&Path, &Path),
    prefix: &str,
    entries: &[Entry],
    beyond: &[&Entry],
) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let what = "a directory for git's patterns";
    let tree = Tree(run.join(format!("{}{}-patterns", crate::branch::ASIDE, std::process::id())));
    let root = workspace.ancestors().nth(Path::new(prefix).components().count()).unwrap_or(workspace);
    let inside = tree.0.join(prefix);
    let put = |below: &Path, content: &[u8]| {
        let directory = tree.0.join(below);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(PATTERNS), content)
    };
    let directories: BTreeSet<PathBuf> = beyond
        .iter()
        .flat_map(|entry| entry.path.ancestors().skip(1).map(|above| Path::new(prefix).join(above)))
        .chain(Path::new(prefix).ancestors().map(Path::to_owned))
        .collect();
    std::fs::create_dir_all(&inside).context(what)?;
    for below in &directories {
        let of_task = below.strip_prefix(prefix).ok().map(|below| below.join(PATTERNS));
        let changed = of_task.and_then(|path| entries.iter().find(|entry| entry.path == path));
        let own = root.join(below);
        let links = below.ancestors().any(|above| root.join(above).is_symlink());
        match changed.map(|entry| &entry.content) {
            Some(Some((_, content))) => put(below, content).context(what)?,
            None if !links => {
                // A file alone: nothing is followed, and nothing waits for a writer.
                let file = own.join(PATTERNS);
                if file.symlink_metadata().is_ok_and(|found| found.is_file())
                    && let Ok(content) = std::fs::read(&file)
                {
                    put(below, &content).context(what)?;
                }
            }
            _ => {}
        }
    }
    let git_directory = asked(workspace, &["rev-parse", "--absolute-git-dir"])?;
    let mut command = bare(workspace)?;
    command.arg("-C").arg(&inside);
    command.env("GIT_DIR", git_directory).env("GIT_WORK_TREE", &tree.0);
    check(command, beyond)
}

fn check(mut command: Command, entries: &[&Entry]) -> Result<BTreeSet<Vec<u8>>, Failure> {
    command.args(["check-ignore", "-z", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().context("starting git")?;
    let mut input = child.stdin.take();
    let text: Vec<u8> =
        entries.iter().flat_map(|entry| [entry.path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    let writer = std::thread::spawn(move || input.as_mut().map(|input| input.write_all(&text)));
    let done = child.wait_with_output().context("git check-ignore")?;
    let _ = writer.join();
    // 1: none of them.
    if !matches!(done.status.code(), Some(0 | 1)) {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(Failure::new(format!("git check-ignore: {}", escape(said.trim()))));
    }
    Ok(done.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
}
