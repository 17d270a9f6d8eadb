//! The gateway under load: many connections open at once, and peers that would hold others up.

use ringfence_promises::{Outcome, World};
use ringfence_real::long;

const LOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/network/load.py");
/// KiB that the gateway of a debug build may take for a connection (of a release build, a fifth); its two sockets are the
/// kernel's matter.
const EACH: f64 = 64.0;

/// Runs the client inside; its lines, and the gateway's resident KiB at the least and the most, as `gateway LEAST MOST`.
fn loaded(what: &str, number: u32) -> Outcome {
    let world = World::new();
    let policy = world.base.join("load.toml");
    let ports = ["80", "443", "7100", "7101", "7102"].map(|port| format!("\"allowed.example:{port}\""));
    let text = format!(
        "version = 1\nextends = [\"default\"]\n[files]\nread = [\"{LOAD}\"]\n[network]\nallow = [{}]\n",
        ports.join(", ")
    );
    std::fs::write(&policy, text).expect("a policy");
    world.host(&format!(
        r#"ulimit -n 65536 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"
# The gateway takes two descriptors a connection, and keeps some for other things.
room=$((($(ulimit -n) - 128) / 2 - 100))
number={number}; [ $number -le $room ] || number=$room
/usr/bin/python3 {LOAD} server & server=$!
trap 'kill $server' EXIT
for n in $(seq 300); do [ -e $BASE/up ] && break; sleep 0.1; done
"$RF" run --quiet --policy {} --workspace . -- /usr/bin/python3 {LOAD} {what} $number & run=$!
least=999999999 most=0
while kill -0 $run 2>/dev/null; do
    for child in $(cat /proc/$run/task/$run/children 2>/dev/null); do
        grep -qs ringfence-gate /proc/$child/comm || continue
        size=$(awk '/^VmRSS/ {{ print $2 }}' /proc/$child/status 2>/dev/null)
        [ -n "$size" ] || continue
        [ "$size" -ge "$least" ] || least=$size
        [ "$size" -le "$most" ] || most=$size
    done
    sleep 0.1
done
wait $run && echo "gateway $least $most""#,
        policy.display()
    ))
}

/// The numbers of the line that begins with this word.
fn numbers(outcome: &Outcome, word: &str) -> Vec<f64> {
    let line = outcome.out.lines().find_map(|line| line.strip_prefix(word));
    assert!(line.is_some(), "no line `{word}`: {outcome:?}");
    line.unwrap_or_default().split(' ').filter_map(|text| text.parse().ok()).collect()
}

#[test]
fn many_connections_are_open_at_once() {
    let asked: u32 = if long() { 10_000 } else { 800 };
    let outcome = loaded("client", asked);
    let open = numbers(&outcome, "open")[0];
    // Fewer where this user may not have more descriptors.
    assert!(open >= f64::from(asked.min(400)), "{outcome:?}");
    assert_eq!(numbers(&outcome, "again")[0], open, "{outcome:?}");
    assert!(numbers(&outcome, "well")[0] < 10.0, "{outcome:?}");
    let memory = numbers(&outcome, "gateway");
    let each = (memory[1] - memory[0]) / open;
    println!(
        "{open} connections at once: {:.1} KiB each in the gateway; {}",
        each,
        outcome.out.lines().next().unwrap_or_default()
    );
    assert!(each < EACH, "{outcome:?}");
}

#[test]
fn who_is_slow_or_never_ends_holds_nobody_up() {
    let number = if long() { 300 } else { 40 };
    let outcome = loaded("bad", number);
    assert_eq!(numbers(&outcome, "bad")[0], f64::from(number) * 6.0, "{outcome:?}");
    let waits: Vec<f64> =
        outcome.out.lines().filter_map(|line| line.strip_prefix("well ")?.parse().ok()).collect();
    assert!(waits.len() == 2 && waits.iter().all(|wait| *wait < 10.0), "{outcome:?}");
    let memory = numbers(&outcome, "gateway");
    // What nobody reads is not taken from the server either.
    println!(
        "{} bad peers: answers in {waits:?} s, the gateway grew by {} KiB",
        number * 6,
        memory[1] - memory[0]
    );
    assert!(memory[1] - memory[0] < 64.0 * 1024.0, "{outcome:?}");
}
