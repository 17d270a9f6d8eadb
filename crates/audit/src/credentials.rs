//! Credentials that are wider than the identity needs, or that the task can have without the gateway.

use std::path::Path;

use ringfence_policy::{Access, Credential, HostPattern, Judge, Policy, Rule, SecretSource};

use crate::data::{Kind, hosts};
use crate::finding::{Found, Level};
use crate::rules;

/// `looked`: the files of credentials were hidden, as a run hides them; otherwise nothing is known of them.
pub(crate) fn look(policy: &Policy, workspace: &Path, looked: bool, found: &mut Found) {
    let judge = looked.then(|| Judge::new(policy, workspace));
    for (name, rule) in &policy.credentials {
        for source in rule.value.source.parts() {
            readable(name, (rule, source), policy, judge.as_ref(), found);
        }
        wide(name, rule, found);
    }
}

fn readable(
    name: &str,
    (rule, source): (&Rule<Credential>, &SecretSource),
    policy: &Policy,
    judge: Option<&Judge<'_>>,
    found: &mut Found,
) {
    let (what, remedy) = match source {
        SecretSource::File(path) => {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            let reads = |judge: &Judge<'_>| {
                [path, &real].into_iter().any(|path| judge.file(path, Access::Read).is_allow())
            };
            if !judge.is_some_and(reads) {
                return;
            }
            let path = path.display();
            (
                format!("`{path}` is the source of `{name}`, and the task can read it"),
                format!("hide it: `files.deny = [\"{path}\"]`"),
            )
        }
        SecretSource::Env(variable) => {
            if !policy.environment.pass.iter().any(|pass| pass.value == *variable) {
                return;
            }
            (
                format!("the variable `{variable}` is the source of `{name}`, and the task gets it"),
                format!("take `{variable}` out of `environment.pass`"),
            )
        }
        SecretSource::Command(_)
        | SecretSource::SecretService(_)
        | SecretSource::SshAgent(_)
        | SecretSource::Gpg(_)
        | SecretSource::Oauth(_)
        | SecretSource::Spiffe(_) => return,
    };
    let why = "what the task holds itself, it can send anywhere; the gateway's bounds mean nothing then";
    found.add(&rules::CREDENTIAL_READABLE, Some(&rule.origin), what, why, remedy);
}

fn wide(name: &str, rule: &Rule<Credential>, found: &mut Found) {
    let (at, credential) = (Some(&rule.origin), &rule.value);
    for endpoint in &credential.hosts {
        match &endpoint.host {
            HostPattern::Below(domain) => {
                let anybody = hosts().group.iter().find(|group| {
                    let fits = |own: &String| {
                        own == domain
                            || own.ends_with(&format!(".{domain}"))
                            || domain.ends_with(&format!(".{own}"))
                    };
                    group.kind != Kind::Accounts && group.names.iter().any(fits)
                });
                let (level, why) = match anybody {
                    Some(group) => (Level::High, group.why.as_str()),
                    None => (
                        Level::Medium,
                        "one of them that is forgotten, rented out or taken over gets the secret",
                    ),
                };
                let what = format!("`{name}` goes to every name below `{domain}`");
                found.add_as(
                    &rules::CREDENTIAL_WILDCARD,
                    level,
                    at,
                    what,
                    why,
                    "name the hosts that need it",
                );
            }
            HostPattern::Name(host) => {
                let within = |own: &String| host == own || host.ends_with(&format!(".{own}"));
                let group = hosts()
                    .group
                    .iter()
                    .find(|group| group.kind == Kind::Drop && group.names.iter().any(within));
                if let Some(group) = group {
                    let what = format!("`{name}` goes to `{host}`");
                    found.add(&rules::CREDENTIAL_WILDCARD, at, what, &group.why, "remove that host");
                }
            }
            _ => {}
        }
    }
    // A key that signs goes on no request.
    if credential.signs() {
        return;
    }
    let (methods, paths) = (&credential.http.methods, &credential.http.paths);
    let all = |pattern: &str| matches!(pattern, "/**" | "/*" | "**");
    let any_path = paths.is_empty() || paths.iter().any(|path| all(path.text()));
    let (level, what) = match (methods.is_empty(), any_path) {
        (true, true) => (Level::Medium, "any request"),
        (true, false) => (Level::Low, "any method"),
        (false, true) if methods.iter().any(|method| !matches!(method.as_str(), "GET" | "HEAD")) => {
            (Level::Low, "any path")
        }
        _ => (Level::Note, ""),
    };
    if !what.is_empty() {
        found.add_as(
            &rules::CREDENTIAL_WIDE,
            level,
            at,
            format!("`{name}` serves {what} to its hosts"),
            "the task may do all that the credential may: delete, invite, mint further credentials",
            "name what the identity needs: `methods = [\"GET\"]`, `paths = [\"/repos/OWNER/**\"]`",
        );
    }
    if credential.expose.is_none() {
        found.add(
            &rules::CREDENTIAL_UNPLACED,
            at,
            format!("`{name}` is put on every request to its hosts"),
            "whatever runs in the sandbox uses it, without having been given a placeholder",
            "write `expose = { env = \"NAME\" }`, so that only who holds the placeholder uses it",
        );
    }
}
