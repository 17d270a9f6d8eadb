//! System calls that the list refuses are told of: which, with which arguments, by whom, and how often.

use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place};
use serde_json::Value;

/// What python needs to make a system call by its number.
const CALL: &str = "import ctypes, os, sys, threading\n\
                    libc = ctypes.CDLL(None, use_errno=True)\n\
                    def call(*words):\n  \
                      ctypes.set_errno(0)\n  \
                      libc.syscall(*[ctypes.c_long(word) for word in words])\n  \
                      return ctypes.get_errno()\n";

fn python(place: &Place, script: &str) -> Outcome {
    place.write("try.py", &format!("{CALL}{script}\n"));
    place.run("", "exec python3 -I -S try.py")
}

/// Refused calls of the only run: name, arguments, program, how often.
fn told(place: &Place) -> Vec<(String, Vec<String>, String, u64)> {
    log(place)
        .into_iter()
        .filter(|event| event["kind"] == "syscall.deny")
        .map(|event| {
            let detail = &event["detail"];
            let arguments = detail["arguments"].as_array().unwrap().iter();
            (
                detail["name"].as_str().unwrap().to_owned(),
                arguments.map(|word| word.as_str().unwrap().to_owned()).collect(),
                detail["program"].as_str().unwrap().to_owned(),
                detail["times"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn log(place: &Place) -> Vec<Value> {
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    assert_eq!(runs.len(), 1, "one run a place");
    let text = std::fs::read_to_string(runs[0].path().join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Numbers that are the same on every architecture (asm-generic/unistd.h), and those of this one.
const IO_URING_SETUP: i64 = 425;
const OPEN_TREE: i64 = 428;
#[cfg(target_arch = "x86_64")]
const PTRACE_UNSHARE: [i64; 2] = [101, 272];
#[cfg(target_arch = "aarch64")]
const PTRACE_UNSHARE: [i64; 2] = [117, 97];

#[test]
fn a_refused_call_is_told_with_its_arguments() {
    let place = Place::new();
    let [ptrace, unshare] = PTRACE_UNSHARE;
    let outcome = python(
        &place,
        &format!(
            "print([call({ptrace}, 16, 1, 2, 3), call({unshare}, 0x10020000), call({IO_URING_SETUP}, 8, 0x7fff0000), \
             call({OPEN_TREE}, -100, 5, 1)])"
        ),
    );
    // EPERM each, as if nobody had been asked.
    assert_eq!(outcome.out, "[1, 1, 1, 1]\n", "{}", outcome.err);
    let told = told(&place);
    for (name, first) in [
        ("ptrace", &["0x10", "0x1", "0x2", "0x3"][..]),
        ("unshare", &["0x10020000"]),
        ("io_uring_setup", &["0x8", "0x7fff0000"]),
        ("open_tree", &["0xffffffffffffff9c", "0x5", "0x1"]),
    ] {
        let found: Vec<_> = told.iter().filter(|(called, ..)| called == name).collect();
        let [(_, arguments, program, times)] = &found[..] else { panic!("{name}: {told:?}") };
        assert_eq!(arguments[..first.len()], *first, "{name}");
        assert_eq!((arguments.len(), *times), (6, 1), "{name}");
        assert!(program.contains("python3"), "{program}");
    }
    let explained = place.ringfence(&["explain"]).out;
    assert!(
        explained.contains("made the system call unshare\n    refused: the list of system calls: "),
        "{explained}"
    );
}

/// A snapshot of btrfs would show what is hidden in a tree, and be made where only reading is granted; here it is only asked for.
#[test]
fn what_only_one_file_system_has_is_not_asked_of_it() {
    let place = Place::new();
    let outcome = python(
        &place,
        "import fcntl\nhere = os.open('.', os.O_RDONLY)\n\
         def ask(number):\n  try: return fcntl.ioctl(here, number, bytes(512)) and 0\n  except OSError as error: return error.errno\n\
         print([ask(number) for number in (0x50009401, 0x5000940e, 0x5000940f, 0x800c6613, 0x40806685)])",
    );
    // EPERM for what is of btrfs, ENOTTY for encryption and verity.
    assert_eq!(outcome.out, "[1, 1, 1, 25, 25]\n", "{}", outcome.err);
    let told = told(&place);
    assert!(told.iter().any(|(name, ..)| name == "ioctl"), "{told:?}");
}

#[test]
fn a_flood_of_calls_is_counted_and_holds_nobody_else_up() {
    let place = Place::new();
    let [_, unshare] = PTRACE_UNSHARE;
    place.write(
        "flood.py",
        &format!(
            "{CALL}def flood():\n  for number in range(5000): call({unshare}, number)\n\
             threads = [threading.Thread(target=flood) for _ in range(4)]\n\
             [thread.start() for thread in threads]; [thread.join() for thread in threads]\nprint('flooded')\n"
        ),
    );
    place.write(
        "meet.py",
        "import socket\nserver = socket.socket(socket.AF_UNIX); server.bind('/tmp/s'); server.listen(200)\n\
         for _ in range(200): socket.socket(socket.AF_UNIX).connect('/tmp/s')\nprint('met')\n",
    );
    let since = Instant::now();
    let script =
        "python3 -I -S flood.py & python3 -I -S meet.py; for i in 1 2 3 4 5; do /bin/true; done; wait";
    let outcome = place.run("", script);
    let mut lines: Vec<&str> = outcome.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["flooded", "met"], "{}", outcome.err);
    println!("20,000 refused calls beside 200 connects: {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(30));
    let told = told(&place);
    assert!(told.len() <= 2, "{told:?}");
    let times: u64 = told.iter().map(|(.., times)| times).sum();
    assert_eq!(times, 20_000);
    assert!(log(&place).len() < 40);
}

/// The price of debuggers: the task's programs reach each other, and nothing else.
#[test]
fn a_debugger_reaches_the_tasks_own_processes_alone() {
    let place = Place::new();
    let [ptrace, _] = PTRACE_UNSHARE;
    // PTRACE_SEIZE is 0x4206; process_vm_readv is one argument too many for it, so the file stands for it.
    place.write(
        "trace.py",
        &format!(
            "{CALL}child = os.fork()\nif child == 0:\n  import time; time.sleep(20)\n\
             print(call({ptrace}, 0x4206, child, 0, 0)); print([call({ptrace}, 0x4206, pid, 0, 0) for pid in (1, 2)])\n\
             def read(pid):\n  try: open(f'/proc/{{pid}}/mem', 'rb').read(1); return 'read'\n  except OSError as error: return error.errno\n\
             print([read(pid) for pid in (1, 2)])\nos.kill(child, 9)\n"
        ),
    );
    let traced = |policy: &str| place.run(policy, "exec python3 -I -S trace.py");
    let outcome = traced("[runtime]\ndebug = [\"ptrace\"]");
    assert_eq!(outcome.out, "0\n[1, 1]\n[13, 13]\n", "{}", outcome.err);
    let outcome = traced("");
    assert_eq!(outcome.out, "1\n[1, 1]\n[13, 13]\n", "{}", outcome.err);
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains("to allow it: [runtime] debug = [\"ptrace\"]"), "{explained}");
}

/// Programs that try one kind of socket after another must hear what the kernel would say.
#[test]
fn calls_refused_for_an_argument_are_told_with_the_answer_that_is_usual() {
    let place = Place::new();
    let script = "import socket\n\
        for family, kind in ((38, 5), (40, 1), (17, 3), (1, 2)):\n  \
          try: socket.socket(family, kind); print('made')\n  \
          except OSError as error: print(error.errno)\n\
        os.chmod('try.py', 0o644)\n\
        try: os.chmod('try.py', 0o4755)\n\
        except OSError as error: print(error.errno)\n";
    let outcome = python(&place, script);
    // EAFNOSUPPORT three times, EPROTONOSUPPORT for a unix datagram, EPERM for a set-id bit.
    assert_eq!(outcome.out, "97\n97\n97\n93\n1\n", "{outcome:?}");
    let told: Vec<String> = told(&place).into_iter().map(|(name, ..)| name).collect();
    assert!(told.iter().any(|name| name == "socket"), "{told:?}");
    assert!(told.iter().any(|name| name.ends_with("chmod") || name.starts_with("fchmodat")), "{told:?}");
}

/// They count where `explain` lists them, each family of sockets is one, and the task may read of them as well.
#[test]
fn refused_calls_count_and_the_task_may_know_of_them() {
    for tier in ["namespace", "landlock"] {
        let place = Place::new().in_tier(tier);
        let script = "import socket\n\
            call(321, 0, 0, 0); call(321, 0, 0, 0)\n\
            for family in (40, 38, 40, 99, 100):\n  \
              try: socket.socket(family, socket.SOCK_DGRAM)\n  \
              except OSError: pass\n\
            try: print(open('/run/ringfence/refusals').read())\n\
            except OSError: print('none')\n";
        place.write("try.py", &format!("{CALL}{script}\n"));
        let policy = place.policy("");
        let report = place.base.path().join("report.json").display().to_string();
        let arguments =
            ["run", "--policy", &policy, "--report", &report, "--", "python3", "-I", "-S", "try.py"];
        let done = place.ringfence(&arguments);
        assert_eq!(done.status, 0, "{tier}: {done:?}");
        let names = ["bpf", "socket (AF_VSOCK)", "socket (AF_ALG)", "socket (an unknown family)"];
        if tier == "namespace" && std::fs::File::open("/dev/fuse").is_ok() {
            let line = |name: &str| {
                format!("{{\"refused\":\"{name}\",\"to\":\"call\",\"by\":\"the list of system calls")
            };
            assert!(names.iter().all(|name| done.out.matches(&line(name)).count() == 1), "{done:?}");
        }
        assert!(done.err.contains("4 things refused: `ringfence explain"), "{tier}: {done:?}");
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        assert_eq!(report["refusals"], 4, "{tier}: {report}");
        let shown = place.ringfence(&["explain"]).out;
        assert!(names.iter().all(|name| shown.contains(&format!("system call {name}"))), "{tier}: {shown}");
    }
}

/// The kernel lets nobody in a sandbox make one, and tells nobody.
#[test]
fn devices_that_nobody_may_make_are_told() {
    let place = Place::new();
    let script = "import os, stat\n\
                  for mode, device in ((stat.S_IFCHR, 0x103), (stat.S_IFBLK, 0x800), (stat.S_IFIFO, 0), (stat.S_IFREG, 0)):\n  \
                    try: os.mknod('made%d' % mode, mode | 0o600, device); print('made')\n  \
                    except OSError as error: print(error.errno)";
    let outcome = python(&place, script);
    assert_eq!(outcome.out, "1\n1\nmade\nmade\n", "{}", outcome.err);
    let told = told(&place);
    let devices = told.iter().filter(|(name, ..)| name.starts_with("mknod"));
    let times: u64 = devices.map(|(.., times)| times).sum();
    assert_eq!(times, 2, "{told:?}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(
        explained.contains("mknod") && explained.contains("devices and set-id bits are refused"),
        "{explained}"
    );
}

/// The kernel ends who makes it, and tells nobody.
#[test]
fn what_a_call_of_another_abi_means_is_said() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let place = Place::new();
    // __X32_SYSCALL_BIT (asm/unistd.h), and getpid.
    let ended = python(&place, "call(0x40000000 | 39)");
    assert_eq!(ended.status, 159, "{ended:?}");
    let told = place.ringfence(&["explain"]).out;
    assert!(told.contains("a system call of another ABI, `int $0x80`"), "{told}");
    assert_eq!(python(&place, "sys.exit(3)").status, 3);
    assert!(!place.ringfence(&["explain"]).out.contains("`int $0x80`"));
}
