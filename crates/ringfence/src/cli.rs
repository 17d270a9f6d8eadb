//! The grammar of the command line, and which file answers which verb.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use ringfence_confine::gateway::NAME;

use crate::commands;
use crate::failure::Failure;

const EXAMPLES: &str = "Examples:
  ringfence run -- cargo test              run a command; the workspace changes only by `ringfence apply`
  ringfence diff --stat                    what the last run changed
  ringfence apply                          let it land
  ringfence run --preset coding-agent -- bash
  ringfence plan -- make                   what the kernel would be told, without doing it
  ringfence check ringfence.toml           what is wrong with a policy, and what it would leave open
  ringfence probe                          what can be reached from here, whatever is around
  ringfence doctor                         what this host can do, and what would change it

Exit status of `run`: the command's own; 125 an error of ringfence, 126 refused by policy, 127 not found.";

/// A narrow, explained boundary around agents and other non-human identities.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a command inside a boundary made from a policy
    Run(commands::run::Arguments),
    /// An interactive run: a shell inside the boundary
    Shell(commands::shell::Arguments),
    /// Start a named sandbox that holds many commands
    Start(commands::start::Arguments),
    /// Run a command in a named sandbox
    Exec(commands::exec::Arguments),
    /// List the sandboxes that live, and with --all what waits for review
    Ps(commands::ps::Arguments),
    /// Print what a named sandbox's first command wrote
    Logs(commands::logs::Arguments),
    /// End a named sandbox with everything in it
    Stop(commands::stop::Arguments),
    /// Show a sandbox more of the host while it runs, for a time
    Grant(commands::grant::Arguments),
    /// Take such a grant away
    Revoke(commands::grant::Revocation),
    /// Print what the kernel would be told, step by step
    Plan(commands::plan::Arguments),
    /// Read a policy, and say what is wrong with it and what it would leave open
    Check(commands::check::Arguments),
    /// Write a policy to begin with, and accept it
    Init(commands::init::Arguments),
    /// Accept the policy file of a workspace as it is now
    Trust(commands::trust::Arguments),
    /// List the shipped policies, or print one
    Presets(commands::presets::Arguments),
    /// Print the JSON Schema of policy files
    Schema,
    /// Show what a run changed in its workspace
    Diff(commands::diff::Arguments),
    /// Let the changes of a run land in the workspace, all or nothing
    Apply(commands::apply::Arguments),
    /// Put back what an apply replaced, all or nothing
    Undo(commands::undo::Arguments),
    /// Throw the changes of a run away
    Discard(commands::discard::Arguments),
    /// Take a named point of a sandbox's workspace, or list them
    Checkpoint(commands::checkpoint::Arguments),
    /// Put a sandbox's workspace back to a point
    Rollback(commands::checkpoint::Rollback),
    /// Start a second sandbox from any point of a first
    Fork(commands::fork::Arguments),
    /// Remove changes that nobody decided about, and what applies replaced, when they are old or too much
    Prune(commands::prune::Arguments),
    /// Say what this host can do, what it cannot, why, and what would change it
    Doctor(commands::doctor::Arguments),
    /// Try what can be reached from here, inside of any sandbox, container or job, and do no harm
    Probe(commands::probe::Arguments),
    /// Say what was refused in a run, why, and what would allow it
    Explain(commands::explain::Arguments),
    /// Print completions for a shell
    Completions(commands::completions::Arguments),
    /// Print a manual page, as in `ringfence man run | man -l -`
    Man(commands::man::Arguments),
}

/// Where the policy comes from, for every verb that needs one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PolicyArguments {
    /// A policy file; may be given several times, later ones count more
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
    /// A shipped policy (see `ringfence presets`); may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Vec<String>,
    /// A step of the policy, whose additions count for this run alone
    #[arg(long, value_name = "NAME")]
    pub(crate) step: Option<String>,
    /// The directory to work on, instead of the policy's or the current one
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Run although this part cannot be held; the record says so. `root-uid`: in tier `landlock`, let the task be root in its grants. `masks`: beside
    /// `runtime.user_namespaces`, let it uncover what is hidden or protected in trees that it writes to
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_degraded: Vec<String>,
    /// Those of a sandbox that is forked, in order.
    #[arg(skip)]
    pub(crate) remembered: Vec<ringfence_policy::Source>,
}

/// Presets and files in the order they stood on the command line.
pub(crate) fn sources(arguments: &PolicyArguments, words: &[OsString]) -> Vec<ringfence_policy::Source> {
    use ringfence_policy::Source;
    if !arguments.remembered.is_empty() {
        return arguments.remembered.clone();
    }
    let mut presets = arguments.preset.iter();
    let mut files = arguments.policy.iter();
    let mut sources = Vec::new();
    for word in words {
        let word = word.to_string_lossy();
        if word == "--" {
            break;
        }
        if word == "--preset" || word.starts_with("--preset=") {
            sources.extend(presets.next().map(|name| Source::Preset(name.clone())));
        } else if word == "--policy" || word.starts_with("--policy=") {
            sources.extend(files.next().map(|path| Source::File(path.clone())));
        }
    }
    // Whatever the words did not tell in order still counts.
    sources.extend(presets.map(|name| Source::Preset(name.clone())));
    sources.extend(files.map(|path| Source::File(path.clone())));
    sources
}

/// The command as `clap` knows it, for completions and the manual page.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// The two verbs that are called all day, by their own grammars: to build that of all verbs is a part of a start that is felt.
/// What they do not take is read again by the whole grammar, which says why.
fn shortly() -> Option<Verb> {
    fn of<A: Args>(words: impl Iterator<Item = OsString>) -> Option<A> {
        let matches = A::augment_args(clap::Command::new("ringfence")).try_get_matches_from(words).ok()?;
        A::from_arg_matches(&matches).ok()
    }
    let mut words = std::env::args_os().skip(1).peekable();
    match words.peek()?.to_str()? {
        "run" => of(words).map(Verb::Run),
        "exec" => of(words).map(Verb::Exec),
        _ => None,
    }
}

pub(crate) fn main() -> ExitCode {
    if let Err(failure) = crate::environment::refuse_setuid() {
        return failure.print();
    }
    ringfence_sys::signals::ignore_file_size();
    // Started by a supervisor, under a name that nobody types.
    if std::env::args_os().next().is_some_and(|word| word.as_bytes() == NAME.to_bytes()) {
        return ExitCode::from(ringfence_gateway::run());
    }
    if std::env::args_os()
        .next()
        .is_some_and(|word| word.as_bytes() == ringfence_confine::keeper::NAME.as_bytes())
    {
        return ExitCode::from(crate::keeper::run());
    }
    if std::env::args_os().next().is_some_and(|word| word == ringfence_policy::GPG) {
        return crate::gpg::inside();
    }
    if std::env::args_os().next().is_some_and(|word| word == ringfence_policy::GIT_SSH) {
        return crate::git_ssh::inside();
    }
    if std::env::args_os().next().is_some_and(|word| word == crate::git_session::NAME) {
        return crate::git_session::become_ssh();
    }
    let verb = match shortly().map_or_else(|| Cli::try_parse().map(|cli| cli.verb), Ok) {
        Ok(verb) => verb,
        Err(error) => {
            let _ = error.print();
            // Help and version are no errors; everything else is one of ours.
            return ExitCode::from(if error.use_stderr() { Failure::OURS } else { 0 });
        }
    };
    let outcome = match verb {
        Verb::Run(arguments) => commands::run::run(arguments),
        Verb::Shell(arguments) => commands::shell::run(arguments),
        Verb::Start(arguments) => commands::start::run(arguments),
        Verb::Exec(arguments) => commands::exec::run(&arguments),
        Verb::Ps(arguments) => commands::ps::run(&arguments),
        Verb::Logs(arguments) => commands::logs::run(&arguments),
        Verb::Stop(arguments) => commands::stop::run(&arguments),
        Verb::Grant(arguments) => commands::grant::run(&arguments),
        Verb::Revoke(arguments) => commands::grant::revoke(&arguments),
        Verb::Plan(arguments) => commands::plan::run(&arguments),
        Verb::Check(arguments) => commands::check::run(&arguments),
        Verb::Init(arguments) => commands::init::run(&arguments),
        Verb::Trust(arguments) => commands::trust::run(&arguments),
        Verb::Presets(arguments) => commands::presets::run(&arguments),
        Verb::Schema => commands::schema(),
        Verb::Diff(arguments) => commands::diff::run(&arguments),
        Verb::Apply(arguments) => commands::apply::run(&arguments),
        Verb::Undo(arguments) => commands::undo::run(&arguments),
        Verb::Discard(arguments) => commands::discard::run(&arguments),
        Verb::Checkpoint(arguments) => commands::checkpoint::run(&arguments),
        Verb::Rollback(arguments) => commands::checkpoint::rollback(&arguments),
        Verb::Fork(arguments) => commands::fork::run(arguments),
        Verb::Prune(arguments) => commands::prune::run(&arguments),
        Verb::Doctor(arguments) => commands::doctor::run(&arguments),
        Verb::Probe(arguments) => commands::probe::run(&arguments),
        Verb::Explain(arguments) => commands::explain::run(&arguments),
        Verb::Completions(arguments) => commands::completions::run(&arguments),
        Verb::Man(arguments) => commands::man::run(&arguments),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => failure.print(),
    }
}
