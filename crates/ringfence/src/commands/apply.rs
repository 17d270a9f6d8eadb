//! `ringfence apply`: lets the changes of a run land, all or nothing.

use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_plan::Invoker;
use ringfence_record::{Change, Event, Status};
use ringfence_workspace::{Applied, Chosen, Danger, Named, Options, Reason, Refused, Review, WORKSPACE};

use crate::branch::Draft;
use crate::commands::waiting::{self, Waiting};
use crate::commands::{hints, paths};
use crate::failure::{Context, Failure};
use crate::{environment, git, terminal, underway};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence apply                        the last run here, all or nothing
  ringfence apply last -- src doc/a.md   these alone; the rest stays with the run
  ringfence apply --leave src/big        all but this
  ringfence apply -i                     ask for each change and each part of a file
  ringfence apply --accept hooks         what runs on the host, after a look at it")]
pub(crate) struct Arguments {
    /// The run, by the beginning of its id; without it, the last one here
    pub(super) run: Option<String>,
    /// Land this path, or everything of this kind, too, although it runs on the host or decides what does: hooks, config, editors,
    /// agents, shell, ci, scripts, lockfiles, binaries, symlinks, unfinished, secrets (`./hooks` is a path, `kind:hooks` the kind); what the policy
    /// protects stays held
    #[arg(long, value_name = "KIND|PATH")]
    pub(super) accept: Vec<PathBuf>,
    /// Do not land this path, nor what is below it: it stays with the run
    #[arg(long, value_name = "PATH")]
    pub(super) leave: Vec<PathBuf>,
    /// Ask for every change and every hunk: y, n, a, d, q
    #[arg(short, long, conflicts_with_all = ["json", "merge", "branch"])]
    interactive: bool,
    /// Ask nothing, as without it; for scripts that say so. What is held back stays held back
    #[arg(short, long, conflicts_with = "interactive")]
    yes: bool,
    /// Merge text files that changed on the host after the run, where git has the version from which both sides began
    #[arg(long)]
    merge: bool,
    /// Land only these paths, and what is below them; the rest stays with the run
    #[arg(last = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Do not touch the files: put the changes on this new branch of the repository, as a commit by the run's identity
    #[arg(long, value_name = "NAME", conflicts_with_all = ["accept", "leave", "merge"])]
    branch: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.branch.is_some() && !arguments.paths.is_empty() {
        return Err(Failure::new("`--branch` cannot be used with paths: the commit has all that would land")
            .hint("take them from the branch: `git checkout BRANCH -- PATH`; or land them here: `ringfence apply RUN -- PATH`"));
    }
    let invoker = environment::invoker()?;
    let mut run = waiting::find(&invoker, arguments.run.as_deref())?;
    run.whole()?;
    let mut log = run.directory.resume_events(run.record.identity.clone()).context("the run's log")?;
    let workspace = run.record.workspace.display().to_string();
    let refuse = |log: &mut ringfence_record::Writer, refused: &Refused| {
        let event = Event::ApplyRefuse { workspace: workspace.clone(), changes: reasons(refused) };
        log.append(&event).context("the run's log")
    };
    let mut options = options(arguments, &run, &invoker)?;
    if let Some(branch) = &arguments.branch {
        let review = run.review(&invoker)?;
        if let Some(refused) = review.refused() {
            run.record.head = Some(refuse(&mut log, &refused)?);
            run.write()?;
            return Err(refusal(&refused, arguments.json));
        }
        return onto_branch(&mut run, &mut log, &review, branch, arguments.json);
    }
    if arguments.interactive || arguments.merge {
        // What is held back may be accepted, and is judged then.
        options.others = run.others_since(&invoker)?;
        let mut review = run.review_beside(&options.others)?;
        if arguments.interactive {
            let places = (&*run.record.workspace, &*invoker.cwd);
            known(arguments, &options, review.changes(), &[], places)?;
        }
        review.only(&options.only);
        review.without(&options.left);
        if arguments.interactive {
            if !run.elsewhere.is_empty() {
                terminal::print(&format!("the changes of {}{}:", run.record.id, run.elsewhere));
            }
            super::pick::pick(&review, &run.layers, &mut options)?;
        } else {
            options.chosen = merged(&review, &run, arguments, &invoker)?;
        }
    }
    let plan = match run.plan(&mut options, &invoker)? {
        Ok(plan) => plan,
        Err(refused) => {
            run.record.head = Some(refuse(&mut log, &refused)?);
            run.write()?;
            return Err(hints::way_out(refusal(&refused, arguments.json), &run, &refused, arguments));
        }
    };
    let unseen = plan.unseen().to_vec();
    if !(arguments.interactive || plan.changes().is_empty() && unseen.is_empty()) {
        let places = (&*run.record.workspace, &*invoker.cwd);
        known(arguments, &options, plan.changes(), &unseen, places)?;
    }
    for refusal in &unseen {
        let path = ringfence_workspace::escape(&refusal.path);
        terminal::error(&format!(
            "{} {path}: {}; it stays with the run",
            terminal::label("note:"),
            refusal.text
        ));
    }
    if plan.changes().is_empty() {
        return nothing(&run, !unseen.is_empty(), arguments.json);
    }
    // On disk before the first file lands.
    let held = plan.changes().iter().filter(|change| change.held.is_some()).count() as u64;
    if held == plan.changes().len() as u64 {
        return all_held(&run, plan.changes(), arguments);
    }
    let event = Event::WorkspaceApply {
        workspace: workspace.clone(),
        landed: plan.changes().len() as u64 - held,
        held,
        undo: run.journal.display().to_string(),
    };
    run.record.head = Some(log.append(&event).context("the run's log")?);
    run.write()?;
    let underway = underway::begin(&invoker.state, &run.directory)?;
    let outcome = ringfence_workspace::apply(plan, &run.journal);
    underway.end(&run.directory);
    match outcome {
        Ok(applied) => finish(&mut run, &applied, arguments),
        Err(refused) => {
            run.record.head = Some(refuse(&mut log, &refused)?);
            run.write()?;
            let failure = refusal(&refused, arguments.json);
            match refused.refusals.iter().all(|refusal| refusal.reason == Reason::LowerLayer) {
                true => Err(hints::way_out(failure, &run, &refused, arguments)),
                false => Err(failure),
            }
        }
    }
}

/// What the task wrote is what was there.
fn nothing(run: &Waiting, unseen: bool, json: bool) -> Result<u8, Failure> {
    // A checkpoint may have more.
    let points = run.has_points();
    if !points && !unseen {
        run.remove_layers()?;
    }
    if json {
        super::print_json(
            &serde_json::json!({ "run": run.record.id, "landed": [], "held": [], "undo": null }),
        )?;
    } else {
        let place = if run.elsewhere.is_empty() { " here" } else { &run.elsewhere };
        terminal::print(&format!("nothing differs from the files{place}: nothing had to land"));
        if points {
            terminal::print(&format!(
                "its checkpoints stay: `ringfence checkpoint {0} --list`, `ringfence discard {0}`",
                run.record.id
            ));
        }
    }
    Ok(0)
}

/// Nothing lands, and so there is nothing to undo. Where that is not what was asked for, the status says so.
fn all_held(
    run: &Waiting,
    changes: &[ringfence_workspace::Change],
    arguments: &Arguments,
) -> Result<u8, Failure> {
    let asked = changes.iter().all(|change| change.held == Some(ringfence_workspace::HoldReason::LeftOut));
    let status = if asked { 0 } else { Failure::REFUSED };
    if arguments.json {
        let held = ringfence_workspace::render_json(changes);
        super::print_json(
            &serde_json::json!({ "run": run.record.id, "landed": [], "held": held, "undo": null }),
        )?;
        return Ok(status);
    }
    terminal::print(&format!("nothing landed{}: all of it is held back or left out", run.elsewhere));
    let moved = changes.iter().filter(|change| change.held == Some(ringfence_workspace::HoldReason::LeftOut));
    for change in moved.filter(|change| arguments.paths.iter().any(|path| path == &change.path)) {
        if let Some(to) = &change.renamed_to {
            let (from, to) = (ringfence_workspace::escape(&change.path), ringfence_workspace::escape(to));
            terminal::print(&format!("{from} was renamed to {to}: name that"));
        }
    }
    hints::held(changes, run, arguments);
    Ok(status)
}

fn merged(
    review: &Review,
    run: &Waiting,
    arguments: &Arguments,
    invoker: &Invoker,
) -> Result<Vec<Chosen>, Failure> {
    let undone = super::undo::others(invoker, &run.record)?;
    let base = |path: &Path| {
        let base = run.began.base(path).filter(|base| base.is_known(&run.record.workspace, &undone))?;
        git::object(&run.record.workspace, &base.object).filter(|content| base.is(content))
    };
    review.merge(&base).map_err(|(path, why)| hints::unmerged(&path, &why, run, arguments))
}

/// The changes as a commit; the run waits on.
fn onto_branch(
    run: &mut Waiting,
    log: &mut ringfence_record::Writer,
    review: &Review,
    branch: &str,
    json: bool,
) -> Result<u8, Failure> {
    let (entries, missing) = review.entries().context("reading the changes")?;
    let workspace = run.record.workspace.clone();
    let draft = Draft::new((&workspace, run.directory.path()), entries, missing)?;
    draft.fits(branch)?;
    let event = Event::WorkspaceApply {
        workspace: format!("{} (branch {branch})", run.record.workspace.display()),
        landed: draft.entries.len() as u64,
        held: draft.missing.len() as u64,
        undo: String::new(),
    };
    run.record.head = Some(log.append(&event).context("the run's log")?);
    run.write()?;
    let author = run.record.identity.as_ref().map_or("ringfence", |identity| identity.name.as_str());
    let id = &run.record.id;
    let command = ringfence_workspace::escape(run.record.command.join(" "));
    let message = format!("Changes of run {id}\n\n{command}\n");
    let commit = draft.commit(branch, author, &message)?;
    let count = draft.entries.len();
    draft.say_missing();
    if json {
        super::print_json(
            &serde_json::json!({ "run": id, "branch": branch, "commit": commit, "entries": count }),
        )?;
    } else {
        terminal::print(&format!(
            "{} on the branch {branch} ({commit}){}; the files are as they were",
            changes(count),
            run.elsewhere
        ));
        terminal::print(&format!(
            "the run waits on: `ringfence apply {id}` lands it here too, `ringfence discard {id}` ends that"
        ));
    }
    Ok(0)
}

fn options(arguments: &Arguments, run: &Waiting, invoker: &Invoker) -> Result<Options, Failure> {
    let path = |given: &PathBuf| paths::named(given, &run.record.workspace, &invoker.cwd);
    let left = arguments.leave.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    let only = arguments.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    let mut options = Options { left, only, journals: run.journals(), ..Options::default() };
    for accepted in &arguments.accept {
        match paths::kind(accepted) {
            Some(kind) => {
                unambiguous(accepted, run, invoker)?;
                options.kinds.push(kind);
            }
            None => options.named.push(path(accepted)?),
        }
    }
    Ok(options)
}

/// A word for a kind that may be meant for a path that waits for the same: what lands by it must be what its owner looked at.
fn unambiguous(word: &Path, run: &Waiting, invoker: &Invoker) -> Result<(), Failure> {
    let mut layers = run.layers.iter().filter(|layer| layer.name == WORKSPACE);
    // `kind:ci` has said so.
    if Danger::named(&word.to_string_lossy()).is_none()
        || !layers.any(|layer| layer.upper.join(word).symlink_metadata().is_ok())
    {
        return Ok(());
    }
    let review = run.review(invoker)?;
    let waits = |change: &ringfence_workspace::Change| {
        let waits = change.held.is_some() || change.refused.is_some();
        waits && change.layer == WORKSPACE && change.path.starts_with(word)
    };
    if !review.changes().iter().any(waits) {
        return Ok(());
    }
    let (word, whole) = (word.display(), run.record.workspace.join(word));
    let whole = terminal::path(&whole);
    Err(Failure::new(format!("`{word}` is a kind, and a path that is held back or refused: which is meant?"))
        .with_status(Failure::REFUSED)
        .hint(format!("`--accept kind:{word}` is the kind, `--accept {whole}` the path (or `./{word}` from the workspace)")))
}

/// Each path that was named is one that changed.
fn known(
    arguments: &Arguments,
    options: &Options,
    changes: &[ringfence_workspace::Change],
    unseen: &[ringfence_workspace::Refusal],
    places: (&Path, &Path),
) -> Result<(), Failure> {
    let of_kinds = |given: &&PathBuf| paths::kind(given).is_none();
    let named = arguments.leave.iter().zip(&options.left);
    let hidden = |named: &Named| unseen.iter().any(|one| named.covers(&one.layer, &one.path));
    for (given, path) in
        named.chain(arguments.paths.iter().zip(&options.only)).filter(|(_, path)| !hidden(path))
    {
        paths::expect(path, given, false, changes, places)?;
    }
    let mut accepted = arguments.accept.iter().filter(of_kinds).zip(&options.named);
    accepted.try_for_each(|(given, path)| paths::expect(path, given, true, changes, places))
}

fn finish(run: &mut Waiting, applied: &Applied, arguments: &Arguments) -> Result<u8, Failure> {
    run.record.status = Status::Applied;
    run.write()?;
    // What was held back stays to be looked at.
    let whole = applied.held.is_empty() && applied.left.is_empty() && applied.in_part.is_empty();
    let points = whole && run.has_points();
    if whole {
        run.remove_layers()?;
    }
    if arguments.json {
        super::print_json(&serde_json::json!({
            "run": run.record.id,
            "landed": ringfence_workspace::render_json(&applied.landed),
            "held": ringfence_workspace::render_json(&applied.held),
            "undo": applied.undo,
        }))?;
        return Ok(0);
    }
    let replaced = if applied.landed.len() == 1 { "it" } else { "they" };
    terminal::print(&format!(
        "{} landed{}; what {replaced} replaced is kept in {}; `ringfence undo {}` puts it back",
        changes(applied.landed.len()),
        run.elsewhere,
        applied.undo.display(),
        run.record.id
    ));
    if whole && points {
        terminal::print("all of it landed: its checkpoints went with it");
    }
    for path in &applied.in_part {
        let path = ringfence_workspace::escape(path);
        terminal::print(&format!("{path} landed in part: the rest stays with the run"));
    }
    if !applied.held.is_empty() {
        hints::held(&applied.held, run, arguments);
    }
    Ok(0)
}

pub(crate) fn changes(number: usize) -> String {
    if number == 1 { "1 change".into() } else { format!("{number} changes") }
}

pub(crate) fn reasons(refused: &Refused) -> Vec<Change> {
    refused
        .refusals
        .iter()
        .map(|refusal| Change {
            path: ringfence_workspace::escape(&refusal.path),
            reason: refusal.text.clone(),
        })
        .collect()
}

fn refusal(refused: &Refused, json: bool) -> Failure {
    if json && let Ok(text) = serde_json::to_string_pretty(refused) {
        terminal::print(&text);
    }
    // What the host could not do is no refusal.
    let broken = refused.refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Failed { .. }));
    let status = if broken { Failure::OURS } else { Failure::REFUSED };
    Failure::from(refused).with_status(status)
}
