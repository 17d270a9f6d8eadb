//! Named sandboxes: many commands in one, one after another and side by side; nothing outlives `stop`.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use ringfence_promises::Place;

/// Stops the sandbox however the test ends.
struct Named<'a>(&'a Place, &'a str);

impl<'a> Named<'a> {
    fn start(place: &'a Place, name: &'a str, command: &[&str]) -> Self {
        let mut arguments = vec!["start", name, "--preset", "default"];
        if !command.is_empty() {
            arguments.push("--");
            arguments.extend(command);
        }
        let outcome = place.ringfence(&arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        Self(place, name)
    }

    fn exec(&self, script: &str) -> ringfence_promises::Outcome {
        self.0.ringfence(&["exec", self.1, "--", "sh", "-c", script])
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let _ = self.0.ringfence(&["stop", self.1, "--grace", "0"]);
    }
}

fn supervisor(place: &Place) -> u32 {
    let outcome = place.ringfence(&["ps", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    u32::try_from(shown[0]["supervisor"].as_u64().unwrap()).unwrap()
}

/// As `run` says it, and nothing is left behind; in both tiers.
#[test]
fn a_command_that_cannot_be_executed_starts_no_sandbox() {
    let place = Place::new();
    let script = place.workspace.join("plain");
    std::fs::write(&script, "no program").unwrap();
    let missing = script.with_file_name("absent");
    let policy = place.policy("[commands]\nallow = [\"sleep\"]\n");
    let bare = place.base.path().join("bare.toml").display().to_string();
    std::fs::write(&bare, "version = 1\nfiles.exec = [\"/usr/bin\"]\n").unwrap();
    let root_uid: &[&str] = if ringfence_promises::root() { &["--allow-degraded", "root-uid"] } else { &[] };
    for tier in ["", "no-userns"] {
        let start = |sources: &[&str], command: &[&str]| {
            let leave = if tier.is_empty() { &[] } else { root_uid };
            let arguments = [&["start", "dev"], sources, leave, &["--"], command].concat();
            let output = place.command(&arguments).env("RINGFENCE_TEST_HOST", tier).output().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let plain = &["--preset", "default"];
        for (sources, command, status, cause) in [
            (&plain[..], "no-such-program", 127, "no-such-program: command not found"),
            (plain, missing.to_str().unwrap(), 127, "command not found"),
            (plain, script.to_str().unwrap(), 126, "may not be executed"),
            (&["--policy", &policy], "true", 126, "may not be executed"),
        ] {
            let (code, error) = start(sources, &[command]);
            assert!(code == status && error.contains(cause), "{tier} {command}: {code} {error}");
            let listed = place.ringfence(&["ps", "--json"]);
            assert_eq!(listed.out.trim(), "[]", "{tier} {command}");
        }
        // What a granted program needs is the cause, not the program.
        let (_, error) = start(&["--policy", &bare], &["/usr/bin/true"]);
        assert!(error.contains("needs /lib") && error.contains("to allow it: files.exec"), "{tier}: {error}");
        let told = place.ringfence(&["explain"]).out;
        let line = told.contains("\n    to allow it: files.exec = [\"/lib") && told.contains("needs /lib");
        assert!(line && !told.contains("to allow it: no rule"), "{tier}: {told}");
        // The name is free, and what can be executed is.
        let (code, error) = start(plain, &["sleep", "20"]);
        assert_eq!(code, 0, "{error}");
        assert_eq!(place.ringfence(&["stop", "dev", "--grace", "0"]).status, 0);
    }
}

#[test]
fn commands_share_one_boundary_and_keep_their_own_ends() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(dev.exec("echo one > /tmp/shared; exit 3").status, 3);
    let outcome = dev.exec("cat /tmp/shared; cat /etc/shadow 2>/dev/null | wc -c; pwd");
    assert_eq!(outcome.out, format!("one\n0\n{}\n", place.workspace.display()), "{outcome:?}");
    assert_eq!(dev.exec("kill -9 $$").status, 137);
    let missing = place.ringfence(&["exec", "dev", "--", "no-such-program"]);
    assert_eq!(missing.status, 127, "{missing:?}");
    let mut child = place
        .command(&["exec", "dev", "--", "tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through a pipe").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"THROUGH A PIPE");
}

#[test]
fn stop_tells_what_was_refused_and_what_waits() {
    let place = Place::new();
    let quiet = Named::start(&place, "quiet", &[]);
    assert_eq!(quiet.exec("true").status, 0);
    let stopped = place.ringfence(&["stop", "quiet", "--grace", "0"]);
    assert!(stopped.status == 0 && stopped.err.is_empty(), "{stopped:?}");
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(
        dev.exec("cat /etc/shadow 2>/dev/null; cp /etc/hostname . 2>/dev/null; echo x > new").status,
        0
    );
    let stopped = place.ringfence(&["stop", "dev", "--grace", "0"]);
    assert!(stopped.err.contains(" refused: `ringfence explain"), "{stopped:?}");
    assert!(
        stopped.err.contains(" waits: `ringfence diff") || stopped.err.contains(" wait: `"),
        "{stopped:?}"
    );
}

#[test]
fn a_server_outlives_its_command_and_not_the_sandbox() {
    let place = Place::new();
    let web = Named::start(&place, "web", &[]);
    let outcome = web.exec("python3 -m http.server 8123 >/tmp/log 2>&1 & sleep 0.1");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let got = web.exec("for i in 1 2 3 4 5 6 7 8 9; do curl -sf -o /dev/null localhost:8123 && echo up && break; sleep 0.3; done");
    assert_eq!(got.out, "up\n", "{got:?}");
    let tree = place.ringfence(&["ps", "--tree"]);
    assert!(tree.out.contains("web") && tree.out.contains("python3 -m http.server"), "{tree:?}");
    let stopped = place.ringfence(&["stop", "web"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    assert!(!place.ringfence(&["ps"]).out.contains("web"));
    assert_eq!(web.exec("true").status, 125);
}

#[test]
fn what_the_first_command_writes_is_kept() {
    let place = Place::new();
    let _job = Named::start(&place, "job", &["sh", "-c", "echo out; echo err >&2; sleep 20"]);
    let mut logs = place.ringfence(&["logs", "job"]);
    for _ in 0..50 {
        if logs.out.contains("err") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        logs = place.ringfence(&["logs", "job"]);
    }
    assert_eq!(logs.out, "out\nerr\n", "{logs:?}");
}

#[test]
fn names_are_unique_while_they_live_and_no_paths() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    let again = place.ringfence(&["start", "dev"]);
    assert_eq!(again.status, 125, "{again:?}");
    assert!(again.err.contains("running already"), "{again:?}");
    drop(dev);
    drop(Named::start(&place, "dev", &[]));
    for name in ["../dev", "a/b", "", ".hidden", "a b"] {
        assert_eq!(place.ringfence(&["start", name]).status, 125, "{name}");
    }
    let none = place.ringfence(&["exec", "nobody", "--", "true"]);
    assert!(none.status == 125 && none.err.contains("no sandbox `nobody` is running"), "{none:?}");
}

#[test]
fn a_killed_keeper_takes_everything_along_and_leaves_the_name_free() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(
        dev.exec("(setsid sh -c 'while :; do date +%N > beat; done' >/dev/null 2>&1 &) ; sleep 0.3; ls beat")
            .out,
        "beat\n"
    );
    let keeper = supervisor(&place);
    let status = std::process::Command::new("kill").args(["-9", &keeper.to_string()]).status().unwrap();
    assert!(status.success());
    std::thread::sleep(std::time::Duration::from_millis(150));
    let marked = format!("{}", place.workspace.display());
    let alive = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.display().to_string() == marked)
            && entry.path().file_name().is_some_and(|pid| *pid != *std::process::id().to_string())
    });
    assert!(!alive, "something still runs in the workspace");
    assert_eq!(dev.exec("true").status, 125);
    let told = place.ringfence(&["explain", "dev"]).out;
    assert!(told.contains("its supervisor was killed"), "{told}");
    drop(Named::start(&place, "dev", &[]));
}

/// A sandbox outlives the command that it was started with, and says so; afterwards `explain` says what ended it.
#[test]
fn how_a_sandbox_and_its_first_command_ended_is_told() {
    let place = Place::new();
    let web = Named::start(&place, "web", &["sh", "-c", "echo out; exit 3"]);
    let listed = || place.ringfence(&["ps", "--json"]).out;
    for _ in 0..50 {
        if listed().contains("\"exit\"") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(listed().contains("\"exit\": 3"), "{}", listed());
    let table = place.ringfence(&["ps"]).out;
    assert!(table.contains("(ended with status 3) sh -c"), "{table}");
    let logs = place.ringfence(&["logs", "web"]);
    assert!(logs.out == "out\n" && logs.err.contains("ended with status 3"), "{logs:?}");
    let living = place.ringfence(&["explain", "web"]).out;
    assert!(!living.contains("ended"), "{living}");
    assert_eq!(place.ringfence(&["stop", "web", "--grace", "0"]).status, 0);
    drop(web);
    let told = place.ringfence(&["explain", "web"]).out;
    let sentence =
        "`ringfence stop`, or a signal to its supervisor, ended it; its first command ended with status 3";
    assert!(told.contains(sentence), "{told}");
    for (script, how, sentence) in [
        ("exit 4", "\"how\": \"exit\"", "it ended with exit status 4"),
        ("kill -9 $$", "\"how\": \"signal\"", "signal 9 ended it, exit status 137"),
    ] {
        let ran = place.run("", script).status;
        assert!([4, 137].contains(&ran), "{ran}");
        let (told, json) = (place.ringfence(&["explain"]), place.ringfence(&["explain", "--json"]));
        assert!(told.out.contains(sentence) && json.out.contains(how), "{told:?} {json:?}");
    }
}

#[test]
fn a_confused_client_changes_nothing() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    let run = std::fs::read_dir(place.state.join("runs")).unwrap().next().unwrap().unwrap().path();
    // A stream socket cannot connect at all; garbage on the right kind is dropped.
    assert!(UnixStream::connect(run.join("control.sock")).is_err());
    let script = "import socket, sys, os\n\
        for garbage in (b'', b'x', b'\\x00' * 70000, os.urandom(3000), b'\\xff' * 16):\n\
        \x20   s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); s.send(garbage); s.close()\n\
        held = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(100)]\n\
        for s in held: s.connect(sys.argv[1])\n\
        import subprocess; sys.exit(subprocess.run(sys.argv[2:]).returncode)\n";
    let binary = place.command(&[]).get_program().to_owned();
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", script])
        .arg(run.join("control.sock"))
        .arg(binary)
        .args(["exec", "dev", "--", "sh", "-c", "exit 9"]);
    command.current_dir(&place.workspace).env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    assert_eq!(command.status().unwrap().code(), Some(9));
    assert_eq!(dev.exec("exit 4").status, 4);
}

/// The process that the next command becomes, from the host; waits until there is one.
fn ready(place: &Place) -> i64 {
    let start = std::time::Instant::now();
    loop {
        let outcome = place.ringfence(&["ps", "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        let processes = shown[0]["processes"].as_array().unwrap();
        let ready = processes.iter().find(|process| process["command"] == "[ringfence-ready]");
        if let Some(pid) = ready.and_then(|process| process["pid"].as_i64()) {
            return pid;
        }
        assert!(start.elapsed().as_secs() < 10, "no process waits for a command: {outcome:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn the_last_run_is_shown_as_it_lives() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(dev.exec("exit 3").status, 3);
    let pid = ready(&place);
    let shown: serde_json::Value = serde_json::from_str(&place.ringfence(&["ps", "--json"]).out).unwrap();
    let id = shown[0]["run"].as_str().unwrap();
    for word in ["last", "dev", id, &id[..id.len() - 1]] {
        let told = place.ringfence(&["ps", "--tree", word]);
        let line = format!("  {pid} [ringfence-ready] (the next `ringfence exec` becomes it)");
        assert!(told.status == 0 && told.out.contains(&line), "{word}: {told:?}");
    }
}

#[test]
fn the_process_that_waits_for_a_command_is_within_the_boundary_and_can_be_lost() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(dev.exec("exit 3").status, 3);
    let pid = ready(&place);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    assert_eq!((line("Seccomp:"), line("CapEff:")), ("2".into(), "0000000000000000".into()), "{status}");
    // Its memory is nobody's, or whoever gets there would be the next command.
    let theirs = dev.exec("for f in mem environ maps fd; do ls /proc/[0-9]*/$f/ >/dev/null 2>&1; done; \
        for p in /proc/[0-9]*; do grep -q ringfence-ready $p/comm && head -c 1 $p/environ $p/mem && echo READ; done; true");
    assert!(!theirs.out.contains("READ"), "{theirs:?}");
    // Each is as good as the first: the number of lost ones changes nothing.
    for signal in ["STOP", "KILL", "TERM"] {
        let pid = ready(&place).to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        // A command that is handed to it while it dies ends with it.
        std::thread::sleep(std::time::Duration::from_millis(300));
        for status in [4, 5] {
            assert_eq!(dev.exec(&format!("cat /dev/null && exit {status}")).status, status, "after {signal}");
        }
    }
    assert_eq!(dev.exec("ulimit -n; umask; pwd").status, 0);
}

#[test]
fn one_of_them_is_shown_alone() {
    let place = Place::new();
    let (one, two) = (Named::start(&place, "one", &[]), Named::start(&place, "two", &["sleep", "777"]));
    let outcome = place.ringfence(&["ps", "--tree", "two"]);
    assert!(outcome.out.contains("sleep 777") && !outcome.out.contains("one"), "{outcome:?}");
    let missing = place.ringfence(&["ps", "three"]);
    assert!(missing.status == 125 && missing.err.contains("no sandbox `three` lives"), "{missing:?}");
    drop((one, two));
}

/// A lock of whoever called is not held for as long as the sandbox lives.
#[test]
fn a_keeper_holds_nothing_of_its_callers() {
    let place = Place::new();
    let lock = place.base.path().join("lock");
    let mut start = std::process::Command::new("sh");
    start.args(["-c", "exec 9>\"$1\"; flock 9; shift; exec \"$@\"", "sh"]).arg(&lock);
    let command = place.command(&["start", "dev", "--preset", "default"]);
    start.arg(command.get_program()).args(command.get_args()).current_dir(&place.workspace);
    start.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    let started = start.output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let dev = Named(&place, "dev");
    assert_eq!(dev.exec("exit 3").status, 3);
    let free = std::process::Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap();
    assert!(free.success(), "the lock is held while the sandbox lives");
}

/// That nothing can be granted is no line about somebody who waits.
#[test]
fn nobody_waits_where_nothing_can_be_granted() {
    let place = Place::new();
    let dev = Named::start(&place, "dev", &[]);
    assert_eq!(dev.exec("true").status, 0);
    for verb in ["explain", "ps"] {
        let told = place.ringfence(&[&[verb][..], if verb == "ps" { &[] } else { &["dev"] }].concat());
        assert!(told.status == 0 && !told.out.contains("grantable"), "{told:?}");
    }
    // Who wants to grant hears why not.
    let refused = place.ringfence(&["grant", "dev", "--read", "/srv"]);
    assert!(refused.status != 0 && refused.err.contains("approvals.grantable"), "{refused:?}");
}
