//! Secrets in what a task changed: held until they are accepted, where the policy has that looked through.

use ringfence_promises::Place;

const SECRET: &str = "Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
const TOKEN: &str = "ghp_aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2";
const CHANGES: &str = r#"
s=Zq8mT4vKx2LwP9nRb7; s=${s}JdYc5HsGf3AeUi1Qo6
echo "it is $s" > plain.txt
head -c 200000 /dev/zero | tr '\0' a > large.txt; printf %s "$s" | base64 >> large.txt
t=ghp_aB3dE5fG7hI9jK1lM2nO; echo "TOKEN=${t}4pQ6rS8tU0vW1xY2" > .env
ln -s "nowhere/$s" link
touch "named-$s"
cp /bin/true program; printf %s "$s" >> program
setfattr -n user.note -v "$s" ordinary.txt 2>/dev/null || true
echo ordinary > fine.txt
"#;

/// By somebody who has a secret.
fn ringfence(place: &Place, arguments: &[&str]) -> (bool, String) {
    let output = place.command(arguments).env("DEPLOY_TOKEN", SECRET).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn run(place: &Place, rest: &str, script: &str) -> (bool, String) {
    place.write("ordinary.txt", "ordinary\n");
    let policy = place.policy(rest);
    ringfence(place, &["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "bash", "-c", script])
}

#[test]
fn what_holds_a_secret_is_held_until_it_is_accepted() {
    let place = Place::new();
    let ran = run(&place, "[workspace]\nmode = \"review\"\n[leaks]\nscan = [\"workspace\"]", CHANGES);
    assert!(ran.0, "{ran:?}");
    let (_, shown) = ringfence(&place, &["diff", "--stat"]);
    for name in ["plain.txt", "large.txt", ".env", "link", "named-"] {
        let line = shown.lines().find(|line| line.contains(name)).unwrap_or_default();
        assert!(line.contains("secrets: "), "{name}: {shown}");
    }
    assert!(shown.contains("the variable DEPLOY_TOKEN") && shown.contains("GitHub token"), "{shown}");
    // Whoever accepts programs accepts no secret.
    let applied = ringfence(&place, &["apply", "--accept", "binaries"]);
    assert!(applied.0, "{applied:?}");
    assert_eq!(place.read("fine.txt").as_deref(), Some("ordinary\n"));
    for name in ["plain.txt", "large.txt", ".env", "link", "program"] {
        assert!(!place.workspace.join(name).exists(), "{name}: {applied:?}");
    }
    let accepted = ringfence(&place, &["apply", "--accept", "secrets"]);
    assert!(accepted.0, "{accepted:?}");
    assert!(place.read("plain.txt").is_some_and(|text| text.contains(SECRET)));
    assert!(place.read(".env").is_some_and(|text| text.contains(TOKEN)));
    assert!(!place.workspace.join("program").exists(), "it is a program still");
}

#[test]
fn a_warning_lets_it_land_and_direct_is_refused() {
    let place = Place::new();
    let warn = "[workspace]\nmode = \"review\"\n[leaks]\nscan = [\"workspace\"]\naction = \"warn\"";
    let ran = run(&place, warn, CHANGES);
    assert!(ran.0, "{ran:?}");
    let (_, shown) = ringfence(&place, &["diff", "--stat"]);
    let line = shown.lines().find(|line| line.contains("plain.txt")).unwrap_or_default();
    assert!(line.contains("the variable DEPLOY_TOKEN") && !line.contains("secrets: "), "{shown}");
    let applied = ringfence(&place, &["apply", "--accept", "binaries"]);
    assert!(applied.0 && place.read("plain.txt").is_some(), "{applied:?}");
    let direct = "[workspace]\nmode = \"direct\"\n[leaks]\nscan = [\"workspace\"]";
    let (ran, said) = run(&place, direct, "touch made");
    assert!(!ran && said.contains("they land at once") && !place.workspace.join("made").exists(), "{said}");
}

#[test]
fn what_looks_like_a_secret_is_shown_first_though_nobody_asked() {
    let place = Place::new();
    let changes = format!("{CHANGES}\necho > zz.pem; echo > aa; chmod 600 aa; ln -s fine.txt bb");
    let ran = run(&place, "[workspace]\nmode = \"review\"", &changes);
    assert!(ran.0, "{ran:?}");
    for form in [&["diff", "--stat"][..], &["diff"]] {
        let (_, shown) = ringfence(&place, form);
        let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
        let (held, named) = (at("holds what looks like a secret: GitHub token"), at("often hold secrets"));
        assert!(held < at(" bb") && held < named && named < at(" fine.txt"), "{shown}");
        // Whose secrets those are is known where the policy has them looked for.
        assert!(!shown.contains("DEPLOY_TOKEN holds") && !shown.contains("holds the variable"), "{shown}");
    }
    let applied = ringfence(&place, &["apply"]);
    assert!(applied.0 && place.read(".env").is_some_and(|text| text.contains(TOKEN)), "{applied:?}");
}
