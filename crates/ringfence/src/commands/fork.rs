//! `ringfence fork`: a second sandbox that begins with what a first one had changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use ringfence_plan::Plan;
use ringfence_record::{Head, RunDir, Writer};
use ringfence_supervise::Note;
use ringfence_workspace::How;

use crate::cli::PolicyArguments;
use crate::commands::{checkpoint, start};
use crate::failure::{Context, Failure};
use crate::points::{self, BASE, Made, Point, Points, Stack};
use crate::{chosen, environment};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence checkpoint dev base
  ringfence fork dev one --from base && ringfence fork dev two --from base
  ringfence exec one -- agent 'do it this way' & ringfence exec two -- agent 'do it that way'
  ringfence stop one && ringfence diff RUN     each is a run of its own: the best is applied, the others discarded

Without `--from`, it begins with what the first one has changed so far. It has the policy that the first was started with, unless another is
named. What changed on the host since the first began is a conflict at `apply`, as for the first.")]
pub(crate) struct Arguments {
    /// The sandbox, or a run whose changes wait
    run: String,
    /// The name of the new one
    name: String,
    /// The checkpoint to begin with, by its name or number
    #[arg(long, value_name = "POINT")]
    from: Option<String>,
    #[command(flatten)]
    policy: PolicyArguments,
    /// A command to start with; its output is kept for `ringfence logs`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What a fork begins with.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    /// Directories of the first one by layer, the lowest first; nobody writes to them any more.
    sources: BTreeMap<String, Vec<PathBuf>>,
    /// The host's directories.
    hosts: BTreeMap<String, PathBuf>,
    /// The first one's run.
    from: RunDir,
    /// The point's name; empty: all there was at its end.
    point: String,
    /// When the first one began: what changed on the host since is a conflict.
    pub(crate) started: (i64, i64),
}

pub(crate) fn run(arguments: Arguments) -> Result<u8, Failure> {
    let mut invoker = environment::invoker()?;
    let (run, mut record) = checkpoint::find(&invoker, &arguments.run)?;
    let mut points = Points::open(&run, &record)?;
    let mut name = String::new();
    let mut named = |point: Point| {
        name = point.name;
        point.layers
    };
    let names = match &arguments.from {
        Some(from) => named(points.find(Some(from))?.clone()),
        None if record.running() => named(checkpoint::take(&run, &record, &mut points, None)?.0),
        None => {
            let mut layers = points.layers.clone();
            points::settle(&run, &mut record, &mut layers)?;
            let upper = |layer: &ringfence_workspace::Layer| {
                let name = layer.upper.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (layer.name.clone(), vec![name])
            };
            layers.iter().map(upper).collect()
        }
    };
    let started = points.layers.iter().map(|layer| (layer.started.sec, layer.started.nsec)).min();
    let fork = Fork {
        sources: points.sources(&names),
        hosts: points.layers.iter().map(|layer| (layer.name.clone(), layer.host.clone())).collect(),
        from: run.clone(),
        point: name,
        started: started.unwrap_or_default(),
    };
    if let Some(missing) = fork.sources.values().flatten().find(|path| !path.exists()) {
        return Err(Failure::new(format!("{} is gone", missing.display()))
            .hint("what was applied or discarded is nothing to start from"));
    }
    drop(points);
    let mut policy = arguments.policy;
    if policy.policy.is_empty() && policy.preset.is_empty() {
        policy.remembered = chosen::remembered(run.path())?;
    }
    // A policy that is found is found there.
    if !invoker.cwd.starts_with(&record.workspace) {
        std::env::set_current_dir(&record.workspace).context(record.workspace.display().to_string())?;
        invoker.cwd.clone_from(&record.workspace);
    }
    policy.workspace.get_or_insert_with(|| record.workspace.clone());
    let name = arguments.name;
    start::run(start::Arguments { name, policy, command: arguments.command, fork: Some(fork) })
}

impl Fork {
    /// Writes it to the log of the first one, and to that of the second; gives the head of the latter.
    pub(crate) fn note(&self, log: &mut Writer, into: &str, sandbox: &str) -> Result<Head, Failure> {
        let (into, sandbox) = (into.to_owned(), sandbox.to_owned());
        let note = Note::Fork { point: self.point.clone(), into, sandbox };
        let mut record = self.from.record().context("the record of the first run")?;
        points::note(&self.from, &mut record, note.clone())?;
        log.append(&points::event(note, self.from.id())).context("the run's log")
    }

    /// Lays what the new one begins with below its layers, and says what they are made of.
    pub(crate) fn lay(&self, plan: &Plan) -> Result<Stack, Failure> {
        if plan.hosted.is_some() {
            return Err(points::tier());
        }
        let mut stack = Stack::new();
        for layer in &plan.layers {
            if self.hosts.get(&layer.name).is_some_and(|host| *host != layer.host)
                || self.hosts.len() != plan.layers.len()
            {
                return Err(Failure::new("the fork would not work on the directories of the first one")
                    .hint("name the workspace and the policy of the first one"));
            }
            let sources = self.sources.get(&layer.name).cloned().unwrap_or_default();
            points::flatten(&sources, &layer.directory.join(BASE), How::Link)?;
            stack.insert(layer.name.clone(), Made { between: vec![BASE.into()], upper: "upper".into() });
        }
        Ok(stack)
    }
}
