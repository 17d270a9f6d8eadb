//! Promise 4: however a sandbox ends, nothing of it runs another instruction 100 ms later.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ringfence_promises::Place;

/// Writes a heartbeat from a daemon: forked twice, in a session of its own, all signals ignored.
const DAEMON: &str = "trap '' HUP INT TERM; (setsid sh -c 'trap \"\" HUP INT TERM; while :; do date +%s%N > beat; done' &) & sleep 60";

fn beats(place: &Place) -> Option<String> {
    place.read("beat").filter(|text| !text.is_empty())
}

/// Starts the daemon, ends the sandbox somehow, and checks that the heart stops within 100 ms.
fn dies(end: impl Fn(u32)) {
    let place = Place::new();
    let policy = place.policy("[workspace]\nmode = \"direct\"");
    let mut command =
        place.command(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", DAEMON]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now();
    while beats(&place).is_none() {
        assert!(patience.elapsed() < Duration::from_secs(20), "the daemon never started");
        std::thread::sleep(Duration::from_millis(10));
    }
    end(child.id());
    let ended = Instant::now();
    std::thread::sleep(Duration::from_millis(100));
    let before = beats(&place);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(beats(&place), before, "it still runs");
    child.wait().unwrap();
    println!("all gone {} ms after the kill", ended.elapsed().as_millis());
}

fn kill(pid: u32, signal: &str) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

fn child_of(pid: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn when_the_supervisor_is_killed() {
    dies(|supervisor| kill(supervisor, "-KILL"));
}

#[test]
fn when_init_is_killed() {
    dies(|supervisor| kill(child_of(supervisor), "-KILL"));
}

#[test]
fn when_the_command_ends() {
    let place = Place::new();
    let script =
        "(setsid sh -c 'while :; do date +%s%N > beat; done' &) & while [ ! -s beat ]; do sleep 0.01; done";
    assert_eq!(place.run("[workspace]\nmode = \"direct\"", script).status, 0);
    let before = beats(&place);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(beats(&place), before);
}

#[test]
fn a_signal_reaches_the_command() {
    let place = Place::new();
    let policy = place.policy("[workspace]\nmode = \"direct\"");
    let script = "trap 'echo got > term; exit 7' TERM; echo x > ready; while :; do sleep 0.05; done";
    let mut child = place
        .command(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script])
        .spawn()
        .unwrap();
    while place.read("ready").is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(child.id(), "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(place.read("term").as_deref(), Some("got\n"));
}

#[test]
fn a_killed_run_leaves_the_workspace_as_it_was() {
    let place = Place::new();
    place.write("a", "before");
    let mut child = place.command(&["run", "--", "sh", "-c", "echo after > a; sleep 60"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(child.id(), "-KILL");
    child.wait().unwrap();
    assert_eq!(place.read("a").as_deref(), Some("before"));
}
