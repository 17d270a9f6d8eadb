//! What an owner grants while a sandbox runs: only what the policy lets be granted, only to be read, and no longer than said.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::{Outcome, Place, text};
use serde_json::Value;

/// A place whose sandbox may be granted `~/projects` and a directory beside the home, and denies `.env` everywhere.
struct Granting {
    place: Place,
    policy: String,
    /// Beside the home: on the root that nobody but its server makes names in.
    data: String,
    projects: String,
}

impl Granting {
    fn new() -> Self {
        let place = Place::in_home();
        let data = place.base.path().join("data");
        for directory in [place.home.join("projects/a/.ssh"), data.clone()] {
            std::fs::create_dir_all(&directory).unwrap();
        }
        for path in [place.home.join("projects/a/f"), place.home.join("projects/a/.env"), data.join("f")] {
            std::fs::write(path, "secret\n").unwrap();
        }
        let (data, projects) =
            (data.display().to_string(), place.home.join("projects").display().to_string());
        let policy = place.policy(&format!(
            "[files]\ndeny = [\"**/.env\"]\n[approvals]\ngrantable = {{ read = [\"~/projects/**\", \"{data}\", \"~/.ssh/**\"] }}"
        ));
        Self { place, policy, data, projects }
    }

    /// Runs a script inside that says `up` first, and waits for that.
    fn start(&self, script: &str) -> Child {
        let script = format!("touch up; {script}");
        let mut command =
            self.place.command(&["run", "--quiet", "--policy", &self.policy, "--", "sh", "-c", &script]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let since = Instant::now();
        while !self.found("up") {
            assert!(since.elapsed() < Duration::from_secs(10), "the sandbox does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Whether the script made this file, which is then in the run's layer.
    fn found(&self, name: &str) -> bool {
        let runs = std::fs::read_dir(self.place.state.join("runs")).into_iter().flatten().flatten();
        runs.filter(|run| !run.path().ends_with("last")).any(|run| {
            let layer = run.path();
            walk(&layer).iter().any(|path| path.ends_with(name))
        })
    }

    fn grant(&self, path: &str, more: &[&str]) -> Outcome {
        self.place.ringfence(&[&["grant", "last", "--read", path], more].concat())
    }
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

#[test]
fn what_is_granted_is_read_until_it_is_taken_away() {
    let granting = Granting::new();
    let (data, projects) = (&granting.data, &granting.projects);
    // Looked for before: what the kernel remembers of that must not outlast the grant.
    let child = granting.start(&format!(
        "cat {data}/f {projects}/a/f; touch asked; \
         until cat {data}/f {projects}/a/f 2> /dev/null | grep -c . | grep -q 2; do sleep 0.05; done; \
         cat {projects}/a/.env; echo x > {projects}/a/n; cp /bin/true ~/t; {projects}/a/f; echo seen; \
         while cat {projects}/a/f > /dev/null 2>&1; do sleep 0.05; done; echo expired; \
         while cat {data}/f > /dev/null 2>&1; do sleep 0.05; done; echo revoked; cat {data}/f"
    ));
    let since = Instant::now();
    while granting.place.told("file.deny").is_empty() && since.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let explained = granting.place.ringfence(&["explain", "last"]);
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok() {
        assert!(explained.out.contains(&format!("--read {data}/f --for 10m")), "{explained:?}");
    }
    let given = granting.grant(&format!("{projects}/a"), &["--for", "2s", "--why", "to try"]);
    assert_eq!(given.status, 0, "{given:?}");
    assert_eq!(granting.grant(data, &[]).status, 0);
    std::thread::sleep(Duration::from_millis(2500));
    let taken = granting.place.ringfence(&["revoke", "last", "--read", data]);
    assert_eq!(taken.status, 0, "{taken:?}");
    let (out, err) = text(child);
    assert_eq!(out, "seen\nexpired\nrevoked\n", "{err}");
    for told in [".env: Permission denied", "/a/n: Read-only file system", "/a/f: Permission denied"] {
        assert!(err.contains(told), "{told}: {err}");
    }
    let grants = granting.place.told("grant");
    assert_eq!(grants.len(), 2, "{grants:?}");
    assert_eq!(grants[0]["path"], format!("{projects}/a"));
    assert_eq!((&grants[0]["seconds"], &grants[0]["why"]), (&Value::from(2), &Value::from("to try")));
    let causes: Vec<_> = granting.place.told("revoke").iter().map(|event| event["cause"].clone()).collect();
    assert_eq!(causes, ["expired", "revoked"]);
}

/// Who stands in two directories, one after the other, until both are taken away: what there was to see before, and is afterwards.
const STANDING: &str = r#"
import os, sys, time
NAMES = [".env", "sub/.env", "shut", "shut/f", "shut/.."]
def see(at):
    seen = []
    for name in NAMES:
        try:
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            seen.append((name, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ino))
        except OSError as error:
            seen.append((name, error.errno))
    return seen
def reads(at):
    for name in ["f", ".env", "sub/.env", "shut/f", "shut"]:
        try:
            os.open(name, os.O_RDONLY, dir_fd=at)
            yield name
        except OSError:
            pass
def wait(until):
    since = time.time()
    while not until():
        assert time.time() - since < 20, "it takes too long"
        time.sleep(0.02)
held = []
for place in sys.argv[1:]:
    wait(lambda: os.path.exists(place + "/f"))
    held.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY))
    held.append(os.open(place, os.O_PATH | os.O_DIRECTORY))
    held.append(os.open(place + "/sub/..", os.O_PATH | os.O_DIRECTORY))
os.chdir(sys.argv[1])
held.append(None)
before = [see(at) for at in held]
print("first", list(reads(held[0])), flush=True)
open(os.environ["HELD"], "w").close()
for place in sys.argv[1:]:
    wait(lambda: not os.path.exists(place + "/f"))
print("then", sorted({name for at in held for name in reads(at)}))
for was, now in zip(before, [see(at) for at in held]):
    print("the same" if was == now else ("differs", was, now))
"#;

/// The cover of what is hidden stays for whoever stands in the directory, or holds it open: else its true size, date and names are seen.
#[test]
fn what_was_hidden_stays_hidden_from_who_stands_in_it_after_the_end() {
    let granting = Granting::new();
    let (data, place) = (&granting.data, &granting.place);
    let a = format!("{}/a", granting.projects);
    for directory in [&a, data] {
        for file in [".env", "sub/.env", "shut/f"] {
            place.write(std::path::Path::new(directory).join(file), "longer than nothing\n");
        }
    }
    let policy = std::fs::read_to_string(&granting.policy).unwrap();
    let policy = policy.replace("\"**/.env\"", "\"**/.env\", \"**/shut\"");
    std::fs::write(&granting.policy, policy).unwrap();
    place.write("standing.py", STANDING);
    let child = granting.start(&format!("export HELD=$PWD/held; /usr/bin/python3 -I standing.py {a} {data}"));
    for (path, time) in [(a.as_str(), "3s"), (data, "1m")] {
        let given = granting.grant(path, &["--for", time]);
        assert_eq!(given.status, 0, "{given:?}");
    }
    let since = Instant::now();
    while !granting.found("held") && since.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(place.ringfence(&["revoke", "last", "--read", data]).status, 0);
    let (out, err) = text(child);
    let same = "the same\n".repeat(7);
    assert_eq!(out, format!("first ['f']\nthen []\n{same}"), "{err}");
    let causes: Vec<_> = place.told("revoke").iter().map(|event| event["cause"].clone()).collect();
    assert!(causes.contains(&"expired".into()) && causes.contains(&"revoked".into()), "{causes:?}");
}

#[test]
fn nothing_else_can_be_granted() {
    let granting = Granting::new();
    let (data, projects) = (&granting.data, &granting.projects);
    std::fs::create_dir_all(granting.place.home.join(".ssh")).unwrap();
    std::fs::write(granting.place.home.join(".ssh/id_rsa"), "key").unwrap();
    std::os::unix::fs::symlink("/etc", format!("{projects}/link")).unwrap();
    let mut child = granting.start("sleep 60");
    for (path, why) in [
        ("/etc/shadow", "no rule of `approvals.grantable.read` covers"),
        (&format!("{projects}/link/shadow"), "no rule of `approvals.grantable.read` covers"),
        (&format!("{}/.ssh/id_rsa", granting.place.home.display()), "is a known secret"),
        (&format!("{projects}/a/.env"), "in `files.deny`"),
        ("/usr/bin", "no rule of"),
        (&granting.place.workspace.display().to_string(), "no rule of"),
    ] {
        let refused = granting.grant(path, &[]);
        assert_eq!(refused.status, 126, "{path}: {refused:?}");
        assert!(refused.err.contains(why), "{path}: {}", refused.err);
    }
    assert_eq!(granting.grant(&format!("{projects}/absent"), &[]).status, 125);
    assert_eq!(granting.grant(&format!("{projects}/a"), &["--json"]).status, 0);
    for again in ["a", "a/f"] {
        let refused = granting.grant(&format!("{projects}/{again}"), &[]);
        assert!(refused.err.contains("is granted already"), "{refused:?}");
    }
    assert_eq!(granting.place.ringfence(&["revoke", "last", "--read", data]).status, 126);
    assert_eq!(granting.place.told("grant").len(), 1);
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    );
    child.wait().unwrap();
    let over = granting.grant(data, &[]);
    assert!(over.status == 125 && over.err.contains("takes no grants"), "{over:?}");
    let none = granting.place.run("", "true");
    assert_eq!(none.status, 0);
    assert!(granting.grant(data, &[]).err.contains("takes no grants"));
}

/// Both would be there in place of the decoy, or after the end of the grant.
#[test]
fn no_grant_takes_a_decoys_place_or_outlives_its_time() {
    let place = Place::in_home();
    let projects = place.home.join("projects");
    place.write(projects.join("a/key"), "REAL\n");
    let policy = |more: &str| {
        place.policy(&format!(
            "{more}\n[approvals]\ngrantable = {{ read = [\"~/projects/**\", \"~/projects\"] }}"
        ))
    };
    let refused =
        place.ringfence(&["run", "--policy", &policy("[runtime]\nuser_namespaces = true"), "--", "true"]);
    assert!(refused.status == 125 && refused.err.contains("would not end"), "{refused:?}");
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return;
    }
    let policy = policy("[files]\ndecoy = [\"~/projects/a/key\"]");
    assert_eq!(place.ringfence(&["start", "decoyed", "--policy", &policy]).status, 0);
    let grant =
        |path: &std::path::Path| place.ringfence(&["grant", "decoyed", "--read", path.to_str().unwrap()]);
    let given = [grant(&projects), grant(&projects.join("a")), grant(&projects.join("a/key"))];
    let read = place.ringfence(&["exec", "decoyed", "--", "cat", projects.join("a/key").to_str().unwrap()]);
    let _ = place.ringfence(&["stop", "decoyed", "--grace", "0"]);
    for given in given {
        assert!(given.status == 126 && given.err.contains("a decoy stands at"), "{given:?}");
    }
    assert!(read.status == 0 && !read.out.contains("REAL"), "{read:?}");
}

#[test]
fn a_task_cannot_keep_what_it_was_granted_by_moving_it() {
    let granting = Granting::new();
    let projects = &granting.projects;
    let child = granting.start(&format!(
        "until cat {projects}/a/f 2> /dev/null; do sleep 0.02; done; mv {projects} ~/moved; cat ~/moved/a/f; \
         while cat ~/moved/a/f > /dev/null 2>&1; do sleep 0.02; done; cat ~/moved/a/f {projects}/a/f; \
         ln -s /tmp {projects} || ls -la ~; echo over; sleep 1; cat {projects}/a/f"
    ));
    assert_eq!(granting.grant(&format!("{projects}/a"), &["--for", "1s"]).status, 0);
    std::thread::sleep(Duration::from_millis(1500));
    // Where a link of the task leads, nothing is put.
    let refused = granting.grant(&format!("{projects}/a"), &[]);
    assert_eq!(refused.status, 126, "{refused:?}");
    let (out, err) = text(child);
    assert_eq!(out, "secret\nsecret\nover\n", "{err}");
}

/// Root's own are nobody's in its sandbox: the task's rights do not lead into them.
#[test]
fn what_the_task_may_not_enter_is_taken_away_as_well() {
    if !ringfence_promises::root() {
        return;
    }
    let granting = Granting::new();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&granting.data, mode).unwrap();
    let child = granting.start("sleep 2; echo over");
    let given = granting.grant(&granting.data, &[]);
    let taken = granting.place.ringfence(&["revoke", "last", "--read", &granting.data]);
    let (out, err) = text(child);
    assert_eq!((given.status, taken.status, out.as_str()), (0, 0, "over\n"), "{given:?} {taken:?} {err}");
}

#[test]
fn a_named_sandbox_is_granted_more_too() {
    let granting = Granting::new();
    let place = &granting.place;
    let file = format!("{}/f", granting.data);
    assert_eq!(place.ringfence(&["start", "dev", "--policy", &granting.policy]).status, 0);
    let read = || place.ringfence(&["exec", "dev", "--", "cat", &file]);
    assert_ne!(read().status, 0);
    let given = place.ringfence(&["grant", "dev", "--read", &file, "--for", "1h"]);
    assert_eq!(given.status, 0, "{given:?}");
    assert_eq!(read().out, "secret\n");
    assert_eq!(place.ringfence(&["revoke", "dev"]).status, 0);
    assert_ne!(read().status, 0);
    assert_eq!(place.ringfence(&["stop", "dev", "--grace", "0"]).status, 0);
    let plain = place.policy("");
    assert_eq!(place.ringfence(&["start", "plain", "--policy", &plain]).status, 0);
    let refused = place.ringfence(&["grant", "plain", "--read", &file]);
    assert!(refused.status == 126 && refused.err.contains("approvals.grantable"), "{refused:?}");
    assert_eq!(place.ringfence(&["stop", "plain", "--grace", "0"]).status, 0);
}

#[test]
fn who_opens_ends_with_the_supervisor() {
    let granting = Granting::new();
    let mut child = granting.start("sleep 60");
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let children = std::fs::read_to_string(children).unwrap();
    assert_eq!(children.split_whitespace().count(), 3, "init, the root's server, the mounter: {children}");
    child.kill().unwrap();
    child.wait().unwrap();
    let since = Instant::now();
    let left =
        || children.split_whitespace().filter(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap()).count();
    while left() > 0 {
        assert!(since.elapsed() < Duration::from_secs(5), "{} are left", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ringfence makes the way to what is granted, and a connect goes it: nobody looked for the directories on it.
#[test]
fn the_way_to_what_is_granted_is_no_refusal() {
    let granting = Granting::new();
    let mut child = granting.start("sleep 60");
    let given = granting.grant(&format!("{}/a", granting.projects), &[]);
    assert_eq!(given.status, 0, "{given:?}");
    std::thread::sleep(Duration::from_millis(300));
    let told = granting.place.told("file.deny");
    assert!(!told.iter().any(|event| event["path"] == granting.projects.as_str()), "{told:?}");
    child.kill().unwrap();
    let _ = child.wait();

    let place = Place::in_home();
    std::fs::create_dir(place.home.join(".sock")).unwrap();
    let socket = place.home.join(".sock/agent.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let policy = format!("[network]\nallow = [{{ unix = \"{}\" }}]", socket.display());
    let connect = "python3 -ISc 'import os, socket; socket.socket(socket.AF_UNIX).connect(os.path.expanduser(\"~/.sock/agent.sock\"))'";
    let done = place.run(&policy, &format!("{connect}; cat ~/.sock/other; ls ~/.other"));
    assert!(!done.err.contains("Error"), "{done:?}");
    let told = place.told("file.deny");
    let heard =
        |end: &str| told.iter().any(|event| event["path"].as_str().is_some_and(|path| path.ends_with(end)));
    assert!(
        !told.iter().any(|event| event["path"].as_str().is_some_and(|path| path.ends_with("/.sock"))
            && event["asked"].is_null()),
        "{told:?}"
    );
    assert!(heard("/.other"), "{told:?}");
}
