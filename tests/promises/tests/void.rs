//! The root: what is not granted is not there, who looks for it is written down first, and its server is out of reach.

use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::Place;
use serde_json::Value;

/// Refusals with an event of their own.
const MOST: usize = 4096;
/// Every way of a script to say which errors it met.
const TRY: &str = "import ctypes, errno, fcntl, os, resource, signal, sys\n\
                   libc = ctypes.CDLL(None, use_errno=True)\n\
                   def met(act):\n  \
                     try: found = act()\n  \
                     except OSError as error: return errno.errorcode[error.errno]\n  \
                     if isinstance(found, int) and found < 0: return errno.errorcode[ctypes.get_errno()]\n  \
                     return 'done'\n";

/// The log of the only run, each line of it JSON.
fn log(place: &Place) -> Vec<Value> {
    let runs: Vec<_> = std::fs::read_dir(place.state.join("runs")).unwrap().flatten().collect();
    assert_eq!(runs.len(), 1, "one run a place");
    let text = std::fs::read_to_string(runs[0].path().join("events.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What was told of files.
fn refusals(place: &Place) -> Vec<Value> {
    log(place)
        .iter()
        .filter(|event| event["kind"] == "file.deny")
        .map(|event| event["detail"].clone())
        .collect()
}

/// Those of one path.
fn of(place: &Place, path: &str) -> Vec<Value> {
    refusals(place).into_iter().filter(|event| event["path"] == path).collect()
}

/// Whether the root is one that sees who looks.
fn watched() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
}

fn python(place: &Place, script: &str) -> ringfence_promises::Outcome {
    place.write("try.py", &format!("{TRY}{script}\n"));
    place.run("", "exec python3 -I -S try.py")
}

#[test]
fn what_is_not_granted_is_not_there_and_is_told() {
    let place = Place::new();
    let script = "cat /etc/shadow; stat /made-up-a; ls /made-up-b/deep/er; true > /made-up-c; /made-up-d";
    let outcome = place.run("", script);
    assert_eq!(outcome.status, 127, "{}", outcome.err);
    // The shell has words of its own for it.
    let absent = outcome.err.matches("No such file or directory").count()
        + outcome.err.matches("Read-only file system").count()
        + outcome.err.matches("not found").count();
    assert_eq!(absent, 5, "{}", outcome.err);
    if !watched() {
        return;
    }
    for (path, asked, program, purpose) in [
        ("/etc/shadow", None, "/cat", "read"),
        ("/made-up-a", None, "/stat", "look"),
        ("/made-up-b", Some("/made-up-b/deep/er"), "/ls", "look"),
        ("/made-up-c", None, "sh", "write"),
        ("/made-up-d", None, "sh", "execute"),
    ] {
        let told = of(&place, path);
        assert!(!told.is_empty(), "{path}: {:?}", refusals(&place));
        let event = &told[0];
        assert_eq!(event["asked"].as_str(), asked, "{event}");
        let name = event["program"].as_str().unwrap();
        assert!(name.starts_with('/') && (name.ends_with(program) || program == "sh"), "{event}");
        assert_eq!(event["times"], 1, "{event}");
        // Not init, and not the server.
        assert!(event["process"].as_u64().unwrap() > 2, "{event}");
        // A shell may look before it runs what it was told to.
        assert!(told.iter().any(|event| event["purpose"] == purpose), "{path}: {told:?}");
    }
    let secret = of(&place, "/etc/shadow")[0]["rule"].as_str().unwrap().to_owned();
    assert!(secret.contains("known secret"), "{secret}");
    let start = &log(&place)[0]["detail"];
    assert_eq!(start["degraded"], Value::Array(Vec::new()), "nothing is missing: {start}");
}

/// A home that no other private directory holds is part of the root.
#[test]
fn the_home_is_seen_into_as_well() {
    let place = Place::new();
    let script = "mount -t tmpfs home /mnt && mkdir -p /mnt/w /mnt/.ssh && echo CANARY > /mnt/.ssh/id_rsa && cd /mnt/w && \
                  HOME=/mnt $RF run --quiet --preset default -- cat /mnt/.ssh/id_rsa";
    let mut command = Command::new("unshare");
    command.args(if ringfence_promises::root() { &["-m"][..] } else { &["-Urm"] });
    command.args(["sh", "-c", script]).current_dir(&place.workspace);
    command.env("RINGFENCE_STATE", &place.state).env("RF", ringfence_promises::binary());
    let done = command.output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.stdout.is_empty() && err.contains("No such file or directory"), "{err}");
    // Below a namespace of the test's own, the device may not open.
    if watched() && ringfence_promises::root() {
        let told = of(&place, "/mnt/.ssh");
        assert_eq!(told.len(), 1, "{:?}", refusals(&place));
        assert_eq!(told[0]["asked"], "/mnt/.ssh/id_rsa");
        assert_eq!(told[0]["purpose"], "read");
        assert!(told[0]["rule"].as_str().unwrap().contains("known secret"), "{}", told[0]);
    }
}

/// Nothing of it is remembered by the kernel, or names that the host has would be told apart by the time that others then take.
#[test]
fn what_is_asked_again_is_counted_whether_the_host_has_it_or_not() {
    let place = Place::new();
    let outcome = python(
        &place,
        "import time\nfor name in ('/again', '/boot', '/etc/shadow', '/etc/noshadow'):\n  for _ in range(200): met(lambda: os.stat(name))\n\
         time.sleep(0.3)",
    );
    assert_eq!(outcome.status, 0, "{}", outcome.err);
    for path in ["/again", "/boot", "/etc/shadow", "/etc/noshadow"].iter().filter(|_| watched()) {
        let times: Vec<u64> = of(&place, path).iter().map(|event| event["times"].as_u64().unwrap()).collect();
        assert_eq!(times, [1, 199], "{path}");
    }
}

/// Where the way ends at the same name that is not there, what lies below it is told of each, at once and without bound on neither side.
#[test]
fn what_lies_below_a_name_that_is_not_there_is_told_apart() {
    let place = Place::new();
    let outcome = python(
        &place,
        "for name in ('x', 'y', '/z//q', 'y', '../up', 'x/../up'): met(lambda: open('/lost/' + name))\n\
         print(sum(met(lambda: os.stat('/deep/%d' % i)) == 'ENOENT' for i in range(3000)))",
    );
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "3000\n"), "{}", outcome.err);
    if !watched() {
        return;
    }
    let told = of(&place, "/lost");
    // What is counted at the end has no process.
    let first = told.iter().filter(|event| event["process"] != 0);
    let asked: Vec<&str> = first.filter_map(|event| event["asked"].as_str()).collect();
    assert_eq!(asked, ["/lost/x", "/lost/y", "/lost/z/q"], "{told:?}");
    let deep = of(&place, "/deep").iter().filter(|event| event["process"] != 0).count();
    assert!((500..1100).contains(&deep), "{deep}");
    let explained = place.ringfence(&["explain", "--all"]).out;
    assert!(["/lost/x", "/lost/y", "/lost/z/q"].iter().all(|path| explained.contains(path)), "{explained}");
    assert!(!explained.contains("//") && !explained.contains(".."), "{explained}");
}

/// Whoever came to the name before, again and again, or made init look for it.
#[test]
fn a_name_that_was_asked_for_hides_nothing_below_it() {
    let place = Place::new();
    let again = "for i in range(20): met(lambda: os.stat('/lost'))";
    let watched_write = "met(lambda: os.rmdir('/lost/x'))";
    let started = "met(lambda: os.execv('/lost/tool', ['tool']))";
    for (policy, before) in [
        ("", again),
        ("[runtime]\nwatch_writes = true", watched_write),
        ("[commands]\nallow = [\"python3 **\", \"sh -c *\"]", started),
    ] {
        place.write("try.py", &format!("{TRY}{before}\nmet(lambda: open('/lost/after'))\n"));
        let outcome = place.run(policy, "exec python3 -I -S try.py");
        if watched() {
            let told = place.ringfence(&["explain", "--all"]).out;
            assert!(told.contains("/lost/after"), "{policy}: {told} {outcome:?}");
        }
    }
}

/// An overlay over the void remembers missing names by itself: what leads to a secret that the host has is told by the first.
#[test]
fn who_comes_near_a_secret_of_the_home_is_told_of() {
    let place = Place::in_home();
    for secret in [".ssh/id", ".config/gh/hosts.yml", ".docker/config.json"] {
        place.write(place.home.join(secret), "SECRET");
    }
    let outcome = place.run(
        "",
        "cat ~/.ssh/no ~/.ssh/id ~/.config/none/x ~/.config/gh/hosts.yml ~/.docker/x; ls -a ~/.config",
    );
    assert!(!outcome.out.contains("SECRET") && !outcome.out.contains("gh"), "{outcome:?}");
    if watched() {
        let told = place.ringfence(&["explain"]).out;
        for path in ["/.ssh/no", "/.config/gh/hosts.yml", "/.docker/x"] {
            assert!(told.contains(path), "{path}: {told}");
        }
        assert!(!told.contains("/none"), "{told}");
    }
}

/// Where init looks for the task first, too: what it is going to change, and what it starts.
#[test]
fn who_has_init_look_for_a_secret_of_the_home_is_told_of() {
    let place = Place::in_home();
    place.write(place.home.join(".ssh/id"), "SECRET");
    for (policy, script) in [
        ("[runtime]\nwatch_writes = true", "rmdir ~/.ssh/x; cat ~/.ssh/id"),
        ("[commands]\nallow = [\"sh -c *\", \"cat **\"]", "~/.ssh/x; cat ~/.ssh/id"),
    ] {
        let outcome = place.run(policy, script);
        assert!(!outcome.out.contains("SECRET"), "{outcome:?}");
        if watched() {
            let told = place.ringfence(&["explain"]).out;
            assert!(told.contains("home/.ssh") && told.contains("is a known secret"), "{policy}: {told}");
        }
    }
}

#[test]
fn a_flood_of_names_is_bounded_and_none_is_dropped_unsaid() {
    let place = Place::new();
    let begun = Instant::now();
    let outcome = python(
        &place,
        "met(lambda: os.stat('/first'))\n\
         print(sum(met(lambda: os.stat('/flood%d' % i)) == 'ENOENT' for i in range(20000)))\n\
         print(met(lambda: os.stat('/usr')))\n\
         # What is only counted is told a moment later.\n\
         import time; time.sleep(0.3)",
    );
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "20000\ndone\n"), "{}", outcome.err);
    assert!(begun.elapsed() < Duration::from_secs(75), "{:?}", begun.elapsed());
    if !watched() {
        return;
    }
    let told = refusals(&place);
    assert!(told.len() <= MOST + 1, "{}", told.len());
    assert_eq!(of(&place, "/first").len(), 1);
    let single = told.iter().filter(|event| event["path"].as_str().unwrap().starts_with("/flood")).count();
    let others = of(&place, "(others)");
    assert_eq!(others.len(), 1);
    let others = others[0]["times"].as_u64().unwrap();
    assert_eq!(single as u64 + others, 20_000, "{single} told, {others} counted");
    let last = log(&place).pop().unwrap();
    assert!(last["kind"] == "sandbox.end" && last["detail"]["exit"] == 0, "{last}");
}

#[test]
fn no_name_leads_to_the_root_of_the_host() {
    let place = Place::new();
    let canary = place.write(place.home.join("host-only"), "CANARY");
    let canary = canary.display();
    let script = format!(
        "names = set(os.listdir('/'))\n\
         for way in ('/..', '/../../..', '//', '/./', '/usr/../..', '/proc/self/root', '/proc/self/root/..', \
                     '/proc/self/cwd/../../../../../../..', '/proc/thread-self/root', '/dev/fd/../root', '/..//..'):\n  \
           try: found = set(os.listdir(way))\n  \
           except OSError: continue\n  \
           if found != names: print('other', way, found)\n\
         for way in ('/..', '/proc/self/root', '/proc/1/root', '/proc/2/root', '/proc/1/cwd', '/proc/2/cwd', '/usr/../..'):\n  \
           if met(lambda: open(way + '{canary}')) == 'done': print('seen', way)\n\
         mounts = open('/proc/self/mountinfo').read()\n\
         roots = [line.split() for line in mounts.splitlines() if line.split()[4] == '/']\n\
         print(len(roots), 'ro' in roots[0][5].split(','), roots[0][roots[0].index('-') + 1])\n\
         for name in (b'/etc/shadow/', b'/etc/shadow/.', b'/made-up/..', b'/a\\nb', b'/q\"\\\\', b'/\\x1b[31m', b'/\\xff\\xfe', \
                      b'/' + b'x' * 255, b'/' + b'/made-up' * 400):\n  \
           if met(lambda: os.stat(name)) != 'ENOENT': print('there', name)\n\
         print(met(lambda: os.stat(b'/' + b'y' * 256)) in ('ENOENT', 'ENAMETOOLONG'), met(lambda: os.stat(b'/' + b'z' * 4096)))"
    );
    let outcome = python(&place, &script);
    let kind = if watched() { "fuse" } else { "tmpfs" };
    assert_eq!(outcome.out, format!("1 True {kind}\nTrue ENAMETOOLONG\n"), "{}", outcome.err);
    if watched() {
        for path in ["/etc/shadow", "/a\nb", "/q\"\\", "/\u{1b}[31m", "/\u{fffd}\u{fffd}", "/made-up"] {
            assert!(!of(&place, path).is_empty(), "{path:?}: {:?}", refusals(&place));
        }
        assert_eq!(of(&place, &format!("/{}", "x".repeat(255))).len(), 1);
    }
}

#[test]
fn the_root_shows_grants_and_what_leads_there() {
    let place = Place::new();
    let script = "pwd; cd ..; pwd; cd /; pwd; ls -A / >/dev/null && find / -maxdepth 2 -path /proc -prune -o -path '/usr/*' -prune \
                  -o -path '/opt/*' -prune -o -print; cd /etc && pwd; ls -la / >/dev/null && echo listed";
    let outcome = place.run("", script);
    assert!(outcome.status == 0 && outcome.err.is_empty(), "{outcome:?}");
    let lines: Vec<&str> = outcome.out.lines().collect();
    let (workspace, home) = (place.workspace.display().to_string(), place.home.display().to_string());
    assert_eq!(lines[..3], [workspace.as_str(), &home, "/"], "{}", outcome.out);
    assert!(outcome.out.ends_with("/etc\nlisted\n"), "{}", outcome.out);
    // Of the host's, only what some preset grants or what leads there.
    for path in
        ["/root", "/boot", "/sys", "/home", "/run/lock", "/srv", "/etc/shadow", "/etc/ssh", "/etc/sudoers"]
    {
        assert!(!lines.contains(&path) || workspace.starts_with(path), "{path}: {}", outcome.out);
    }
    for path in ["/usr", "/dev", "/tmp", "/etc/passwd", "/dev/null"] {
        assert!(lines.contains(&path), "{path}: {}", outcome.out);
    }
    assert!(!lines.contains(&"/dev/fuse"));
}

#[test]
fn nothing_of_the_root_can_be_changed() {
    let place = Place::new();
    let outcome = python(
        &place,
        "root = os.open('/', os.O_RDONLY | os.O_DIRECTORY)\n\
         ways = dict(create=lambda: os.open('/x', os.O_CREAT | os.O_RDWR), unnamed=lambda: os.open('/', os.O_TMPFILE | os.O_RDWR), \
           mkdir=lambda: os.mkdir('/etc/x'), mknod=lambda: os.mkfifo('/x'), remove=lambda: os.unlink('/bin'), \
           rename=lambda: os.rename('/bin', '/etc/bin'), link=lambda: os.link('/bin', '/x', follow_symlinks=False), \
           symlink=lambda: os.symlink('/', '/x'), mode=lambda: os.chmod('/', 0o777), owner=lambda: os.chown('/', 0, 0), \
           time=lambda: os.utime('/'), attribute=lambda: os.setxattr('/', 'user.x', b'1'), \
           mount=lambda: libc.mount(b'x', b'/', b'tmpfs', 0, None), remount=lambda: libc.mount(None, b'/', None, 4128, None), \
           unmount=lambda: libc.umount2(b'/', 2), chroot=lambda: os.chroot('/tmp'), pivot=lambda: libc.pivot_root(b'.', b'.'), \
           ioctl=lambda: fcntl.ioctl(root, 0x8004e500, bytes(8)), device=lambda: os.open('/dev/fuse', os.O_RDWR))\n\
         for name, way in ways.items():\n  \
           if met(way) == 'done': print('done', name)\n\
         print('tried', len(ways))",
    );
    assert_eq!(outcome.out, "tried 19\n", "{}", outcome.err);
}

#[test]
fn the_server_is_out_of_the_tasks_reach() {
    if !watched() {
        return;
    }
    let place = Place::new();
    let outcome = python(
        &place,
        "print(open('/proc/2/comm').read().strip())\n\
         limit = lambda which: resource.prlimit(2, which, (0, 0))\n\
         ways = dict(trace=lambda: libc.ptrace(0x4206, 2, 0, 0), copy=lambda: libc.process_vm_readv(2, None, 0, None, 0, 0), \
           fd=lambda: libc.syscall(438, os.pidfd_open(2), 0, 0), files=lambda: limit(resource.RLIMIT_NOFILE), \
           cpu=lambda: limit(resource.RLIMIT_CPU), init=lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)), \
           affinity=lambda: os.sched_setaffinity(2, [0]), idle=lambda: os.sched_setscheduler(2, os.SCHED_IDLE, os.sched_param(0)), \
           nice=lambda: os.setpriority(os.PRIO_PROCESS, 2, 19))\n\
         # Signals of the task stop at its Landlock domain (ABI 6).\n\
         if libc.syscall(444, None, 0, 1) >= 6:\n  \
           for number in (0, 9, 15, 19): ways['signal %d' % number] = lambda number=number: os.kill(2, number)\n  \
           ways['pidfd'] = lambda: signal.pidfd_send_signal(os.pidfd_open(2), 9)\n\
         for name in ('mem', 'environ', 'maps', 'auxv', 'fd', 'fd/3', 'root', 'cwd', 'exe', 'ns/mnt', 'syscall', 'stack'):\n  \
           ways[name] = lambda name=name: os.open('/proc/2/' + name, os.O_RDONLY)\n\
         for name in ('oom_score_adj', 'comm', 'mem', 'clear_refs', 'coredump_filter'):\n  \
           ways['write ' + name] = lambda name=name: os.open('/proc/2/' + name, os.O_WRONLY)\n\
         for name, way in ways.items():\n  \
           if met(way) == 'done': print('done', name)\n\
         print(open('/proc/2/stat').read().split()[2] in 'SR', met(lambda: os.stat('/after')))",
    );
    assert_eq!(
        (outcome.status, outcome.out.as_str()),
        (0, "ringfence-void\nTrue ENOENT\n"),
        "{}",
        outcome.err
    );
    assert_eq!(of(&place, "/after").len(), 1, "it still tells");
}

#[test]
fn without_the_device_all_is_refused_as_ever() {
    let place = Place::new();
    let policy = place.policy("");
    let mut command = place.command(&["run", "--quiet", "--policy", &policy, "--", "sh", "-c"]);
    command.arg("cat /etc/shadow; ls /made-up; true > /x; ls /proc/2; awk '$5 == \"/\" { print $6 }' /proc/self/mountinfo");
    let done = command.env("RINGFENCE_TEST_HOST", "no-fuse").output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    let refused = |name: &str| err.lines().any(|line| line.contains(name));
    assert!(["/etc/shadow", "/made-up", "/x", "/proc/2"].iter().all(|name| refused(name)), "{err}");
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && out.lines().count() == 1 && out.starts_with("ro,"), "{out}");
    assert_eq!(refusals(&place).len(), 0);
    let plan = place.command(&["plan", "--", "true"]).env("RINGFENCE_TEST_HOST", "no-fuse").output().unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout);
    assert!(plan.lines().any(|line| line.contains("/dev/fuse") && line.contains("not seen")), "{plan}");
}

/// The server of this run, a child of its supervisor.
fn server(supervisor: u32) -> i32 {
    let begun = Instant::now();
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let Some((name, rest)) = text.rsplit_once(')') else { continue };
            let parent = rest.split_whitespace().nth(1);
            if name.ends_with("(ringfence-void") && parent == Some(&supervisor.to_string()) {
                return entry.file_name().to_str().unwrap().parse().unwrap();
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "there is none");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_ends_with_its_server() {
    if !watched() {
        return;
    }
    for script in ["echo up; sleep 30", "echo up; while :; do ls /made-up-$((i += 1)) 2>/dev/null; done"] {
        let place = Place::new();
        let policy = place.policy("");
        let mut child = place
            .command(&["run", "--policy", &policy, "--", "sh", "-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 3];
        let out = child.stdout.take().unwrap();
        assert_eq!(rustix::io::read(out.as_fd(), &mut first).unwrap(), 3);
        std::thread::sleep(Duration::from_millis(100));
        let pid = rustix::process::Pid::from_raw(server(child.id())).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let killed = Instant::now();
        let done = child.wait_with_output().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(5), "{script}: {:?}", killed.elapsed());
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(
            !done.status.success() && err.contains("serves the sandbox's root"),
            "{script}: {} {err}",
            done.status
        );
        assert!(log(&place).iter().any(|event| event["kind"] == "sandbox.end"), "{script}");
    }
}

#[test]
fn where_nobody_watches_that_is_said_everywhere() {
    let place = Place::new();
    let policy = place.policy("");
    let without = |arguments: &[&str]| {
        let done = place.command(arguments).env("RINGFENCE_TEST_HOST", "no-fuse").output().unwrap();
        let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.code(), text.concat())
    };
    let unseen = "who looks for it is not seen";
    let script = "cat /etc/shadow || echo gone";
    let run = ["run", "--policy", &policy, "--report", "report.json", "--", "sh", "-c", script];
    let (status, told) = without(&run);
    assert!(status == Some(0) && told.contains("gone") && told.contains(unseen), "{told}");
    let report: Value = serde_json::from_str(&place.read("report.json").unwrap()).unwrap();
    let start = &log(&place)[0];
    for degraded in [&report["degraded"], &start["detail"]["degraded"]] {
        assert!(degraded.as_array().unwrap().iter().any(|one| one["name"] == "void"), "{degraded}");
    }
    assert!(refusals(&place).is_empty());
    for arguments in [
        &["plan", "--policy", &policy, "--", "true"][..],
        &["explain"],
        &["run", "--quiet", "--policy", &policy, "--", "true"],
        &["start", "dev", "--policy", &policy],
    ] {
        let (_, told) = without(arguments);
        assert!(told.contains(unseen), "{arguments:?}: {told}");
    }
    assert_eq!(without(&["stop", "dev"]).0, Some(0));
}

#[test]
fn what_is_hidden_inside_of_a_grant_is_told() {
    for host in ["", "no-fuse"] {
        let place = Place::in_home();
        for path in [".env", "sub/secret/x", "kept"] {
            place.write(path, "real");
        }
        let data = place.base.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join(".env"), "real").unwrap();
        let policy = place.policy(&format!(
            "[files]\ndeny = [\"**/.env\", \"sub/secret\"]\nread = [\"{}\"]",
            data.display()
        ));
        let script = format!(
            "cat .env; ls sub/secret; cat sub/secret/x; stat sub/secret/x; cat {}/.env; cat kept; ls -A . sub; \
             rm -f .env; mv sub/secret y; true > sub/secret/new",
            data.display()
        );
        let arguments = ["run", "--quiet", "--policy", &policy, "--", "sh", "-c", &script];
        let done = place.command(&arguments).env("RINGFENCE_TEST_HOST", host).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(told.matches("ermission denied").count(), 6, "{host}: {told}");
        let shown = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(shown, "real.:\n.env\nkept\nsub\n\nsub:\nsecret\n", "{host}: {told}");
        if !host.is_empty() || !watched() {
            assert!(refusals(&place).is_empty());
            continue;
        }
        for (path, program, purpose, rule) in [
            (place.workspace.join(".env"), "/cat", "read", "`**/.env` in `files.deny`"),
            (place.workspace.join("sub/secret"), "/ls", "look", "`sub/secret` in `files.deny`"),
            (place.workspace.join("sub/secret/x"), "/cat", "read", "`sub/secret` in `files.deny`"),
            (data.join(".env"), "/cat", "read", "`**/.env` in `files.deny`"),
            (place.workspace.join("sub/secret/new"), "sh", "write", "`sub/secret` in `files.deny`"),
        ] {
            let path = path.to_str().unwrap();
            let told = of(&place, path);
            assert!(!told.is_empty(), "{path}: {:?}", refusals(&place));
            let event = &told[0];
            let name = event["program"].as_str().unwrap();
            assert!(name.ends_with(program) || program == "sh", "{event}");
            assert_eq!(event["purpose"], purpose, "{event}");
            assert!(event["rule"].as_str().unwrap().starts_with(rule), "{event}");
            let explained = place.ringfence(&["explain", "--all"]).out;
            assert!(explained.contains(path) && explained.contains(rule), "{explained}");
        }
    }
}

#[test]
fn a_task_reads_what_it_was_refused_and_no_more() {
    if !watched() {
        return;
    }
    let place = Place::in_home();
    place.write(".env", "real");
    let binary = place.base.path().join("bin");
    std::fs::create_dir(&binary).unwrap();
    std::fs::copy(ringfence_promises::binary(), binary.join("ringfence")).unwrap();
    let policy = format!("[files]\ndeny = [\"**/.env\"]\nexec = [\"{}\"]", binary.display());
    let script = format!(
        "cat /run/ringfence/refusals; cat /etc/shadow /etc/shadow .env /made-up/deep 2> /dev/null; \
         cat /run/ringfence/refusals; echo --; {0}/ringfence explain --self; \
         true > /run/ringfence/refusals; rm -f /run/ringfence/refusals; ls /run/ringfence",
        binary.display()
    );
    let outcome = place.run(&policy, &script);
    let (lines, told) = outcome.out.split_once("--\n").unwrap_or_else(|| panic!("{outcome:?}"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let env = place.workspace.join(".env");
    for (path, by) in [
        ("/etc/shadow", "nothing grants it"),
        (env.to_str().unwrap(), "the policy hides it"),
        ("/made-up/deep", "nothing grants it"),
    ] {
        let found: Vec<_> =
            lines.iter().filter(|line| line["refused"] == path && line["to"] == "read").collect();
        let [line] = &found[..] else { panic!("{path}: {lines:?}") };
        assert_eq!(line["by"], by);
        assert!(line["again"].as_str().unwrap().starts_with("useless"));
        assert!(told.contains(&format!("read {path}: refused, {by}")), "{told}");
    }
    // Of the policy, of the host, and of what nobody asked for, nothing is told.
    for word in ["files.", "policy.toml", "grant_", "secret", "host"] {
        assert!(!outcome.out.contains(word), "{word}: {}", outcome.out);
    }
    assert!(told.ends_with("refusals\n"), "{told}");
    let outside = place.ringfence(&["explain", "--self"]);
    assert!(outside.status == 125 && outside.err.contains("/run/ringfence/refusals"), "{outside:?}");
}
