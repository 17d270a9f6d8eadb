//! Promise 10: what reads the sandbox's bytes is confined itself, so that a hole in it opens nothing.

use std::collections::BTreeMap;

use ringfence_promises::Place;

#[test]
fn init_is_out_of_the_tasks_reach() {
    let place = Place::new();
    let script = "kill -9 1 2>/dev/null; kill -STOP 1 2>/dev/null; kill -TERM 1 2>/dev/null; \
                  cat /proc/1/mem /proc/1/environ 2>/dev/null; ls /proc/1/root/ 2>/dev/null; \
                  grep -h CapEff /proc/1/status /proc/self/status; echo alive";
    let outcome = place.run("", script);
    // CAP_SYS_PTRACE, in the sandbox's own user namespace: it reads what connects name. The task has none.
    assert_eq!(
        outcome.out, "CapEff:\t0000000000080000\nCapEff:\t0000000000000000\nalive\n",
        "{}",
        outcome.err
    );
}

/// A place with a secret outside of everything, and what came of each attempt of an attacker in the supervisor.
struct Intrusion {
    place: Place,
    secret: String,
    outcomes: BTreeMap<String, bool>,
}

fn intrude(host: &str, policy: &str, more: &[String], arguments: &[&str]) -> Intrusion {
    let place = Place::new();
    let secret = place.write(place.home.join("secret"), "CANARY").display().to_string();
    let (new, project) = (place.home.join("new"), place.write("project.txt", "text").display().to_string());
    let pid = std::process::id();
    let mut words: Vec<String> = ["read", "write", "remove", "rename", "mode", "touch"]
        .map(|verb| format!("{verb}={secret}"))
        .to_vec();
    words.push(format!("create={}", new.display()));
    words.push(format!("link={}", new.display()));
    words.push(format!("list={}", place.home.display()));
    words.push(format!("read={project}"));
    words.push(format!("write={project}"));
    words.push(format!("connect={}", place.home.join("socket").display()));
    words.extend([format!("signal={pid}"), format!("trace={pid}"), "run=/bin/true".into()]);
    words.extend(more.iter().cloned());
    let policy = place.policy(policy);
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if *word == "POLICY" { policy.as_str() } else { word }).collect();
    let output = place
        .command(&arguments)
        .env("RINGFENCE_TEST_INTRUDER", words.join(" "))
        .env("RINGFENCE_TEST_HOST", host)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let outcomes: BTreeMap<String, bool> = text
        .lines()
        .filter_map(|line| line.strip_prefix("intruder ")?.split_once(": "))
        .map(|(word, outcome)| (word.to_owned(), outcome == "done"))
        .collect();
    assert_eq!(outcomes.len(), words.len(), "{text}");
    Intrusion { place, secret, outcomes }
}

const RUN: &[&str] = &["run", "--quiet", "--policy", "POLICY", "--", "true"];

#[test]
fn an_attacker_in_the_supervisor_reaches_no_file_and_no_process_of_the_host() {
    let limits = "[limits]\ntime = \"30s\"\noutput = \"1MiB\"\nprocesses = 100\n[workspace]\nmode = ";
    for mode in ["review", "discard", "direct", "temporary"] {
        let Intrusion { place, secret, outcomes } = intrude("", &format!("{limits}\"{mode}\""), &[], RUN);
        assert!(outcomes.values().all(|done| !done), "{mode}: {outcomes:?}");
        assert_eq!(place.read(secret).unwrap(), "CANARY");
        assert!(!place.home.join("new").exists());
    }
}

#[test]
fn nor_does_one_in_the_keeper_of_a_named_sandbox() {
    let Intrusion { place, outcomes, .. } =
        intrude("", "", &[], &["start", "intruded", "--policy", "POLICY"]);
    assert_eq!(place.ringfence(&["stop", "intruded"]).status, 0);
    assert!(outcomes.values().all(|done| !done), "{outcomes:?}");
}

#[test]
fn what_is_left_to_it_is_the_run() {
    let Intrusion { place, outcomes, .. } = intrude("", "", &[], RUN);
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    assert!(runs[0].path().join("events.jsonl").exists(), "it writes its record all the same");
    // What the user trusts, and other runs, are not for it.
    let trust = place.write(place.state.join("trust.json"), "{}").display().to_string();
    let again = intrude("", "", &[format!("write={trust}"), format!("read={trust}")], RUN);
    assert!(again.outcomes.values().all(|done| !done) && outcomes.len() + 2 == again.outcomes.len());
}

/// The same attempts where Landlock is missing: they show that what refuses above is the confinement.
#[test]
fn without_landlock_the_attempts_reach_files_but_still_no_process() {
    let Intrusion { secret, outcomes, .. } = intrude("no-landlock", "", &[], RUN);
    for verb in ["read", "write"] {
        assert!(outcomes[&format!("{verb}={secret}")], "{verb}: {outcomes:?}");
    }
    for (word, done) in &outcomes {
        let process = ["signal", "trace", "run", "connect", "mode", "touch", "link"];
        assert!(!(process.iter().any(|verb| word.starts_with(verb)) && *done), "{word}");
    }
}
