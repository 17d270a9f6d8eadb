//! Decoys: secrets that look real, are worth nothing, and tell who opens them.

use std::collections::BTreeMap;

use ringfence_promises::Place;
use serde_json::Value;

const POLICY: &str =
    "[files]\ndecoy = [\"~/.aws/credentials\", \"~/.ssh/id_ed25519\", \"/srv/made-up/.env\"]";

/// The file of that name in the only run's directory.
fn kept(place: &Place, name: &str) -> String {
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    assert_eq!(runs.len(), 1, "one run a place");
    std::fs::read_to_string(runs[0].path().join(name)).unwrap()
}

/// Decoys that were opened: their paths, programs and severities.
fn opened(place: &Place) -> Vec<(String, String, Value)> {
    kept(place, "events.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["kind"] == "decoy.open")
        .map(|event| {
            let word = |key: &str| event["detail"][key].as_str().unwrap().to_owned();
            (word("path"), word("program"), event["severity_id"].clone())
        })
        .collect()
}

/// OCSF's number of a high severity.
const HIGH: i32 = 4;

#[test]
fn opening_one_is_an_incident_with_who_did_it() {
    let place = Place::in_home();
    let script = "ls -la ~ ~/.aws ~/.ssh; stat ~/.aws/credentials; cat ~/.aws/credentials";
    let outcome = place.run(POLICY, script);
    assert_eq!(outcome.status, 0, "{}", outcome.err);
    let home = place.home.display();
    let path = format!("{home}/.aws/credentials");
    assert!(outcome.err.contains("incident:") && outcome.err.contains(&path), "{}", outcome.err);
    let [(at, program, severity)] = &opened(&place)[..] else { panic!("{:?}", opened(&place)) };
    assert_eq!((at, severity), (&path, &Value::from(HIGH)));
    assert!(program.ends_with("/cat"), "{program}");
    // What was read is what is remembered of it, all of it; what nobody opened is kept as well.
    let secrets: BTreeMap<String, Vec<String>> = serde_json::from_str(&kept(&place, "decoys.json")).unwrap();
    assert_eq!(secrets.len(), 3, "{secrets:?}");
    let words: Vec<&str> = outcome
        .out
        .lines()
        .filter(|line| line.starts_with("aws_"))
        .filter_map(|line| line.split(" = ").nth(1))
        .collect();
    assert_eq!(words, secrets[&path], "{}", outcome.out);
    let explained = place.ringfence(&["explain"]);
    assert!(explained.out.contains(&format!("opened the decoy {path}")), "{explained:?}");
}

#[test]
fn by_their_times_they_are_nothing_new() {
    let place = Place::in_home();
    let script = "find ~/.aws/credentials ~/.ssh/id_ed25519 -mtime +20 -printf '%P%T@\n' | sort -u";
    let outcome = place.run(POLICY, script);
    let whole = |line: &str| line.ends_with(".0000000000");
    assert!(outcome.out.lines().count() == 2 && !outcome.out.lines().any(whole), "{outcome:?}");
}

#[test]
fn whoever_only_lists_opens_nothing() {
    let place = Place::in_home();
    let script = "ls -laR ~/.aws ~/.ssh /srv/made-up; test -f ~/.ssh/id_ed25519 && echo there";
    let outcome = place.run(POLICY, script);
    assert!(outcome.out.ends_with("there\n"), "{outcome:?}");
    assert_eq!(opened(&place), []);
    assert!(!outcome.err.contains("incident"), "{}", outcome.err);
}

#[test]
fn each_run_has_secrets_of_its_own_that_tools_take_for_real() {
    let secrets = [(); 2].map(|()| {
        let place = Place::in_home();
        let outcome = place.run(POLICY, "ssh-keygen -y -f ~/.ssh/id_ed25519; cat ~/.ssh/id_ed25519");
        assert!(outcome.out.starts_with("ssh-ed25519 "), "{outcome:?}");
        assert_eq!(opened(&place).len(), 2);
        outcome.out
    });
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn every_way_to_open_one_is_told() {
    for way in [
        "mv ~/.aws/credentials ~/x",
        "echo x >> ~/.aws/credentials",
        "cp ~/.aws/credentials x",
        "python3 -I -S -c 'import mmap, os; mmap.mmap(os.open(os.path.expanduser(\"~/.aws/credentials\"), 0), 8, prot=1)'",
        "cd ~/.aws && (exec 3< credentials)",
        "ln ~/.aws/credentials ~/y && cat ~/y",
    ] {
        let place = Place::in_home();
        let outcome = place.run(POLICY, way);
        assert_eq!(outcome.status, 0, "{way}: {}", outcome.err);
        let found = opened(&place);
        assert!(!found.is_empty() && found.len() <= 2, "{way}: {found:?}");
    }
}

#[test]
fn no_flood_of_lookups_hides_one() {
    let place = Place::in_home();
    let flood = "python3 -I -S -c '\nimport os\nfor number in range(6000):\n    os.access(f\"/made-up-{number}\", 0)\n\
                 open(os.path.expanduser(\"~/.aws/credentials\")).read()'";
    let outcome = place.run(POLICY, flood);
    assert_eq!(outcome.status, 0, "{}", outcome.err);
    let [(_, program, _)] = &opened(&place)[..] else { panic!("{:?}", opened(&place)) };
    assert!(program.contains("python3"), "{program}");
}

#[test]
fn where_nobody_would_tell_there_is_none() {
    let place = Place::in_home();
    place.write(".env", "real");
    let real = place.workspace.join(".env");
    for path in [real.to_str().unwrap(), "/tmp/x", "/usr/lib/secret", "/"] {
        let outcome = place.run(&format!("[files]\ndecoy = [\"{path}\"]"), "true");
        assert_eq!(outcome.status, 125, "{path}: {outcome:?}");
        assert!(
            outcome.err.contains("a decoy stands only where nothing is granted"),
            "{path}: {}",
            outcome.err
        );
    }
    let policy = place.policy(POLICY);
    let mut command = place.command(&["run", "--policy", &policy, "--", "true"]);
    let outcome = command.env("RINGFENCE_TEST_HOST", "no-fuse").output().unwrap();
    assert_eq!(outcome.status.code(), Some(125));
    let told = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(told.contains("decoys that tell who opens them"), "{told}");
}

/// A task may be any program and any script, as often as it likes: each bait is told of all the same.
#[test]
fn whoever_opens_one_hides_no_other() {
    let place = Place::in_home();
    let script = r#"
import ctypes, os
begins = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[45])
home = os.environ["HOME"]
for n in range(5000):
    name = b"p\0f%06d\0" % n
    ctypes.memmove(begins, name, len(name))
    open(home + "/.aws/credentials").close()
print(len(open(home + "/.ssh/id_ed25519").read()) > 99)
"#;
    place.write("many.py", script);
    let outcome = place.run(POLICY, "/usr/bin/python3 many.py xxxxxxxxxxxxxxxx");
    assert_eq!(outcome.out, "True\n", "{}", outcome.err);
    let opened = opened(&place);
    assert!(opened.len() > 500, "{}", opened.len());
    assert!(opened.iter().any(|(path, ..)| path.ends_with("/.ssh/id_ed25519")), "{}", opened.len());
}

/// A program is told of in one line, whatever directory it was put into.
#[test]
fn whoever_opened_one_is_named_in_one_line() {
    let place = Place::in_home();
    let policy = place.policy(POLICY);
    let script = "d='y\nringfence: incident: nothing happened'; mkdir \"$d\"; cp /usr/bin/cat \"$d/cat\"; \"$d/cat\" ~/.aws/credentials > out";
    let told = place.ringfence(&["run", "--policy", &policy, "--", "sh", "-c", script]).err;
    let lines = told.lines().filter(|line| line.starts_with("ringfence: incident:"));
    assert!(lines.count() == 1 && told.contains("/y\\nringfence: incident: nothing"), "{told}");
}

/// A tool that opens a file by habit is not to stand for what searches it.
#[test]
fn each_opener_of_a_decoy_is_told_of_by_itself() {
    let place = Place::in_home();
    let policy = "[files]\ndecoy = [\"~/.npmrc\", \"~/.aws/credentials\"]";
    let ran = place.run(
        policy,
        "cat ~/.npmrc ~/.npmrc; head -c1 ~/.npmrc; cat ~/.npmrc; head -c1 ~/.aws/credentials; sleep 0.3",
    );
    let said = ran.err.lines().find(|line| line.contains(".npmrc")).unwrap_or_default();
    assert!(said.contains("/cat") && said.contains("/head"), "{ran:?}");
    let explained: Value = serde_json::from_str(&place.ringfence(&["explain", "--json"]).out).unwrap();
    let decoys = explained["refusals"].as_array().unwrap().iter().filter(|one| one["kind"] == "decoy");
    let told: Vec<_> = decoys
        .map(|one| {
            let program = one["programs"][0].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            assert_eq!(one["programs"].as_array().unwrap().len(), 1, "{one}");
            (program, one["times"].as_u64().unwrap(), one["caution"].as_str().unwrap().contains("npm, npx"))
        })
        .collect();
    let known = [("cat", 3, true), ("head", 1, true), ("head", 1, false)];
    assert_eq!(told, known.map(|(program, times, habit)| (program.to_owned(), times, habit)));
    let checked = place.ringfence(&["check", &place.policy(policy), "--no-host"]);
    assert!(checked.out.contains("decoy-common") && checked.out.contains("npm, npx"), "{checked:?}");
    assert_eq!(checked.out.matches("decoy-common").count(), 1, "{checked:?}");
}
