//! Credentials that go where they should not, or are taken back: whoever is mistaken is told, and nothing is put where it was not meant.

use ringfence_promises::World;

use crate::credentials::{NETWORK, TOKEN, run, told};

/// Other hosts have no rule that means inspection.
#[test]
fn a_placeholder_is_seen_on_the_way_to_any_host() {
    let world = World::new();
    let policy = |more: &str| {
        format!(
            "allow = [\"allowed.example\", {{ host = \"denied.example\"{more} }}]\n[credentials.tracker]\nsource = {{ env = \"MY_TOKEN\" }}\n\
             hosts = [\"allowed.example\"]\nexpose = {{ env = \"TOK\" }}"
        )
    };
    let run = |policy: &str| {
        let policy = world.policy(policy);
        world.host(&format!(
            "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \
             'curl -skm9 -o body -w \"%{{http_code}}\\n\" -H \"Authorization: Bearer $TOK\" https://denied.example/other'"
        ))
    };
    let outcome = run(&policy(""));
    assert_eq!(outcome.out, "403\n", "{outcome:?}");
    assert!(told(&world, "credential.deny", "tracker", "add the host to `hosts`"), "{:#?}", world.events());
    assert!(!world.log("hits.log").contains("/other"), "{}", world.log("hits.log"));
    // Who wants a host left alone says so.
    let outcome = run(&policy(", inspect = false"));
    assert!(outcome.out != "403\n" && world.log("hits.log").contains("/other"), "{outcome:?}");
}

/// Mail in TLS, and servers that their clients alone know.
#[test]
fn what_is_no_http_is_told_how_it_is_left_alone() {
    let world = World::new();
    let policy = world.policy(
        "allow = [\"allowed.example\", { host = \"denied.example\", port = 9465, tls = true }]\n[credentials.tracker]\nsource = { env = \"MY_TOKEN\" }\n\
         hosts = [\"allowed.example\"]\nexpose = { env = \"TOK\" }",
    );
    let script = r#"
import socket, ssl, time
def connect():
    stream = socket.create_connection(("denied.example", 9465), 9)
    return ssl._create_unverified_context().wrap_socket(stream, server_hostname="denied.example")
try: connect().recv(1)
except TimeoutError: print("quiet")
one = connect(); one.sendall(b"\x00\x01 hello\r\n\r\n"); print(one.recv(99)[:12])
# That it is told of comes behind the answer.
time.sleep(1)
"#;
    world.place.write("mail.py", script);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; \"$RF\" run --quiet --policy {policy} --workspace . -- /usr/bin/python3 mail.py"
    ));
    assert!(outcome.out.contains("quiet") && outcome.out.contains("HTTP/1.1 400"), "{outcome:?}");
    let explained = world.place.ringfence(&["explain"]).out;
    for words in [
        "where its server speaks first, it is no HTTP",
        "what is said is no HTTP",
        "of TLS `inspect = false`",
    ] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
}

#[test]
fn two_for_one_place_are_refused_and_both_are_named() {
    let world = World::new();
    let one = |name: &str, paths: &str| {
        format!(
            "[credentials.{name}]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\n{paths}\n"
        )
    };
    let script =
        "for p in one two; do curl -sm9 -o body -w '%{http_code} ' https://allowed.example/repo/$p; done";
    let both =
        format!("{}{}", one("first", "paths = [\"/repo/*\"]"), one("second", "paths = [\"/repo/two\"]"));
    let outcome = run(&world, &both, script);
    assert_eq!(outcome.out, "200 403 ", "{outcome:?}");
    assert!(
        told(&world, "credential.deny", "second", "`first` goes on this request too"),
        "{:#?}",
        world.events()
    );
    let apart = one("first", "paths = [\"/repo/one\"]") + &one("second", "paths = [\"/repo/two\"]");
    assert_eq!(run(&world, &apart, script).out, "200 200 ");
}

/// It is how an owner takes a secret back.
#[test]
fn a_file_that_is_removed_or_emptied_is_of_no_use_any_more() {
    let world = World::new();
    let base = world.base.display();
    let policy = world.policy(&format!(
        "{NETWORK}\n[credentials.taken]\nsource = {{ file = \"{base}/taken\" }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"TOK\" }}\n\
         [credentials.other]\nsource = {{ file = \"{base}/other\" }}\nhosts = [\"allowed.example\"]\ninject = \"X-Other: {{secret}}\"\nexpose = {{ env = \"OTH\" }}"
    ));
    let script = r#"
ask() { curl -sm9 -o body -w '%{http_code} ' -H "Authorization: Bearer $TOK" https://allowed.example/repo/$1; }
ask one
# Who asks without an end for what is not there holds nothing up.
for i in 1 2 3; do while :; do curl -sm9 -o /dev/null -H "X-Other: $OTH" https://allowed.example/repo/flood; done & done
for now in removed back emptied again fifo; do touch $now; sleep 2.5; ask $now; done; kill $(jobs -p); cat body
"#;
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; put() {{ echo taken-0123456789abcdef-taken > $BASE/t; mv $BASE/t $BASE/taken; }}; put; echo other-0123456789abcdef > $BASE/other; \
         on() {{ while ! ls {home}/../state/runs/*/layers/*/upper/$1 {home}/../state/runs/*/*/upper/$1 2>/dev/null | grep -q .; do sleep 0.05; done; }}; \
         (on removed; rm $BASE/taken $BASE/other; on back; put; on emptied; : > $BASE/taken; on again; put; on fifo; rm $BASE/taken; mkfifo $BASE/taken) & \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill %1 2>/dev/null; exit $status",
        script.display(),
        home = world.place.home.display(),
    ));
    assert!(outcome.out.starts_with("200 403 200 403 200 403 "), "{outcome:?}");
    for rule in ["No such file", "it is empty", "it is no file"] {
        assert!(told(&world, "credential.deny", "taken", rule), "{rule}: {:#?}", world.events());
    }
    assert!(!world.log("heads.log").contains("/repo/removed"), "{}", world.log("heads.log"));
}
