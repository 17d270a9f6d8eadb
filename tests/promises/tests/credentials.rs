//! Credentials: the task uses them and never has them; a placeholder in the wrong place is refused, and said.

use ringfence_promises::{Outcome, World};

const TOKEN: &str = "ghp_Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
const NETWORK: &str = "allow = [\"allowed.example\", { host = \"denied.example\", methods = [\"GET\"] }, { host = \"*.wild.example\", methods = [\"GET\"] }, \"allowed.example:80\", \"allowed.example:7001\"]";

/// In a world whose host trusts its authority; the invoker has the token in `$MY_TOKEN`.
fn run(world: &World, credentials: &str, script: &str) -> Outcome {
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN={TOKEN}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        script.display()
    ))
}

/// Whether an event of this kind says this.
fn told(world: &World, kind: &str, credential: &str, rule: &str) -> bool {
    world.events().iter().any(|event| {
        let detail = &event["detail"];
        event["kind"] == kind
            && detail["credential"] == credential
            && detail["rule"].as_str().unwrap_or_default().contains(rule)
    })
}

fn nowhere(world: &World, outcome: &Outcome) {
    assert!(!outcome.out.contains(TOKEN) && !outcome.err.contains(TOKEN), "{outcome:?}");
    let events = serde_json::to_string(&world.events()).unwrap();
    assert!(!events.contains(TOKEN), "{events}");
}

#[test]
fn the_secret_goes_to_its_hosts_and_nowhere_else() {
    let world = World::new();
    let credentials = "[credentials.tracker]\nsource = { env = \"MY_TOKEN\" }\nhosts = [\"allowed.example\"]\nmethods = [\"GET\", \"POST\"]\n\
                       paths = [\"/repo/**\", \"/reflect\"]\ninject = [\"bearer\", \"?key={secret}\"]\nexpose = { env = \"TOK\" }";
    let script = r#"
echo "TOK ${#TOK} ${TOK:0:4} ${MY_TOKEN-unset}"
curl -sm9 -H "Authorization: token $TOK" https://allowed.example/repo/one
curl -sm9 --http1.1 -H "Authorization: Bearer $TOK" https://allowed.example/repo/two
curl -sm9 "https://allowed.example/repo/three?a=1&key=$TOK&b=2"
curl -sm9 -H "Authorization: Bearer $TOK" https://allowed.example/reflect | grep -qi "authorization: Bearer $TOK" && echo masked
curl -sm9 https://allowed.example/repo/without
for wrong in "-H Authorization:Bearer_$TOK https://denied.example/a" "-H X-Other:$TOK https://allowed.example/repo/b" \
    "https://allowed.example/repo/$TOK" "https://allowed.example/repo/c?other=$TOK" "-d x=$TOK https://allowed.example/repo/d" \
    "-H Authorization:$TOK https://allowed.example/elsewhere" "-X DELETE -H Authorization:$TOK https://allowed.example/repo/e" \
    "-H Authorization:Bearer_attackers https://allowed.example/repo/f" "-H x-api-key:attackers https://allowed.example/repo/g" \
    "-H Authorization:$TOK http://allowed.example/repo/h" "-H Authorization:$TOK https://www.wild.example/repo/i" \
    "-u $TOK:x https://allowed.example/repo/j" "https://allowed.example/repo/k?x=${TOK:0:9}%${HEX}${TOK:10}"; do
  curl -sm9 -o body -w '%{http_code} %{content_type}\n' $wrong
done
head -c 3000000 /dev/zero | tr '\0' x > big; printf '%s' "$TOK" >> big; head -c 100000 big | tr x y >> big
curl -sm20 -o body -w 'big %{http_code}\n' --data-binary @big https://allowed.example/repo/big; grep -o 'stands in the body' body
curl -sm9 https://$TOK.wild.example/; echo "name $?"
"#;
    let script = format!("HEX=$(printf %x \"'${{TOK:9:1}}\")\n{script}");
    let outcome = run(&world, credentials, &script);
    nowhere(&world, &outcome);
    for line in [
        "TOK 40 ghp_ unset",
        "path=/repo/one",
        "path=/repo/two",
        "path=/repo/three",
        "masked",
        "path=/repo/without",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?}\n{:#?}", world.events());
    }
    assert_eq!(outcome.out.matches("403 application/problem+json").count(), 13, "{outcome:?}");
    assert!(outcome.out.contains("big 403") && outcome.out.contains("stands in the body"), "{outcome:?}");
    assert!(outcome.out.contains("name 6"), "{outcome:?}");
    let heads = world.log("heads.log");
    assert!(heads.contains(&format!("/repo/three?a=1&b=2&key={TOKEN};")), "{heads}");
    assert!(world.log("hits.log").contains("GET /repo/two allowed.example"), "{}", world.log("hits.log"));
    assert_eq!(heads.matches(&format!("authorization=Bearer {TOKEN}")).count(), 3, "{heads}");
    assert!(!heads.contains("/repo/without; authorization") && !heads.contains("attackers"), "{heads}");
    for never in [
        "/a;",
        "/repo/b",
        "/repo/c",
        "/repo/d",
        "/elsewhere",
        "/repo/e",
        "/repo/f",
        "/repo/g",
        "/repo/h",
        "/repo/i",
        "/repo/j",
        "/repo/k",
    ] {
        assert!(
            !heads.contains(&format!("{never};")) && !heads.contains(&format!("{never} ")),
            "{never}: {heads}"
        );
    }
    assert!(told(&world, "credential.use", "tracker", ""));
    for rule in [
        "add the host to `hosts`",
        "add the form to `inject`",
        "do not cover `DELETE /repo/e`",
        "another",
        "in the path",
        "not TLS",
    ] {
        let rule = if rule == "another" { "something else than the placeholder" } else { rule };
        assert!(told(&world, "credential.deny", "tracker", rule), "{rule}: {:#?}", world.events());
    }
    let uses: u64 = world
        .events()
        .iter()
        .filter(|event| event["kind"] == "credential.use")
        .filter_map(|event| event["detail"]["times"].as_u64())
        .sum();
    assert_eq!(uses, 4, "{:#?}", world.events());
}

#[test]
fn files_and_commands_are_fetched_when_used_and_followed() {
    let world = World::new();
    std::fs::write(world.base.join("token"), "first-token-0123456789abcdef\n").unwrap();
    std::fs::write(world.base.join("expected"), "first-token-0123456789abcdef").unwrap();
    let base = world.base.display();
    let credentials = format!(
        "[credentials.turning]\nsource = {{ file = \"{base}/token\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/guarded\"]\nexpose = {{ file = \"~/.tool/token\", text = \"token={{secret}}\" }}\n\
         [credentials.made]\nsource = {{ command = [\"sh\", \"-c\", \"echo ran >> {base}/ran; echo made-secret-0123456789\"] }}\nhosts = [\"denied.example\"]\n\
         inject = \"X-Made: {{secret}}\"\n\
         [credentials.broken]\nsource = {{ command = [\"sh\", \"-c\", \"echo half; exit 3\"] }}\nhosts = [\"www.wild.example\"]"
    );
    let script = r#"
. ~/.tool/token; echo "placeholder $token"
ask() { curl -sm9 -H "Authorization: Bearer $token" https://allowed.example/guarded; }
ls $BASE/ran 2>&1 | grep -c ran; ask
touch turn; sleep 1.5; ask; ask
curl -sm9 https://denied.example/made; curl -sm9 https://denied.example/made
curl -sm9 -w '%{http_code}\n' https://www.wild.example/broken
"#;
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let script = world.place.write(world.place.base.path().join("script.sh"), script);
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; sed -i 's/mode = .*/x/' /dev/null; \
         (while ! ls {home}/../state/runs/*/layers/*/upper/turn {home}/../state/runs/*/*/upper/turn 2>/dev/null | grep -q .; do sleep 0.05; done; \
          printf %s second-token-0123456789abcdef > $BASE/expected; printf 'second-token-0123456789abcdef\n' > $BASE/t; mv $BASE/t $BASE/token) & \
         \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"; status=$?; kill %1 2>/dev/null; exit $status",
        script.display(),
        home = world.place.home.display(),
    ));
    assert_eq!(outcome.out.matches("good\n").count(), 3, "{outcome:?} {}", world.log("heads.log"));
    assert!(!outcome.out.contains("-token-0123456789abcdef"), "{outcome:?}");
    let ran = std::fs::read_to_string(world.base.join("ran")).unwrap_or_default();
    assert_eq!(ran, "ran\n", "{outcome:?}");
    let heads = world.log("heads.log");
    assert_eq!(heads.matches("x-made=made-secret-0123456789").count(), 2, "{heads}");
    assert!(outcome.out.contains("403") && !heads.contains("/broken"), "{outcome:?}");
    assert!(told(&world, "credential.deny", "broken", "exit status: 3"), "{:#?}", world.events());
    assert!(!outcome.out.contains("half"), "{outcome:?}");
}

#[test]
fn a_secret_that_is_not_there_starts_nothing() {
    let world = World::new();
    for (source, why) in [
        ("env = \"UNSET_TOKEN\"", "the variable `UNSET_TOKEN`: is not set"),
        ("file = \"/nonexistent/token\"", "No such file"),
    ] {
        let credentials = format!(
            "[credentials.x]\nsource = {{ {source} }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"X\" }}"
        );
        let outcome = run(&world, &credentials, "echo started");
        assert!(outcome.status == 125 && !outcome.out.contains("started"), "{outcome:?}");
        assert!(outcome.err.contains(why), "{outcome:?}");
    }
}
