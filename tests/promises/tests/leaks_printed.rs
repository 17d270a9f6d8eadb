//! Secrets in what a task prints: with `x` in their place, or the end of it, where the policy has that looked through.

use std::process::{Command, Stdio};

use ringfence_promises::{Place, binary};

const SECRET: &str = "Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
/// The task has it from a file that it may read.
const PRINTS: &str = "echo before; s=$(cat it); printf %s \"$s\" | head -c 20; sleep 0.3; printf %s \"$s\" | tail -c +21; echo; printf %s \"$s\" | base64 -w0 >&2; sleep 0.5; echo after";

fn place() -> Place {
    let place = Place::new().in_tier(module_path!());
    place.write("it", SECRET);
    place
}

fn policy(place: &Place, action: &str) -> String {
    place.policy(&format!("[leaks]\nscan = [\"output\"]\naction = \"{action}\"\n"))
}

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("DEPLOY_TOKEN", SECRET);
    command
}

/// Status and both outputs, and how often each action was told of.
fn printed(place: &Place, action: &str, script: &str) -> (i32, String, String) {
    let policy = policy(place, action);
    let run = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script];
    let output = command(place, &run).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A named sandbox with a first command.
fn start(place: &Place, policy: &str, script: &str) {
    let words = ["start", "dev", "--policy", policy, "--workspace", ".", "--", "sh", "-c", script];
    let started = command(place, &words).output().unwrap();
    assert!(started.status.success(), "{started:?}");
}

fn log(place: &Place) -> String {
    format!("{:?}", place.events())
}

fn told(place: &Place) -> Vec<(String, String)> {
    let text = |detail: &serde_json::Value, name: &str| detail[name].as_str().unwrap().to_owned();
    place.told("leak").iter().map(|detail| (text(detail, "action"), text(detail, "way"))).collect()
}

#[test]
fn it_is_masked_told_of_or_the_end() {
    let place = place();
    let (status, out, err) = printed(&place, "mask", PRINTS);
    assert_eq!((status, out.as_str()), (0, format!("before\n{}\nafter\n", "x".repeat(36)).as_str()), "{err}");
    assert!(err.contains(&"x".repeat(40)) && !err.contains("WnE4"), "{err}");
    let both = [("mask", "base64"), ("mask", "raw")].map(|(one, two)| (one.to_owned(), two.to_owned()));
    assert!(both.iter().all(|one| told(&place).contains(one)), "{:?}", told(&place));
    let explained = place.ringfence(&["explain"]);
    assert!(explained.out.contains("the task printed the variable DEPLOY_TOKEN"), "{}", explained.out);
    assert!(explained.out.contains("    masked: "), "{}", explained.out);
    assert!(!explained.out.contains(SECRET) && !log(&place).contains(SECRET), "{}", explained.out);

    let (status, out, err) = printed(&place, "warn", PRINTS);
    assert_eq!((status, out.contains(SECRET)), (0, true), "{out}{err}");
    assert!(told(&place).contains(&("warn".into(), "raw".into())), "{:?}", told(&place));
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains("    let through: ") && !explained.contains("refused: "), "{explained}");

    let (status, out, err) = printed(&place, "block", &format!("trap '' TERM INT HUP; {PRINTS}; sleep 60"));
    assert_eq!((status, out.contains("after")), (137, false), "{out}{err}");
    assert!(out.starts_with("before\n") && !out.contains(&SECRET[..8]), "{out}");
    assert!(err.contains("ended: the variable DEPLOY_TOKEN") && err.contains("leaks.action"), "{err}");
    assert!(told(&place).contains(&("block".into(), "raw".into())), "{:?}", told(&place));
}

#[test]
fn what_cannot_be_masked_is_the_end() {
    let place = place();
    // The first letters are far away when the last one comes.
    let spread = "import time, sys\nfor c in open(\"it\").read():\n    sys.stdout.write(c + chr(34) * 5000); sys.stdout.flush()\ntime.sleep(20)";
    let (status, out, err) = printed(&place, "mask", &format!("exec python3 -c '{spread}'"));
    let out = out.replace('"', "");
    assert!(status == 137 && err.contains("ended: the variable"), "{out}{err}");
    assert!(!out.contains(&SECRET[..20]), "{out}");
    // Words that are no secret pass as they are, and what may begin one comes in the end.
    let begun = format!("printf {}", &SECRET[..8]);
    let (status, out, _) = printed(&place, "block", &begun);
    assert_eq!((status, out.as_str()), (0, &SECRET[..8]));
    // What the policy itself gives to the task is none.
    let policy = place.policy(&format!(
        "[environment]\nset = {{ DEPLOY_TOKEN = \"{SECRET}\" }}\n[leaks]\nscan = [\"output\"]\n"
    ));
    let run = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "printenv", "DEPLOY_TOKEN"];
    let given = command(&place, &run).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&given.stdout), format!("{SECRET}\n"), "{given:?}");
}

#[test]
fn on_a_terminal_in_a_named_sandbox_and_in_what_is_kept() {
    let place = place();
    let policy = policy(&place, "mask");
    // A terminal of the test's own.
    let terminal = |words: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", words, "/dev/null"]).current_dir(&place.workspace).stdin(Stdio::null());
        let verb = command(&place, &[]);
        script.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let shown = script.output().unwrap();
        String::from_utf8_lossy(&shown.stdout).into_owned()
    };
    let flags = if place.hosted && ringfence_promises::root() { "--allow-degraded root-uid" } else { "" };
    let run = binary();
    let run = run.display();
    let shown = terminal(&format!(
        "{run} run {flags} --policy {policy} --workspace . -- sh -c 'cat it; echo; echo after'"
    ));
    assert!(shown.contains(&"x".repeat(36)) && shown.contains("after") && !shown.contains(SECRET), "{shown}");

    // What a terminal does not get joins nothing.
    place.write(
        "spell.py",
        "import os; os.write(1, bytes([127]).join(bytes([c]) for c in open('it', 'rb').read()))",
    );
    let shown = terminal(&format!("{run} run {flags} --policy {policy} --workspace . -- python3 spell.py"));
    assert!(!shown.contains(SECRET) && shown.contains("xxxxxxxx"), "{shown}");

    start(&place, &policy, "cat it; echo; sleep 300");
    let done =
        command(&place, &["exec", "dev", "--", "sh", "-c", "cat it it; echo; echo after"]).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!((done.status.code(), out), (Some(0), format!("{}\nafter\n", "x".repeat(72))), "{done:?}");
    let shown = terminal(&format!("{run} exec dev -- sh -c 'cat it; echo; echo after'"));
    assert!(shown.contains(&"x".repeat(36)) && shown.contains("after") && !shown.contains(SECRET), "{shown}");
    // Nobody waits for what the first command writes.
    let masked = || told(&place).iter().filter(|(action, _)| action == "mask").count();
    let begun = std::time::Instant::now();
    while masked() < 5 && begun.elapsed() < std::time::Duration::from_secs(20) {}
    assert_eq!(masked(), 5, "{:?}", told(&place));
    let logs = place.ringfence(&["logs", "dev"]);
    assert!(logs.out.contains(&"x".repeat(36)) && !logs.out.contains(SECRET), "{logs:?}");
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
}

#[test]
fn a_block_ends_a_command_of_a_named_sandbox_or_what_was_kept_of_the_first() {
    let place = place();
    let policy = policy(&place, "block");
    start(&place, &policy, "sleep 300");
    let ended = command(&place, &["exec", "dev", "--", "sh", "-c", "cat it; sleep 60"]).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(137) && err.contains("ended: the variable"), "{ended:?}");
    assert!(told(&place).contains(&("block".into(), "raw".into())), "{:?}", told(&place));
    // The sandbox has others.
    assert_eq!(command(&place, &["exec", "dev", "--", "echo", "fine"]).output().unwrap().stdout, b"fine\n");
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);

    start(&place, &policy, "sleep 0.2; cat it; sleep 300");
    let gone = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        !place.ringfence(&["ps"]).out.contains("dev")
    });
    assert!(gone && !log(&place).contains(SECRET), "{}", log(&place));
    assert_eq!(told(&place).len(), 2, "{:?}", told(&place));
}

#[test]
fn keys_that_nobody_takes_hold_no_command_up() {
    let place = place();
    let policy = place.policy("");
    assert_eq!(place.ringfence(&["start", "dev", "--policy", &policy, "--workspace", "."]).status, 0);
    let begun = std::time::Instant::now();
    let mut exec = command(
        &place,
        &["exec", "dev", "--", "sh", "-c", "exec 3<&0; sleep 60 <&3 >/dev/null 2>&1 & exit 0"],
    );
    let mut child = exec.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || drop(std::io::Write::write_all(&mut input, &vec![0; 3_000_000])));
    assert!(child.wait().unwrap().success());
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    feeder.join().unwrap();
    assert_eq!(place.ringfence(&["stop", "dev"]).status, 0);
}
