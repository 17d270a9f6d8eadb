//! Bad policies, workspaces and commands: a clear error, nothing started, nothing left behind.

use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_promises::Place;

/// Runs and demands this status, a word in the error, no start and no trace.
fn refused(place: &Place, arguments: &[&str], status: i32, word: &str) {
    let before = place.listing();
    let outcome = place.ringfence(arguments);
    assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.err);
    assert!(outcome.err.contains(word), "{word} is missing in {}", outcome.err);
    assert!(!outcome.err.contains('\u{1b}') && !outcome.out.contains("started"), "{outcome:?}");
    let traces: Vec<_> =
        place.listing().into_iter().filter(|(path, _)| !path.starts_with(&place.state)).collect();
    let before: Vec<_> = before.into_iter().filter(|(path, _)| !path.starts_with(&place.state)).collect();
    assert_eq!(traces, before);
}

#[test]
fn policies() {
    let place = Place::new();
    let big = format!("version = 1\n# {}", "x".repeat(10 << 20));
    let deep = format!("version = 1\nx = {}{}", "[".repeat(5000), "]".repeat(5000));
    for (text, word) in [
        ("this is not TOML", "policy.toml:1"),
        (big.as_str(), "1 MiB"),
        (deep.as_str(), "error"),
        ("version = 1\n[files]\nread = [\"/usr\\u0000/../etc\"]", "policy.toml:3"),
        ("version = 1\n[files]\nread = [\"/a\\nb\"]", "policy.toml:3"),
        ("version = 1\n[files]\nread = [\"/a\\u001b[2J\"]", "policy.toml:3"),
        ("version = 1\n[files]\nread = [\"/nonexistent\"]", "does not exist"),
        ("version = 99", "version"),
    ] {
        let path = place.base.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        refused(
            &place,
            &["run", "--policy", path.to_str().unwrap(), "--workspace", ".", "--", "echo", "started"],
            125,
            word,
        );
    }
}

#[test]
fn grants_that_lead_nowhere() {
    let place = Place::new();
    std::os::unix::fs::symlink("loop", place.home.join("loop")).unwrap();
    std::os::unix::fs::symlink("/etc", place.home.join("elsewhere")).unwrap();
    for (grant, word) in [("~/loop", "loop"), ("~/gone", "does not exist"), ("~/elsewhere", "symbolic link")]
    {
        let policy = place.policy(&format!("[files]\nread = [\"{grant}\"]"));
        refused(
            &place,
            &["run", "--policy", &policy, "--workspace", ".", "--", "echo", "started"],
            125,
            word,
        );
    }
}

#[test]
fn workspaces() {
    let place = Place::new();
    let fifo = place.home.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::os::unix::fs::symlink("self", place.home.join("self")).unwrap();
    std::os::unix::fs::symlink("gone", place.home.join("nowhere")).unwrap();
    for (path, word) in [
        ("/", "`/` cannot be the workspace"),
        ("/etc", "workspace"),
        ("../fifo", "not a directory"),
        ("../self", "loop"),
        ("../gone", "does not exist"),
        ("../nowhere", "is a link that leads nowhere"),
        ("..", "the whole home"),
        ("../w/..", "the whole home"),
    ] {
        refused(&place, &["run", "--workspace", path, "--", "echo", "started"], 125, word);
    }
    // In every mode, and foreseen.
    for mode in ["review", "discard", "direct", "read", "temporary"] {
        let policy = place.policy(&format!("[workspace]\nmode = \"{mode}\""));
        for verb in ["run", "plan"] {
            let arguments = [verb, "--policy", &policy, "--workspace", "/", "--", "echo", "started"];
            refused(&place, &arguments, 125, "`/` cannot be the workspace");
        }
    }
    // What the host runs and obeys is written by no task at once; looked at before it lands, it may be.
    let policy = place.policy("[workspace]\nmode = \"direct\"");
    for path in ["/usr/bin", "/etc/ssl", "/usr/lib/"] {
        for verb in ["run", "plan"] {
            let arguments = [verb, "--policy", &policy, "--workspace", path, "--", "echo", "started"];
            refused(&place, &arguments, 125, "is part of the system below /");
        }
    }
    let policy = place.policy("[workspace]\nmode = \"review\"");
    assert_eq!(place.ringfence(&["plan", "--policy", &policy, "--workspace", "/etc/ssl"]).status, 0);
    // Root enters all the same, where its ids are the files'.
    if !ringfence_promises::root() {
        let closed = place.home.join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let arguments = ["run", "--workspace", "../closed", "--", "echo", "started"];
        refused(&place, &arguments, 125, "chmod u+rx");
    }
}

#[test]
fn what_keeps_ringfence_from_writing_is_said_with_the_remedy() {
    let place = Place::new();
    let mut command = place.command(&["run", "--", "echo", "started"]);
    let done = command.env("RINGFENCE_STATE", "/proc/nowhere/state").output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(125) && said.contains("export RINGFENCE_STATE=DIRECTORY"), "{said}");
    // The invoker's own bound for files: no death by a signal. What the task starts has the signal as ever.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]);
    let own = place.command(&["run", "--", "echo", "started"]);
    command.arg(own.get_program()).args(own.get_args()).current_dir(&place.workspace);
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(125) && said.contains("File too large"), "{done:?}");
    let outcome = place.run("", "(ulimit -f 1; head -c 100000 /dev/zero > big); echo $?");
    assert_eq!(outcome.out, "153\n", "{outcome:?}");
}

#[test]
fn a_workspace_full_of_hostile_links_stays_a_workspace() {
    let place = Place::new();
    place.write(place.base.path().join("outside"), "canary");
    for (name, target) in [
        ("a", "/"),
        ("b", "../../outside"),
        (".git", "/etc"),
        ("c", "c"),
        ("usr", "/usr"),
        (".env", "/etc/passwd"),
    ] {
        std::os::unix::fs::symlink(target, place.workspace.join(name)).unwrap();
    }
    let outcome = place.ringfence(&[
        "run",
        "--preset",
        "coding-agent",
        "--",
        "sh",
        "-c",
        "cat b a/../../outside a/etc/shadow; echo fine > ok; cat ok",
    ]);
    assert_eq!(outcome.out, "fine\n", "{}", outcome.err);
}

#[test]
fn a_workspace_that_changes_during_set_up_is_never_another() {
    let place = Place::new();
    let (real, other) = (place.home.join("real"), place.base.path().join("other"));
    std::fs::create_dir_all(&real).unwrap();
    place.write(other.join("secret"), "canary");
    let swapped = place.home.join("data");
    std::os::unix::fs::symlink(&real, &swapped).unwrap();
    let stop = AtomicBool::new(false);
    let policy = place.policy("[files]\nread = [\"~/real\", \"~/data\"]");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let next = place.home.join("next");
            while !stop.load(Ordering::Relaxed) {
                for target in [&other, &real] {
                    std::os::unix::fs::symlink(target, &next).unwrap();
                    std::fs::rename(&next, &swapped).unwrap();
                }
            }
        });
        // Also where an assertion fails, or the other thread would swap for ever.
        let _stopper = Stopper(&stop);
        for _ in 0..40 {
            let outcome = place.ringfence(&[
                "run",
                "--quiet",
                "--policy",
                &policy,
                "--workspace",
                ".",
                "--",
                "sh",
                "-c",
                "cat ~/data/secret ~/real/secret",
            ]);
            assert!(!outcome.out.contains("canary"), "{outcome:?}");
        }
    });
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn commands() {
    let place = Place::new();
    let script = |name: &str, text: &str| {
        let path = place.write(name, text);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    script("plain", "echo started\n");
    script("broken", "#!/no/such/interpreter\n");
    script("dos", "#!/bin/sh\r\necho started\r\n");
    let (fifo, mode) = (rustix::fs::FileType::Fifo, 0o755.into());
    rustix::fs::mknodat(rustix::fs::CWD, place.workspace.join("fifo"), fifo, mode, 0).unwrap();
    std::fs::create_dir(place.workspace.join("directory")).unwrap();
    place.write("data", "not a program");
    assert_eq!(place.ringfence(&["start", "dev", "--preset", "default"]).status, 0);
    for (command, status, word) in [
        ("no-such-command", 127, "not found"),
        ("./no-such-file", 127, "not found"),
        ("./directory", 126, "is a directory"),
        ("./fifo", 126, "is no regular file"),
        ("./data", 126, "it lacks the execute permission"),
        ("./dos", 127, "ends with a carriage return"),
        ("./plain", 126, "#!"),
        ("./broken", 127, "/no/such/interpreter"),
        ("", 127, "its name is empty"),
    ] {
        for verb in [&["run"][..], &["exec", "dev"]] {
            refused(&place, &[verb, &["--", command]].concat(), status, word);
        }
    }
    assert_eq!(place.ringfence(&["stop", "dev", "--grace", "0"]).status, 0);
    refused(&place, &["run", "echo", "started"], 125, "--");
    refused(&place, &["run", "--"], 125, "COMMAND");
}

#[test]
fn a_name_that_no_record_can_hold_is_refused_with_its_cause() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let odd = place.workspace.join(std::ffi::OsStr::from_bytes(b"x\xffy"));
    std::fs::create_dir(&odd).unwrap();
    for mode in ["review", "direct", "read"] {
        let policy = place.policy(&format!("[workspace]\nmode = \"{mode}\""));
        let mut command = place.command(&["run", "--policy", &policy, "--", "true"]);
        let done = command.current_dir(&odd).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(125), "{mode}: {err}");
        assert!(err.contains("not UTF-8") && err.contains("hint:") && !err.contains("panicked"), "{err}");
    }
    let mut command = place.command(&["run", "--preset", "default", "--", "true"]);
    let done =
        command.env("RINGFENCE_STATE", place.base.path().join(odd.file_name().unwrap())).output().unwrap();
    assert_eq!(done.status.code(), Some(125), "{done:?}");
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let place = Place::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["run", "--quiet", "--preset", "default", "--", "sh", "-c", "echo lost"][..],
        &["presets"],
        &["schema"],
    ] {
        let done = place.command(arguments).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(125), "{arguments:?}: {err}");
        assert!(err.contains("No space left"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_report_that_cannot_be_written_stops_the_run_before_it_begins() {
    let place = Place::new();
    let policy = place.policy("[workspace]\nmode = \"direct\"");
    for report in ["/dev/stdout", "/no/such/directory/report.json", "."] {
        let arguments = ["run", "--policy", &policy, "--report", report, "--", "sh", "-c", "echo ran > mark"];
        let outcome = place.ringfence(&arguments);
        assert_eq!(outcome.status, 125, "{report}: {outcome:?}");
        assert!(place.read("mark").is_none(), "{report}: it ran");
    }
}

#[test]
fn the_schema_knows_the_keys() {
    let schema: serde_json::Value = serde_json::from_str(&Place::new().ringfence(&["schema"]).out).unwrap();
    for key in ["version", "workspace", "files", "limits", "runtime"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

/// What lies below a granted directory is granted with it: such a rule can neither open more nor stop a run, and `plan`
/// says what is odd about it.
#[test]
fn grants_below_a_grant_add_nothing() {
    let place = Place::new();
    place.write(place.home.join("data/sub/key.pem"), "hidden");
    place.write(place.home.join("data/sub/plain"), "shown");
    place.write(place.home.join("outside"), "canary");
    std::os::unix::fs::symlink("../outside", place.home.join("data/link")).unwrap();
    let policy =
        "[files]\nread = [\"~/data/sub\", \"~/data/gone\", \"~/data/link\", \"~/data\"]\ndeny = [\"*.pem\"]";
    let outcome = place.run(policy, "cat ~/data/sub/plain; cat ~/data/link ~/data/sub/key.pem; true");
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "shown"), "{}", outcome.err);
    let policy = place.policy(policy);
    let plan = place.ringfence(&["plan", "--policy", &policy, "--workspace", ".", "--", "true"]);
    assert_eq!(plan.status, 0, "{}", plan.err);
    for part in [
        "data/gone is granted with a directory above it, but does not exist",
        "/outside, which no rule names",
    ] {
        assert!(plan.out.contains(part), "{part} is missing in {}", plan.out);
    }
}

/// `deny` wins, whatever the workspace is.
#[test]
fn what_is_denied_or_secret_is_no_workspace() {
    let place = Place::in_home();
    place.write(place.home.join(".ssh/sub/key"), "CANARY");
    place.write(place.home.join("w/priv/in/key"), "CANARY");
    // What it is called does not count where a link leads there.
    place.write(place.home.join("dot/.aws/sub/key"), "CANARY");
    place.write(place.home.join("real/in/key"), "CANARY");
    place.host("cd; ln -s dot/.aws .aws; ln -s real lnk; ln -s real below");
    for hosted in [false, true] {
        for mode in ["review", "direct", "read", "discard"] {
            let policy = place.policy(&format!(
                "[files]\ndeny = [\"~/w/priv\", \"~/lnk/**\"]\n[workspace]\nmode = \"{mode}\""
            ));
            for directory in
                [".ssh", ".ssh/sub", "w/priv", "w/priv/in", "dot/.aws", "dot/.aws/sub", "real/in"]
            {
                let at = place.home.join(directory).display().to_string();
                let mut words = vec!["run", "-q", "--policy", &policy, "--workspace", &at];
                if hosted && ringfence_promises::root() {
                    words.extend(["--allow-degraded", "root-uid"]);
                }
                words.extend(["--", "sh", "-c", "cat key sub/key in/key"]);
                let mut command = place.command(&words);
                if hosted {
                    command.env("RINGFENCE_TEST_HOST", "no-userns");
                }
                let done = command.output().unwrap();
                let said = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.code() == Some(125) && done.stdout.is_empty(), "{mode} {at}: {said}");
                assert!(said.contains("cannot be a workspace"), "{mode} {at}: {said}");
            }
        }
    }
}

/// In tier `landlock` the copy has nothing of what is hidden: what a task makes in its place is not what the host has there.
#[test]
fn nothing_lands_over_what_was_hidden_in_the_workspace() {
    let place = Place::in_home();
    let workspace = place.home.join("dot");
    place.write(workspace.join(".ssh/authorized_keys"), "OLD");
    place.write(workspace.join(".kube/config"), "OLD");
    place.host("cd; ln -s dot/.ssh .ssh; ln -s dot/.kube .kube; cd dot; echo OLD > $'secret\\xff'; mkdir $'caf\\xe9'; echo OLD > $'caf\\xe9/.env'");
    let policy = place.policy("[files]\ndeny = [\"./secret*\", \"**/.env\"]");
    let script = "mkdir -p .ssh .kube caf\\xe9; echo NEW > .ssh/authorized_keys; echo NEW > .kube/config; echo NEW > fine; \
        echo NEW > $'secret\\xff'; mkdir -p $'caf\\xe9'; echo NEW > $'caf\\xe9/.env'; true";
    for hosted in [false, true] {
        let at = workspace.display().to_string();
        let mut words = vec!["run", "-q", "--policy", &policy, "--workspace", &at];
        if hosted && ringfence_promises::root() {
            words.extend(["--allow-degraded", "root-uid"]);
        }
        words.extend(["--", "bash", "-c", script]);
        for verb in [words, vec!["apply", "last"]] {
            let mut command = place.command(&verb);
            if hosted {
                command.env("RINGFENCE_TEST_HOST", "no-userns");
            }
            let _ = command.output().unwrap();
        }
        let left = place.host("cd ~/dot; cat .ssh/* .kube/* secret* caf*/.env");
        assert_eq!(left, "OLD\n".repeat(4).replacen("OLD\nOLD\n", "OLDOLD", 1), "{hosted}");
    }
}
