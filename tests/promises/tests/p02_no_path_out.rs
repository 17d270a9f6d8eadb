//! Promise 2: no route, socket, descriptor or /proc entry that was not granted.

use std::os::unix::net::UnixListener;

use ringfence_promises::Place;

#[test]
fn only_its_own_loopback() {
    let place = Place::new();
    let script = "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route | tail -n +2";
    assert_eq!(place.run("", script).out.trim(), "lo");
}

#[test]
fn sockets_of_the_host_below_a_grant_are_refused_and_recorded() {
    let place = Place::new();
    let socket = place.write(place.base.path().join("ro/x"), "").with_file_name("svc.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let policy = format!("[files]\nread = [\"{}\"]", socket.parent().unwrap().display());
    let connect = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{}\")'",
        socket.display()
    );
    let outcome = place.run(&policy, &connect);
    assert!(outcome.status != 0 && outcome.err.contains("PermissionError"), "{outcome:?}");
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    let events = std::fs::read_to_string(runs[0].path().join("events.jsonl")).unwrap();
    assert!(events.contains("net.deny") && events.contains("svc.sock"), "{events}");
    assert!(events.contains("python3"), "which program: {events}");
    let explained = place.ringfence(&["explain"]);
    let remedy = format!("[network] allow = [{{ unix = \"{}\" }}]", socket.display());
    assert!(explained.out.contains(&remedy), "{explained:?}");
    assert_eq!(place.run(&remedy.replace("] allow", "]\nallow"), &connect).status, 0, "the remedy works");
}

#[test]
fn no_refusal_is_lost_behind_many_others() {
    let place = Place::new();
    let socket = place.write(place.base.path().join("ro/x"), "").with_file_name("svc.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let directory = socket.parent().unwrap().display().to_string();
    let policy = place.policy(&format!("[files]\nread = [\"{directory}\"]"));
    std::os::unix::fs::symlink(&socket, socket.with_file_name("other.sock")).unwrap();
    let script = format!(
        "import socket\nfor n in range(1501):\n try: socket.socket(socket.AF_UNIX).connect('{directory}/' + ('other.sock' if n == 1500 else 'svc.sock'))\n except PermissionError: pass"
    );
    let report = place.base.path().join("report.json");
    let arguments =
        ["run", "--policy", &policy, "--report", report.to_str().unwrap(), "--", "python3", "-c", &script];
    let outcome = place.ringfence(&arguments);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&place.read(report).unwrap()).unwrap();
    // Different things: Python itself looks for some names more.
    let refusals = report["refusals"].as_u64().unwrap();
    assert!((2..100).contains(&refusals), "{refusals}");
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    let events = std::fs::read_to_string(runs[0].path().join("events.jsonl")).unwrap();
    assert!(events.contains("other.sock") && events.contains("1499"), "{events}");
    assert!(events.lines().count() < 10, "repeated ones are counted: {events}");
}

#[test]
fn a_task_that_makes_its_socket_blocking_again_holds_nobody_up() {
    let place = Place::new();
    let script = r#"python3 -c '
import fcntl, os, socket, threading, time
t = socket.socket(socket.AF_UNIX); t.bind("\0full"); t.listen(0)
held = [socket.socket(socket.AF_UNIX) for n in range(2)]
for c in held:
    c.setblocking(False)
    try: c.connect("\0full")
    except OSError: pass
s = socket.socket(socket.AF_UNIX)
for n in range(2):
    if os.fork() == 0:
        while True: fcntl.fcntl(s, fcntl.F_SETFL, os.O_RDWR)
def stuck():
    while True:
        try: s.connect("\0full")
        except OSError: pass
threading.Thread(target=stuck, daemon=True).start()
time.sleep(0.5)
began = time.monotonic()
free = socket.create_server(("127.0.0.1", 0)); socket.create_connection(free.getsockname())
print("answered" if time.monotonic() - began < 5 else "held up", flush=True)
os.kill(0, 9)'"#;
    assert_eq!(place.run("", script).out, "answered\n");
}

#[test]
fn the_task_reaches_its_own_sockets_by_path_name_and_number() {
    let place = Place::new();
    let script = r#"python3 -c '
import socket, os
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/x"); s.listen(); os.chdir("/tmp")
for name in ("/tmp/x", "x", "./x"):
    socket.socket(socket.AF_UNIX).connect(name)
t = socket.create_server(("127.0.0.1", 0)); socket.create_connection(t.getsockname())
print("all")'"#;
    assert_eq!(place.run("", script).out, "all\n");
}

#[test]
fn a_blocking_connect_to_a_full_queue_ends_and_the_supervisor_lives() {
    let place = Place::new();
    let script = r#"python3 -c '
import socket
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(0)
held = []
for n in range(4):
    c = socket.socket(); c.settimeout(0.3)
    try: c.connect(t.getsockname())
    except OSError: pass
    held.append(c)
print("done")'"#;
    let outcome = place.run("", script);
    assert_eq!(outcome.out, "done\n", "{}", outcome.err);
}

#[test]
fn processes_of_the_host_are_not_there() {
    let place = Place::new();
    let own = std::process::id();
    let outcome = place.run("", &format!("ls -d /proc/{own} 2>&1; ls /proc | grep -c '^[0-9]'"));
    assert!(outcome.out.contains("No such file"), "{}", outcome.out);
}

#[test]
fn init_tells_nothing_of_the_invoker() {
    let place = Place::new();
    let outcome = place.run("", "cat /proc/1/environ /proc/1/maps /proc/1/cmdline 2>/dev/null | tr -d '\\0'; ls -l /proc/1/fd/* 2>/dev/null");
    assert_eq!(outcome.out, "");
}

#[test]
fn no_message_reaches_a_datagram_socket_of_the_host() {
    use std::os::unix::net::UnixDatagram;
    let place = Place::new();
    let served = place.home.join("served");
    std::fs::create_dir(&served).unwrap();
    let socket = UnixDatagram::bind(served.join("log.sock")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let script = "python3 - <<'END'\nimport socket, os\nto = os.path.expanduser('~/served/log.sock')\n\
        for kind in range(1, 11):\n    for make in (lambda: socket.socket(socket.AF_UNIX, kind), lambda: socket.socketpair(socket.AF_UNIX, kind)[0]):\n\
        \x20       try:\n            s = make(); s.sendto(b'escaped', to); print('SENT', kind)\n        except OSError as error: pass\nEND";
    let policy = format!("[files]\nread = [\"{}\"]", served.display());
    let outcome = place.run(&policy, script);
    assert!(!outcome.out.contains("SENT"), "{outcome:?}");
    assert!(socket.recv(&mut [0; 16]).is_err(), "the host got a message");
}

#[test]
fn a_directory_of_the_host_does_not_pass_for_the_sandboxs_own() {
    use std::os::unix::net::UnixListener;
    let place = Place::new();
    let served = place.home.join("served");
    let project = place.home.join("src/proj");
    std::fs::create_dir(&served).unwrap();
    std::fs::create_dir_all(&project).unwrap();
    let listener = UnixListener::bind(served.join("s.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let policy = place.policy(&format!("[files]\nread = [\"{}\"]", served.display()));
    // The way to the workspace's mount is exchanged before the first connect.
    let script = "mv ~/src ~/src2; mkdir ~/src; ln -s ~/served ~/src/proj; python3 -c \"import socket, os; \
        s = socket.socket(socket.AF_UNIX); s.connect(os.path.expanduser('~/served/s.sock')); print('CONNECTED')\"";
    let mut command =
        place.command(&["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script]);
    let done = command.current_dir(&project).output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(!out.contains("CONNECTED") && listener.accept().is_err(), "{done:?}");
    // The sandbox's own still answer.
    let own = "python3 - <<'END'\nimport socket\na = socket.socket(socket.AF_UNIX); a.bind('/tmp/x'); a.listen()\n\
        b = socket.socket(socket.AF_UNIX); b.connect('/tmp/x'); print('own')\nEND";
    assert_eq!(place.run("", own).out, "own\n");
}
