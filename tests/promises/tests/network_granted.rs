//! `approvals.grantable.hosts`: what cannot be reached, until its owner lets it, and for as long.

use ringfence_promises::World;
use serde_json::Value;

fn policy(world: &World, more: &str) -> String {
    let base = world.base.display();
    world.place.policy(&format!(
        "[files]\nread = [\"{base}/ca.pem\"]\n[network]\nallow = [\"six.example:80\"]\ndeny = [\"bad.wild.example\"]\n[approvals]\n{more}"
    ))
}

fn details(world: &World, kind: &str) -> Vec<Value> {
    let events = world.events().into_iter().filter(|event| event["kind"] == kind);
    events.map(|event| event["detail"].clone()).collect()
}

#[test]
fn a_destination_is_granted_for_a_time_and_its_connections_end_with_it() {
    let world = World::new();
    let policy = policy(
        &world,
        "grantable = { hosts = [\"allowed.example:80\", \"allowed.example:7001\", \"*.wild.example:8000\", \
         \"private.example:80\", \"203.0.113.0/24:8000\"] }",
    );
    let outcome = world.host(&format!(
        r#"
"$RF" start dev --policy {policy} --workspace . >/dev/null
inside() {{ "$RF" exec dev -- "$@"; }}
grant() {{ "$RF" grant dev --host "$@" >/dev/null 2>&1; echo "grant $1 $?"; }}
get() {{ inside curl -sm5 "$@"; echo "get $1 $?"; }}
holds='exec 3<>/dev/tcp/allowed.example/7001; echo hi >&3; read -r l <&3; echo "got $l"; read -r l <&3; echo "ended $?"'
get http://allowed.example/before
grant allowed.example:80 --for 2s --why 'a look'
grant allowed.example:7001
get http://allowed.example/during
inside timeout 9 bash -c "$holds" & holds_one=$!
sleep 1
"$RF" revoke dev --host allowed.example:7001 >/dev/null; echo "revoke $?"
wait $holds_one
get http://allowed.example:7001/gone
sleep 1.3
get http://allowed.example/after
for wish in denied.example:80 allowed.example:7000 bad.wild.example:8000 six.example:80; do grant $wish; done
grant '*.wild.example:8000'
get http://www.wild.example:8000/wild
get http://bad.wild.example:8000/bad
grant private.example:80
get http://private.example/private
get http://203.0.113.20:8000/early
grant 203.0.113.20:8000
get http://203.0.113.20:8000/address
"$RF" revoke dev >/dev/null; echo "all $?"
get http://www.wild.example:8000/last
"$RF" explain --policy {policy} --host www.wild.example:8000
"$RF" stop dev --grace 0 >/dev/null"#
    ));
    for line in [
        "get http://allowed.example/before 6",
        "grant allowed.example:80 0",
        "ALLOWED host=allowed.example path=/during",
        "got hi",
        "ended 1",
        "revoke 0",
        "get http://allowed.example/after 6",
        "grant denied.example:80 126",
        "grant allowed.example:7000 126",
        "grant bad.wild.example:8000 126",
        "grant six.example:80 126",
        "grant *.wild.example:8000 0",
        "path=/wild",
        "get http://bad.wild.example:8000/bad 6",
        "get http://203.0.113.20:8000/early 7",
        "get http://203.0.113.20:8000/address 0",
        "all 0",
        "get http://www.wild.example:8000/last 6",
        "be granted while it runs www.wild.example:8000: allowed: `*.wild.example:8000` in `approvals.grantable.hosts`",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(!outcome.out.contains("get http://allowed.example:7001/gone 0"), "{outcome:?}");
    assert!(world.refused("private.example", 80, "a private address"), "{:#?}", world.events());
    let hits = world.log("hits.log");
    for never in ["/before", "/after", "/bad", "/private", "/early", "/last"] {
        assert!(!hits.contains(never), "{never}: {hits}");
    }
    let grants = details(&world, "grant");
    let first = grants.iter().find(|grant| grant["path"] == "allowed.example:80").unwrap();
    assert_eq!(
        (&first["access"], &first["why"], &first["seconds"]),
        (&"connect".into(), &"a look".into(), &2.into())
    );
    let ended = details(&world, "revoke");
    let cause = |path: &str| ended.iter().find(|one| one["path"] == path).map(|one| one["cause"].clone());
    assert_eq!(cause("allowed.example:80"), Some("expired".into()), "{ended:?}");
    assert_eq!(cause("allowed.example:7001"), Some("revoked".into()), "{ended:?}");
}

const ASKS: &str = "on_refusal = \"ask\"\ngrantable = { hosts = [\"allowed.example:80\", \"alias.example:80\", \
                    \"203.0.113.20:8000\"] }";

#[test]
fn who_connects_waits_for_its_owner_and_nobody_else_does() {
    let world = World::new();
    let policy = policy(&world, ASKS);
    let outcome = world.host(&format!(
        r#"
"$RF" run --policy {policy} --workspace . -- bash -c '
curl -sm20 http://allowed.example/one & curl -sm20 http://allowed.example/two &
curl -sm5 http://six.example/beside; curl -sm5 http://denied.example/; echo "name $?"; wait
curl -sm20 http://alias.example/no; echo "no $?"; curl -sm20 http://203.0.113.20:8000/address' 2>err & run=$!
asked() {{ for n in $(seq 200); do grep -q "waits to connect to $1" err && return; sleep 0.05; done; echo "never $1"; }}
asked allowed.example:80; sleep 0.5
"$RF" grant last --host allowed.example:80 >/dev/null; echo "yes $?"
asked alias.example:80; "$RF" revoke last --host alias.example:80 >/dev/null; echo "refuse $?"
asked 203.0.113.20:8000; "$RF" grant last --host 203.0.113.20:8000 >/dev/null
wait $run; cat err"#
    ));
    for line in
        ["path=/one", "path=/two", "path=/beside", "name 6", "yes 0", "refuse 0", "no 56", "path=/address"]
    {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    let at = |text: &str| outcome.out.find(text).unwrap();
    assert!(at("path=/beside") < at("path=/one"), "others wait too: {outcome:?}");
    assert!(!world.log("hits.log").contains("/no "), "{}", world.log("hits.log"));
    assert!(world.refused("alias.example", 80, "the owner was asked: the owner refused it"));
    let asked = details(&world, "ask");
    assert!(asked.iter().any(|ask| {
        ask["path"] == "allowed.example:80"
            && ask["purpose"] == "connect"
            && ask["program"].as_str().is_some_and(|program| program.ends_with("curl"))
    }));
}

#[test]
fn the_terminal_asks_about_a_connection() {
    let world = World::new();
    let policy = policy(&world, ASKS);
    let driver = r#"
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
seen, answers, end = b"", [(b"allowed.example:80", b"t\r"), (b"alias.example:80", b"n\r")], time.monotonic() + 25
while time.monotonic() < end:
    if answers and answers[0][0] in seen:
        time.sleep(0.8); os.write(terminal, answers.pop(0)[1])
    if select.select([terminal], [], [], 0.1)[0]:
        try: part = os.read(terminal, 4096)
        except OSError: break
        seen += part
os.waitpid(pid, 0)
print(seen.decode(errors="replace"))"#;
    let driver = world.place.write(world.place.base.path().join("driver.py"), driver);
    let outcome = world.host(&format!(
        "python3 {} \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \
         'curl -sm20 http://allowed.example/terminal; curl -sm20 http://alias.example/no; echo \"no $?\"'",
        driver.display()
    ));
    assert!(outcome.out.contains("path=/terminal") && outcome.out.contains("no 56"), "{outcome:?}");
    let grants = details(&world, "grant");
    assert!(grants.len() == 1 && grants[0]["seconds"] == 600, "{grants:?}");
    assert!(!world.log("hits.log").contains("/no "));
}

/// It is the same clock for whatever waits; here it runs faster.
#[test]
fn who_is_not_answered_in_time_is_refused() {
    let world = World::new();
    let asks = ASKS.replace("hosts", "commands = [\"touch *\"], hosts");
    let policy = policy(&world, &asks);
    let lines = std::fs::read_to_string(&policy).unwrap();
    world.place.write(&policy, &format!("{lines}\n[commands]\nallow = [\"bash\", \"curl **\"]\n"));
    let outcome = world.host(&format!(
        r#"
RINGFENCE_TEST_PATIENCE=2 "$RF" run --policy {policy} --workspace . -- bash -c '
curl -sm30 http://allowed.example/late; echo "connect $?"; touch x; echo "start $?"' 2>&1"#
    ));
    for line in ["connect 56", "start 126"] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}");
    }
    assert!(!world.log("hits.log").contains("/late"), "{outcome:?}");
    let late = "the owner was asked: nobody answered in time";
    let refused = world.events().iter().filter(|event| event.to_string().contains(late)).count();
    assert_eq!(refused, 2, "{:#?}", world.events());
}

/// A name of `grantable.hosts` leads somewhere once it is granted, though nothing else of the network is there.
#[test]
fn what_is_granted_by_its_name_is_reached_without_any_other_network() {
    let world = World::new();
    for (more, asked) in [("", false), ("on_refusal = \"ask\"\n", true)] {
        let policy = world
            .place
            .policy(&format!("[approvals]\n{more}grantable = {{ hosts = [\"allowed.example:80\"] }}"));
        let before = if asked { "true" } else { "inside curl -sm5 http://allowed.example/before" };
        let outcome = world.host(&format!(
            r#"
"$RF" start dev --policy {policy} --workspace . >/dev/null
inside() {{ "$RF" exec dev -- "$@"; }}
{before}; echo "before $?"
"$RF" grant dev --host allowed.example:80; echo "grant $?"
inside curl -sm5 http://allowed.example/alone; echo "get $?"
"$RF" stop dev --grace 0 >/dev/null"#
        ));
        let before = if asked { "before 0" } else { "before 6" };
        for line in [before, "grant 0", "path=/alone", "get 0"] {
            assert!(outcome.out.contains(line), "{line}: {outcome:?}");
        }
    }
    assert!(!world.log("hits.log").contains("/before"));
}
