//! What may be written that runs later, and what is written without review.

use std::path::{Path, PathBuf};

use ringfence_policy::{Grant, Mode, PatternSet, Policy, Rule};
use ringfence_workspace::runs_later;

use crate::data;
use crate::finding::{Found, Level};
use crate::{Subject, rules};

/// Names that stand for each kind of file in a workspace that something on the host runs; a test holds them against the list of `apply`.
const SAMPLES: &[&str] = &[
    ".git/hooks/pre-commit",
    ".git/config",
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    ".vscode/tasks.json",
    ".idea/workspace.xml",
    ".envrc",
    ".devcontainer/devcontainer.json",
    ".claude/settings.json",
    ".cursor/mcp.json",
    ".mcp.json",
    ".husky/pre-commit",
    ".pre-commit-config.yaml",
    "Makefile",
    "CMakeLists.txt",
    "Cargo.toml",
    "build.rs",
    "package.json",
    "pyproject.toml",
    "setup.py",
    "conftest.py",
];

/// Where what is written is kept, and hardly ever run.
const KEPT: &[&str] = &["/tmp", "/var/tmp", "/var/cache", "/var/log", "/var/lib", "/srv", "/mnt", "/media"];

pub(crate) fn look(subject: &Subject<'_>, found: &mut Found) {
    let policy = subject.policy;
    let mut places = data::places(&policy.home);
    places.extend(subject.search.iter().map(|path| data::Later {
        path: path.clone(),
        level: Level::High,
        why: "is found first when the user calls a program",
    }));
    for grant in &policy.files.write {
        written(grant, &places, subject, found);
    }
    if policy.workspace.mode == Mode::Direct {
        direct(policy, subject.workspace, found);
    }
}

fn written(grant: &Rule<Grant>, places: &[data::Later], subject: &Subject<'_>, found: &mut Found) {
    let path = &grant.value.path;
    let real: PathBuf =
        if subject.look { path.canonicalize().unwrap_or_else(|_| path.clone()) } else { path.clone() };
    // Below a workspace of its own kind the grant changes nothing that this file is about.
    if path.starts_with(subject.workspace) && subject.policy.workspace.mode != Mode::Temporary {
        return;
    }
    let near = |place: &&data::Later| {
        [path, &real].into_iter().any(|path| path.starts_with(&place.path) || place.path.starts_with(path))
    };
    let (shown, home) = (path.display(), &subject.policy.home);
    if let Some(place) =
        places.iter().filter(near).max_by_key(|place| (place.level, place.path.as_os_str().len()))
    {
        let what = match path.starts_with(&place.path) || real.starts_with(&place.path) {
            true => format!("`{shown}` may be written"),
            false => format!("`{shown}` may be written, and with it `{}`", place.path.display()),
        };
        found.add_as(
            &rules::RUNS_LATER,
            place.level,
            Some(&grant.origin),
            what,
            format!("what is written there {}", place.why),
            "grant it for reading, or let the task have a directory of its own and look at what it left",
        );
        return;
    }
    let kept = KEPT.iter().any(|kept| path.starts_with(kept)) && !path.starts_with(home)
        || path.starts_with(home.join(".cache"));
    found.add_as(
        &rules::WRITTEN_DIRECTLY,
        if kept { Level::Low } else { Level::Medium },
        Some(&grant.origin),
        format!("`{shown}` is written without review"),
        "what the task changes or removes there is changed on the host at once, and cannot be undone",
        "make it the workspace (`mode = \"review\"`), or grant a directory that holds nothing else",
    );
}

fn direct(policy: &Policy, workspace: &Path, found: &mut Found) {
    let protected = PatternSet::new(policy.workspace.protect.iter().map(|rule| &rule.value), workspace);
    let open = |held: bool| -> Vec<(&str, &str)> {
        SAMPLES
            .iter()
            .filter_map(|name| {
                let (own, why) = runs_later(name)?;
                let kept = protected.as_ref().is_ok_and(|set| set.matches(&workspace.join(name)));
                (own == held && !kept).then_some((*name, why))
            })
            .collect()
    };
    for (held, level) in [(true, Level::High), (false, Level::Medium)] {
        let names = open(held);
        let Some((_, why)) = names.first() else { continue };
        let list: Vec<String> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
        let lines: Vec<String> = names.iter().map(|(name, _)| format!("{:?}", top(name))).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.dedup();
        found.add_as(
            &rules::DIRECT_UNPROTECTED,
            level,
            policy.origins.get("workspace.mode"),
            format!("`mode = \"direct\"`, and the task may write {}", list.join(", ")),
            format!("{why}; there is no review before it does"),
            format!("write `mode = \"review\"`, or `protect = [{}]`", lines.join(", ")),
        );
    }
}

/// What of a name is worth protecting as a whole.
fn top(name: &str) -> &str {
    match name.strip_prefix(".git/") {
        Some(rest) => name.get(..5 + rest.find('/').unwrap_or(rest.len())).unwrap_or(name),
        None => name.split('/').next().unwrap_or(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_of_the_list() {
        for name in SAMPLES {
            assert!(runs_later(name).is_some(), "{name}");
        }
        assert!(runs_later("src/main.rs").is_none());
    }
}
