//! Each Landlock ABI from the first to this kernel's own, in both tiers: the same small set holds, or the run is refused, and what is
//! lacking is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use ringfence_promises::{Outcome, Place};

/// The first with which tier `landlock` is to be had: scopes (Linux 6.12).
const SCOPES: u32 = 6;
/// From here on files may go from one directory to another (Linux 5.19), and truncation is governed (Linux 6.2).
const REFER: u32 = 2;
const TRUNCATE: u32 = 3;

/// What this kernel has, as `doctor` found it.
fn highest() -> u32 {
    let doctor = Place::new().ringfence(&["doctor", "--json"]).out;
    let doctor: serde_json::Value = serde_json::from_str(&doctor).unwrap();
    let checks = doctor["checks"].as_array().unwrap();
    let landlock = checks.iter().find(|check| check["name"] == "Landlock").unwrap();
    let found = landlock["found"].as_str().unwrap().strip_prefix("ABI ").unwrap();
    found.split(|other: char| !other.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn lowered(place: &Place, host: &str, policy: &str, script: &str) -> Outcome {
    let path = place.policy(policy);
    let mut command = place.command(&["run", "--policy", &path, "--workspace", "."]);
    let output = command.args(["--", "sh", "-c", script]).env("RINGFENCE_TEST_HOST", host).output().unwrap();
    Outcome {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Prints what it could do that it may not, and `end`.
fn attempts(secret: &Path, read: &Path) -> String {
    let (secret, read) = (secret.display(), read.display());
    format!(
        "mkdir d e; echo own > d/a; cat {secret} && echo READ; (echo x >> {secret}); cat {read}
         (echo x >> {read}) && echo WROTE; (echo x > {read}) && echo TRUNCATED; rm -f {read} && echo REMOVED; id && echo STARTED
         python3 -c 'import os,socket,sys
def tried(what, how):
    try: how(); print(what)
    except OSError: pass
tried(\"TRUNCATED\", lambda: os.truncate(\"{read}\", 0)); tried(\"LINKED\", lambda: os.link(\"{secret}\", \"d/secret\"))
tried(\"SIGNALLED\", lambda: os.kill(int(sys.argv[1]), 0)) if sys.argv[1] else None
tried(\"CONNECTED\", lambda: socket.socket(1, 1).connect(\"\\0rf-abi-\" + sys.argv[2]))
tried(\"LISTENED\", lambda: socket.create_connection((\"127.0.0.1\", int(sys.argv[3])), 2))
tried(\"renamed\", lambda: os.rename(\"d/a\", \"e/a\"))' $SIGNAL $NAME $PORT; mv d/a e/b 2> /dev/null; cat e/*; echo end"
    )
}

#[test]
fn the_same_holds_with_each_landlock() {
    let highest = highest();
    assert!(highest >= SCOPES, "this test needs Linux 6.12, or tier `landlock` is not tried");
    let name = std::process::id();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = SocketAddr::from_abstract_name(format!("rf-abi-{name}"));
    let _unix = UnixListener::bind_addr(&address.unwrap()).unwrap();
    for abi in 1..=highest {
        for tier in ["namespace", "landlock"] {
            let place = Place { hosted: tier == "landlock", ..Place::in_home() };
            let secret = place.write(place.home.join("secret"), "SECRET\n");
            let read = place.write(place.home.join("granted"), "granted\n");
            let policy = format!(
                "[files]\nread = [\"{}\"]\n[commands]\nallow = [\"sh\", \"cat\", \"mkdir\", \"mv\", \"rm\", \"python3\"]\n\
                 [environment]\nset = {{ SIGNAL = \"{name}\", NAME = \"{name}\", PORT = \"{}\", PATH = \"/usr/bin:/bin\" }}\n",
                read.display(),
                socket.local_addr().unwrap().port()
            );
            let host = format!("abi{abi}{}", if place.hosted { ",no-userns" } else { "" });
            let outcome = lowered(&place, &host, &policy, &attempts(&secret, &read));
            if place.hosted && abi < SCOPES {
                let said = format!("needs Landlock ABI 6 (Linux 6.12): this kernel has Landlock ABI {abi}");
                assert!(outcome.status == 125 && outcome.err.contains(&said), "{host}: {outcome:?}");
                assert!(outcome.out.is_empty(), "{host}: {outcome:?}");
                continue;
            }
            assert!(outcome.status == 0 && outcome.out.ends_with("own\nend\n"), "{host}: {outcome:?}");
            assert!(outcome.out.starts_with("granted\n"), "{host}: {outcome:?}");
            let got = |what: &str| outcome.out.lines().any(|line| line == what);
            for through in [
                "SECRET",
                "READ",
                "WROTE",
                "TRUNCATED",
                "REMOVED",
                "STARTED",
                "LINKED",
                "SIGNALLED",
                "CONNECTED",
                "LISTENED",
            ] {
                assert!(!got(through), "{host}: {outcome:?}");
            }
            assert_eq!(std::fs::read_to_string(&secret).unwrap(), "SECRET\n", "{host}");
            assert_eq!(std::fs::read_to_string(&read).unwrap(), "granted\n", "{host}");
            // What is lacking is said, and nothing else.
            assert_eq!(got("renamed"), abi >= REFER, "{host}: {outcome:?}");
            assert_eq!(outcome.err.contains("EXDEV"), abi < REFER, "{host}: {outcome:?}");
            assert_eq!(
                outcome.err.contains("does not govern truncation"),
                abi < TRUNCATE,
                "{host}: {outcome:?}"
            );
        }
    }
}

/// Before Linux 6.12 a task may send signals to the root's server: one that stops it has no end of the run wait for that.
#[test]
fn a_server_that_the_task_stopped_keeps_no_run_from_its_end() {
    let outcome = lowered(&Place::new(), "abi5", "[limits]\ntime = \"30s\"\n", "kill -STOP 2; exit 3");
    assert_eq!(outcome.status, 3, "{outcome:?}");
}
