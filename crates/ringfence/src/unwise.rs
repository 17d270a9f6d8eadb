//! Commands that a line of policy is better not written for, and why.

use ringfence_policy::{command_words, holds_code};

use crate::{chain, wrappers};

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
    of_words(&command_words(line))
}

fn of_words(words: &[String]) -> Option<String> {
    let (program, rest) = words.split_first()?;
    let name = program.rsplit('/').next().unwrap_or_default();
    let arguments: Vec<&[u8]> = rest.iter().map(String::as_bytes).collect();
    if holds_code(program, &arguments) {
        return Some(
            "unwise: what it does is code, or a setting that may be some, among its words".to_owned(),
        );
    }
    // What it starts does the same there, and has fewer words.
    let inner = chain::behind(words)
        .or_else(|| wrappers::behind(words).map(<[String]>::to_vec))
        .or_else(|| module(name, rest));
    if let Some(inner) = inner.filter(|inner| inner.len() <= rest.len()) {
        return of_words(&inner);
    }
    let own = rest.first().is_some_and(|word| match name {
        "cargo" => word.starts_with('+'),
        "yarn" => word == "npm",
        _ => false,
    });
    let of = |(clients, _): &&(&[&str], &[&str])| clients.contains(&name);
    let (_, published) = PUBLISHING.iter().find(of)?;
    let verbs = verbs(rest.get(usize::from(own)..).unwrap_or_default());
    let verb = verbs.into_iter().find(|verb| published.contains(verb))?;
    Some(format!(
        "unwise, unless the task is to do just that: `{name} {verb}` acts on what others see or use"
    ))
}

/// What may be its command: the first word behind options, each of which may have a value.
fn verbs(words: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    // Whether a command may stand here, and behind this word.
    let (mut here, mut next) = (true, false);
    for word in words {
        let option = here && word.starts_with('-');
        if here && !option {
            found.push(word.as_str());
        }
        (here, next) = (next || option, option);
    }
    found
}

/// The module that Python runs, which is a client as a rule that has its name.
fn module(name: &str, rest: &[String]) -> Option<Vec<String>> {
    let at = rest.iter().position(|word| !word.starts_with('-') || word.starts_with("-m"))?;
    let module = rest.get(at).filter(|_| name.starts_with("python") || name.starts_with("pypy"))?;
    let behind = rest.get(at + 1..)?;
    match module.strip_prefix("-m")? {
        "" => Some(behind.to_vec()),
        module => Some(std::iter::once(module.to_owned()).chain(behind.iter().cloned()).collect()),
    }
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
            "perl -iI -e 1",
            "bash-static -c ls",
            "nice python3 -c 1",
            "timeout 5 sh -c ls",
            "timeout 5 nice -n 3 git push",
            "env A=1 git push",
            "env -C d -u B npm publish",
            "git -c user.name=x -C d push origin",
            "python3 -m twine upload x",
            "python3 -I -mtwine upload x",
            "cargo +nightly publish",
            "yarn npm publish",
            "npm --registry U --otp 1 publish",
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
            "env",
            "env A=1",
            "timeout 5 make",
            "nice git commit -m push",
            "python3 -m http.server upload",
            "cargo +nightly build",
            "yarn npm audit",
            "git -C d log --grep push",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }
}
