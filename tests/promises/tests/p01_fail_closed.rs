//! Promise 1: what cannot be enforced does not run; what has a substitute is said and recorded.

use ringfence_promises::Place;

/// Hides something of the host from a debug build, and runs.
fn lowered(what: &str, mode: &str) -> (i32, String, serde_json::Value) {
    let place = Place::new();
    let policy = place.policy(&format!("[workspace]\nmode = \"{mode}\""));
    let report = place.base.path().join("report.json");
    let output = place
        .command(&["run", "--policy", &policy, "--workspace", ".", "--report"])
        .arg(&report)
        .args(["--", "sh", "-c", "echo ran > /dev/stdout"])
        .env("RINGFENCE_TEST_HOST", what)
        .output()
        .unwrap();
    let report = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap(), report)
}

#[test]
fn each_missing_primitive_is_named() {
    for (what, name) in [
        ("no-userns,abi5", "tier `landlock`"),
        ("no-userns,no-landlock", "tier `landlock`"),
        ("no-seccomp", "seccomp"),
        ("no-overlay", "overlayfs"),
        ("no-proc,abi5", "/proc"),
    ] {
        let (status, text, report) = lowered(what, "review");
        assert_eq!(status, 125, "{text}");
        assert!(text.contains(name) && text.contains("hint:"), "{text}");
        assert!(!text.contains("ran\n"), "{text}");
        assert!(report["error"].as_str().unwrap().contains(name), "{report}");
    }
}

#[test]
fn a_substitute_is_said_and_recorded() {
    let (status, text, report) = lowered("no-landlock", "direct");
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("no Landlock"), "{text}");
    assert_eq!(report["degraded"][0]["name"], "landlock");
    // What does not need the missing thing runs as ever.
    let (status, text, report) = lowered("no-overlay", "direct");
    assert_eq!((status, report["degraded"].as_array().map(Vec::len)), (0, Some(0)), "{text}");
}

#[test]
fn an_older_landlock_still_locks() {
    for abi in ["abi1", "abi2", "abi3", "abi5"] {
        let (status, text, _) = lowered(abi, "direct");
        assert_eq!(status, 0, "{abi}: {text}");
    }
}

#[test]
fn nothing_can_be_degraded_by_a_name_that_is_none() {
    let place = Place::new();
    let outcome = place.ringfence(&["run", "--allow-degraded", "all", "--", "true"]);
    assert_eq!(outcome.status, 125, "{}", outcome.err);
}

#[test]
fn keys_of_later_versions_are_refused() {
    let place = Place::new();
    for lines in ["[network]\npublish = [8080]", "[leaks]\nscan = [\"egress\"]"] {
        let outcome = place.run(lines, "true");
        assert_eq!(outcome.status, 125, "{lines}");
        assert!(outcome.err.contains("not yet enforceable"), "{}", outcome.err);
    }
}
