//! Tokens that are asked for outside: the task uses them, and has neither them nor what they are had with.

use ringfence_promises::{Outcome, World};

const NETWORK: &str = "allow = [\"allowed.example\"]";
const SECRET: &str = "client/secret+with%signs-0123456789";

/// In a world with a server of tokens, and a directory of the kind that Kubernetes projects tokens into; when the task makes `turn`, it turns.
fn run(world: &World, credentials: &str, inside: &str) -> Outcome {
    std::fs::write(world.base.join("client-secret"), SECRET).unwrap();
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let inside = world.place.write(world.place.base.path().join("inside.sh"), inside);
    let made = "m() { mkdir $BASE/projected/..$1; echo eyJhbGciOiJub25lIn0.eyJzdWIiOiJwb2QifQ.$1-projected-token-0123456789 > $BASE/projected/..$1/token; ln -s ..$1 $BASE/projected/..tmp; mv -T $BASE/projected/..tmp $BASE/projected/..data; }; mkdir $BASE/projected; m one; ln -s ..data/token $BASE/projected/token; touch $BASE/tokens.log";
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem CLIENT_SECRET={SECRET}; {made}; \
         (while ! find $RINGFENCE_STATE -name turn 2>/dev/null | grep -q .; do sleep 0.05; done; m two) & \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill %1 2>/dev/null; exit $status",
        inside.display(),
    ))
}

fn nowhere(world: &World, outcome: &Outcome) {
    let events = serde_json::to_string(&world.events()).unwrap();
    let tokens = std::fs::read_dir(&world.base)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("token."));
    let tokens = tokens.map(|entry| std::fs::read_to_string(entry.path()).unwrap());
    let secrets: Vec<String> = tokens.chain([SECRET.to_owned(), "projected-token".to_owned()]).collect();
    assert!(secrets.len() > 2, "{outcome:?}");
    for secret in secrets {
        for text in [&outcome.out, &outcome.err, &events] {
            assert!(!text.contains(&secret), "{secret}: {text}");
        }
    }
}

#[test]
fn tokens_are_had_with_client_credentials_and_refreshed() {
    let world = World::new();
    let part = |scope: &str, secret: &str| {
        format!(
            "[credentials.{scope}]\nsource.oauth = {{ token_url = \"https://denied.example/oauth/token\", client_id = \"the client\", client_secret = {{ {secret} }}, scope = \"{scope}\" }}\n\
             hosts = [\"allowed.example\"]\npaths = [\"/api/{scope}\"]\nexpose = {{ env = \"{}\" }}\n",
            scope.to_uppercase()
        )
    };
    let base = world.base.display();
    let credentials = [
        part("long", "env = \"CLIENT_SECRET\""),
        part("short", &format!("file = \"{base}/client-secret\"")),
        part("wrong", "command = [\"echo\", \"another-secret\"]"),
    ];
    let inside = r#"
echo "secret ${CLIENT_SECRET-none} ${#LONG}"
ask() { curl -sm9 -H "Authorization: Bearer $1" https://allowed.example/api/$2; }
for i in 1 2 3; do ask $LONG long; done
ask $SHORT short; sleep 1.5; ask $SHORT short
ask $WRONG wrong
curl -sm9 https://denied.example/; echo "reached $?"
"#;
    let outcome = run(&world, &credentials.concat(), inside);
    nowhere(&world, &outcome);
    assert!(
        outcome.out.starts_with("secret none ") && outcome.out.matches("good Bearer ").count() == 5,
        "{outcome:?}"
    );
    assert!(outcome.out.contains("the server answers 401: invalid_client"), "{outcome:?}");
    assert!(!outcome.out.contains("reached 0"), "{outcome:?}");
    let log = world.log("tokens.log");
    assert_eq!(log.matches("given long").count(), 1, "{log}");
    assert!(log.matches("given short").count() >= 2 && log.contains("refused wrong"), "{log}");
}

#[test]
fn tokens_that_a_cluster_projects_and_turns_are_exchanged_or_sent() {
    let world = World::new();
    let base = world.base.display();
    let url = "token_url = \"https://allowed.example/oauth/token\"";
    let credentials = format!(
        "[credentials.exchanged]\nsource.oauth = {{ {url}, subject_token = {{ file = \"{base}/projected/token\" }}, subject_token_type = \"urn:ietf:params:oauth:token-type:jwt\", audience = \"https://api.example/\", scope = \"exchanged\" }}\n\
         hosts = [\"allowed.example\"]\npaths = [\"/api/exchanged\"]\nrefresh = \"1s\"\nexpose = {{ env = \"EXCHANGED\" }}\n\
         [credentials.asserted]\nsource.oauth = {{ {url}, client_id = \"x\", client_assertion = {{ file = \"{base}/projected/token\" }}, scope = \"asserted\" }}\n\
         hosts = [\"allowed.example\"]\npaths = [\"/api/asserted\"]\nexpose = {{ env = \"ASSERTED\" }}\n\
         [credentials.projected]\nsource = {{ file = \"{base}/projected/token\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/reflect\"]\nexpose = {{ env = \"PROJECTED\" }}\n"
    );
    let inside = r#"
ask() { curl -sm9 -H "Authorization: Bearer $1" https://allowed.example/$2; }
ask $EXCHANGED api/exchanged; ask $ASSERTED api/asserted; ask $PROJECTED reflect | grep -c "$PROJECTED"
touch turn; sleep 2; ask $EXCHANGED api/exchanged; ask $PROJECTED reflect | grep -c "$PROJECTED"
"#;
    let outcome = run(&world, &credentials, inside);
    nowhere(&world, &outcome);
    assert_eq!(outcome.out.matches("good Bearer ").count(), 3, "{outcome:?} {}", world.log("tokens.log"));
    let heads = world.log("heads.log");
    assert!(heads.contains(".one-projected-token") && heads.contains(".two-projected-token"), "{heads}");
    let log = world.log("tokens.log");
    assert!(log.matches("given exchanged").count() >= 2 && !log.contains("refused"), "{log}");
}

#[test]
fn a_source_that_asks_for_tokens_in_the_clear_or_for_nobody_is_refused() {
    let world = World::new();
    for (source, why) in [
        (
            "token_url = \"http://a.example/t\", client_id = \"x\", client_secret = { env = \"X\" }",
            "no address of TLS",
        ),
        ("token_url = \"https://a.example/t\", client_id = \"x\"", "nothing says who asks"),
        ("token_url = \"https://a.example/t\", client_secret = { env = \"X\" }", "needs its name"),
        ("client_id = \"x\"", "needs the place"),
        (
            "token_url = \"https://a.example/t\", client_id = \"x\", client_secret = { env = \"X\", file = \"/x\" }",
            "exactly one source",
        ),
    ] {
        let policy = world.policy(&format!(
            "{NETWORK}\n[credentials.x]\nsource.oauth = {{ {source} }}\nhosts = [\"allowed.example\"]"
        ));
        let outcome =
            world.host(&format!("\"$RF\" run --quiet --policy {policy} --workspace . -- echo started"));
        assert!(outcome.status == 125 && outcome.err.contains(why), "{why}: {outcome:?}");
    }
}
