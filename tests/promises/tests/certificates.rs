//! Certificates that the gateway shows to servers for the task: TLS on both sides is verified, and the task holds neither certificate nor key.

use ringfence_promises::{Outcome, World};

fn credential(source: &str, more: &str) -> String {
    format!(
        "[credentials.own]\nsource = {source}\nhosts = [\"allowed.example:8443\"]\ninject = \"certificate\"\n{more}"
    )
}

/// A client of HTTP/2 that ends a GET behind its head: path and body are its arguments.
const FRAMES: &str = r#"'
import socket, ssl, sys
path, body = sys.argv[1].encode(), sys.argv[2].encode()
context = ssl.create_default_context(); context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection(("allowed.example", 8443)), server_hostname="allowed.example")
frame = lambda kind, flags, stream, data: s.sendall(len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data)
name = b"allowed.example:8443"
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); frame(4, 0, 0, b"")
frame(1, 4, 1, b"\x82\x87\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(name)]) + name)
frame(0, 0, 1, b""); frame(0, 1, 1, body)
got = s.makefile("rb")
while head := got.read(9):
    data = got.read(int.from_bytes(head[:3], "big"))
    if head[3] == 0: print(data.decode())
    if head[3] in (0, 1) and head[4] & 1 or head[3] in (3, 7): break
'"#;

/// In a world with a server that asks for certificates, and with those of two clients: `$BASE/one.pem` and `$BASE/two.pem`.
fn run(world: &World, credentials: &str, before: &str, inside: &str) -> Outcome {
    let policy = world.policy(&format!(
        "allow = [\"allowed.example:443\", {{ host = \"allowed.example\", port = 8443, tls = true }}]\n{credentials}"
    ));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; cd $BASE; \
         made() {{ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$1 -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key -keyout $1.key -out $1.crt 2> /dev/null; cat $1.crt $1.key > $1.pem; }}; \
         made one; made two; cd - > /dev/null; python3 {} $BASE & served=$!; {before} \
         for i in $(seq 200); do test -e $BASE/mutual.ready && break; sleep 0.05; done; \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill $served; exit $status",
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/mutual.py"),
        inside.display(),
    ))
}

fn told(world: &World, kind: &str, text: &str) -> bool {
    world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(text))
}

#[test]
fn a_server_that_asks_who_is_there_is_shown_the_policys_certificate() {
    let world = World::new();
    let source = format!("{{ file = \"{}/one.pem\" }}", world.base.display());
    let inside = format!("FRAMES={FRAMES}")
        + r#"
ask() { curl -sm9 "$@"; echo " $?"; }
ask https://allowed.example:8443/a/1 https://allowed.example:8443/a/2
ask https://allowed.example:8443/b
printf 'GET /smuggled HTTP/1.1\r\nHost: allowed.example:8443\r\n\r\n' > smuggled
for more in -s --http1.1 '-HTransfer-Encoding: chunked'; do
  ask "$more" -X GET --data-binary @smuggled https://allowed.example:8443/a/9
done
for more in -s --http1.1; do
  ask "$more" --data-binary @smuggled https://allowed.example:8443/a/5 https://allowed.example:8443/a/6
  ask "$more" -X MADE --data-binary @smuggled https://allowed.example:8443/a/9
done
python3 -c "$FRAMES" /a/7 '' ; python3 -c "$FRAMES" /a/9 x
python3 -c 'import urllib.request as u; print(u.urlopen("https://allowed.example:8443/a/3").read().decode())'
cat $BASE/one.pem $BASE/one.key > /dev/null 2>&1 && echo "the key"
touch ready; for i in $(seq 100); do test -e replaced && break; sleep 0.1; done; sleep 0.5
ask https://allowed.example:8443/a/4
"#;
    let before = "(for i in $(seq 200); do test -e ready && break; sleep 0.1; done; mv $BASE/two.pem $BASE/one.pem; touch replaced) & ";
    let policy = credential(&source, "paths = [\"/a/*\"]");
    let outcome = run(&world, &format!("{policy}\n[workspace]\nmode = \"direct\""), before, &inside);
    let log = world.log("mutual.log");
    let lines: Vec<String> =
        log.lines().map(|line| line.split(' ').step_by(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "one /a/1", "one /a/2", "one /a/5", "one /a/6", "one /a/5", "one /a/6", "one /a/7", "one /a/3",
            "two /a/4"
        ],
        "{outcome:?}"
    );
    assert!(
        outcome.out.contains("do not cover `GET /b`")
            && outcome.out.matches("GET with a body").count() == 4
            && outcome.out.matches("MADE with a body").count() == 2
            && !outcome.out.contains("the key"),
        "{outcome:?}"
    );
    assert!(
        told(&world, "credential.use", "\"own\"") && told(&world, "credential.deny", "\"own\""),
        "{outcome:?}"
    );
    // Without the credential the server speaks to nobody.
    let other = World::new();
    let outcome = run(&other, "", "", "curl -sm9 https://allowed.example:8443/a/1 || echo nothing");
    assert!(outcome.out.contains("nothing") && other.log("mutual.log").is_empty(), "{outcome:?}");
}

#[test]
fn the_workload_api_gives_out_certificates_which_are_followed() {
    let world = World::new();
    let place = crate::spiffe::python();
    let before = format!(
        "PYTHONPATH={place} python3 {} $BASE/agent.sock $BASE 2> $BASE/workload.log & api=$!; trap 'kill $api' EXIT; for i in $(seq 200); do test -S $BASE/agent.sock && break; sleep 0.05; done;",
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/workload.py"),
    );
    let source = format!(
        "{{ spiffe = {{ x509 = true, id = \"spiffe://world.example/second\", socket = \"{}/agent.sock\" }} }}",
        world.base.display()
    );
    let ask = "curl -sm9 https://allowed.example:8443/x || echo failed";
    let outcome = run(&world, &credential(&source, ""), &before, &format!("{ask}; sleep 5; {ask}"));
    assert_eq!(
        outcome.out.matches("you are spiffe://world.example/second\n").count(),
        2,
        "{outcome:?} {} {:#?}",
        world.log("workload.log"),
        world.events()
    );
    let log = world.log("mutual.log");
    let serials: Vec<&str> = log.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(serials.len() == 2 && serials[0] != serials[1], "{log}");
    let events = serde_json::to_string(&world.events()).unwrap();
    for key in world.log("svids.log").lines().filter_map(|line| line.split(' ').nth(1)) {
        assert!(key.len() > 100 && !events.contains(key) && !outcome.out.contains(key), "{outcome:?}");
    }
}

#[test]
fn what_is_no_certificate_with_its_key_starts_nothing() {
    let world = World::new();
    for (file, why) in [
        ("one.crt", "no key"),
        ("one.key", "no certificate"),
        ("mixed.pem", "not that of its first certificate"),
    ] {
        let source = format!("{{ file = \"{}/{file}\" }}", world.base.display());
        let before = "cat $BASE/one.crt $BASE/two.key > $BASE/mixed.pem;";
        let outcome = run(&world, &credential(&source, ""), before, "echo started");
        assert!(
            outcome.status == 125 && outcome.err.contains(why) && !outcome.out.contains("started"),
            "{file}: {outcome:?}"
        );
    }
    for (source, more, why) in [
        ("{ file = \"/x\" }", "expose = { env = \"A\" }", "nothing stands for `own`"),
        ("{ spiffe = { audience = \"x\" } }", "", "is no certificate"),
        ("{ spiffe = { x509 = true, audience = \"x\" } }", "", "remove `audience`"),
        (
            "{ file = \"/x\" }",
            "[credentials.other]\nsource = { file = \"/y\" }\nhosts = [\"allowed.example:8443\"]\ninject = \"certificate\"",
            "two certificates for one host",
        ),
    ] {
        let outcome = run(&world, &credential(source, more), "", "echo started");
        assert!(
            outcome.status == 125 && outcome.err.contains(why) && !outcome.out.contains("started"),
            "{why}: {outcome:?}"
        );
    }
}
