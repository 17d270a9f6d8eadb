//! Whatever a network refuses, and whatever comes to nothing in it, is told once and counted.

use ringfence_promises::World;
use serde_json::Value;

fn world() -> World {
    World::new().in_tier(module_path!())
}

/// What the events of this kind say, in their order.
fn told(world: &World, kind: &str) -> Vec<Value> {
    world.place.told(kind)
}

#[test]
fn whatever_comes_to_the_port_of_names_by_tcp_is_told() {
    for sent in [
        r#"b"GET / HTTP/1.0\r\n\r\n""#,
        r#"struct.pack(">H", 2000) + b"x" * 2000"#,
        r#"b"\0\x20a secret""#,
        r#"b"s""#,
    ] {
        let world = world();
        let script = format!(
            "python3 - <<'END'\nimport socket, struct\ns = socket.create_connection((\"203.0.113.53\", 53), 5)\n\
             s.sendall({sent})\n\
             try: s.shutdown(socket.SHUT_WR); print(\"got\", s.recv(9))\nexcept OSError: print(\"reset\")\nEND"
        );
        let outcome = world.run("allow = [\"allowed.example:80\"]", &script);
        assert!(["got b''\n", "reset\n"].contains(&outcome.out.as_str()), "{sent}: {outcome:?}");
        let told = told(&world, "net.deny");
        assert!(
            told.len() == 1 && told[0]["host"] == "(a packet of TCP that asks for no name)",
            "{sent}: {told:#?}"
        );
    }
}

#[test]
fn who_connects_to_the_port_of_names_and_says_nothing_is_not_told_of() {
    let world = world();
    let script =
        "python3 -c 'import socket; s = socket.create_connection((\"203.0.113.53\", 53), 5); s.close()'";
    let _ = world.run("allow = [\"allowed.example:80\"]", script);
    assert_eq!(told(&world, "net.deny").len(), 0, "{:#?}", world.events());
}

/// What became of each connection that failed: program, how often, why.
fn failed(world: &World) -> Vec<(String, u64, String)> {
    let text = |detail: &Value, field: &str| detail[field].as_str().unwrap_or_default().to_owned();
    let name = |path: String| {
        path.rsplit('/').next().unwrap_or_default().trim_end_matches(char::is_numeric).to_owned()
    };
    let told = told(world, "net.fail").into_iter();
    told.map(|own| (name(text(&own, "program")), own["times"].as_u64().unwrap(), text(&own, "why"))).collect()
}

#[test]
fn what_fails_again_is_counted_and_who_else_fails_is_named() {
    let world = world();
    let script = "for i in 1 2 3 4 5; do curl -sm9 http://allowed.example:81/; done; exec 3<>/dev/tcp/allowed.example/81; cat <&3";
    let outcome = world.run("allow = [\"allowed.example:81\"]", script);
    let refused = |times| {
        move |(program, own, why): &&(String, u64, String)| {
            program == "curl" && *own == times && why.contains("refused")
        }
    };
    let failed = failed(&world);
    assert!(
        failed.iter().any(|one| refused(1)(&one)) && failed.iter().any(|one| refused(4)(&one)),
        "{failed:?} {outcome:?}"
    );
    assert!(failed.iter().any(|one| one.0 == "bash" && one.1 == 1), "{failed:?}");
    assert_eq!(failed.len(), 3, "{failed:?}");
}

#[test]
fn what_fails_too_often_to_be_told_is_no_refusal() {
    let world = world();
    let script = r#"python3 - <<'END'
import socket
from concurrent.futures import ThreadPoolExecutor
def one(n):
    try:
        with socket.create_connection(("n%d.wild.example" % n, 8000), 9) as s: s.recv(1)
    except OSError: pass
with ThreadPoolExecutor(16) as pool: list(pool.map(one, range(4196)))
END"#;
    let outcome = world.run("allow = [\"*.wild.example:8000\"]", script);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(told(&world, "file.deny").iter().all(|own| own["path"] != "(others)"), "{outcome:?}");
    let failed = told(&world, "net.fail");
    let others: Vec<_> = failed.iter().filter(|own| own["host"] == "(others)").collect();
    assert!(
        failed.len() == 4097 && others.len() == 1 && others[0]["times"] == 100,
        "{}: {others:?}",
        failed.len()
    );
    let explained = world.place.ringfence(&["explain"]).out;
    assert!(!explained.contains("more refusals") && explained.contains("100 more"), "{}", explained.len());
}

/// A server that takes no connection any more, so that the kernel drops what asks for one.
const DROPS: &str = r#"python3 -c 'import socket, sys, time
held = []
for port in (8091, 8092, 8093, 8094):
    held.append(socket.create_server(("203.0.113.10", port), backlog=0))
    held.append(socket.create_connection(("203.0.113.10", port)))
print("up", flush=True); time.sleep(60)' > up & server=$!
while ! [ -s up ]; do sleep 0.05; done
"#;

#[test]
fn who_gives_up_before_the_server_answers_is_told_of() {
    let world = world();
    let policy = world.policy(
        "allow = [{ host = \"allowed.example\", port = 8091, protocol = \"http\" }, \"allowed.example:8092\", \
         { host = \"allowed.example\", port = 8093, tls = true, inspect = false }, \
         { host = \"allowed.example\", port = 8094, tls = true, methods = [\"GET\"] }]",
    );
    let inside = "for url in http://allowed.example:8091 http://allowed.example:8092 https://allowed.example:8093 https://allowed.example:8094; do curl -sm2 $url & done; wait";
    let begun = std::time::Instant::now();
    let outcome = world.host(&format!("{DROPS}{} -- bash -c '{inside}'; kill $server", world.start(&policy)));
    assert!(begun.elapsed().as_secs() < 20, "{outcome:?}");
    let ports: Vec<_> = told(&world, "net.fail").iter().map(|own| own["port"].as_u64().unwrap()).collect();
    let failed = failed(&world);
    assert_eq!(
        std::collections::BTreeSet::from_iter(ports),
        (8091..8095).collect(),
        "{failed:?} {outcome:?}"
    );
    assert!(failed.len() == 4 && failed.iter().all(|one| one.2.contains("gave up")), "{failed:?}");
}

#[test]
fn each_way_that_explain_does_not_list_is_counted_for_itself() {
    let world = world();
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11; do curl -sm9 -X m$n http://allowed.example/ >/dev/null; done; \
                  for n in 1 2; do curl -sm9 -H X-HTTP-Method-Override:PUT http://allowed.example/ >/dev/null; done";
    let policy = world.policy("allow = [{ host = \"allowed.example\", port = 80, methods = [\"GET\"] }]");
    let outcome = world.host(&format!("{} -- bash -c '{script}'; \"$RF\" explain", world.start(&policy)));
    assert_eq!(outcome.out.matches("`methods` in the host's rule").count(), 8, "{outcome:?}");
    let more: Vec<_> = outcome.out.lines().skip_while(|line| !line.contains("at least")).take(2).collect();
    assert!(
        more[0].contains("(at least 5 times)") && more[1].contains("refused: 4 more ways"),
        "{outcome:?}"
    );
    assert!(!outcome.out.contains("no line of `network.allow`"), "{outcome:?}");
}

/// Answers before it has read what it is sent.
const EARLY: &str = r#"python3 -c 'import socket
server = socket.create_server(("203.0.113.10", 8095))
print("up", flush=True)
while True:
    c, _ = server.accept(); c.recv(9999); c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    while c.recv(9999): pass' > up & server=$!
while ! [ -s up ]; do sleep 0.05; done
"#;

#[test]
fn a_malformed_body_is_the_tasks_own_and_told_as_that() {
    for (port, answer) in [(80, "400 Bad Request"), (8095, "200 OK")] {
        let world = world();
        let policy = world.policy("allow = [\"allowed.example:80\", { host = \"allowed.example\", port = 8095, protocol = \"http\" }]");
        let inside = format!(
            r#"python3 - <<'END'
import socket
s = socket.create_connection(("allowed.example", {port}), 5)
s.sendall(b"POST / HTTP/1.1\r\nHost: allowed.example:{port}\r\nTransfer-Encoding: chunked\r\n\r\n")
if {port} != 80: print(s.recv(99).split(b"\r\n")[0].decode())
s.sendall(b"zz\r\n")
said = s.makefile("rb").read().decode()
print(said)
END"#
        );
        let inside = world.place.write(world.place.base.path().join("inside.sh"), &inside);
        let outcome = world.host(&format!(
            "{EARLY}{} -- bash -c \"$(cat {})\"; kill $server",
            world.start(&policy),
            inside.display()
        ));
        assert!(outcome.out.starts_with(&format!("HTTP/1.1 {answer}")), "{outcome:?}");
        assert!(port != 80 || outcome.out.contains("the body of the request is malformed"), "{outcome:?}");
        assert!(
            world.refused("allowed.example", port, "the body of the request is malformed"),
            "{:#?}",
            world.events()
        );
        assert_eq!(
            (
                told(&world, "net.fail").len(),
                told(&world, "net.deny").iter().filter(|own| own["host"] != Value::Null).count()
            ),
            (0, 1),
            "{:#?}",
            world.events()
        );
    }
}
