//! `ringfence check` says what a policy would leave open, where, and what to do; and agrees with what `run` does on this host.

use ringfence_promises::{Outcome, Place};
use serde_json::Value;

fn json(outcome: &Outcome) -> Value {
    let read = serde_json::from_str(&outcome.out);
    assert!(read.is_ok(), "{outcome:?}");
    read.unwrap()
}

/// Rule, level and line of each finding.
fn findings(outcome: &Outcome) -> Vec<(String, String, u64)> {
    let report = json(outcome);
    let one = |finding: &Value| {
        for key in ["what", "why", "file", "remedy"] {
            assert!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {finding}");
        }
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        (text("rule"), text("level"), finding["line"].as_u64().unwrap())
    };
    report["findings"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn shipped_presets_raise_no_alarm() {
    let place = Place::new();
    place.write("src/main.rs", "fn main() {}\n");
    for preset in ["default", "coding-agent", "ci-step", "analyst", "support-agent"] {
        let outcome = place.ringfence(&["check", "--preset", preset, "--fail-on", "low", "--json"]);
        assert_eq!(outcome.status, 0, "{preset}: {outcome:?}");
        assert!(findings(&outcome).iter().all(|(_, level, _)| level == "note"), "{preset}: {outcome:?}");
    }
}

#[test]
fn a_finding_has_its_line_and_the_status_follows_the_level() {
    let place = Place::new();
    let lines = "[files]\nwrite = [\n  \"~/.bashrc?\",\n]\n[network]\nallow = [\n  \"api.example.org\",\n  \"pastebin.com\",\n]";
    let policy = place.policy(lines);
    let outcome = place.ringfence(&["check", &policy, "--json"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let found = findings(&outcome);
    let is = |rule: &str, level: &str, line: u64| found.contains(&(rule.into(), level.into(), line));
    assert!(is("runs-later", "high", 5) && is("egress-file-drop", "high", 10), "{found:?}");
    assert!(is("egress-not-inspected", "note", 9), "{found:?}");
    // The worst first.
    let rank = |level: &str| ["high", "medium", "low", "note"].iter().position(|own| *own == level).unwrap();
    assert!(found.windows(2).all(|pair| rank(&pair[0].1) <= rank(&pair[1].1)), "{found:?}");
    assert_eq!(json(&outcome)["counts"]["high"], 2);

    let status = |words: &[&str]| place.ringfence(&[&["check", policy.as_str()], words].concat()).status;
    assert_eq!(status(&["--fail-on", "high"]), 1);
    assert_eq!(status(&["--fail-on", "high", "--accept", "runs-later"]), 1);
    let accepted = ["--fail-on", "high", "--accept", "runs-later", "--accept", "egress-file-drop"];
    assert_eq!(status(&accepted), 0);
    assert_eq!(status(&["--fail-on", "huge"]), 125);
    assert_eq!(status(&["--accept", "egress-filedrop"]), 125, "a mistyped rule accepts nothing");
    let text = place.ringfence(&["check", &policy]);
    assert!(text.out.starts_with(&format!("{policy}: valid; 2 high, ")), "{}", text.out);
    assert!(text.out.contains(&format!("high   runs-later  {policy}:5\n")), "{}", text.out);
    assert!(!text.out.contains('\u{1b}'), "{}", text.out);
}

#[test]
fn what_this_host_lacks_is_found_as_run_finds_it() {
    let place = Place::new();
    let lines = "[files]\nread = [\"/nowhere/a\", \"/nowhere/b\", \"/nowhere/c?\"]\n[commands]\nallow = [\"cat\",\n\"no-such-program-here\",\n\"neither-this?\"]";
    let policy = place.policy(lines);
    let outcome = place.ringfence(&["check", &policy, "--json"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert_eq!(json(&outcome)["runs"], false);
    let lacks: Vec<(String, u64)> = findings(&outcome)
        .into_iter()
        .filter_map(|(rule, _, line)| (rule == "would-not-run").then_some((rule, line)))
        .collect();
    // All of them, not the first alone.
    assert_eq!(lacks.iter().map(|(_, line)| *line).collect::<Vec<_>>(), [4, 4, 7], "{outcome:?}");
    let run = place.run(lines, "true");
    assert_eq!(run.status, 125, "{run:?}");
    assert!(run.err.contains("/nowhere/a does not exist"), "{run:?}");
    // The text alone is fine.
    assert_eq!(place.ringfence(&["check", &policy, "--no-host", "--fail-on", "high"]).status, 0);
    // Without those, both agree again.
    let lines = "[files]\nread = [\"/nowhere/c?\"]\n[commands]\nallow = [\"cat\", \"sh\", \"neither-this?\"]";
    let policy = place.policy(lines);
    let outcome = place.ringfence(&["check", &policy, "--json"]);
    assert_eq!((outcome.status, &json(&outcome)["runs"]), (0, &Value::Bool(true)), "{outcome:?}");
    let run = place.run(lines, "cat /dev/null");
    assert_eq!(run.status, 0, "{run:?}");
}

/// A source that the task could change is refused by both; one that it could only read is hidden from it, and no alarm.
#[test]
fn sources_of_credentials_are_judged_as_a_run_judges_them() {
    let place = Place::in_home();
    let own = place.write("token", "x");
    let shown = place.write(place.home.join("shared/token"), "x");
    let shared = place.home.join("shared");
    let lines = |file: &std::path::Path| {
        format!(
            "[files]\nread = [\"{}\"]\n[network]\nallow = [{{ host = \"a.example.org\", methods = [\"GET\"] }}]\n[credentials.x]\nsource = {{ file = \"{}\" }}\nhosts = [\"a.example.org\"]\nmethods = [\"GET\"]\n",
            shared.display(),
            file.display()
        )
    };
    for (file, status) in [(&own, 1), (&shown, 0)] {
        let policy = place.policy(&lines(file));
        let outcome = place.ringfence(&["check", &policy, "--json"]);
        assert_eq!(outcome.status, status, "{outcome:?}");
        let found = findings(&outcome);
        let has = |rule: &str| found.iter().any(|(own, ..)| own == rule);
        assert!(has("would-not-run") == (status == 1), "{found:?}");
        assert!(has("credential-readable") == (status == 1), "{found:?}");
        let run = place.run(&lines(file), "true");
        assert_eq!(run.status == 0, status == 0, "{run:?}");
    }
}

#[test]
fn sarif_is_what_code_hosts_read() {
    let place = Place::new();
    let text =
        "version = 1\nextends = [\"default\"]\n[network]\nallow = [\"pastebin.com\", \"a.example.org\"]\n";
    place.write("sub dir/ringfence.toml", text);
    let words = ["check", "sub dir/ringfence.toml", "--sarif", "--accept", "egress-file-drop"];
    let outcome = place.ringfence(&words);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let sarif = json(&outcome);
    assert_eq!(sarif["version"], "2.1.0");
    let driver = &sarif["runs"][0]["tool"]["driver"];
    assert_eq!(driver["name"], "ringfence");
    let rules = driver["rules"].as_array().unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(!results.is_empty());
    let mut lines = 0;
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["shortDescription"]["text"].as_str().is_some_and(|text| text.ends_with('.')), "{rule}");
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()), "{result}");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let location = &result["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "sub%20dir/ringfence.toml", "{result}");
        if let Some(line) = location["region"]["startLine"].as_u64() {
            assert!((1..=text.lines().count() as u64).contains(&line), "{result}");
            lines += 1;
        }
    }
    assert!(lines >= 3, "{sarif:#}");
    let drop = results.iter().find(|result| result["ruleId"] == "egress-file-drop").unwrap();
    assert_eq!((&drop["level"], &drop["suppressions"][0]["kind"]), (&"error".into(), &"external".into()));
    // A policy that is refused is a result as well, and a failure.
    place.write("ringfence.toml", "version = 1\nnetwork = 5\n");
    let outcome = place.ringfence(&["check", "ringfence.toml", "--sarif"]);
    assert_eq!(outcome.status, 125);
    let result = json(&outcome)["runs"][0]["results"][0].clone();
    assert_eq!(result["ruleId"], "invalid-policy");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 2, "{result}");
}

/// Names and contents of a workspace that somebody else wrote act on nobody's terminal, and end no check.
#[test]
fn a_hostile_workspace_is_only_read() {
    let place = Place::new();
    place.write("\u{1b}]0;owned\u{7}/.env", "A=1\n");
    place.write("\u{202e}txt\u{1b}[2J/id_rsa", "A=1\n");
    let mut deep = place.workspace.join("deep");
    for _ in 0..200 {
        deep.push("d");
    }
    std::fs::create_dir_all(&deep).unwrap();
    for (target, link) in
        [("/dev/zero", "zero.env"), ("loop.env", "loop.env"), ("/proc/self/mem", "mem.json")]
    {
        std::os::unix::fs::symlink(target, place.workspace.join(link)).unwrap();
    }
    let fifo = std::process::Command::new("mkfifo").arg(place.workspace.join("pipe.env")).status();
    assert!(fifo.unwrap().success());
    let file = std::fs::File::create(place.workspace.join("endless.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    let outcome = place.ringfence(&["check", "--preset", "default"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.out.matches("secret-in-workspace  preset default\n").count() >= 2, "{}", outcome.out);
    assert!(!outcome.out.contains("ringfence.toml"), "{}", outcome.out);
    assert!(!outcome.out.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", outcome.out);
}
