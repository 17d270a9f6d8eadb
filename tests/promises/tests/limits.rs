//! `[limits]`: each ends the sandbox with 137 and a sentence that names it, with control groups and without.

use ringfence_promises::{Outcome, Place};

/// What the host seems to have: what it has, or no control groups.
const HOSTS: [&str; 2] = ["", "no-cgroup"];

fn limited(limits: &str, host: &str, script: &str) -> (Outcome, serde_json::Value) {
    let place = Place::new();
    let policy = place.policy(&format!("[limits]\n{limits}"));
    let mut command = place.command(&["run", "--policy", &policy, "--report", "report.json", "--"]);
    command.args(["sh", "-c", script]).env("RINGFENCE_TEST_HOST", host);
    let done = command.output().unwrap();
    let report = serde_json::from_str(&place.read("report.json").unwrap()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let outcome = Outcome {
        status: done.status.code().unwrap_or(-1),
        out: text(&done.stdout),
        err: text(&done.stderr),
    };
    (outcome, report)
}

fn ends(limit: &str, limits: &str, host: &str, script: &str) -> Outcome {
    let (outcome, report) = limited(limits, host, script);
    assert_eq!(outcome.status, 137, "{limits} on `{host}`: {outcome:?}");
    assert!(outcome.err.contains(&format!("(limits.{limit})")), "{outcome:?}");
    assert_eq!(report["limit"], limit, "{report}");
    assert_eq!(report["exit"], 137, "{report}");
    outcome
}

#[test]
fn a_memory_hog_ends_wherever_it_hides() {
    let hog = "python3 -c 'x = bytearray(256 << 20); import time; time.sleep(10)'";
    for host in HOSTS {
        ends("memory", "memory = \"64MiB\"", host, hog);
        ends("memory", "memory = \"64MiB\"", host, &format!("(setsid {hog} &); sleep 10"));
        let (outcome, _) =
            limited("memory = \"512MiB\"", host, "python3 -c 'x = bytearray(64 << 20)'; echo fine");
        assert_eq!((outcome.status, outcome.out.as_str()), (0, "fine\n"), "{outcome:?}");
    }
}

#[test]
fn a_fork_bomb_ends() {
    let bomb = "exec python3 -c '\nimport os, time\nwhile True:\n    try:\n        os.fork() or time.sleep(20)\n    except OSError:\n        time.sleep(0.01)'";
    for host in HOSTS {
        ends("processes", "processes = 20", host, bomb);
        // A shell gives up; nothing it started goes on.
        let (outcome, _) = limited("processes = 20", host, "b() { sleep 5 & sleep 5 & b; }; b");
        assert!([2, 137].contains(&outcome.status), "{outcome:?}");
        let fine = "for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait; echo fine";
        let (outcome, _) = limited("processes = 20", host, fine);
        assert_eq!((outcome.status, outcome.out.as_str()), (0, "fine\n"), "{outcome:?}");
    }
}

#[test]
fn a_command_in_a_sandbox_that_lives_hears_of_the_limit_that_ended_it() {
    let hog = "python3 -c 'x = bytearray(256 << 20); import time; time.sleep(1)'; true";
    for (limit, limits, script) in
        [("memory", "memory = \"64MiB\"", hog), ("output", "output = \"1MiB\"", "head -c 50000000 /dev/zero")]
    {
        for host in HOSTS {
            let place = Place::new();
            let policy = place.policy(&format!("[limits]\n{limits}"));
            let ringfence = |line: &[&str]| {
                let mut command = place.command(line);
                command.env("RINGFENCE_TEST_HOST", host).output().unwrap()
            };
            assert!(ringfence(&["start", "dev", "--policy", &policy]).status.success());
            assert!(ringfence(&["exec", "dev", "--", "true"]).status.success());
            let ended = ringfence(&["exec", "dev", "--", "sh", "-c", script]);
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(137), "{limits} on `{host}`: {said}");
            assert!(said.contains(&format!("(limits.{limit})")), "{said}");
            assert!(ended.stdout.len() < 8 << 20, "{}", ended.stdout.len());
            assert_eq!(ringfence(&["exec", "dev", "--", "true"]).status.code(), Some(125));
        }
    }
}

/// Files without a name that nobody maps, and System V segments that nobody is attached to any more.
/// 9 is MFD_CLOEXEC | MFD_NOEXEC_SEAL: without the second, an ordinary user makes none (see `syscalls::program`).
#[test]
fn memory_that_nobody_maps_counts() {
    let memfd = "python3 -c 'import os, time; f = os.memfd_create(\"x\", 9); \
        [os.pwrite(f, b\"x\" * (1 << 20), n << 20) for n in range(200)]; time.sleep(10)'";
    let segment = "python3 -c 'import ctypes as c, time; l = c.CDLL(None); l.shmat.restype = c.c_void_p; \
        i = l.shmget(7, 200 << 20, 0o1600); a = l.shmat(i, None, 0); c.memset(a, 1, 200 << 20); \
        l.shmdt(c.c_void_p(a)); time.sleep(10)'";
    for host in HOSTS {
        ends("memory", "memory = \"64MiB\"", host, memfd);
        ends("memory", "memory = \"64MiB\"", host, segment);
    }
}

#[test]
fn memory_in_files_counts() {
    for host in HOSTS {
        ends("memory", "memory = \"64MiB\"", host, "head -c 200000000 /dev/zero > /dev/shm/x; sleep 10");
        ends("memory", "memory = \"64MiB\"", host, "head -c 200000000 /dev/zero > /tmp/x; sleep 10");
    }
}

#[test]
fn an_endless_writer_ends() {
    let outcome = ends("output", "output = \"1MiB\"", "", "yes; sleep 10");
    // What is read at a time may come on top.
    assert!((1 << 20..(1 << 20) + (1 << 18)).contains(&outcome.out.len()), "{} bytes", outcome.out.len());
    ends("output", "output = \"1MiB\"", "", "yes >&2; sleep 10");
    ends("file_size", "file_size = \"1MiB\"", "", "cat /dev/zero > /tmp/x");
    let (outcome, _) =
        limited("tmp = \"1MiB\"", "", "head -c 10000000 /dev/zero > /tmp/x; stat -c %s /tmp/x");
    assert_eq!(outcome.out, "1048576\n", "{outcome:?}");
    let (outcome, _) = limited("output = \"1MiB\"", "", "head -c 1000000 /dev/zero");
    assert_eq!((outcome.status, outcome.out.len()), (0, 1_000_000));
}

#[test]
fn time_is_up_for_whoever_ignores_it() {
    ends("time", "time = \"300ms\"", "", "trap '' TERM HUP INT; (setsid sleep 20 &); sleep 20; sleep 20");
    let (outcome, _) = limited("time = \"1h\"", "", "echo fine");
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "fine\n"));
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    let place = Place::new();
    let policy = place.policy("[limits]\ntime = \"500ms\"\noutput = \"1GiB\"");
    let mut child = place
        .command(&["run", "--policy", &policy, "--", "yes"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    // Nobody reads, and the pipe is full after 64 KiB.
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "time is not up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(137));
}

/// Too few open files, for ringfence or for its task: the cause is told, and which limit it is; in both tiers.
#[test]
fn too_few_open_files_are_told_with_the_limit_that_is_too_low() {
    for hosted in [false, true] {
        let place = Place { hosted, ..Place::new() };
        let policy = place.policy("[limits]\nopen_files = 3");
        for (limit, source, remedy) in [
            ("40", ["--preset", "default"], "`ulimit -n 1024`"),
            ("1024", ["--policy", &policy], "`limits.open_files` = 3"),
        ] {
            let own = place.command(&[&["run"], &source[..], &["--", "echo", "ok"]].concat());
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", "ulimit -n $0; exec \"$@\"", limit])
                .arg(own.get_program())
                .args(own.get_args());
            shell.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let done = shell.current_dir(&place.workspace).output().unwrap();
            let told = String::from_utf8_lossy(&done.stderr);
            let expected = told.contains("Too many open files") && told.contains(remedy);
            assert!(expected && done.status.code() == Some(125), "{limit}: {told}");
        }
    }
}

#[test]
fn open_files_are_counted_by_the_kernel() {
    let (outcome, _) =
        limited("open_files = 20", "", "ulimit -n; ulimit -Hn; ulimit -n 1000 2>/dev/null; ulimit -n");
    assert_eq!(outcome.out, "20\n20\n20\n", "{outcome:?}");
}

#[test]
fn what_only_a_control_group_can_hold_is_refused_without_one() {
    for limits in ["cpu = 0.5", "memory = \"64MiB\"\nexact = true", "processes = 5\nexact = true"] {
        let (outcome, report) = limited(limits, "no-cgroup", "echo ran");
        assert_eq!(outcome.status, 125, "{outcome:?}");
        assert!(outcome.err.contains("control groups") && outcome.err.contains("hint:"), "{outcome:?}");
        assert!(outcome.out.is_empty() && report["limit"].is_null());
    }
    let (outcome, report) = limited("memory = \"64MiB\"", "no-cgroup", "echo ran");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert_eq!(report["degraded"][0]["name"], "polled", "{report}");
}

#[test]
fn a_processor_is_shared_out_where_groups_can_be_made() {
    let spin = "python3 -c 'import time; t = time.time()\nwhile time.time() < t + 1: pass\nprint(time.process_time())'";
    let (outcome, _) = limited("cpu = 0.3", "", spin);
    if !rustix::process::geteuid().is_root() {
        // Nothing is delegated to an ordinary user of a test machine, or something is: both are right.
        assert!([0, 125].contains(&outcome.status), "{outcome:?}");
    }
    if outcome.status == 0 {
        let used: f64 = outcome.out.trim().parse().unwrap();
        assert!(used < 0.7, "used {used} s of a second with 0.3 processors");
    } else {
        assert!(outcome.err.contains("control groups"), "{outcome:?}");
    }
}

#[test]
fn no_group_is_left_behind() {
    let groups = || {
        let mut found = Vec::new();
        let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                }
                found.push(entry.path().display().to_string());
            }
        }
        found
    };
    let place = Place::new();
    let policy = place.policy("[limits]\nmemory = \"64MiB\"\nprocesses = 20");
    let mut child = place
        .command(&["run", "--policy", &policy, "--", "sh", "-c", "echo up > /tmp/x; sleep 20"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let run = std::fs::read_dir(place.state.join("runs")).unwrap().next().unwrap().unwrap();
    let run = run.file_name().to_string_lossy().into_owned();
    let own = |groups: &[String]| groups.iter().any(|path| path.contains(&format!("ringfence-{run}")));
    assert!(own(&groups()) || !rustix::process::geteuid().is_root(), "root makes a group");
    child.kill().unwrap();
    child.wait().unwrap();
    // The note is young; made old, the next call cleans up.
    let note = place.state.join("groups").join(&run);
    if note.exists() {
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        std::fs::File::open(&note).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(place.run("", "true").status, 0);
    assert!(!own(&groups()) && !note.exists());
}
