//! `ringfence probe` tells from inside what a boundary leaves open, of whatever kind it is; and does no harm while it looks.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ringfence_promises::{Place, root};
use serde_json::Value;

use crate::container::{Container, USUAL, inside};

/// What a task should not reach: a secret, a shell's settings, a service on loopback, an engine's socket, somebody's process, a variable.
struct Bait {
    place: Place,
    /// Where every sandbox finds the binary.
    binary: PathBuf,
    port: u16,
    _tcp: std::net::TcpListener,
    _socket: UnixListener,
    process: Child,
}

impl Bait {
    fn new() -> Self {
        let place = Place::in_home();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.base.path(), open).unwrap();
        place.write(place.home.join(".ssh/id_ed25519"), "SECRET-OF-A-TEST\n");
        place.write(place.home.join(".bashrc"), "true\n");
        let runtime = place.base.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        let binary = place.base.path().join("bin/ringfence");
        std::fs::create_dir(place.base.path().join("bin")).unwrap();
        std::fs::copy(ringfence_promises::binary(), &binary).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let process = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
        Self {
            binary,
            port: tcp.local_addr().unwrap().port(),
            _tcp: tcp,
            _socket: UnixListener::bind(runtime.join("docker.sock")).unwrap(),
            process,
            place,
        }
    }

    /// Runs the probe behind these words, which end where its own begin.
    fn probe(&self, wrapper: &[&str], variables: &[(&str, &str)]) -> Seen {
        let target = format!("127.0.0.1:{}", self.port);
        let mut words: Vec<&str> = wrapper.to_vec();
        let binary = self.binary.to_str().unwrap();
        words.extend([binary, "probe", "--json", "--target", &target]);
        let (first, rest) = words.split_first().unwrap();
        let mut command = Command::new(first);
        command.args(rest).current_dir(&self.place.workspace).stdin(Stdio::null());
        command.env("HOME", &self.place.home).env("RINGFENCE_STATE", &self.place.state);
        command.env("XDG_RUNTIME_DIR", self.place.base.path().join("runtime"));
        command.env("RFTEST_TOKEN", "a-value-that-nobody-prints").env_remove("RINGFENCE_POLICY");
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !text.contains("a-value-that") && !text.contains("SECRET-OF-A"),
            "a value was printed: {text}"
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_str(&text);
        assert!(report.is_ok() && output.status.success(), "{words:?}: {text}\n{errors}");
        Seen(report.unwrap())
    }

    fn policy(&self) -> String {
        self.place.policy(&format!("[files]\nexec = [\"{}\"]", self.binary.parent().unwrap().display()))
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Seen(Value);

impl Seen {
    fn states(&self) -> BTreeMap<String, String> {
        let findings = self.0["findings"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        findings.iter().map(|finding| (text(&finding["id"]), text(&finding["state"]))).collect()
    }

    fn open(&self, id: &str) -> bool {
        let states = self.states();
        assert!(states.contains_key(id), "{id}: {states:?}");
        states[id] == "open"
    }

    fn names(&self, id: &str) -> String {
        let findings = self.0["findings"].as_array().unwrap();
        findings
            .iter()
            .filter(|finding| finding["id"] == id)
            .map(|finding| finding["names"].to_string())
            .collect()
    }

    /// Whatever file system it is on.
    fn writes_run_later(&self) -> bool {
        ["", "-layer", "-memory"]
            .iter()
            .any(|suffix| self.names(&format!("writes-run-later{suffix}")).contains(".bashrc"))
    }

    /// What of the bait is reached: secret, settings, loopback, socket, process, variable.
    fn bait(&self) -> [bool; 6] {
        [
            self.names("secrets-known").contains(".ssh"),
            self.writes_run_later(),
            self.open("network-target"),
            self.names("sockets-host").contains("docker.sock"),
            self.states().get("processes-signal").is_some_and(|state| state == "open"),
            self.names("environment-names").contains("RFTEST_TOKEN"),
        ]
    }
}

const ALL: [bool; 6] = [true; 6];
const NONE: [bool; 6] = [false; 6];

#[test]
fn it_tells_the_boundaries_of_peers_apart() {
    let bait = Bait::new();
    let policy = bait.policy();
    let ringfence = ringfence_promises::binary();
    let run = [ringfence.to_str().unwrap(), "run", "--quiet", "--policy", &policy, "--workspace", "."];
    let leave: &[&str] = if root() { &["--allow-degraded", "root-uid"] } else { &[] };
    let base = bait.place.base.path().to_str().unwrap();
    let (workspace, home) = (bait.place.workspace.to_str().unwrap(), bait.place.home.to_str().unwrap());
    let tight = "--unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --clearenv";
    let mut tight: Vec<&str> = tight.split(' ').collect();
    let programs = bait.binary.parent().unwrap().to_str().unwrap();
    tight.insert(0, "bwrap");
    tight.extend(["--bind", workspace, workspace, "--ro-bind", programs, programs, "--chdir", workspace]);
    tight.extend(["--setenv", "HOME", home, "--setenv", "PATH", "/usr/bin"]);
    let unshared =
        ["unshare", "--user", "--map-current-user", "--net", "--mount", "--pid", "--fork", "--mount-proc"];
    let hidden = format!("--blacklist={home}/.ssh");
    let kept = format!("--read-only={home}/.bashrc");
    let firejail = ["firejail", "--quiet", "--noprofile", "--net=none", &hidden, &kept];
    let confined = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"];
    let seen: Vec<(&str, Seen)> = vec![
        ("plain", bait.probe(&["env"], &[])),
        ("setpriv", bait.probe(&confined, &[])),
        ("bwrap, all shown", bait.probe(&["bwrap", "--dev-bind", "/", "/"], &[])),
        ("bwrap, little shown", bait.probe(&tight, &[])),
        ("unshare", bait.probe(&unshared, &[])),
        ("firejail", bait.probe(&firejail, &[])),
        ("ringfence", bait.probe(&[&run[..], &["--"]].concat(), &[])),
        (
            "ringfence, tier landlock",
            bait.probe(&[&run[..], leave, &["--"]].concat(), &[("RINGFENCE_TEST_HOST", "no-userns")]),
        ),
        ("runc", container(&bait)),
    ];
    let of = |name: &str| &seen.iter().find(|(own, _)| *own == name).unwrap().1;
    assert_eq!(of("plain").bait(), ALL, "{:#}", of("plain").0);
    assert_eq!(of("bwrap, all shown").bait(), ALL);
    // A network and processes of its own, and nothing else.
    assert_eq!(of("unshare").bait(), [true, true, false, true, false, true]);
    // What it was told to hide and to keep; sockets elsewhere and variables are as they were. Where it sees no thread of the
    // kernel, as in a pid namespace of whoever tests, it takes itself for confined already and does nothing: that is seen too.
    let threads = std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd");
    let jailed = if threads { [false, false, false, true, false, true] } else { ALL };
    assert_eq!(of("firejail").bait(), jailed);
    // Without root, runc has the network of whoever starts it.
    assert_eq!(of("runc").bait(), [false, false, !root(), false, false, false], "{:#}", of("runc").0);
    for name in ["bwrap, little shown", "ringfence", "ringfence, tier landlock"] {
        assert_eq!(of(name).bait(), NONE, "{name}: {:#}", of(name).0);
    }
    for name in ["ringfence", "ringfence, tier landlock"] {
        let report = &of(name).0;
        assert_eq!(
            (&report["open"]["high"], &of(name).states()["seccomp"]),
            (&0.into(), &"closed".to_owned()),
            "{report:#}"
        );
        assert_eq!(of(name).states()["landlock"], "closed", "{report:#}");
        assert!(
            !of(name).open("capabilities")
                && !of(name).open("user-namespaces")
                && !of(name).open("new-privileges")
        );
        assert!(!report.to_string().contains(&format!("{base}/runtime")), "{report:#}");
    }
    assert!(of("plain").open("new-privileges") && !of("setpriv").open("new-privileges"));
    assert!(!of("runc").open("seccomp") && of("bwrap, little shown").open("seccomp"));
    // Each as a whole is unlike each other; an ordinary user has no rights that setpriv could take away and bwrap did not.
    let seen: Vec<_> = seen
        .into_iter()
        .filter(|(name, _)| (root() || *name != "setpriv") && (threads || *name != "firejail"))
        .collect();
    for (at, (name, one)) in seen.iter().enumerate() {
        for (other, two) in seen.iter().skip(at + 1) {
            let (one, two) = (one.states(), two.states());
            assert!(one != two, "{name} and {other}: {one:?}");
        }
    }
}

/// As Docker starts one by default.
fn container(bait: &Bait) -> Seen {
    let container = Container { uid: 0, capabilities: USUAL.to_vec(), masked: true, filtered: true };
    let target = format!("127.0.0.1:{}", bait.port);
    let (status, text) = inside(&container, &["probe", "--json", "--target", &target]);
    assert_eq!(status, 0, "{text}");
    Seen(serde_json::from_str(&text).unwrap())
}

#[test]
fn a_directory_that_was_left_open_is_told_of_and_reaches_no_sandbox() {
    let bait = Bait::new();
    let policy = bait.policy();
    let root = std::fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&root, rustix::io::FdFlags::empty()).unwrap();
    let seen = bait.probe(&["env"], &[]);
    assert!(
        seen.names("inherited-directory").contains(&format!("\"{}: /\"", root.as_raw_fd())),
        "{:#}",
        seen.0
    );
    let ringfence = ringfence_promises::binary();
    let words =
        [ringfence.to_str().unwrap(), "run", "--quiet", "--policy", &policy, "--workspace", ".", "--"];
    assert!(!bait.probe(&words, &[]).open("inherited-directory"));
}

#[test]
fn the_status_follows_the_level_and_mistakes_are_told() {
    let bait = Bait::new();
    let place = &bait.place;
    let status = |words: &[&str]| {
        let outcome = place.ringfence(&[&["probe"], words].concat());
        (outcome.status, outcome.out, outcome.err)
    };
    assert_eq!(status(&[]).0, 0);
    let (code, text, _) = status(&["--fail-on", "high"]);
    assert!(code == 1 && text.contains("secrets-known") && text.contains("\nclosed\n"), "{text}");
    assert_eq!(status(&["--accept", "no-such-name"]).0, 125);
    for target in ["nowhere", "host:", ":80", "host:0", "host:70000"] {
        assert_eq!(status(&["--target", target]).0, 125, "{target}");
    }
    // Inside, where nothing of that level is open, the same call ends well.
    let policy = bait.policy();
    let own = bait.binary.to_str().unwrap();
    let words = [
        "run",
        "--quiet",
        "--policy",
        &policy,
        "--workspace",
        ".",
        "--",
        own,
        "probe",
        "--fail-on",
        "medium",
    ];
    let outcome = place.ringfence(&words);
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// What surrounds a probe may be made to catch it: it opens no FIFO and no device, reads nothing without a bound, and its output acts on
/// nobody's terminal.
#[test]
fn a_hostile_environment_neither_holds_nor_uses_it() {
    let bait = Bait::new();
    let (place, home) = (&bait.place, &bait.place.home);
    let fifo = |name: &str| {
        let made = Command::new("mkfifo").arg(home.join(name)).status().unwrap();
        assert!(made.success());
    };
    fifo(".netrc");
    fifo(".pgpass");
    fifo("w/.env");
    for (target, link) in
        [("/dev/zero", ".vault-token"), (".npmrc", ".npmrc"), ("..", ".kube"), ("/proc/self/mem", ".my.cnf")]
    {
        std::os::unix::fs::symlink(target, home.join(link)).unwrap();
    }
    place.write(home.join(".x\u{1b}]0;owned\u{7}_history"), "typed\n");
    place.write("\u{202e}txt\u{1b}[2J/.env", "A=1\n");
    std::fs::File::create(home.join(".lesshst")).unwrap().set_len(1 << 40).unwrap();
    let many = home.join(".aws");
    std::fs::create_dir(&many).unwrap();
    for number in 0..4200 {
        std::fs::write(many.join(format!("{number}")), "x").unwrap();
    }
    // Whoever opens a FIFO for writing waits until somebody reads it: this one must go on waiting.
    let mut waits = Command::new("sh")
        .args(["-c", "echo woken > \"$1\"", "sh"])
        .arg(home.join(".netrc"))
        .spawn()
        .unwrap();
    let before = (place.listing(), times(place));
    let outcome = place
        .command(&["probe"])
        .env("EVIL\u{1b}[2J_TOKEN", "x")
        .env("SSH_AUTH_SOCK", home.join(".pgpass"))
        .env("PATH", format!("relative:{}:/usr/bin", home.join(".npmrc").display()))
        .output()
        .unwrap();
    let held = waits.try_wait().unwrap().is_none();
    waits.kill().unwrap();
    waits.wait().unwrap();
    assert!(held, "it opened a FIFO");
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert!(outcome.status.success(), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    assert!(text.contains("owned") && text.contains(".aws (access keys"), "{text}");
    assert!(!text.contains("not tried"), "{text}");
    assert_eq!((place.listing(), times(place)), before, "it changed something");
    let json = place.command(&["probe", "--json"]).output().unwrap();
    let text = String::from_utf8(json.stdout).unwrap();
    assert!(
        !text.contains(['\u{1b}', '\u{202e}']) && serde_json::from_str::<Value>(&text).is_ok(),
        "{text:?}"
    );
}

/// When the home, and what is in it, was changed.
fn times(place: &Place) -> Vec<(i64, i64)> {
    let paths = [
        place.home.clone(),
        place.home.join(".bashrc"),
        place.home.join(".ssh/id_ed25519"),
        place.workspace.clone(),
    ];
    let of = |path: &PathBuf| {
        path.symlink_metadata().map(|metadata| (metadata.mtime(), metadata.mtime_nsec())).unwrap()
    };
    paths.iter().map(of).collect()
}
