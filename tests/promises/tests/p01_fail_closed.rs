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
        ("no-userns,yama2", "kernel.yama.ptrace_scope is 2"),
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
        let (status, text, report) = lowered(abi, "direct");
        assert_eq!(status, 0, "{abi}: {text}");
        // What it does not govern is said.
        let said =
            report["degraded"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "landlock"));
        assert_eq!(said, ["abi1", "abi2"].contains(&abi), "{abi}: {report}");
        assert_eq!(text.contains("does not govern truncation"), said, "{abi}: {text}");
    }
}

#[test]
fn what_judges_by_memory_that_nobody_may_read_is_refused() {
    let place = Place::new();
    let run = |lines: &str| {
        let policy = place.policy(lines);
        let output = place
            .command(&["run", "--policy", &policy, "--workspace", ".", "--", "echo", "ran"])
            .env("RINGFENCE_TEST_HOST", "yama3")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for lines in ["commands.allow = [\"echo ran\"]", "network.allow = [\"allowed.example:80\"]"] {
        let (status, out, err) = run(lines);
        assert_eq!((status, out.as_str()), (Some(125), ""), "{lines}: {err}");
        assert!(err.contains("kernel.yama.ptrace_scope is 3") && err.contains("hint:"), "{err}");
    }
    // What judges nothing runs, and says what does not work.
    let (status, out, err) = run("");
    assert_eq!((status, out.as_str()), (Some(0), "ran\n"), "{err}");
    assert!(err.contains("connections to unix sockets are refused"), "{err}");
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
    let outcome = place.run("[approvals]\ngrantable = { write = [\"~/projects/**\"] }", "true");
    assert_eq!(outcome.status, 125);
    assert!(outcome.err.contains("not yet enforceable"), "{}", outcome.err);
}
