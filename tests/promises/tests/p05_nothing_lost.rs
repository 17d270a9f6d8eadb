//! Promise 5: events are a chain that shows every change; they are out of reach from inside.

use ringfence_promises::Place;

fn events(place: &Place) -> std::path::PathBuf {
    let mut runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    runs.sort_by_key(std::fs::DirEntry::file_name);
    runs.last().unwrap().path().join("events.jsonl")
}

#[test]
fn each_run_is_recorded_and_reported() {
    let place = Place::new();
    let report = place.base.path().join("report.json");
    let arguments = ["run", "--report", report.to_str().unwrap(), "--", "sh", "-c", "echo x > new; exit 3"];
    assert_eq!(place.ringfence(&arguments).status, 3);
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!(
        (&report["exit"], &report["changes"], &report["tier"]),
        (&3.into(), &1.into(), &"namespace".into())
    );
    let text = std::fs::read_to_string(events(&place)).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["kind"], "sandbox.start");
    assert_eq!(lines[0]["detail"]["policy"], report["policy"]);
    assert_eq!((&lines[1]["kind"], &lines[1]["detail"]["exit"]), (&"sandbox.end".into(), &3.into()));
    assert_eq!(lines[1]["prev"].as_str().unwrap().len(), 64);
}

#[test]
fn the_start_is_with_the_kernel_before_the_command_begins() {
    let place = Place::new();
    let mut child = place
        .command(&["run", "--", "sh", "-c", "echo begun; sleep 30"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0u8; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(std::fs::read_to_string(events(&place)).unwrap().contains("sandbox.start"));
}

#[test]
fn state_is_out_of_reach_even_below_a_grant() {
    let place = Place::new();
    let state = place.workspace.join("state");
    let policy = place.policy("[workspace]\nmode = \"direct\"");
    let output = place
        .command(&[
            "run",
            "--policy",
            &policy,
            "--workspace",
            ".",
            "--",
            "sh",
            "-c",
            "ls state; echo x > state/x; rm -rf state; true",
        ])
        .env("RINGFENCE_STATE", &state)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert!(state.join("runs").is_dir() && !state.join("x").exists());
}
