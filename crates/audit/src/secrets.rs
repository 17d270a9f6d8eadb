//! Secrets that the task could read: known locations that a grant opens, files by their names and contents, values in the policy.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ringfence_policy::{
    Access, Context, EnvironmentValue, Judge, Mode, Origin, PathPattern, PatternSet, Policy, opened_by_habit,
    opened_secrets, presets, why_secret,
};

use crate::finding::{Found, Level, Rule};
use crate::texts::{self, Secret};
use crate::{Subject, history, rules};

/// Entries of a tree that are looked at, how deep, and files of it that are read.
const MOST: (usize, usize, usize) = (20_000, 12, 2_000);
/// Directories that hold other people's files.
const SKIPPED: &[&str] = &[
    ".git",
    "node_modules",
    "target",
    ".venv",
    "venv",
    "vendor",
    ".tox",
    "__pycache__",
    ".cache",
    "dist",
    "build",
];
/// Granted system directories: what is secret there is known by its place.
const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/snap"];

pub(crate) fn look(subject: &Subject<'_>, found: &mut Found) {
    let policy = subject.policy;
    for (grant, secret) in opened_secrets(policy) {
        found.add(
            &rules::SECRET_GRANTED,
            Some(&grant.origin),
            format!("`{}` opens the known secret location `{}`", grant.value.path.display(), secret.text()),
            why_secret(&secret),
            "remove it, and let the gateway hold the secret: `[credentials.NAME]`",
        );
    }
    in_policy(policy, found);
    decoys(policy, found);
    if !subject.look {
        return;
    }
    let judge = Judge::new(policy, subject.workspace);
    if policy.workspace.mode != Mode::Temporary {
        let at = policy.workspace.path.as_ref().map(|rule| &rule.origin);
        let kinds = Kinds { rule: &rules::SECRET_IN_WORKSPACE, named: Level::Medium, held: Level::Medium };
        tree(subject.workspace, at, &kinds, &judge, found);
        history::look(policy, subject.workspace, found);
    }
    let granted = policy.files.read.iter().chain(&policy.files.exec).chain(&policy.files.write);
    for grant in granted {
        let path = &grant.value.path;
        let system = SYSTEM.iter().any(|system| path.starts_with(system));
        // What presets grant was chosen for holding none, and is the same everywhere.
        if system || grant.origin.source.starts_with("preset ") || path.starts_with(subject.workspace) {
            continue;
        }
        let kinds = Kinds { rule: &rules::SECRET_IN_GRANT, named: Level::Medium, held: Level::High };
        tree(path, Some(&grant.origin), &kinds, &judge, found);
    }
}

/// Those that tell of every start of a tool.
fn decoys(policy: &Policy, found: &mut Found) {
    for rule in &policy.files.decoy {
        let Some(tools) = opened_by_habit(&rule.value) else { continue };
        found.add(
            &rules::DECOY_COMMON,
            Some(&rule.origin),
            format!("`{}` is a decoy, and opened by {tools} whenever one starts", rule.value.display()),
            "incidents that are none hide one that is",
            "name a file that nothing opens unasked, such as `~/.aws/credentials`, if the task uses those tools",
        );
    }
}

/// Values that are written out.
fn in_policy(policy: &Policy, found: &mut Found) {
    for (name, rule) in &policy.environment.set {
        let EnvironmentValue::Text(text) = &rule.value else { continue };
        let Some(secret) = texts::value(name, text) else { continue };
        found.add(
            &rules::SECRET_IN_POLICY,
            Some(&rule.origin),
            format!("`environment.set.{name}` holds {secret}"),
            "the task holds it, and so does whoever reads the policy file or its history",
            format!("let the gateway hold it: `[credentials.NAME]` with `expose = {{ env = \"{name}\" }}`; and rotate it"),
        );
    }
}

/// How findings of one tree are told.
struct Kinds {
    rule: &'static Rule,
    /// By a name alone.
    named: Level,
    /// By what is in it.
    held: Level,
}

/// Names of files that are secrets in any tree, from the preset that hides them.
#[must_use]
pub fn names_in_trees() -> &'static [PathPattern] {
    static NAMES: OnceLock<Vec<PathPattern>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let preset = presets().iter().find(|(name, _)| *name == "coding-agent").map_or("", |(_, text)| *text);
        let table: toml::Table = toml::from_str(preset).unwrap_or_default();
        let deny = table.get("files").and_then(|files| files.get("deny")).and_then(toml::Value::as_array);
        let texts = deny.into_iter().flatten().filter_map(toml::Value::as_str);
        texts.filter_map(|text| PathPattern::parse(text, &Context::default()).ok()).collect()
    })
}

fn tree(root: &Path, at: Option<&Origin>, kinds: &Kinds, judge: &Judge<'_>, found: &mut Found) {
    let Ok(names) = PatternSet::new(names_in_trees(), root) else { return };
    // Source code is read by a count of its own: settings are few, and come among it.
    let (mut entries, mut settings, mut sources) = (0, 0, 0);
    let mut pending = vec![(root.to_path_buf(), 0)];
    while let Some((path, depth)) = pending.pop() {
        entries += 1;
        if entries > MOST.0 {
            return;
        }
        // Links are not followed: what they lead to is judged where it is.
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() {
            let skipped =
                depth > 0 && path.file_name().is_some_and(|name| SKIPPED.iter().any(|own| name == *own));
            if depth < MOST.1 && !skipped {
                let mut below: Vec<PathBuf> = std::fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .take(MOST.0)
                    .map(|entry| entry.path())
                    .collect();
                // From the first to the last, and the same each time.
                below.sort_by(|a, b| b.cmp(a));
                pending.extend(below.into_iter().map(|path| (path, depth + 1)));
            }
            continue;
        }
        if !metadata.is_file() || metadata.len() == 0 {
            continue;
        }
        let named = names.matches(&path);
        let read = match (texts::may_hold(&path), texts::source(&path)) {
            (true, _) => Some(&mut settings),
            (false, true) => Some(&mut sources),
            (false, false) => None,
        };
        let held = read.filter(|read| **read < MOST.2).and_then(|read| {
            *read += 1;
            texts::held(&path)
        });
        if (named || held.is_some()) && judge.file(&path, Access::Read).is_allow() {
            tell(&path, held, at, kinds, found);
        }
    }
}

fn tell(path: &Path, held: Option<Secret>, at: Option<&Origin>, kinds: &Kinds, found: &mut Found) {
    let shown = path.display();
    let (level, what) = match held {
        Some(secret) => (kinds.held, format!("the task can read `{shown}`, which holds {secret}")),
        None => (kinds.named, format!("the task can read `{shown}`, whose name is that of a secret")),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let remedy = match texts::source(path) {
        true => "take it out of the code, and let the gateway hold it: `[credentials.NAME]`".to_owned(),
        false => format!("hide it: `files.deny = [\"**/{name}\"]`; or show a bait: `files.decoy`"),
    };
    found.add_as(
        kinds.rule,
        level,
        at,
        what,
        "what the task reads it can repeat: in its output, in its changes, and to any host that it reaches",
        remedy,
    );
}
