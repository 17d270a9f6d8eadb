//! `ringfence diff`: what a run changed in its workspace.

use std::ffi::OsStr;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_record::{RunDir, RunRecord, Status};
use ringfence_workspace::{Look, Missing, Review, escape};

use crate::branch::{Draft, say_missing};
use crate::commands::waiting;
use crate::failure::{Context, Failure};
use crate::points::Points;
use crate::{environment, terminal};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence diff                        the last run here, the dangerous first
  ringfence diff --stat
  ringfence diff last -- src/main.rs    one path, all of its lines
  ringfence diff --patch | git apply --index
  ringfence diff --git                  what `ringfence apply --branch NAME` would commit

Whatever a task wrote into names or contents acts on no terminal: it is shown as `\\u{1b}`. Without a terminal the text
is the same without colours; `--patch` is raw, and so is `--git` without a terminal.")]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here
    run: Option<String>,
    /// What had changed at this checkpoint, by its name or number; the sandbox may live
    #[arg(long, value_name = "POINT", requires = "run")]
    at: Option<String>,
    /// Only these paths, and what is below them
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One line a change, with the lines added and removed
    #[arg(long, conflicts_with_all = ["name_only", "patch", "json"])]
    stat: bool,
    /// The paths alone
    #[arg(long, conflicts_with_all = ["patch", "json"])]
    name_only: bool,
    /// What `apply --branch` would commit, as `git diff` says it: against what is checked out, without what git ignores
    #[arg(long, conflicts_with_all = ["stat", "name_only", "patch"])]
    git: bool,
    /// A patch for `git apply`, with the paths of the repository, without what `apply` would hold back or refuse; what it leaves out is
    /// said on stderr
    #[arg(long, conflicts_with = "json")]
    patch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    if let (Some(point), Some(name)) = (&arguments.at, &arguments.run) {
        let (run, record) = super::checkpoint::find(&invoker, name)?;
        let points = Points::open(&run, &record)?;
        let mut view = points.view(&points.find(Some(point))?.layers)?;
        crate::leaks::arm(&mut view.layers, &invoker, &record.denied);
        let review = Review::open(&view.layers, &[], &[]).context("looking at the changes")?;
        return show(arguments, review, (&run, &record));
    }
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    run.whole()?;
    let review = run.review(&invoker)?;
    show(arguments, review, (&run.directory, &run.record))
}

fn show(arguments: &Arguments, mut review: Review, of: (&RunDir, &RunRecord)) -> Result<u8, Failure> {
    if of.1.status == Status::Running && !of.1.running() {
        terminal::error(&format!(
            "{} run {} was interrupted: whoever watched over it was killed; what had changed by then is whole",
            terminal::label("note:"),
            of.1.id
        ));
    }
    let cwd = std::env::current_dir().context("the current directory")?;
    let path = |given: &PathBuf| super::paths::named(given, &of.1.workspace, &cwd);
    let only = arguments.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    for (given, path) in arguments.paths.iter().zip(&only).filter(|_| !review.changes().is_empty()) {
        super::paths::expect(path, given, false, review.changes(), (&of.1.workspace, &cwd))?;
    }
    review.only(&only);
    if review.changes().is_empty() && !arguments.json {
        let note = terminal::label("note:");
        terminal::error(&match arguments.paths.is_empty() {
            true => format!("{note} nothing differs from the files here"),
            false => format!("{note} nothing differs at these paths"),
        });
    }
    if review.unseen() > 0 && !(arguments.git || arguments.patch) {
        let (count, note) = (review.unseen(), terminal::label("note:"));
        let files = if count == 1 { "1 file was" } else { &format!("{count} files were") };
        terminal::error(&format!(
            "{note} {files} too large, or too many, to be looked through for secrets: `leaks.scan = [\"workspace\"]` looks through everything"
        ));
    }
    if arguments.git {
        commit(&review, of, arguments.json)?;
    } else if arguments.json {
        super::print_json(&ringfence_workspace::render_json(&in_order(&review)))?;
    } else if arguments.stat {
        terminal::print(&ringfence_workspace::render_stat(review.changes()));
    } else if arguments.name_only {
        terminal::print(&ringfence_workspace::render_names(&in_order(&review)));
    } else if arguments.patch {
        patch(&review, &of.1.workspace)?;
    } else {
        let look = Look { colour: terminal::colour_out(), all: !arguments.paths.is_empty() };
        write(|out| review.show(look, out))?;
    }
    Ok(0)
}

/// The dangerous first.
fn in_order(review: &Review) -> Vec<ringfence_workspace::Change> {
    review.in_order(|_| false).into_iter().cloned().collect()
}

/// The repository that the workspace is a part of, without being its root.
fn repository(workspace: &Path) -> Option<&Path> {
    let one = |place: &&Path| {
        let git = place.join(".git");
        git.is_file() || git.join("HEAD").symlink_metadata().is_ok()
    };
    workspace.ancestors().find(one).filter(|root| *root != workspace)
}

fn patch(review: &Review, workspace: &Path) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::new("a patch is raw bytes, and could act on this terminal")
            .hint("send it to a file or to `git apply`; `ringfence diff` shows the same for people"));
    }
    let mut missing: Vec<Missing> = Vec::new();
    let repository = repository(workspace);
    let prefix = repository.and_then(|root| workspace.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    write(|out| {
        missing = review.patch(prefix, out)?;
        Ok(())
    })?;
    if let Some(root) = repository {
        terminal::error(&format!(
            "{} its paths begin at the repository's root, {}, as `git diff` writes them",
            terminal::label("note:"),
            terminal::escape(root)
        ));
    }
    say_missing("not in the patch:", &missing);
    Ok(())
}

/// What would be on a branch.
fn commit(review: &Review, (run, record): (&RunDir, &RunRecord), json: bool) -> Result<(), Failure> {
    let (entries, missing) = review.entries().context("reading the changes")?;
    let draft = Draft::new((&record.workspace, run.path()), entries, missing)?;
    if json {
        let mut text = Vec::new();
        draft.diff(run.path(), true, |out| out.read_to_end(&mut text).map(drop).context("what git says"))?;
        let missing = draft.missing.iter();
        let missing: Vec<_> =
            missing.map(|one| serde_json::json!({ "path": escape(&one.path), "why": one.why })).collect();
        return super::print_json(&serde_json::json!({
            "run": record.id,
            "head": draft.head,
            "entries": draft.entries.iter().map(|entry| escape(&entry.path)).collect::<Vec<_>>(),
            "missing": missing,
            "diff": String::from_utf8_lossy(&text),
        }));
    }
    let person = std::io::stdout().is_terminal();
    draft.diff(run.path(), !person, |from| {
        write(|out| match person {
            true => shown(from, terminal::colour_out(), out),
            false => std::io::copy(from, out).map(drop),
        })
    })?;
    draft.say_missing();
    Ok(())
}

/// Lines of git's, made safe for a terminal.
fn shown(from: &mut dyn BufRead, colour: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let mut inside = false;
    for line in from.split(b'\n') {
        let line = line?;
        // A line of a hunk begins with one of these; whatever stands in it, it is no header.
        inside = match line.first() {
            Some(b'@') => true,
            Some(b'+' | b'-' | b' ' | b'\\') => inside,
            _ => false,
        };
        let paint = match line.first() {
            _ if !colour => "",
            Some(b'@') => "\u{1b}[36m",
            Some(b'+') if inside => "\u{1b}[32m",
            Some(b'-') if inside => "\u{1b}[31m",
            _ if inside => "",
            _ => "\u{1b}[1m",
        };
        let end = if paint.is_empty() { "" } else { "\u{1b}[0m" };
        let text: Vec<_> =
            line.split(|byte| *byte == b'\t').map(|part| terminal::escape(OsStr::from_bytes(part))).collect();
        let text = text.join("\t");
        writeln!(out, "{paint}{text}{end}")?;
    }
    Ok(())
}

/// Writes to stdout as it comes. A reader that went away ends quietly.
pub(crate) fn write(with: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match with(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}
