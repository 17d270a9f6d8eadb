//! `ringfence doctor` names the cause and the remedy, and its exit status agrees with what `run` really does there.

use std::process::Output;

use ringfence_promises::{Place, binary, root};
use serde_json::Value;

/// Puts something around what comes after it: a Landlock domain, a filter, somebody else's listener.
const AROUND: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: sys.exit(os.strerror(ctypes.get_errno()))
    return result
def program(*ops):
    code = b"".join(struct.pack("HBBI", *op) for op in ops)
    global kept
    kept = ctypes.create_string_buffer(code)
    return struct.pack("HxxxxxxP", len(ops), ctypes.addressof(kept))
allow = (6, 0, 0, 0x7fff0000)
def refuse(errno):
    return program((0x20, 0, 0, 0), (0x15, 0, 1, 435), (6, 0, 0, 0x50000 | errno), (0x15, 0, 1, unshare), (6, 0, 0, 0x50001), allow)
unshare = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
seccomp = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
check(libc.prctl(38, 1, 0, 0, 0))
what = sys.argv[1]
if what == "landlock":
    rules = check(libc.syscall(444, ctypes.c_char_p(struct.pack("Q", 1 << 11)), 8, 0))
    check(libc.syscall(446, rules, 0))
elif what == "clone3-hidden":
    check(libc.syscall(seccomp, 1, 0, ctypes.c_char_p(refuse(38))))
elif what == "clone3-refused":
    check(libc.syscall(seccomp, 1, 0, ctypes.c_char_p(refuse(1))))
elif what == "listener":
    os.set_inheritable(check(libc.syscall(seccomp, 1, 8, ctypes.c_char_p(program(allow)))), True)
os.execvp(sys.argv[2], sys.argv[2:])
"#;

/// `doctor` and `run` under the same wrapper.
struct Seen {
    report: Value,
    text: String,
    run: String,
}

impl Seen {
    fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["name"] == name);
        assert!(found.is_some(), "{name}: {}", self.text);
        found.unwrap()
    }

    fn works(&self) -> bool {
        self.report["works"].as_bool().unwrap()
    }

    /// The verdict names this check and these words; the remedy holds those.
    fn blames(&self, name: &str, cause: &str, remedy: &str) {
        let check = self.check(name);
        assert!(check["found"].as_str().unwrap().contains(cause), "{check:#}");
        assert!(check["remedy"].to_string().contains(remedy), "{check:#}");
        let first = self.text.lines().next().unwrap();
        // Where the other tier can be had, that is what works; for root, on files that are not root's.
        if check["state"] == "degraded" {
            assert!(check["effect"].as_str().unwrap().contains("tier `landlock`"), "{check:#}");
            assert!(first.contains("tier `landlock`"), "{}\n{}", self.text, self.run);
            assert!(self.works() || first.contains("belongs to root too"), "{}\n{}", self.text, self.run);
            return;
        }
        assert!(!self.works() && check["state"] == "missing", "{}\n{}", self.text, self.run);
        assert!(first.contains("does not work") && first.contains(cause), "{first}");
    }
}

fn under(place: &Place, wrapper: &[&str], arguments: &[&str]) -> Output {
    let own = place.command(&[]);
    let mut command = match wrapper {
        [] => place.command(&[]),
        [first, rest @ ..] => {
            let mut command = std::process::Command::new(first);
            command.args(rest).arg(binary()).current_dir(&place.workspace).stdin(std::process::Stdio::null());
            for (name, value) in own.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            command
        }
    };
    command.args(arguments).output().unwrap()
}

/// Looks, and holds the exit status against a run.
fn look(place: &Place, wrapper: &[&str]) -> Seen {
    let string = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let before = place.listing();
    let json = under(place, wrapper, &["doctor", "--json"]);
    let text = under(place, wrapper, &["doctor"]);
    assert_eq!(place.listing(), before, "{wrapper:?} left something");
    let run = under(place, wrapper, &["run", "--quiet", "--preset", "default", "--", "/bin/true"]);
    let errors = string(json.stderr);
    let report = serde_json::from_slice(&json.stdout);
    assert!(report.is_ok(), "{wrapper:?}: {errors}");
    let seen = Seen { report: report.unwrap(), text: string(text.stdout), run: string(run.stderr) };
    assert_eq!(json.status.code(), Some(i32::from(!seen.works())), "{}", seen.text);
    assert_eq!(text.status.code(), json.status.code(), "{}", seen.text);
    assert_eq!(run.status.code() == Some(0), seen.works(), "{wrapper:?}\n{}\n{}", seen.text, seen.run);
    seen
}

fn around(what: &str) -> [&str; 4] {
    ["python3", "-c", AROUND, what]
}

#[test]
fn here_it_works_and_leaves_nothing() {
    let place = Place::new();
    let before = place.listing();
    let output = under(&place, &[], &["doctor"]);
    assert_eq!(place.listing(), before);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("`ringfence run` works here (tier `namespace`)\n"), "{text}");
    assert!(!text.contains('\u{1b}') && output.stderr.is_empty(), "{text}");
    let seen = look(&place, &[]);
    assert_eq!(seen.report["tier"], "namespace");
    for check in seen.report["checks"].as_array().unwrap() {
        assert!(matches!(check["state"].as_str(), Some("good" | "degraded")), "{check:#}");
    }
}

#[test]
fn what_is_no_obstacle_is_none() {
    let place = Place::new();
    assert!(look(&place, &["setpriv", "--no-new-privs"]).works());
    assert!(look(&place, &["bwrap", "--dev-bind", "/", "/"]).works());
    assert!(look(&place, &["unshare", "--user", "--map-root-user"]).works());
}

#[test]
fn a_limit_of_no_user_namespaces_is_named() {
    let place = Place::new();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let seen = look(&place, &["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]);
    seen.blames("user namespaces", "user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=");
    let seen = look(&place, &["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]);
    seen.blames("user namespaces", "enclosing user namespace", "user.max_user_namespaces");
}

#[test]
fn a_filter_is_named() {
    let place = Place::new();
    look(&place, &around("clone3-hidden")).blames("user namespaces", "hides clone3", "");
    look(&place, &around("clone3-refused")).blames("user namespaces", "seccomp filter refuses", "");
}

#[test]
fn the_listener_of_somebody_else_is_named() {
    let place = Place::new();
    let seen = look(&place, &around("listener"));
    seen.blames("seccomp listener", "EBUSY", "");
    assert_eq!(seen.check("user namespaces")["state"], "good");
}

#[test]
fn a_landlock_domain_is_named() {
    let place = Place::new();
    look(&place, &around("landlock")).blames("mounts", "Landlock domain", "nobody can leave");
}

#[test]
fn a_masked_proc_is_named() {
    let place = Place::new();
    let wrapper = [
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--unshare-pid",
        "--as-pid-1",
        "--tmpfs",
        "/proc/fs",
        "--die-with-parent",
    ];
    let seen = look(&place, &wrapper);
    seen.blames("a fresh /proc", "mounts cover /proc/fs", "");
}

#[test]
fn bubblewrap_around_it_is_recognised() {
    let place = Place::new();
    let wrapper = ["bwrap", "--dev-bind", "/", "/", "--unshare-all", "--proc", "/proc"];
    let seen = look(&place, &wrapper);
    assert!(seen.text.contains("inside bwrap"), "{}", seen.text);
    // As an ordinary user it covers nothing, since nothing there can be written.
    if root() {
        seen.blames("a fresh /proc", "mounts cover", "outside of bwrap");
    }
}

#[test]
fn ringfence_around_it_is_recognised() {
    let place = Place::new();
    let copy = place.write(place.base.path().join("bin/ringfence"), "");
    std::fs::copy(binary(), &copy).unwrap();
    if root() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.base.path(), mode).unwrap();
    }
    let policy = format!("[files]\nexec = [\"{}\"]", copy.parent().unwrap().display());
    let own = copy.display();
    let outcome = place.run(
        &policy,
        &format!("{own} doctor; echo status $?; {own} run --preset default -- /bin/true; echo run $?"),
    );
    let text = &outcome.out;
    assert!(
        text.contains("inside a ringfence sandbox") && text.contains("without a second ringfence"),
        "{outcome:?}"
    );
    assert!(text.contains("a seccomp filter hides clone3"), "{text}");
    // One system call listener is all that a chain of filters may have: inside of another ringfence there is none.
    assert!(text.contains("status 1\n") && text.contains("run 125\n"), "{outcome:?}");
}

/// Hosts that are not at hand: what they show in /proc is mounted over, what they refuse is refused by a filter.
fn faked(place: &Place, setup: &str, pid_1: bool, what: &str) -> Seen {
    let script = format!("{setup}; exec \"$@\"");
    let mut wrapper = vec!["unshare", "--user", "--map-root-user", "--mount"];
    if pid_1 {
        wrapper.extend(["--pid", "--fork", "--mount-proc"]);
    }
    wrapper.extend(["sh", "-c", &script, "sh"]);
    wrapper.extend(around(what));
    look(place, &wrapper)
}

#[test]
fn ubuntu_is_told_its_profile() {
    let place = Place::new();
    let name = "kernel.apparmor_restrict_unprivileged_userns";
    let setup =
        format!("mount -t tmpfs none /proc/sys/kernel; echo 1 > /proc/sys/{}", name.replace('.', "/"));
    let seen = faked(&place, &setup, false, "clone3-refused");
    seen.blames("user namespaces", name, "sudo tee /etc/apparmor.d/ringfence");
    let profile = format!(
        "profile ringfence \"{}\" flags=(unconfined) {{\n",
        binary().canonicalize().unwrap().display()
    );
    let remedy = seen.check("user namespaces")["remedy"][0].as_str().unwrap();
    assert!(remedy.contains(&profile) && remedy.contains("\n  userns,\n"), "{remedy}");
}

#[test]
fn containers_are_told_their_flags() {
    let place = Place::new();
    let fake = |setup: &str, what: &str| faked(&place, setup, true, what);
    fake("export KUBERNETES_SERVICE_HOST=192.0.2.1", "clone3-hidden").blames(
        "user namespaces",
        "hides clone3",
        "procMount: Unmasked",
    );
    fake("mount -t tmpfs none /run; touch /run/.containerenv", "clone3-hidden").blames(
        "user namespaces",
        "hides clone3",
        "podman run --security-opt",
    );
    let version = place.write("version", "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016");
    let setup = format!("mount --bind {} /proc/version", version.display());
    fake(&setup, "clone3-refused").blames("user namespaces", "seccomp filter", "outside of gVisor");
}

#[test]
fn mirrored_networking_of_wsl_is_told() {
    let place = Place::new();
    let setup = "mount -t tmpfs none /proc/sys/kernel; echo 6.6.0-microsoft-standard-WSL2 > /proc/sys/kernel/osrelease";
    let seen = faked(&place, setup, false, "listener");
    assert!(seen.text.contains("under WSL2"), "{}", seen.text);
    let check = seen.check("seccomp listener");
    assert!(!seen.works() && check["state"] == "missing", "{check:#}");
    assert!(check["remedy"].to_string().contains("networkingMode=nat"), "{check:#}");
}

#[test]
fn this_directory_counts() {
    let mut place = Place::new();
    place.workspace = "/".into();
    let seen = look(&place, &[]);
    assert!(!seen.works() && seen.check("a run of `true`")["state"] == "missing", "{}", seen.text);
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let mut place = Place::new();
    place.state = "/proc/nothing".into();
    look(&place, &[]).blames("state directory", "/proc/nothing", "RINGFENCE_STATE");
    place.state = place.base.path().join("open");
    std::fs::create_dir(&place.state).unwrap();
    std::fs::set_permissions(&place.state, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    look(&place, &[]).blames("state directory", "open to other users", "RINGFENCE_STATE");
}

/// What a debug build hides from itself is hidden from both.
#[test]
fn what_the_host_lacks_is_named() {
    let place = Place::new();
    for (what, name) in [
        ("no-userns", "user namespaces"),
        ("no-proc", "a fresh /proc"),
        ("no-overlay", "copy-on-write"),
        ("no-seccomp", "seccomp listener"),
    ] {
        look(&place, &["env", &format!("RINGFENCE_TEST_HOST={what}")]).blames(name, "", "");
    }
    for (what, found) in [("no-landlock", "lsm"), ("abi2", "ABI 2"), ("abi5", "ABI 5")] {
        let seen = look(&place, &["env", &format!("RINGFENCE_TEST_HOST={what}")]);
        let check = seen.check("Landlock");
        assert!(
            seen.works() && check["state"] == "degraded" && check.to_string().contains(found),
            "{check:#}"
        );
    }
}

/// As an ordinary user, with a device file of its own in a mount namespace that only root can make.
#[test]
fn a_closed_fuse_device_is_named() {
    let place = Place::new();
    if !root() {
        let open = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
        let seen = look(&place, &[]);
        let state = if open { "good" } else { "degraded" };
        assert_eq!(seen.check("/dev/fuse")["state"], state, "{}", seen.text);
        return;
    }
    let copy = place.write(place.base.path().join("bin/ringfence"), "");
    std::fs::copy(binary(), &copy).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.base.path(), mode).unwrap();
    for directory in [&place.home, &place.workspace] {
        std::os::unix::fs::chown(directory, Some(4242), Some(4242)).unwrap();
    }
    let script = "mount -t tmpfs none /mnt && mknod -m \"$1\" /mnt/fuse c 10 229 && touch /dev/fuse && \
        mount --bind /mnt/fuse /dev/fuse && shift && \
        exec setpriv --reuid 4242 --regid 4242 --groups 4 -- env RINGFENCE_STATE=\"$HOME/state\" \"$@\"";
    for (mode, state) in [("600", "degraded"), ("666", "good")] {
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", mode]).arg(&copy).args(["doctor", "--json"]);
        command.current_dir(&place.workspace).env("HOME", &place.home);
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let seen = Seen { text: format!("{report:#}"), report, run: String::new() };
        assert!(seen.works() && output.status.success(), "{}", seen.text);
        let check = seen.check("/dev/fuse");
        assert_eq!(check["state"], state, "{check:#}");
        assert!(state == "good" || check["remedy"].to_string().contains("chmod 0666 /dev/fuse"), "{check:#}");
        let groups = seen.check("groups");
        assert!(
            groups["state"] == "degraded" && groups["found"].as_str().unwrap().contains("adm"),
            "{groups:#}"
        );
    }
}

#[test]
fn help_has_examples_and_the_exit_statuses() {
    let place = Place::new();
    let text = place.ringfence(&["doctor", "--help"]).out;
    assert!(text.contains("ringfence doctor --json") && text.contains("Exit status: 0"), "{text}");
}
