//! Which refusals are told of without being asked for, and how many: one answer for the end of a run, its report and `explain`.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_record::Event;

use crate::explanation::{Explained, Explanation};
use crate::host::Host;
use crate::strongest::settle;

/// Where libraries connect by habit, whatever a program does (nscd(8), nss-systemd(8), syslog(3)).
const HABITS: [&str; 6] = [
    "/var/run/nscd/",
    "/run/nscd/",
    "/run/systemd/userdb/",
    "/run/systemd/resolve/",
    "/run/dbus/system_bus_socket",
    "/dev/log",
];

/// Whether `explain` lists it without `--all`. Who connects knows what it wants, so that is told though the host has no such socket.
pub(crate) fn is_listed(kind: &str, target: &str, purpose: &str, on_host: Option<bool>) -> bool {
    match kind {
        "decoy" => true,
        "socket" => on_host != Some(false) || !HABITS.iter().any(|habit| target.starts_with(habit)),
        "file" => on_host != Some(false) && !Host::habit(Path::new(target), purpose),
        _ => on_host != Some(false),
    }
}

/// Whether it is a thing that was refused: an incident, a limit or a secret that left is told of by itself.
fn is_refused(one: &Explanation) -> bool {
    one.listed
        && one.outcome == "refused"
        && one.purpose != "clean"
        && !["decoy", "limit", "network"].contains(&one.kind)
}

/// How many different things it stands for.
fn ways(one: &Explanation) -> u64 {
    one.ways.max(1)
}

/// How many different things were refused, how many secrets left all the same (masked, or let through), and decoys with
/// each program that opened one.
pub(crate) fn totals(explained: &Explained) -> (u64, u64, Vec<(String, String)>) {
    let decoys = explained.refusals.iter().filter(|one| one.kind == "decoy");
    let decoys = decoys.map(|one| (one.target.clone(), one.askers.first().cloned().unwrap_or_default()));
    let passed = explained.refusals.iter().filter(|one| ["masked", "let through"].contains(&one.outcome));
    let passed = passed.map(ways).sum();
    let refused = explained.refusals.iter().filter(|one| is_refused(one)).map(ways);
    (refused.sum(), passed, decoys.collect())
}

/// How many different things these events tell of as refused.
pub(crate) fn refused<'a>(events: impl Iterator<Item = &'a Event>, host: &Host) -> u64 {
    let (mut explained, mut places) = (Explained::default(), BTreeMap::new());
    for event in events {
        let kind = serde_json::to_value(event.kind()).unwrap_or_default();
        let detail = serde_json::to_value(event).unwrap_or_default();
        explained.add(&serde_json::json!({ "kind": kind, "detail": detail }), &mut places, host, None);
    }
    settle(&mut explained.refusals);
    totals(&explained).0
}
