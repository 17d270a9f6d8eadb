//! `runtime.watch_writes`: who tries to change what may only be read is told of, and nothing else changes.

use ringfence_promises::Place;
use serde_json::Value;

const WATCH: &str = "[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]\n[runtime]\nwatch_writes = true\n";

/// The refusals of the last run that its owner is shown: what was tried, and where.
fn told(place: &Place) -> Vec<(String, String, String)> {
    let explained = place.ringfence(&["explain", "--json"]);
    assert_eq!(explained.status, 0, "{explained:?}");
    let value: Value = serde_json::from_str(&explained.out).unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let files = value["refusals"].as_array().unwrap().iter().filter(|one| one["kind"] == "file");
    files.map(|one| (text(one, "purpose"), text(one, "target"), text(one, "rule"))).collect()
}

fn place() -> Place {
    let place = Place::new();
    place.write("keep/file", "kept\n");
    place
}

#[test]
fn writes_to_what_is_protected_or_only_read_are_told() {
    let place = place();
    let base = place.workspace.to_string_lossy().into_owned();
    // Each way to change a file, by absolute and relative paths, directory descriptors and links.
    let script = "exec 2>&1
        echo x >> keep/file; (: > keep/new); mkdir keep/directory; ln -s file keep/link; rm keep/file
        mv keep/file moved; ln file keep/hard; truncate -s 0 keep/file
        echo x > /usr/planted; cd /usr && mkdir planted-directory
        cd \"$OLDPWD\"; ln -s keep/file way; echo x > way
        python3 -I -S -c '
import os
directory = os.open(\"keep\", os.O_PATH)
for work in (lambda: os.open(\"by-descriptor\", os.O_CREAT | os.O_RDWR, dir_fd=directory),
             lambda: os.mkdir(\"d\", dir_fd=directory), lambda: os.mkfifo(\"keep/fifo\"),
             lambda: os.rename(\"way\", \"keep/renamed\"), lambda: os.link(\"way\", \"keep/linked\"),
             lambda: os.open(\"keep\", os.O_TMPFILE | os.O_RDWR)):
    try: print(\"LANDED\", work())
    except OSError as error: print(error.errno)'";
    let outcome = place.run(WATCH, script);
    assert!(!outcome.out.contains("LANDED"), "{outcome:?}");
    let told = told(&place);
    let has = |path: &str, rule: &str| {
        told.iter().any(|(purpose, target, why)| purpose == "write" && target == path && why.contains(rule))
    };
    for name in
        ["file", "new", "directory", "link", "hard", "by-descriptor", "d", "fifo", "renamed", "linked"]
    {
        assert!(has(&format!("{base}/keep/{name}"), "protect"), "{name}: {told:?}\n{outcome:?}");
    }
    assert!(has(&format!("{base}/keep"), "protect"), "O_TMPFILE: {told:?}");
    for name in ["/usr/planted", "/usr/planted-directory"] {
        assert!(has(name, "files.write"), "{name}: {told:?}");
    }
    assert_eq!(place.read("keep/file").as_deref(), Some("kept\n"));
}

/// What is hidden or protected is a mount of its own, which its directory does not let go.
#[test]
fn removals_and_renames_of_what_is_denied_or_protected_are_told() {
    for mode in ["direct", "review"] {
        let place = place();
        for name in ["hidden", "secrets/one", "secrets/two", "also", "more/x"] {
            place.write(name, "CANARY\n");
        }
        let policy = format!(
            "[workspace]\nmode = \"{mode}\"\nprotect = [\"keep\", \"also\"]\n\
             [files]\ndeny = [\"hidden\", \"secrets\", \"more/x\"]\n[runtime]\nwatch_writes = true\n"
        );
        let script = "exec 2>&1\nrm -f hidden; mv also moved; mv keep moved; rmdir secrets; echo x > fresh; mv fresh more/x; rm fresh\n\
                      python3 -I -S -c 'import os\ntry: os.rename(\"fine\", \"also\")\nexcept OSError: pass'; touch own; mv own other; rm other";
        let outcome = place.run(&policy, script);
        let told = told(&place);
        let base = place.workspace.to_string_lossy().into_owned();
        for (name, rule) in [
            ("hidden", "deny"),
            ("secrets", "deny"),
            ("more/x", "deny"),
            ("also", "protect"),
            ("keep", "protect"),
        ] {
            let has = told.iter().any(|(purpose, target, why)| {
                purpose == "remove" && *target == format!("{base}/{name}") && why.contains(rule)
            });
            assert!(has, "{mode} {name}: {told:?}\n{outcome:?}");
        }
        assert!(
            !told.iter().any(|(_, path, _)| path.ends_with("own") || path.ends_with("other")),
            "{told:?}"
        );
    }
}

/// The root's server tells of names that are not there, and init of what it shows: with the switch nothing is told less, and each once.
#[test]
fn what_the_sandbox_has_of_its_own_is_told_once() {
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return;
    }
    let script = "exec 2> /dev/null; echo x > /etc/foo; touch /etc/foo2; echo x > /opt2; mkdir /etc/fresh
        echo x >> /etc/passwd; echo x > /etc/hosts; rm -f /etc/group; python3 -I -S -c 'import os; os.rename(\"/etc/nsswitch.conf\", \"/tmp/x\")'; cat /etc/passwd > /tmp/copy; echo x > /tmp/own; rm /tmp/own";
    let place = place();
    let outcome = place.run(WATCH, script);
    let explained = place.ringfence(&["explain", "--json"]);
    let value: Value = serde_json::from_str(&explained.out).unwrap();
    let written = |one: &&Value| ["write", "remove"].contains(&one["purpose"].as_str().unwrap());
    let files = value["refusals"].as_array().unwrap().iter().filter(written);
    let told: Vec<_> =
        files.map(|one| (one["target"].as_str().unwrap(), one["times"].as_u64().unwrap())).collect();
    for name in [
        "/etc/foo",
        "/etc/foo2",
        "/opt2",
        "/etc/fresh",
        "/etc/passwd",
        "/etc/hosts",
        "/etc/group",
        "/etc/nsswitch.conf",
    ] {
        let times: Vec<u64> =
            told.iter().filter(|(path, _)| *path == name).map(|(_, times)| *times).collect();
        // touch(1) asks for the name again to set its times.
        assert!(times == [1] || name == "/etc/foo2" && times == [2], "{name}: {told:?}\n{outcome:?}");
    }
    assert!(!told.iter().any(|(path, _)| path.starts_with("/tmp")), "{told:?}");
}

/// The same answers with and without, and no word of what is allowed.
#[test]
fn the_kernel_answers_as_before() {
    let script = "exec 2>&1
        echo one > a; mkdir b; ln -s a c; mv a d; rm d; cat /dev/null > /dev/null; echo x > /tmp/t
        (umask 022; install -m 644 /dev/null e); python3 -I -S -c '
import os, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    print(libc.syscall(*words), ctypes.get_errno()); ctypes.set_errno(0)
call(2, b\"keep/file\", os.O_WRONLY, 0)
call(2, b\"set-id\", os.O_WRONLY | os.O_CREAT, 0o4755)
call(2, b\"keep/set-id\", os.O_WRONLY | os.O_CREAT, 0o4755)
call(2, b\"keep/file\", os.O_RDONLY | os.O_CREAT, 0o644) # it is there: nothing is written
call(2, 0, os.O_WRONLY, 0)
call(87, b\"keep/no-such\")
call(83, b\"missing/directory\", 0o755)
'; ls -l | cut -c1-10; cat keep/file";
    let watched = place();
    let with = watched.run(WATCH, script);
    let without = place().run("[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]\n", script);
    assert_eq!((with.status, &with.out), (without.status, &without.out), "{with:?}");
    assert!(with.out.contains("kept") && with.out.contains("-1 30"), "{with:?}");
    let told = told(&watched);
    let written: Vec<_> =
        told.iter().filter(|(purpose, ..)| purpose == "write").map(|(_, path, _)| path).collect();
    let base = &watched.workspace;
    assert_eq!(
        written,
        [base.join("keep/file").to_str().unwrap(), base.join("keep/no-such").to_str().unwrap()]
    );
}

/// Who asks for as many names as it likes fills no log, and its neighbour works on.
#[test]
fn a_flood_is_counted() {
    let place = place();
    let script = "python3 -I -S -c '
import os
for number in range(4500):
    try: os.mkdir(f\"keep/{number}\")
    except OSError: pass
print(\"done\")'";
    let outcome = place.run(WATCH, script);
    assert_eq!(outcome.out, "done\n", "{outcome:?}");
    let told = told(&place);
    assert!((1000..5000).contains(&told.len()), "{}", told.len());
}

/// Permissions, owners, times and attributes of what may only be read, by each way to name it, and of what may be written nothing.
#[test]
fn changed_attributes_are_told() {
    let place = place();
    place.write("keep/other", "kept\n");
    place.write("own", "mine\n");
    let base = place.workspace.to_string_lossy().into_owned();
    let script = "exec 2>&1; ln -s keep/file way; ln -s keep/other link; ln -s /tmp/t keep/out 2>/dev/null; echo x > /tmp/t
        chmod 600 own way; chmod 600 /usr; touch -h link; touch own; chmod 600 /tmp/t
        python3 -I -S -c '
import os
file, directory = os.open(\"keep/other\", os.O_RDONLY), os.open(\"keep\", os.O_RDONLY)
for work in (lambda: os.fchmod(file, 0o600), lambda: os.chown(\"..\", 0, 0, dir_fd=directory) and None, lambda: os.utime(directory),
             lambda: os.setxattr(\"/etc/passwd\", \"user.x\", b\"y\"), lambda: os.chmod(\"keep/no-such\", 0o600)):
    try: print(\"DONE\", work())
    except OSError as error: print(error.errno)'";
    let outcome = place.run(WATCH, script);
    let told = told(&place);
    let mut written: Vec<_> =
        told.iter().filter(|(purpose, ..)| purpose == "write").map(|(_, path, _)| path.as_str()).collect();
    written.sort_unstable();
    let (file, other, keep) =
        (format!("{base}/keep/file"), format!("{base}/keep/other"), format!("{base}/keep"));
    let out = format!("{base}/keep/out");
    let mut expected = vec!["/etc/passwd", "/usr", &file, &other, &keep, &out];
    expected.sort_unstable();
    assert_eq!(written, expected, "{outcome:?}");
}

/// What is denied is a mount of its own, which refuses writes before anybody is asked.
#[test]
fn writes_to_what_is_denied_are_told() {
    for mode in ["direct", "review"] {
        let place = Place::in_home();
        place.write(".envz", "CANARY\n");
        place.write(place.home.join("data/.envz"), "CANARY\n");
        let policy = format!(
            "[workspace]\nmode = \"{mode}\"\n[files]\ndeny = [\"**/.envz\"]\nread = [\"~/data\"]\n[runtime]\nwatch_writes = true\n"
        );
        let outcome = place.run(
            &policy,
            "exec 2>&1; echo x > .envz; chmod 600 .envz; : >> ~/data/.envz; echo x > fine; true",
        );
        let told = told(&place);
        for path in [place.workspace.join(".envz"), place.home.join("data/.envz")] {
            let has = told.iter().any(|(purpose, target, why)| {
                purpose == "write"
                    && *target == path.to_string_lossy()
                    && why.contains("`**/.envz` in `files.deny`")
            });
            assert!(has, "{mode} {}: {told:?}\n{outcome:?}", path.display());
        }
        assert!(!told.iter().any(|(_, target, _)| target.ends_with("fine")), "{told:?}");
    }
}

/// The kernel remembers for ever that the name is not there, and who writes to it is told of all the same.
#[test]
fn a_write_to_what_every_start_looks_for_is_told() {
    let place = place();
    assert_ne!(place.run(WATCH, "echo x > /etc/ld.so.preload").status, 0);
    let written = place.told("file.deny");
    let told = |event: &Value| event["path"] == "/etc/ld.so.preload" && event["purpose"] == "write";
    assert!(written.iter().any(told), "{written:?}");
}
