//! `approvals.grantable.credentials`: what is of no use until its owner lets it, and for as long.

use ringfence_promises::World;

const SECRET: &str = "made-secret-0123456789abcdef";

#[test]
fn a_credential_is_granted_for_a_time_and_dropped_after_it() {
    let world = World::new();
    let base = world.base.display();
    let policy = world.policy(&format!(
        "allow = [\"allowed.example\"]\n\
         [credentials.deploy]\nsource = {{ command = [\"sh\", \"-c\", \"echo ran >> {base}/ran; echo {SECRET}\"] }}\nhosts = [\"allowed.example\"]\npaths = [\"/deploy/**\"]\nexpose = {{ env = \"TOK\" }}\n\
         [credentials.silent]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/silent\"]\ninject = \"X-Silent: {{secret}}\"\n\
         [credentials.free]\nsource = {{ env = \"MY_TOKEN\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/free\"]\nexpose = {{ env = \"FREE\" }}\n\
         [approvals]\ngrantable = {{ credentials = [\"deploy\", \"silent\"] }}"
    ));
    let outcome = world.host(&format!(
        r#"
export SSL_CERT_FILE=$BASE/ca.pem MY_TOKEN=env-secret-0123456789abcdef; touch $BASE/ran
"$RF" start dev --policy {policy} --workspace . >/dev/null
grant() {{ "$RF" grant dev --credential "$@" 2>&1; echo "grant $1 $?"; }}
get() {{ "$RF" exec dev -- bash -c "curl -sm9 -o /tmp/body -w '%{{http_code}}' -H \"Authorization: Bearer \$$2\" https://allowed.example/$1; echo; cat /tmp/body" | tr '\n' ' '; echo "get $1 $3"; }}
silent() {{ "$RF" exec dev -- curl -sm9 -o /dev/null -w '%{{http_code}}' https://allowed.example/silent; echo " silent $1"; }}
get deploy/x TOK before; get free FREE before; silent before
echo "ran $(wc -l < $BASE/ran)"
grant deploy --why 'the release'; grant silent --for 1h
get deploy/x TOK during; get deploy/x TOK again; silent during
echo "ran $(wc -l < $BASE/ran)"
"$RF" revoke dev --credential deploy; get deploy/x TOK revoked
grant deploy --for 2s; get deploy/x TOK second
echo "ran $(wc -l < $BASE/ran)"
for i in $(seq 60); do get deploy/x TOK wait | grep -q ^403 && break; sleep 0.2; done; echo "expired $?"
grant free; grant nothing; "$RF" revoke dev --credential nothing 2>&1; echo "revoke $?"
"$RF" revoke dev; silent after
"$RF" stop dev --grace 0 >/dev/null"#
    ));
    let lines: Vec<&str> = outcome.out.lines().collect();
    let line = |end: &str| lines.iter().find(|line| line.ends_with(end)).copied().unwrap_or_default();
    for (end, begins) in [
        ("get deploy/x before", "403 "),
        ("get free before", "200 "),
        (" silent before", "403"),
        ("get deploy/x during", "200 "),
        ("get deploy/x again", "200 "),
        (" silent during", "200"),
        ("get deploy/x revoked", "403 "),
        ("get deploy/x second", "200 "),
        ("expired 0", "expired 0"),
        ("grant free 126", "grant"),
        ("grant nothing 126", "grant"),
        ("revoke 126", "revoke"),
        (" silent after", "403"),
    ] {
        assert!(line(end).starts_with(begins), "{end}: {outcome:?}");
    }
    assert!(line("get deploy/x before").contains("ringfence grant RUN --credential deploy"), "{outcome:?}");
    // Fetched when it is first used, once a grant.
    let ran: Vec<&&str> = lines.iter().filter(|line| line.starts_with("ran ")).collect();
    assert_eq!(ran, [&"ran 0", &"ran 1", &"ran 2"], "{outcome:?}");
    let events = world.events();
    let granted = events.iter().find(|event| event["detail"]["access"] == "credential");
    assert!(granted.is_some_and(|event| event["detail"]["why"] == "the release"), "{events:#?}");
    for cause in ["revoked", "expired"] {
        assert!(
            events
                .iter()
                .any(|event| event["detail"]["cause"] == cause && event["detail"]["path"] == "deploy"),
            "{cause}: {events:#?}"
        );
    }
    assert!(!outcome.out.contains(SECRET), "{outcome:?}");
}

#[test]
fn a_grant_that_ends_while_the_secret_is_fetched_sends_nothing() {
    let world = World::new();
    let base = world.base.display();
    let slow = format!("touch {base}/began; while ! test -e {base}/go; do sleep 0.05; done; echo {SECRET}");
    let policy = world.policy(&format!(
        "allow = [\"allowed.example\"]\n\
         [credentials.deploy]\nsource = {{ command = [\"sh\", \"-c\", \"{slow}\"] }}\nhosts = [\"allowed.example\"]\nexpose = {{ env = \"TOK\" }}\n\
         [approvals]\ngrantable = {{ credentials = [\"deploy\"] }}"
    ));
    let outcome = world.host(&format!(
        r#"
export SSL_CERT_FILE=$BASE/ca.pem
"$RF" start dev --policy {policy} --workspace . >/dev/null
get() {{ "$RF" exec dev -- bash -c "curl -sm20 -o /dev/null -w '%{{http_code}} $1\n' -H \"Authorization: Bearer \$TOK\" https://allowed.example/deploy/$1"; }}
"$RF" grant dev --credential deploy --for 10m >/dev/null
get first & own=$!
for i in $(seq 200); do test -e $BASE/began && break; sleep 0.05; done
"$RF" revoke dev --credential deploy >/dev/null
get second; touch $BASE/go; wait $own
"$RF" stop dev --grace 0 >/dev/null"#
    ));
    assert!(world.base.join("began").is_file(), "{outcome:?}");
    assert_eq!(outcome.out, "403 second\n403 first\n", "{outcome:?} {:#?}", world.events());
    assert!(!world.log("hits.log").contains("/deploy/"), "{outcome:?}");
}

#[test]
fn only_credentials_that_there_are_can_be_grantable() {
    let world = World::new();
    let policy = world
        .policy("allow = [\"allowed.example\"]\n[approvals]\ngrantable = { credentials = [\"missing\"] }");
    let outcome = world.host(&format!("\"$RF\" run --quiet --policy {policy} --workspace . -- echo started"));
    assert!(outcome.status == 125 && outcome.err.contains("there is no credential `missing`"), "{outcome:?}");
}
