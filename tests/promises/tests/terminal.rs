//! A sandbox on a terminal behaves like the program in it; off a terminal, like a good process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ringfence_promises::Place;
use serde_json::{Value, json};

const DRIVER: &str = include_str!("terminal.py");

/// What a terminal showed, and how the command on it ended.
#[derive(Debug)]
struct Shown {
    out: String,
    /// `None`: it did not end by itself.
    status: Option<i64>,
    /// The terminal's settings are as before.
    same: bool,
}

/// Runs words on a terminal, following the steps; a step that never comes is a failure.
fn on_terminal(place: &Place, argv: &[&str], steps: Value) -> Shown {
    let task = json!({ "argv": argv, "steps": steps, "timeout": 20 });
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", DRIVER, &task.to_string()])
        .current_dir(&place.workspace)
        .env("TERM", "xterm-256color");
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state).env("HISTFILE", "/dev/null");
    let done = command.stderr(Stdio::inherit()).output().unwrap();
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    let out = shown["out"].as_str().unwrap().to_owned();
    assert_eq!(shown["left"], json!([]), "never came; the terminal showed: {out:?}");
    Shown { out, status: shown["status"].as_i64(), same: shown["same"] == true }
}

fn inside(place: &Place, policy: &str, command: &[&str], steps: Value) -> Shown {
    let binary = ringfence_promises::binary().display().to_string();
    let policy = place.policy(policy);
    let mut argv = vec![binary.as_str(), "run", "--quiet", "--policy", &policy, "--workspace", ".", "--"];
    argv.extend(command);
    on_terminal(place, &argv, steps)
}

#[test]
fn it_is_a_terminal_of_its_own_and_follows_the_size() {
    let place = Place::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all; tty; stty size; trap 'stty size; exit 7' WINCH; echo go; while :; do sleep 0.1; done";
    let shown = inside(&place, "", &["bash", "-c", script], json!([["go", { "resize": [50, 132] }]]));
    assert!(shown.out.starts_with("all\r\n/dev/pts/0\r\n24 80\r\n"), "{shown:?}");
    assert!(shown.out.contains("50 132"), "{shown:?}");
    assert_eq!((shown.status, shown.same), (Some(7), true), "{shown:?}");
}

/// As at every other terminal, whose other end its owner holds.
#[test]
fn a_command_that_leaves_its_terminal_is_not_hung_up() {
    let place = Place::new();
    let shown = inside(&place, "", &["sh", "-c", "exec sleep 1 >got 2>&1 </dev/null"], json!([]));
    assert_eq!((shown.status, shown.same), (Some(0), true), "{shown:?}");
}

#[test]
fn control_c_ends_what_is_in_front() {
    let place = Place::new();
    let shown = inside(&place, "", &["sh", "-c", "echo go; exec sleep 60"], json!([["go", "\u{3}"]]));
    assert_eq!((shown.status, shown.same), (Some(130), true), "{shown:?}");
    let steps =
        json!([["$ ", "sleep 60\n"], ["sleep 60", "\u{3}"], ["$ ", "echo st=$?; exit 3\n"], ["st=130", ""]]);
    let shown = inside(&place, "", &["bash", "--norc", "-i"], steps);
    assert_eq!(shown.status, Some(3), "{shown:?}");
}

#[test]
fn control_z_stops_the_whole_and_fg_goes_on() {
    let place = Place::new();
    let binary = ringfence_promises::binary().display().to_string();
    let run =
        format!("{binary} run --quiet --preset default -- sh -c 'echo up; read x; echo got $x; exit 5'\n");
    let steps = json!([
        ["bash-", run],
        ["up\r", "\u{1a}"],
        ["Stopped", "fg\n"],
        ["read x", "hello\n"],
        ["got hello", "echo st=$?\n"],
        ["st=5", "exit\n"]
    ]);
    let shown = on_terminal(&place, &["bash", "--norc", "-i"], steps);
    assert_eq!(shown.status, Some(0), "{shown:?}");
}

#[test]
fn a_password_is_not_shown() {
    let place = Place::new();
    let shown = inside(
        &place,
        "",
        &["bash", "-c", "read -sp 'secret: ' x; echo; echo ${#x}"],
        json!([["secret: ", "hunter2\n"]]),
    );
    assert!(!shown.out.contains("hunter2") && shown.out.contains("\r\n7\r\n"), "{shown:?}");
}

#[test]
fn what_acts_on_the_terminal_does_not_reach_it() {
    let place = Place::new();
    let script =
        r"printf '\033[1;31mred\033[0m \033]52;c;cHduCg==\a\033]0;title\a\033[21t\033P$qm\033\\\005end\n'";
    let shown = inside(&place, "", &["bash", "-c", script], json!([]));
    assert!(shown.out.contains("\u{1b}[1;31mred\u{1b}[0m end"), "{shown:?}");
    for bad in ["]52;", "]0;", "[21t", "P$q", "\u{5}"] {
        assert!(!shown.out.contains(bad), "{bad:?} in {shown:?}");
    }
    // The program's own words, through its terminal's other names too.
    let script = r"for to in /dev/tty /dev/stdout /proc/self/fd/0 /dev/pts/0; do printf '\033]52;c;cHduCg==\a' > $to; done; echo end";
    let shown = inside(&place, "", &["bash", "-c", script], json!([]));
    assert!(shown.out.contains("end") && !shown.out.contains("]52;"), "{shown:?}");
    let raw =
        inside(&place, "[runtime]\nterminal = \"raw\"", &["printf", r"\033]52;c;cHduCg==\a"], json!([]));
    assert!(raw.out.contains("\u{1b}]52;c;cHduCg==\u{7}"), "{raw:?}");
}

#[test]
fn input_is_not_pushed_into_the_terminal() {
    let place = Place::new();
    let script = "import fcntl, termios, sys\n\
        for fd in (0, 1, 2):\n\
        \x20   for request in (termios.TIOCSTI, termios.TIOCSTI | 1 << 32 if False else termios.TIOCSTI, 0x541C):\n\
        \x20       try: fcntl.ioctl(fd, request, b'x'); print('PUSHED')\n\
        \x20       except OSError as error: print('refused', error.errno)\n";
    let shown = inside(&place, "", &["python3", "-c", script], json!([]));
    assert!(!shown.out.contains("PUSHED") && shown.out.contains("refused"), "{shown:?}");
}

#[test]
fn full_screen_programs_work() {
    let place = Place::new();
    place.write("text", &"line\n".repeat(200));
    let steps = json!([["line", "G"], ["END", "q"]]);
    let shown = inside(&place, "", &["less", "text"], steps);
    assert_eq!((shown.status, shown.same), (Some(0), true), "{shown:?}");
    let steps = json!([["text", "ggOfirst words\u{1b}"], ["first words", ":wq\n"]]);
    let shown = inside(&place, "[workspace]\nmode = \"direct\"", &["vim", "-u", "NONE", "-N", "text"], steps);
    assert_eq!((shown.status, shown.same), (Some(0), true), "{shown:?}");
    assert!(place.read("text").unwrap().starts_with("first words\nline\n"));
    let steps = json!([[">>> ", "6 * 7\n"], ["42", "exit()\n"]]);
    assert_eq!(inside(&place, "", &["python3", "-q"], steps).status, Some(0));
}

#[test]
fn the_leader_of_the_session_is_not_held_by_its_task() {
    let place = Place::new();
    let begun = Instant::now();
    let shown = inside(&place, "", &["sh", "-c", "kill -STOP $PPID; sleep 0.3; exit 6"], json!([]));
    assert_eq!(shown.status, Some(6), "{shown:?}");
    // Landlock's scope refuses the signal; without it (before Linux 6.12) the command ends with its leader.
    let shown = inside(&place, "", &["sh", "-c", "kill -9 $PPID; sleep 1; echo lives"], json!([]));
    assert_eq!(shown.status, Some(if shown.out.contains("lives") { 0 } else { 137 }), "{shown:?}");
    let shown = inside(&place, "", &["sh", "-c", "kill -9 1; kill -STOP 1; kill -9 -1; echo no"], json!([]));
    assert!(shown.status.is_some(), "{shown:?}");
    assert!(begun.elapsed() < Duration::from_secs(12));
}

#[test]
fn a_task_in_a_pipe_leaves_the_terminal_as_it_was() {
    let place = Place::new();
    let binary = ringfence_promises::binary().display().to_string();
    let script =
        format!("{binary} run --quiet --preset default -- sh -c 'stty -isig -icanon -echo; echo set' | cat");
    let shown = on_terminal(&place, &["bash", "-c", &script], json!([]));
    assert!(shown.out.contains("set") && shown.same, "{shown:?}");
}

#[test]
fn a_terminal_that_is_closed_ends_everything() {
    let place = Place::new();
    let daemon = "trap '' HUP; (setsid sh -c 'trap \"\" HUP TERM; while :; do date +%s%N > beat; done' &); echo go; while :; do sleep 1; done";
    inside(
        &place,
        "[workspace]\nmode = \"direct\"",
        &["bash", "-c", daemon],
        json!([["go", { "close": true }]]),
    );
    let begun = Instant::now();
    let mut last = place.read("beat");
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = place.read("beat");
        if now == last {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "it goes on");
        last = now;
    }
}

#[test]
fn signals_reach_the_command_and_the_invokers_own_do_not() {
    let place = Place::new();
    for (signal, name) in [("-TERM", "TERM"), ("-HUP", "HUP"), ("-USR1", "USR1"), ("-INT", "INT")] {
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo up; while :; do sleep 0.05; done");
        let mut child = place
            .command(&["run", "--quiet", "--preset", "default", "--", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut [0; 3]).unwrap();
        let sent =
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        assert_eq!((rest.trim(), child.wait().unwrap().code()), (format!("got {name}").as_str(), Some(9)));
    }
    let binary = ringfence_promises::binary().display().to_string();
    let script = format!(
        "trap '' INT TERM PIPE USR1; {binary} run --quiet --preset default -- grep -E 'Sig(Ign|Blk)' /proc/self/status"
    );
    let outcome = shell(&place, &script);
    assert_eq!(outcome, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let script = format!(
        "{binary} run --quiet --preset default -- sh -c 'yes; echo $? >&2' 2>status | head -1; cat status"
    );
    assert_eq!(shell(&place, &script), "y\n141\n");
}

fn shell(place: &Place, script: &str) -> String {
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script]).current_dir(&place.workspace).stdin(Stdio::null());
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

/// As programs make one that do not know about sessions.
#[test]
fn a_terminal_that_controls_nobody_is_one_too() {
    let place = Place::new();
    let driver = "import os, pty, subprocess, sys, time\n\
        master, slave = pty.openpty()\n\
        child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave)\n\
        os.close(slave)\n\
        seen = b''\n\
        while b'up' not in seen: seen += os.read(master, 1000)\n\
        time.sleep(1.5)\n\
        os.write(master, b'word\\r')\n\
        while b'got word' not in seen: seen += os.read(master, 1000)\n\
        sys.exit(child.wait())\n";
    let mut command = std::process::Command::new("timeout");
    command.args(["20", "python3", "-c", driver]).arg(ringfence_promises::binary());
    command.args(["run", "--quiet", "--preset", "default", "--"]);
    command.args(["sh", "-c", "echo up; read x; echo got $x; exit 6"]).current_dir(&place.workspace);
    command.env("HOME", &place.home).env("RINGFENCE_STATE", &place.state);
    assert_eq!(command.status().unwrap().code(), Some(6));
}

/// Its output is elsewhere: what it writes to the terminal as its errors is filtered all the same, and the terminal that its
/// keys come from is not its to set.
#[test]
fn a_terminal_beside_a_pipe_is_filtered_and_not_handed_over() {
    let place = Place::new();
    let binary = ringfence_promises::binary().display().to_string();
    let inside = "printf \"\\033]0;title\\007\\033[1mseen\" >&2; stty -echo rows 7 </dev/stdin && echo set >&2; \
        read line; echo \"got $line\" >&2; test -t 0 || test -t 1 || test -t 2 || echo none >&2";
    let script = format!("{binary} run --quiet --preset default -- sh -c '{inside}' | cat; stty size");
    let shown = on_terminal(&place, &["bash", "-c", &script], json!([["seen", "word\n"]]));
    for part in ["seen", "got word", "none", "24 80"] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
    assert!(!shown.out.contains("title") && !shown.out.contains("\nset") && shown.same, "{shown:?}");
}

/// Neither a command in the background nor what one leaves running reads the keys of the shell.
#[test]
fn keys_of_the_shell_are_not_read_from_the_background() {
    let place = Place::new();
    let binary = ringfence_promises::binary().display().to_string();
    let script = format!(
        "set -m; {binary} run --quiet --preset default --workspace . -- sh -c 'echo up; exec cat' >log 2>&1 & \
         until grep -q up log; do sleep 0.1; done; \
         for i in 1 2 3 4 5 6; do echo ask$i; read x; echo \"read $x\"; done; cat log; kill %1; wait"
    );
    let words = ["one", "two", "three", "four", "five", "six"];
    let steps: Vec<Value> =
        (1..).zip(words).map(|(number, word)| json!([format!("ask{number}"), format!("{word}\n")])).collect();
    let shown = on_terminal(&place, &["bash", "-c", &script], json!(steps));
    for word in words {
        assert!(shown.out.contains(&format!("read {word}")), "{word}: {shown:?}");
    }

    assert_eq!(place.ringfence(&["start", "keys", "--preset", "default"]).status, 0);
    let script = format!(
        "{binary} exec keys -- sh -c 'exec 3<&0; cat <&3 >/tmp/keys 2>&1 & echo up' | cat; \
         sleep 0.3; echo ask; read x; echo \"read $x\""
    );
    let shown = on_terminal(&place, &["bash", "-c", &script], json!([["ask", "hidden\n"]]));
    let kept = place.ringfence(&["exec", "keys", "--", "cat", "/tmp/keys"]);
    let stopped = place.ringfence(&["stop", "keys", "--grace", "0"]);
    assert!(shown.out.contains("read hidden"), "{shown:?}");
    assert_eq!((kept.status, kept.out.as_str(), stopped.status), (0, "", 0), "{kept:?}");
}
