//! Tier `landlock`: where namespaces are refused, the same policy holds, or the run is refused with the cause.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place, root};

/// Root's files are root's: nothing less than root could work on them.
fn leave() -> &'static [&'static str] {
    if root() { &["--allow-degraded", "root-uid"] } else { &[] }
}

fn command(place: &Place, policy: &str, words: &[&str]) -> Command {
    let path = place.policy(policy);
    let mut arguments = vec!["run", "--policy", &path, "--workspace", "."];
    arguments.extend(leave());
    arguments.push("--");
    arguments.extend(words);
    let mut command = place.command(&arguments);
    command.env("RINGFENCE_TEST_HOST", "no-userns");
    command
}

fn run(place: &Place, policy: &str, script: &str) -> Outcome {
    let output = command(place, policy, &["sh", "-c", script]).output().unwrap();
    Outcome {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn verb(place: &Place, arguments: &[&str]) -> Outcome {
    let output = place.command(arguments).env("RINGFENCE_TEST_HOST", "no-userns").output().unwrap();
    Outcome {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const DIRECT: &str = "[workspace]\nmode = \"direct\"";

#[test]
fn what_is_not_granted_is_neither_read_nor_changed() {
    let place = Place::new();
    let secret = place.write(place.home.join("secret"), "SECRET\n");
    let old = std::fs::metadata(&secret).unwrap();
    let path = secret.display();
    let attempts = [
        format!("cat {path}"),
        format!("echo x > {path}"),
        format!("echo x >> {path}"),
        format!("chmod 600 {path}"),
        "chmod 600 ../secret".into(),
        format!("touch -d 2001-01-01 {path}"),
        format!("touch -h -d 2001-01-01 {path}"),
        format!("chown {} {path}", old.uid()),
        format!("truncate -s 0 {path}"),
        format!("ln {path} mine"),
        format!("mv {path} mine"),
        format!("rm {path}"),
        format!("ln -s {path} link && chmod 600 link"),
        format!("ls {}", place.home.display()),
        format!("cp /bin/true {}/x", place.home.display()),
        format!("python3 -c 'import os; os.setxattr(\"{path}\", \"user.x\", b\"1\")'"),
        "cat /proc/1/environ".into(),
        "cat /proc/1/cmdline".into(),
        "ls /tmp".into(),
        "echo x > /dev/shm/x".into(),
        "python3 -c 'import socket; socket.socket().connect((\"127.0.0.1\", 1))'".into(),
        "python3 -c 'import socket; socket.socket(socket.AF_INET6)'".into(),
    ];
    for attempt in attempts {
        let outcome = run(&place, DIRECT, &format!("{attempt} && echo DONE"));
        assert!(!outcome.out.contains("DONE"), "{attempt}: {} {}", outcome.out, outcome.err);
        assert!(!outcome.out.contains("SECRET"), "{attempt}: {}", outcome.out);
    }
    let new = std::fs::metadata(&secret).unwrap();
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "SECRET\n");
    assert_eq!(
        (old.mode(), old.mtime(), old.ctime(), old.uid()),
        (new.mode(), new.mtime(), new.ctime(), new.uid())
    );
}

/// What Landlock does not govern is judged, for paths and for descriptors.
#[test]
fn attributes_of_what_is_granted_are_the_tasks_and_of_the_rest_are_not() {
    let place = Place::new();
    let read = place.base.path().join("read");
    std::fs::create_dir_all(&read).unwrap();
    let file = place.write(read.join("file"), "text");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let policy = format!("{DIRECT}\n[files]\nread = [\"{}\"]", read.display());
    let script = r#"
import os, sys, fcntl, struct
def says(what, call):
    try: call(); print(what, "done")
    except OSError as error: print(what, "refused", error.errno)
read = sys.argv[1]
open("own", "w").write("x")
os.mkdir("dir")
says("own-chmod", lambda: os.chmod("own", 0o751))
says("own-fchmod", lambda: os.fchmod(os.open("own", os.O_RDONLY), 0o741))
says("own-proc", lambda: os.chmod(f"/proc/self/fd/{os.open('own', os.O_RDONLY)}", 0o641))
says("own-dir", lambda: os.chmod("dir", 0o700))
says("own-at", lambda: os.chmod("own", 0o640, dir_fd=os.open(".", os.O_RDONLY)))
says("own-utime", lambda: os.utime("own", (1, 2)))
says("own-utime-fd", lambda: os.utime(os.open("own", os.O_RDONLY), ns=(1, 5)))
says("own-chown", lambda: os.chown("own", os.getuid(), os.getgid()))
says("own-xattr", lambda: os.setxattr("own", "user.a", b"value"))
says("own-xattr-off", lambda: os.removexattr("own", "user.a"))
says("own-set-id", lambda: os.chmod("own", 0o4755))
gone = os.open("gone", os.O_RDWR | os.O_CREAT)
os.unlink("gone")
says("own-gone", lambda: os.fchmod(gone, 0o600))
fd = os.open(read, os.O_RDONLY)
says("chmod", lambda: os.chmod(read, 0o600))
says("fchmod", lambda: os.fchmod(os.open(read, os.O_RDONLY), 0o600))
says("fchmod-path", lambda: os.chmod(f"/proc/self/fd/{fd}", 0o600))
says("utime", lambda: os.utime(read))
says("utime-fd", lambda: os.utime(fd, ns=(1, 5)))
says("chown", lambda: os.fchown(fd, os.getuid(), -1))
says("xattr", lambda: os.setxattr(fd, "user.a", b"value"))
says("flags", lambda: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x40)))
os.symlink(read, "link")
says("link", lambda: os.chmod("link", 0o600))
says("link-itself", lambda: os.utime("link", ns=(1, 5), follow_symlinks=False))
"#;
    place.write("t.py", script);
    let outcome = run(&place, &policy, &format!("python3 t.py {}", file.display()));
    let lines: Vec<&str> = outcome.out.lines().collect();
    for done in [
        "own-chmod",
        "own-fchmod",
        "own-proc",
        "own-dir",
        "own-at",
        "own-utime",
        "own-utime-fd",
        "own-chown",
        "own-xattr",
        "own-xattr-off",
        "own-gone",
        "link-itself",
    ] {
        assert!(lines.contains(&&*format!("{done} done")), "{done}: {} {}", outcome.out, outcome.err);
    }
    for refused in [
        "own-set-id",
        "chmod",
        "fchmod",
        "fchmod-path",
        "utime",
        "utime-fd",
        "chown",
        "xattr",
        "flags",
        "link",
    ] {
        assert!(
            lines.contains(&&*format!("{refused} refused 1")),
            "{refused}: {} {}",
            outcome.out,
            outcome.err
        );
    }
    let own = std::fs::metadata(place.workspace.join("own")).unwrap();
    assert_eq!((own.mode() & 0o7777, own.mtime(), own.mtime_nsec()), (0o640, 0, 5));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    // Refused is told, with what would allow it.
    let explained = verb(&place, &["explain"]).out;
    assert!(explained.contains(&file.display().to_string()) && explained.contains("write ="), "{explained}");
}

#[test]
fn ordinary_tools_work_on_what_is_granted() {
    let place = Place::new();
    place.write("src/a.txt", "a");
    let script = "set -e; cp -a src b; install -m 755 src/a.txt prog; tar cf x.tar src; mkdir out; tar xpf x.tar -C out; \
                  git init -q .; git -c user.name=n -c user.email=e add -A; git -c user.name=n -c user.email=e commit -qm m; \
                  mktemp; mkfifo fifo; sleep 9 & kill $!; nice -n 1 true; echo \"$HOME\" > home; cd \"$HOME\"; touch x; echo fine";
    let outcome = run(&place, DIRECT, script);
    assert!(outcome.out.ends_with("fine\n"), "{} {}", outcome.out, outcome.err);
    let home = place.read("home").unwrap();
    assert!(!Path::new(home.trim()).exists(), "its home is left: {home}");
}

#[test]
fn review_works_on_a_copy_and_lands_by_apply() {
    let place = Place::new();
    for (name, text) in
        [("keep", "1\n"), ("change", "2\n"), ("remove", "3\n"), (".env", "SECRET\n"), ("d/e", "4\n")]
    {
        place.write(name, text);
    }
    std::fs::create_dir_all(place.workspace.join(".git/hooks")).unwrap();
    let policy = "[files]\ndeny = [\"**/.env\"]\n[workspace]\nprotect = [\".git/hooks\"]";
    let script = "cat .env; echo new > change; rm remove; mv d moved; echo x > made; echo x > .git/hooks/pre-commit; cat keep";
    let outcome = run(&place, policy, script);
    assert!(outcome.out.contains('1') && !outcome.out.contains("SECRET"), "{} {}", outcome.out, outcome.err);
    assert!(
        outcome.err.contains("tier `landlock`") && outcome.err.contains("changes wait"),
        "{}",
        outcome.err
    );
    assert_eq!(place.read("change").as_deref(), Some("2\n"));
    let diff = verb(&place, &["diff", "--stat"]).out;
    for name in ["change", "remove", "moved/e", "d/e", "made"] {
        assert!(diff.contains(name), "{name}: {diff}");
    }
    assert!(!diff.contains("keep") && !diff.contains(".env"), "{diff}");
    let applied = verb(&place, &["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert_eq!(place.read("change").as_deref(), Some("new\n"));
    assert_eq!(place.read("moved/e").as_deref(), Some("4\n"));
    assert!(place.read("remove").is_none() && place.read("d/e").is_none());
    assert_eq!(place.read(".env").as_deref(), Some("SECRET\n"));
    assert!(place.read(".git/hooks/pre-commit").is_none(), "a protected path landed");
}

#[test]
fn the_other_modes() {
    let place = Place::new();
    place.write("a", "text");
    let read = run(&place, "[workspace]\nmode = \"read\"", "cat a; echo x > b; rm a; chmod 600 a");
    assert!(read.out == "text" && place.read("b").is_none() && place.read("a").is_some(), "{}", read.err);
    let discard = run(&place, "[workspace]\nmode = \"discard\"", "rm a; echo x > b; cat b");
    assert!(
        discard.out == "x\n" && place.read("b").is_none() && place.read("a").is_some(),
        "{}",
        discard.err
    );
    let before = place.listing().len();
    let empty = run(&place, "[workspace]\nmode = \"temporary\"", "ls -A | wc -l; echo x > b; cat b");
    assert_eq!((empty.out.as_str(), place.read("b")), ("0\nx\n", None), "{}", empty.err);
    let state: Vec<_> =
        place.listing().into_iter().skip(before).filter(|(path, _)| path.ends_with("copy")).collect();
    assert!(state.is_empty(), "left: {state:?}");
}

#[test]
fn what_cannot_be_held_here_is_refused_with_the_cause() {
    let place = Place::new();
    place.write("sub/.env", "x");
    for (policy, part) in [
        ("[network]\npublish = [8080]", "network.publish"),
        ("[network]\nallow = [{ unix = \"/run/x.sock\" }]", "network.allow"),
        ("[files]\ndecoy = [\"~/.aws/credentials\"]", "files.decoy"),
        ("[approvals]\non_refusal = \"ask\"\ngrantable = { read = [\"/etc/**\"] }", "approvals.on_refusal"),
        ("[runtime]\nuser_namespaces = true", "runtime.user_namespaces"),
        ("[runtime]\nio_uring = true", "runtime.io_uring"),
        ("[limits]\ntmp = \"1MiB\"\nexact = true", "limits.tmp"),
        ("[workspace]\nmode = \"direct\"\nprotect = [\"x\"]", "workspace.protect"),
        ("[workspace]\nmode = \"direct\"\n[files]\ndeny = [\"**/.env\"]", "files.deny"),
    ] {
        let outcome = run(&place, policy, "echo ran");
        assert_eq!(outcome.status, 125, "{policy}: {} {}", outcome.out, outcome.err);
        assert!(outcome.err.contains(part) && outcome.err.contains("hint:"), "{policy}: {}", outcome.err);
        assert!(!outcome.out.contains("ran"));
    }
}

#[test]
fn what_is_temporary_is_bounded() {
    for (script, more) in [
        ("head -c 3M /dev/zero > $TMPDIR/x; sleep 60", true),
        ("i=0; while [ $i -lt 3000 ]; do echo > $HOME/$i; i=$((i + 1)); done; sleep 60", true),
        (
            "python3 -c 'import tempfile, time; f = tempfile.TemporaryFile(); f.write(bytes(40 << 20)); f.flush(); time.sleep(60)'",
            true,
        ),
        ("head -c 500K /dev/zero > $TMPDIR/x; head -c 3M /dev/zero > x; sleep 0.3; echo ran", false),
    ] {
        let place = Place::new();
        let outcome = run(&place, "[limits]\ntmp = \"1MiB\"", script);
        assert_eq!(outcome.err.contains("(limits.tmp)"), more, "{script}: {} {}", outcome.out, outcome.err);
        assert_eq!(outcome.status == 0, !more, "{script}: {}", outcome.status);
    }
}

#[test]
fn what_is_hidden_in_a_readable_tree_stays_hidden() {
    let place = Place::new();
    let tree = place.base.path().join("tree");
    for name in ["a", "in/secret", "in/open", "in/deeper/x"] {
        place.write(tree.join(name), "text\n");
    }
    std::os::unix::fs::symlink(tree.join("in/secret"), tree.join("alias")).unwrap();
    let tree = tree.display();
    let policy = format!("{DIRECT}\n[files]\nread = [\"{tree}\"]\ndeny = [\"{tree}/in/secret\"]");
    let script = format!(
        "cd {tree}; cat a; cat in/open; cat in/deeper/x; ls in; cat in/secret || cat alias || echo hidden"
    );
    let outcome = run(&place, &policy, &script);
    assert_eq!(outcome.out, "text\ntext\ntext\ndeeper\nopen\nsecret\nhidden\n", "{}", outcome.err);
}

#[test]
fn others_are_neither_signalled_nor_reached() {
    let place = Place::new();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = other.id();
    let name = format!("@rf-test-{}", std::process::id());
    let listener = {
        use std::os::linux::net::SocketAddrExt;
        let address =
            std::os::unix::net::SocketAddr::from_abstract_name(name.trim_start_matches('@')).unwrap();
        std::os::unix::net::UnixListener::bind_addr(&address).unwrap()
    };
    let by_path = std::os::unix::net::UnixListener::bind(place.workspace.join("sock")).unwrap();
    let script = format!(
        "kill -9 {pid} && echo HIT; kill -9 $PPID && echo HIT; renice -n 5 {pid} && echo HIT; taskset -p 1 {pid} && echo HIT; \
         prlimit --pid {pid} --nofile=10 && echo HIT; ionice -c 3 -p {pid} && echo HIT; cat /proc/{pid}/environ && echo HIT; \
         python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"\\0{}\"); print(\"HIT\")'; \
         python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"sock\"); print(\"HIT\")'; \
         ipcmk -M 4096 && echo HIT; echo end",
        name.trim_start_matches('@')
    );
    let outcome = run(&place, DIRECT, &script);
    assert!(outcome.out.contains("end") && !outcome.out.contains("HIT"), "{} {}", outcome.out, outcome.err);
    assert!(other.try_wait().unwrap().is_none(), "it was ended");
    other.kill().unwrap();
    other.wait().unwrap();
    drop((listener, by_path));
}

/// A socket in the run's own directory is its own.
#[test]
fn its_own_sockets_work() {
    let place = Place::new();
    let script = "python3 -c '
import os, socket, threading
path = os.environ[\"TMPDIR\"] + \"/s\"
server = socket.socket(socket.AF_UNIX); server.bind(path); server.listen()
threading.Thread(target=lambda: server.accept()[0].sendall(b\"hello\")).start()
client = socket.socket(socket.AF_UNIX); client.connect(path); print(client.recv(9))
'";
    let outcome = run(&place, DIRECT, script);
    assert!(outcome.out.contains("hello"), "{} {}", outcome.out, outcome.err);
}

#[test]
fn many_commands_in_one() {
    let place = Place::new();
    place.write("sub/x", "text");
    let policy = place.policy("");
    let mut start = vec!["start", "many", "--policy", &policy, "--workspace", "."];
    start.extend(leave());
    assert_eq!(verb(&place, &start).status, 0);
    let daemon = verb(
        &place,
        &["exec", "many", "--", "sh", "-c", "(setsid sleep 77 > /dev/null 2>&1 &) ; echo 1 > made"],
    );
    assert_eq!(daemon.status, 0, "{}", daemon.err);
    let second = verb(&place, &["exec", "many", "--", "sh", "-c", "cat made; ls sub"]);
    assert_eq!(second.out, "1\nx\n", "{}", second.err);
    let mut inside = place.command(&["exec", "many", "--", "cat", "x"]);
    inside.current_dir(place.workspace.join("sub"));
    assert_eq!(inside.output().unwrap().stdout, b"text");
    assert!(sleeping(77) > 0);
    // It has no points, which is said before, and when one is asked for.
    let mut plan = vec!["plan", "--policy", &policy, "--workspace", "."];
    plan.extend(leave());
    plan.extend(["--", "true"]);
    let planned = verb(&place, &plan);
    assert!(planned.out.contains("checkpoint, rollback and fork are refused"), "{planned:?}");
    for words in [&["checkpoint", "many", "p"][..], &["rollback", "many"], &["fork", "many", "more"]] {
        let refused = verb(&place, words);
        assert!(refused.status == 126 && refused.err.contains("works on a copy"), "{words:?}: {refused:?}");
    }
    assert_eq!(verb(&place, &["stop", "many"]).status, 0);
    assert_eq!(sleeping(77), 0, "a daemon outlived it");
    assert!(verb(&place, &["diff", "--stat"]).out.contains("made"));
}

/// How many processes sleep for so many seconds, told apart by that number.
fn sleeping(seconds: u32) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    })
    .count()
}

fn child_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Supervisor, warden and init are killed in turn, one in each round; nothing is left but what changed.
#[test]
fn whichever_of_ours_is_killed_nothing_runs_on() {
    let rounds = std::env::var("RINGFENCE_CHAOS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    for round in 0..rounds {
        let place = Place::new();
        place.write("old", "text");
        let seconds = 100_000 + std::process::id() % 10_000 * 10 + round % 10;
        let script = format!(
            "echo x > made; (setsid sh -c 'trap \"\" HUP INT TERM; sleep {seconds}' &); sleep {seconds}"
        );
        // Where init judges starts, nobody gets past it when it is gone.
        let policy = if round % 2 == 0 { "" } else { "[commands]\ndeny = [\"id\"]" };
        let mut command = command(&place, policy, &["sh", "-c", &script]);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while sleeping(seconds) < 2 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never started");
            std::thread::sleep(Duration::from_millis(5));
        }
        let warden = child_of(run.id()).unwrap();
        let victim = [run.id(), warden, child_of(warden).unwrap()][round as usize % 3];
        let status = Command::new("kill").args(["-KILL", &victim.to_string()]).status().unwrap();
        assert!(status.success());
        let killed = Instant::now();
        while sleeping(seconds) > 0 {
            assert!(killed.elapsed() < Duration::from_secs(2), "round {round}: it runs on");
            std::thread::sleep(Duration::from_millis(1));
        }
        let gone = killed.elapsed();
        run.wait().unwrap();
        while Path::new(&format!("/proc/{warden}")).exists() {
            assert!(killed.elapsed() < Duration::from_secs(5), "round {round}: the warden stays");
            std::thread::sleep(Duration::from_millis(1));
        }
        let diff = verb(&place, &["diff", "--stat"]);
        assert!(
            diff.out.contains("made") && !diff.out.contains("old"),
            "round {round}: {} {}",
            diff.out,
            diff.err
        );
        println!("round {round}: nothing runs {} ms after the kill", gone.as_millis());
    }
}

#[test]
fn a_bomb_and_a_hog_end() {
    let place = Place::new();
    let policy = format!("{DIRECT}\n[limits]\nprocesses = 40");
    let bomb = run(&place, &policy, "b() { b | b & }; b; sleep 3");
    // As an ordinary user's it gets no further than the bound: whether it is seen over it depends on what else that user runs.
    let refused = !root() && bomb.err.contains("Cannot fork");
    assert!(bomb.status == 137 || refused, "{} {}", bomb.status, bomb.err);
    let policy = format!("{DIRECT}\n[limits]\nmemory = \"100MiB\"");
    let hog = run(&place, &policy, "python3 -c 'import time; x = bytearray(300 << 20); time.sleep(20)'");
    assert_eq!(hog.status, 137, "{}", hog.err);
}

#[test]
fn a_watch_tells_only_of_what_may_be_read() {
    let place = Place::new();
    let script = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init()
for path in sys.argv[1:]:
    print("watched" if libc.inotify_add_watch(fd, path.encode(), 0x100) >= 0 else ctypes.get_errno())
open("new", "w")
print(b"new" in os.read(fd, 4096))
"#;
    place.write("t.py", script);
    let home = place.home.display().to_string();
    let outcome = run(&place, DIRECT, &format!("python3 t.py . {home}"));
    assert_eq!(outcome.out, "watched\n1\nTrue\n", "{}", outcome.err);
}

/// Started by root, the task is the workspace's owner, and only by leave root.
#[test]
fn root_hands_over_to_the_owner_of_the_workspace() {
    if !root() {
        return;
    }
    let place = Place::in_var_tmp();
    std::fs::set_permissions(place.base.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let policy = place.policy("");
    let left = || {
        let all = std::fs::read_dir("/var/tmp/ringfence-root").into_iter().flatten().filter_map(Result::ok);
        all.map(|entry| entry.file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = left();
    let refused = verb(&place, &["run", "--policy", &policy, "--workspace", ".", "--", "true"]);
    assert!(refused.status == 125 && refused.err.contains("root-uid"), "{}", refused.err);
    place.write("a", "text");
    for path in [&place.workspace, &place.workspace.join("a")] {
        std::os::unix::fs::chown(path, Some(12345), Some(12345)).unwrap();
    }
    let script = "id -u; id -G; cat a; echo x > b; touch $HOME/x && echo home";
    let words = ["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script];
    let outcome = verb(&place, &words);
    assert_eq!(outcome.out, "12345\n12345\ntexthome\n", "{}", outcome.err);
    let applied = verb(&place, &["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert_eq!(std::fs::metadata(place.workspace.join("b")).unwrap().uid(), 12345);
    let thrown = place.policy("[workspace]\nmode = \"discard\"");
    let words = ["run", "--policy", &thrown, "--workspace", ".", "--", "sh", "-c", "echo x > c"];
    assert_eq!(verb(&place, &words).status, 0);
    // The gateway has that owner's ids too, and takes no signal of a supervisor without rights.
    let connected = place.policy("[workspace]\nmode = \"discard\"\n[network]\nallow = [\"a.example\"]");
    let words = ["run", "--policy", &connected, "--workspace", ".", "--", "true"];
    assert_eq!(verb(&place, &words).status, 0);
    assert_eq!(left(), before, "something is left");
}

#[test]
fn what_a_copy_leaves_out_is_said() {
    let place = Place::new().in_tier("landlock");
    place.host("mkfifo pipe; echo a > a");
    let done = run(&place, "", "ls");
    assert_eq!((done.status, done.out.as_str()), (0, "a\n"), "{done:?}");
    assert!(done.err.contains("1 entry of ") && done.err.contains("is not in the copy"), "{}", done.err);
    place.host("mkfifo second; rm a");
    let done = run(&place, "", "echo b > b");
    assert!(done.err.contains("2 entries of "), "{}", done.err);
    let applied = verb(&place, &["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    assert_eq!(place.host("ls"), "b\npipe\nsecond\n");
}

/// What is not in the copy goes with the directory that held it: seen before it lands.
#[test]
fn what_a_copy_leaves_out_goes_with_its_directory() {
    let place = Place::new().in_tier("landlock");
    place.host("mkdir dir; mkfifo dir/pipe; echo a > dir/a");
    let done = run(&place, "", "rm -rf dir");
    assert_eq!(done.status, 0, "{done:?}");
    let shown = verb(&place, &["diff"]);
    assert!(shown.out.contains("dir/pipe"), "{shown:?}");
    assert_eq!(verb(&place, &["apply"]).status, 0);
    assert_eq!(place.host("ls"), "");
}

/// The list of system calls lets it through: what keeps it is the tier.
#[test]
fn netlink_of_routes_is_refused_by_the_tier() {
    let place = Place::in_home().in_tier("landlock");
    let script = "python3 -ISc 'import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)'";
    assert_ne!(place.run("", script).status, 0);
    let told = place.told("syscall.deny");
    let rules: Vec<_> = told.iter().map(|event| event["rule"].as_str().unwrap()).collect();
    assert!(rules.iter().any(|rule| rule.starts_with("tier `landlock` has no netlink")), "{rules:?}");
}
