//! Credentials of which one would take another's place, as far as a policy alone says so.

use crate::credential::Credential;
use crate::destination::covers;
use crate::diagnostic::Problem;
use crate::merge::Merged;

/// Each pair once.
pub(super) fn contradictions(merged: &Merged) -> Vec<Problem> {
    let mut found = Vec::new();
    for (number, (name, at)) in merged.credentials.iter().enumerate() {
        for (other, before) in merged.credentials.iter().take(number) {
            let (one, two) = (&before.value, &at.value);
            let Some(why) = why(one, two).filter(|_| meet(one, two)) else { continue };
            let problem = Problem::new(at.place, format!("`{other}` and `{name}`: {why}"));
            let help = "name each host in one of them, or tell them apart by `paths` or `methods`";
            found.push(problem.related(before.place, "the other one".to_owned()).help(help.to_owned()));
        }
    }
    found
}

fn why(one: &Credential, other: &Credential) -> Option<&'static str> {
    let git = |credential: &Credential| credential.expose.as_ref().is_some_and(|expose| expose.git);
    let put = |credential: &Credential| credential.expose.is_none() && !credential.signs();
    let apart =
        !shared(&one.http.paths, &other.http.paths) || !shared(&one.http.methods, &other.http.methods);
    if git(one) && git(other) {
        Some("git sends one of them to a host, whatever it asks for there")
    } else if apart {
        None
    } else if one.git_only() && other.git_only() {
        Some("two keys for the same repositories, of which the first would be taken")
    } else if put(one) && put(other) && same_place(one, other) {
        Some("both would be put in the same place of a request, which is refused then")
    } else {
        None
    }
}

/// Whether lists that bound something, or do not where they are empty, have something in common that is written the same.
fn shared<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|entry| other.contains(entry))
}

fn same_place(one: &Credential, other: &Credential) -> bool {
    one.inject.first().zip(other.inject.first()).is_some_and(|(one, other)| one.same_place(other))
}

/// Whether a host may be both's.
pub(super) fn meet(one: &Credential, other: &Credential) -> bool {
    let mut pairs = one.hosts.iter().flat_map(|one| other.hosts.iter().map(move |other| (one, other)));
    pairs.any(|(one, other)| {
        one.port == other.port && (covers(&one.host, &other.host) || covers(&other.host, &one.host))
    })
}
