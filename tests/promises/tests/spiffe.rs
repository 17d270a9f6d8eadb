//! JWT-SVIDs of SPIFFE's Workload API: the task uses them, and reaches neither them nor the socket; the API's server is one of gRPC's own.

use ringfence_promises::{Outcome, World};

fn credential(source: &str) -> String {
    format!(
        "[credentials.api]\nsource.spiffe = {{ {source} }}\nhosts = [\"allowed.example\"]\npaths = [\"/guarded\", \"/reflect\"]\nexpose = {{ env = \"SVID\" }}"
    )
}

/// What its server is made of.
pub(crate) fn python() -> String {
    ringfence_promises::python("workload-apis", "cryptography", &["grpcio", "protobuf", "cryptography"])
}

/// In a world with a Workload API at `$BASE/agent.sock`.
fn run(world: &World, credentials: &str, inside: &str) -> Outcome {
    let place = python();
    let policy = world.policy(&format!("allow = [\"allowed.example\"]\n{credentials}"));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem SPIFFE_ENDPOINT_SOCKET=unix://$BASE/agent.sock; PYTHONPATH={place} python3 {} $BASE/agent.sock $BASE 2> $BASE/workload.log & served=$!; \
         for i in $(seq 200); do test -S $BASE/agent.sock && break; sleep 0.05; done; \
         \"$RF\" run --quiet --policy {policy} --workspace . -- env SOCKET=$BASE/agent.sock bash -c \"$(cat {})\"; status=$?; kill $served; exit $status",
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/workload.py"),
        inside.display(),
    ))
}

fn told(world: &World, kind: &str, text: &str) -> bool {
    world.events().iter().any(|event| event["kind"] == kind && event["detail"].to_string().contains(text))
}

#[test]
fn a_token_of_the_workload_api_is_used_and_followed() {
    let world = World::new();
    let inside = r#"
echo "svid $(echo $SVID | tr -cd . | wc -c) ${SPIFFE_ENDPOINT_SOCKET-unset}"
ask() { curl -sm9 -H "Authorization: Bearer $SVID" https://allowed.example/$1; }
ask guarded; ask guarded; ask reflect | grep -c "Bearer [*]*$"
sleep 4; ask guarded
python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); print("socket", s.connect_ex(os.environ["SOCKET"]))'
"#;
    let outcome = run(
        &world,
        &credential(
            "audience = [\"https://api.example/\", \"other\"], id = \"spiffe://world.example/second\"",
        ),
        inside,
    );
    let svids = world.log("svids.log");
    let lines: Vec<&str> = svids.lines().collect();
    assert_eq!(lines.len(), 2, "{outcome:?} {svids} {}", world.log("workload.log"));
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("spiffe://world.example/second https://api.example/ other ")),
        "{svids}"
    );
    assert!(
        outcome.out.contains("svid 2 unset")
            && outcome.out.matches("good\n").count() == 3
            && outcome.out.contains("\n1\n"),
        "{outcome:?}"
    );
    assert!(!outcome.out.contains("socket 0"), "{outcome:?}");
    let events = serde_json::to_string(&world.events()).unwrap();
    for line in lines {
        for part in line.rsplit(' ').next().unwrap().split('.').skip(1) {
            assert!(
                part.len() > 50
                    && ![&outcome.out, &outcome.err, &events].iter().any(|text| text.contains(part)),
                "{outcome:?}"
            );
        }
    }
    assert!(told(&world, "credential.use", "\"api\""), "{events}");
}

#[test]
fn without_an_identity_nothing_is_sent_and_a_socket_of_the_tasks_starts_nothing() {
    let world = World::new();
    let inside = "curl -sm9 -H \"Authorization: Bearer $SVID\" https://allowed.example/guarded";
    let source = "audience = \"https://api.example/\", id = \"spiffe://world.example/third\"";
    let outcome = run(&world, &credential(source), inside);
    assert!(
        outcome.out.contains("no identity is registered for ringfence")
            && !outcome.out.contains("no identity issued"),
        "{outcome:?}"
    );
    assert!(!world.log("hits.log").contains("/guarded"), "{outcome:?}");
    assert!(
        told(&world, "credential.deny", "the JWT-SVID of `spiffe://world.example/third`"),
        "{:#?}",
        world.events()
    );

    let own = world.place.workspace.join("own.sock");
    let source = format!("audience = \"x\", socket = \"{}\"", own.display());
    let outcome = run(&world, &credential(&source), "echo started");
    assert!(
        outcome.status == 125
            && outcome.err.contains("which the task writes")
            && !outcome.out.contains("started"),
        "{outcome:?}"
    );
}
