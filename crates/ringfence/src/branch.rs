//! The changes of a run as one commit on top of what is checked out: put on a branch of the repository (`apply --branch`), or made in a
//! repository of its own to be looked at (`diff --git`).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ringfence_workspace::{Entry, Missing, escape, git_path};

use crate::failure::{Context, Failure};
use crate::git::{asked, bare, git};
use crate::{ignored, terminal};

const IGNORED: &str = "git ignores it";
/// So many paths that are not in it for the same reason are named.
const FEW: usize = 3;
/// Where the commit is in a repository of its own.
const DRAFT: &str = "refs/heads/draft";

/// And where that is, in the run's directory: this and the number of the process.
pub(crate) const ASIDE: &str = "preview-";

/// What the commit has, and what it has not.
pub(crate) struct Draft<'a> {
    workspace: &'a Path,
    /// What is checked out; `None`: nothing was committed yet.
    pub(crate) head: Option<String>,
    /// Where the workspace is in the repository.
    prefix: String,
    pub(crate) entries: Vec<Entry>,
    /// Held back, refused, ignored, or of another repository.
    pub(crate) missing: Vec<Missing>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        (workspace, run): (&'a Path, &Path),
        entries: Vec<Entry>,
        mut missing: Vec<Missing>,
    ) -> Result<Self, Failure> {
        let prefix = prefix(workspace)?;
        let head = asked(workspace, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).ok();
        let submodules = submodules(workspace, head.is_some())?;
        let inside =
            |path: &Path| path.ancestors().find(|path| submodules.contains(*path)).map(Path::to_owned);
        let (theirs, ours): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| inside(&entry.path).is_some());
        missing.extend(theirs.into_iter().map(|entry| {
            let submodule = inside(&entry.path).unwrap_or_default();
            let why = format!("of the submodule {}, which has commits of its own", escape(&submodule));
            Missing { path: entry.path, why }
        }));
        let ignored = ignored::of((workspace, run), &prefix, &ours)?;
        let (ignored, entries): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|entry| ignored.contains(entry.path.as_os_str().as_bytes()));
        missing.extend(ignored.into_iter().map(|entry| Missing { path: entry.path, why: IGNORED.into() }));
        Ok(Self { workspace, head, prefix, entries, missing })
    }

    /// What `git fast-import` reads.
    fn stream(&self, name: &str, author: &str, message: &str) -> Vec<u8> {
        let plain: String =
            author.chars().map(|c| if c.is_control() || "<>\n".contains(c) { '-' } else { c }).collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |time| time.as_secs());
        let mut stream = Vec::new();
        stream.extend(
            format!("commit {name}\ncommitter {plain} <{plain}@ringfence.invalid> {now} +0000\n").bytes(),
        );
        stream.extend(format!("data {}\n{message}\n", message.len()).bytes());
        if let Some(head) = &self.head {
            stream.extend(format!("from {head}\n").bytes());
        }
        for entry in &self.entries {
            let path = git_path(&self.prefix, &entry.path);
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
        stream
    }

    /// Whether a branch of this name can be made, and there is something to put on it.
    pub(crate) fn fits(&self, branch: &str) -> Result<(), Failure> {
        let (name, shown) = (format!("refs/heads/{branch}"), escape(branch));
        // By the first alone, `@{-1}` would be the branch before this one; by the second, `-x` and `HEAD` would be names.
        let forms: [&[&str]; 2] = [&["check-ref-format", "--branch", branch], &["check-ref-format", &name]];
        for form in forms {
            let done = git(self.workspace)?.args(form).output().context("starting git")?;
            if !done.status.success() {
                return Err(Failure::new(format!("git allows no branch to be called `{shown}`")).hint(
                    "letters, digits, `-`, `_` and `/` are fine: `ringfence apply --branch agent/work`",
                ));
            }
        }
        let there = |name: &str| {
            asked(self.workspace, &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{name}")])
                .is_ok()
        };
        if there(branch) {
            return Err(Failure::new(format!("there is a branch {shown} already"))
                .hint("choose another name, or remove it with `git branch -D`"));
        }
        let above = branch.match_indices('/').filter_map(|(at, _)| branch.get(..at)).find(|name| there(name));
        let below = asked(
            self.workspace,
            &["for-each-ref", "--count=1", "--format=%(refname:lstrip=2)", &format!("{name}/")],
        )?;
        let below = Some(below.as_str()).filter(|below| !below.is_empty());
        if let Some(other) = above.or(below) {
            let other = escape(other);
            return Err(Failure::new(format!(
                "there is a branch {other}, and git keeps none called {shown} beside it"
            ))
            .hint(format!("choose another name, or rename that one with `git branch -m {other} NAME`")));
        }
        if self.entries.is_empty() {
            self.say_missing();
            return Err(Failure::new(
                "nothing would be in the commit: what changed is ignored, held back or refused",
            )
            .hint("`ringfence diff --git` shows the same"));
        }
        Ok(())
    }

    /// Puts it on a new branch, by this author. The working tree, the index and `HEAD` stay as they are. The commit's name.
    pub(crate) fn commit(&self, branch: &str, author: &str, message: &str) -> Result<String, Failure> {
        let name = format!("refs/heads/{branch}");
        import(git(self.workspace)?, self.stream(&name, author, message))?;
        asked(self.workspace, &["rev-parse", &name])
    }

    /// Makes the same commit in a repository of its own in the run's directory, which only borrows the objects of this one, and hands over what
    /// `git diff` says of it. No configuration counts there, neither the repository's nor the user's.
    pub(crate) fn diff(
        &self,
        run: &Path,
        binary: bool,
        with: impl FnOnce(&mut dyn BufRead) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.entries.is_empty() {
            return with(&mut std::io::empty());
        }
        let aside = Aside::make(self.workspace, run)?;
        import(aside.git()?, self.stream(DRAFT, "draft", "draft"))?;
        let mut command = aside.git()?;
        command.args(["diff-tree", "-p", "-M", "--no-commit-id", "--no-ext-diff", "--no-textconv"]);
        command.args(["--no-color", "--root"]).args(binary.then_some("--binary"));
        command.args(&self.head).arg(DRAFT).arg("--");
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting git")?;
        let outcome = match child.stdout.take() {
            Some(out) => with(&mut BufReader::new(out)),
            None => Ok(()),
        };
        // Whoever reads no more has its pipe closed by now.
        let (ended, said) = end(child)?;
        outcome?;
        match ended {
            true => Ok(()),
            false => Err(Failure::new(format!("git diff-tree: {}", escape(said)))),
        }
    }

    /// Says what is not in it.
    pub(crate) fn say_missing(&self) {
        say_missing("not on the branch:", &self.missing);
    }
}

/// Says what is left out, one line a reason.
pub(crate) fn say_missing(label: &str, missing: &[Missing]) {
    let label = terminal::label(label);
    let mut reasons: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for one in missing {
        reasons.entry(&one.why).or_default().push(&one.path);
    }
    for (why, paths) in reasons {
        let shown: Vec<_> = paths.iter().take(FEW).map(escape).collect();
        let more = match paths.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        terminal::error(&format!("{label} {}{more}: {why}", shown.join(", ")));
    }
}

/// A repository of its own, gone when dropped.
struct Aside<'a> {
    workspace: &'a Path,
    path: PathBuf,
}

impl<'a> Aside<'a> {
    fn make(workspace: &'a Path, run: &Path) -> Result<Self, Failure> {
        // What kills left.
        for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let maker = name.to_str().and_then(|name| name.strip_prefix(ASIDE));
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = ringfence_workspace::remove_tree(&entry.path());
            }
        }
        let path = run.join(format!("{ASIDE}{}", std::process::id()));
        let aside = Self { workspace, path };
        let format = asked(workspace, &["rev-parse", "--show-object-format"])?;
        let mut objects = git(workspace)?;
        objects.args(["rev-parse", "--path-format=absolute", "--git-path", "objects"]);
        let objects = objects.output().context("starting git")?.stdout;
        let objects = objects.strip_suffix(b"\n").unwrap_or(&objects);
        let mut command = aside.plain()?;
        command
            .args(["init", "--quiet", "--bare", "--template=", "--object-format"])
            .arg(format)
            .arg(&aside.path);
        let done = command.output().context("starting git")?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(Failure::new(format!("git init: {}", escape(said.trim()))));
        }
        let line = [&git_path("", Path::new(OsStr::from_bytes(objects)))[..], b"\n"].concat();
        let info = aside.path.join("objects/info");
        let written =
            std::fs::create_dir_all(&info).and_then(|()| std::fs::write(info.join("alternates"), line));
        written.context("the objects of the repository")?;
        Ok(aside)
    }

    fn plain(&self) -> Result<Command, Failure> {
        let mut command = bare(self.workspace)?;
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        Ok(command)
    }

    fn git(&self) -> Result<Command, Failure> {
        let mut command = self.plain()?;
        command.arg("--git-dir").arg(&self.path);
        Ok(command)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let _ = ringfence_workspace::remove_tree(&self.path);
    }
}

/// Where the workspace is in the repository.
fn prefix(workspace: &Path) -> Result<String, Failure> {
    const HINT: &str = "`ringfence diff` and `ringfence apply` need none; `git init` makes one";
    asked(workspace, &["rev-parse", "--show-prefix"]).map_err(|failure| {
        let shown = escape(workspace);
        match workspace.ancestors().any(|above| above.join(".git").symlink_metadata().is_ok()) {
            false => Failure::new(format!("{shown} is in no git repository")).hint(HINT),
            true => {
                Failure::new(format!("git does not work with the repository of {shown}: {}", failure.text()))
                    .hint(format!("`git -C {} status` must work first; {HINT}", terminal::word(&shown)))
            }
        }
    })
}

/// Where other repositories are checked out, as the index or the last commit has them.
fn submodules(workspace: &Path, head: bool) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut found = BTreeSet::new();
    let listed: [&[&str]; 2] = [&["ls-files", "--stage", "-z"], &["ls-tree", "-r", "-z", "HEAD"]];
    for arguments in listed.iter().take(if head { 2 } else { 1 }) {
        let mut child = git(workspace)?
            .args(*arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting git")?;
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|out| out.split(0)) {
            let line = line.context("git's list of files")?;
            let path = line.iter().position(|byte| *byte == b'\t').and_then(|tab| line.get(tab + 1..));
            if let Some(path) = path.filter(|_| line.starts_with(b"160000 ")) {
                found.insert(OsString::from_vec(path.to_vec()).into());
            }
        }
        if let (false, said) = end(child)? {
            return Err(Failure::new(format!("git {}: {}", arguments.join(" "), escape(said))));
        }
    }
    Ok(found)
}

fn import(mut command: Command, stream: Vec<u8>) -> Result<(), Failure> {
    command.args(["fast-import", "--quiet", "--done"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting git")?;
    let mut input = child.stdin.take();
    let writer = std::thread::spawn(move || input.as_mut().map(|input| input.write_all(&stream)));
    let (ended, said) = end(child)?;
    let _ = writer.join();
    match ended {
        true => Ok(()),
        false => Err(Failure::new(format!("git fast-import: {}", escape(said)))),
    }
}

/// Waits for it; the first line of what it had to say.
fn end(mut child: Child) -> Result<(bool, String), Failure> {
    let mut said = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        errors.read_to_end(&mut said).context("what git says")?;
    }
    let ended = child.wait().context("waiting for git")?;
    let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
    Ok((ended.success(), said))
}
