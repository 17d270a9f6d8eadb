//! `ringfence check`: reads a policy, its presets, the ceiling and its expectations, says what is wrong, and what it would leave open.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use ringfence_audit::{Finding, Level, Subject};
use ringfence_confine::survey;
use ringfence_plan::Invoker;
use ringfence_policy::{Context as PolicyContext, Policy, Source};

use crate::failure::Failure;
use crate::{chosen, custody, environment, registries, source, terminal, trust};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringfence check                              the policy that `run` would take here
  ringfence check ringfence.toml --fail-on medium
  ringfence check --preset coding-agent        a shipped one, held against this directory
  ringfence check ci.toml --no-host --sarif > ringfence.sarif
  ringfence check --json | jq '.findings[] | select(.level == \"high\")'
  ringfence check --fail-on high --accept egress-file-drop

What each rule finds, and how to mend it: docs/check.md.
Exit status: 0; 1 if `run` would refuse the policy on this host, or something of the level of --fail-on or above was found;
125 if the policy is invalid.")]
pub(crate) struct Arguments {
    /// The policy file; without it, the one that `run` would take
    #[arg(conflicts_with_all = ["preset", "policy"])]
    file: Option<PathBuf>,
    /// The same, as the other verbs take it
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    policy: Option<PathBuf>,
    /// A shipped policy instead
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A step of the policy, whose additions count
    #[arg(long, value_name = "NAME")]
    step: Option<String>,
    /// The directory to work on, instead of the policy's or the current one
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// End with 1 if something of this level or above is found: high, medium, low, note
    #[arg(long, value_name = "LEVEL")]
    fail_on: Option<Level>,
    /// Accept findings of this rule: they are listed, and do not count; may be given several times
    #[arg(long, value_name = "RULE", value_parser = rule)]
    accept: Vec<String>,
    /// Judge the text alone: look neither for paths and programs on this host, nor for secrets in its files
    #[arg(long)]
    no_host: bool,
    /// Print the outcome as JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print it as SARIF 2.1.0, for code hosts
    #[arg(long)]
    sarif: bool,
}

/// A rule must be one: a mistyped name would accept nothing, in silence.
fn rule(text: &str) -> Result<String, String> {
    let known = ringfence_audit::rules().iter().any(|rule| rule.id == text);
    let all = || ringfence_audit::rules().iter().map(|rule| rule.id).collect::<Vec<_>>().join(", ");
    if known { Ok(text.to_owned()) } else { Err(format!("there is no such rule; there are {}", all())) }
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let (source, shown) = chosen_source(arguments, &invoker);
    let files = source::Recording::default();
    let context = PolicyContext { step: arguments.step.clone(), ..environment::context(&invoker) };
    // Where a finding names no file, this one is meant.
    let file = match &source {
        Source::File(path) => path.display().to_string(),
        Source::Preset(name) => format!("preset {name}"),
    };
    let policy = match ringfence_policy::load(&[source], &context, &files) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            if arguments.sarif {
                print_sarif(&ringfence_audit::invalid(&diagnostics), &file, &invoker)?;
            } else if arguments.json {
                let json = serde_json::json!({ "valid": false, "diagnostics": diagnostics.to_json() });
                super::print_json(&json)?;
            } else {
                return Err(Failure::report(diagnostics.render(terminal::colour())));
            }
            return Ok(Failure::OURS);
        }
    };
    let mut findings = look(&policy, &invoker, arguments);
    findings.extend(unaccepted(arguments, &invoker, &files));
    ringfence_audit::rank(&mut findings);
    for finding in &mut findings {
        finding.accepted = arguments.accept.iter().any(|accepted| accepted == finding.rule.id);
        if finding.file.is_empty() {
            finding.file.clone_from(&file);
        }
    }
    let counts = |finding: &&Finding| !finding.accepted;
    let counted: Vec<&Finding> = findings.iter().filter(counts).collect();
    let refused = counted.iter().any(|finding| finding.rule.id == "would-not-run");
    let reached = arguments.fail_on.is_some_and(|level| counted.iter().any(|finding| finding.level >= level));
    if arguments.sarif {
        print_sarif(&findings, &file, &invoker)?;
    } else if arguments.json {
        let counts: BTreeMap<&str, usize> =
            Level::ALL.into_iter().map(|level| (level.word(), number(&counted, level))).collect();
        super::print_json(&serde_json::json!({
            "valid": true, "runs": !refused, "hash": policy.hash, "sources": policy.sources,
            "counts": counts, "findings": findings,
        }))?;
    } else {
        terminal::print(&human(&shown, &findings, &counted, refused));
    }
    Ok(u8::from(refused || reached))
}

fn chosen_source(arguments: &Arguments, invoker: &Invoker) -> (Source, String) {
    if let Some(preset) = &arguments.preset {
        return (Source::Preset(preset.clone()), format!("preset {preset}"));
    }
    let given = arguments.file.as_ref().or(arguments.policy.as_ref()).cloned();
    match given.or_else(|| source::find(invoker)) {
        Some(path) => (Source::File(path.clone()), terminal::escape(&path)),
        None => {
            let shown = "preset default (there is no ringfence.toml here or above)";
            (Source::Preset("default".into()), shown.to_owned())
        }
    }
}

/// The policy that was found here, where its owner has not accepted it as it is: `run` takes none of it.
fn unaccepted(arguments: &Arguments, invoker: &Invoker, files: &source::Recording) -> Option<Finding> {
    let named = arguments.preset.is_some() || arguments.file.is_some() || arguments.policy.is_some();
    let path = source::find(invoker).filter(|_| !named && !arguments.no_host)?;
    let failure = trust::check(&path, &files.read.borrow(), invoker).err()?;
    let what = failure.text().lines().next().unwrap_or_default().trim_end_matches(':');
    Some(ringfence_audit::would_not_run(None, what.to_owned(), failure.hints().join("; ")))
}

fn look(policy: &Policy, invoker: &Invoker, arguments: &Arguments) -> Vec<Finding> {
    // Without `.` in it, as findings show it.
    let workspace: PathBuf =
        chosen::workspace(policy, invoker, arguments.workspace.as_deref()).components().collect();
    if arguments.no_host {
        let subject = Subject { policy, workspace: &workspace, search: &[], look: false };
        return ringfence_audit::audit(&subject);
    }
    let mut lacks = Vec::new();
    // As a run completes it: hosts of registries, and the files of credentials hidden.
    let mut policy = policy.clone();
    let completed = [
        registries::resolve(&mut policy, invoker, &workspace),
        custody::guard(&mut policy, invoker, Some(&workspace)),
    ];
    for failure in completed.into_iter().filter_map(Result::err) {
        let remedy = failure.hints().join("; ");
        lacks.push(ringfence_audit::would_not_run(None, failure.text().to_owned(), remedy));
    }
    for (origin, refused) in survey::missing(&policy, invoker, &workspace) {
        // Where a rule is known, it is shown as such.
        let what =
            if origin.is_some() { refused.cause } else { format!("{}: {}", refused.part, refused.cause) };
        lacks.push(ringfence_audit::would_not_run(origin.as_ref(), what, refused.remedy));
    }
    let path = invoker.variables.get(OsStr::new("PATH"));
    let search = path.into_iter().flat_map(std::env::split_paths).filter(|path| path.is_absolute());
    let search: Vec<PathBuf> = search.collect();
    let subject = Subject { policy: &policy, workspace: &workspace, search: &search, look: true };
    let mut findings = ringfence_audit::audit(&subject);
    findings.extend(lacks);
    ringfence_audit::rank(&mut findings);
    findings
}

fn print_sarif(findings: &[Finding], file: &str, invoker: &Invoker) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    super::print_json(&ringfence_audit::sarif(findings, version, file, Path::new(&invoker.cwd)))
}

fn number(findings: &[&Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

/// The verdict, then the findings, the worst first.
fn human(shown: &str, findings: &[Finding], counted: &[&Finding], refused: bool) -> String {
    let counts: Vec<String> = Level::ALL
        .into_iter()
        .filter_map(|level| Some((number(counted, level), level)).filter(|(number, _)| *number > 0))
        .map(|(number, level)| format!("{number} {level}"))
        .collect();
    let open = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let runs = if refused { "valid, but `run` would refuse it on this host" } else { "valid" };
    let mut text = format!("{shown}: {runs}; {open}\n");
    for finding in findings {
        let colour = match finding.level {
            Level::High => 31,
            Level::Medium => 33,
            Level::Low => 36,
            Level::Note => 32,
        };
        let place = match finding.line {
            0 => finding.file.clone(),
            line => format!("{}:{line}", finding.file),
        };
        let accepted = if finding.accepted { " (accepted)" } else { "" };
        let one_line = |text: &str| terminal::escape(text.replace('\n', "\\n"));
        let _ = writeln!(
            text,
            "\n\u{1b}[1;{colour}m{:<6}\u{1b}[0m {}  {}{accepted}\n       {}\n       why: {}\n       do:  {}",
            finding.level,
            finding.rule.id,
            one_line(&place),
            one_line(&finding.what),
            one_line(&finding.why),
            one_line(&finding.remedy),
        );
    }
    text
}
