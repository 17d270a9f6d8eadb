//! Commands that a line of policy is better not written for, and why.

use ringfence_policy::{command_words, holds_code};

/// Clients, and what they do that others see and nobody takes back.
const PUBLISHING: &[(&[&str], &[&str])] = &[
    (&["cargo"], &["publish", "yank", "owner", "login"]),
    (
        &["npm", "pnpm", "yarn", "bun"],
        &["publish", "unpublish", "deprecate", "dist-tag", "owner", "access", "token"],
    ),
    (&["git"], &["push", "send-email"]),
    (&["docker", "podman", "buildah", "nerdctl", "helm", "oras", "skopeo"], &["push", "copy", "login"]),
    (&["twine"], &["upload"]),
    (&["gem"], &["push", "yank", "owner"]),
    (&["poetry", "uv", "flit", "hatch", "pdm"], &["publish"]),
    (&["gh", "glab"], &["release", "pr", "mr", "repo", "api", "secret", "workflow"]),
    (&["kubectl"], &["apply", "create", "delete", "replace", "patch", "scale", "exec"]),
    (&["terraform", "tofu", "pulumi"], &["apply", "destroy", "up", "import"]),
    (&["mvn", "gradle"], &["deploy", "publish"]),
];

/// Why an entry for this command would be unwise, if it would.
pub(crate) fn command(line: &str) -> Option<String> {
    let words = command_words(line);
    let (program, rest) = words.split_first()?;
    let name = program.rsplit('/').next().unwrap_or_default();
    let arguments: Vec<&[u8]> = rest.iter().map(String::as_bytes).collect();
    if holds_code(program, &arguments) {
        return Some(
            "unwise: what it does is code, or a setting that may be some, among its words".to_owned(),
        );
    }
    // The first behind an option may be its value.
    let behind = rest.first().is_some_and(|word| word.starts_with('-'));
    let mut verbs = rest.iter().filter(|word| !word.starts_with('-')).take(if behind { 2 } else { 1 });
    let of = |(clients, _): &&(&[&str], &[&str])| clients.contains(&name);
    let (_, published) = PUBLISHING.iter().find(of)?;
    let verb = verbs.find(|verb| published.contains(&verb.as_str()))?;
    Some(format!(
        "unwise, unless the task is to do just that: `{name} {verb}` acts on what others see or use"
    ))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn what_publishes_and_code_are_unwise() {
        for line in [
            "cargo publish",
            "cargo publish --dry-run",
            "git -C d push origin",
            "/usr/bin/npm publish",
            "git -c core.pager=id log",
            "dash -c 'echo hi'",
            "bash -lc 'echo hi'",
            "python3 -c 1",
            "perl -ne 1 f",
            "ssh -oProxyCommand=x h",
        ] {
            assert!(command(line).is_some_and(|why| why.starts_with("unwise")), "{line}");
        }
        for line in [
            "ls -c",
            "sh ./build.sh -c",
            "sh -e ./x.sh c",
            "git commit -m push",
            "git -c user.name=x commit",
            "cargo build",
            "awk '{print}'",
            "python3 x.py -c",
            "python3",
            "env sh ./y.sh",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
