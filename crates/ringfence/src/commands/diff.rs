//! `ringfence diff`: what a run changed in its workspace.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use ringfence_workspace::{Look, Missing, Review, escape};

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

Whatever a task wrote into names or contents acts on no terminal: it is shown as `\\u{1b}`. Without a terminal the text
is the same without colours; `--patch` is raw.")]
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
    /// A patch for `git apply`, without what `apply` would hold back or refuse; what it leaves out is said on stderr
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
        let view = points.view(&points.find(Some(point))?.layers)?;
        return show(arguments, Review::open(&view.layers, &[]).context("looking at the changes")?);
    }
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    run.whole()?;
    show(arguments, Review::open(&run.layers, &run.journals()).context("looking at the changes")?)
}

fn show(arguments: &Arguments, mut review: Review) -> Result<u8, Failure> {
    review.only(&arguments.paths);
    if arguments.json {
        super::print_json(&ringfence_workspace::render_json(review.changes()))?;
    } else if arguments.stat {
        terminal::print(&ringfence_workspace::render_stat(review.changes()));
    } else if arguments.name_only {
        terminal::print(&ringfence_workspace::render_names(review.changes()));
    } else if arguments.patch {
        patch(&review)?;
    } else {
        let look = Look { colour: terminal::colour_out(), all: !arguments.paths.is_empty() };
        write(|out| review.show(look, out))?;
    }
    Ok(0)
}

fn patch(review: &Review) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::new("a patch is raw bytes, and could act on this terminal")
            .hint("send it to a file or to `git apply`; `ringfence diff` shows the same for people"));
    }
    let mut missing: Vec<Missing> = Vec::new();
    write(|out| {
        missing = review.patch(out)?;
        Ok(())
    })?;
    for one in &missing {
        terminal::error(&format!(
            "{} {}: {}",
            terminal::label("not in the patch:"),
            escape(&one.path),
            one.why
        ));
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
