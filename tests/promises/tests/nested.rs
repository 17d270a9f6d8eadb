//! `[commands]` in sandboxes that the task makes for itself, where it mounts what it likes.

use crate::races;
use ringfence_promises::{Outcome, Place};

/// Runs a script in user and mount namespaces of the task's own.
fn inside(place: &Place, policy: &str, script: &str) -> Outcome {
    start(place, policy, &["unshare", "-Urm", "sh", "-c", script])
}

fn start(place: &Place, policy: &str, command: &[&str]) -> Outcome {
    let policy = place.policy(&format!("{policy}\n[runtime]\nuser_namespaces = true"));
    let mut words = vec!["run", "--quiet", "--policy", &policy, "--workspace", ".", "--"];
    words.extend(command);
    place.ringfence(&words)
}

const DENY: &str = "[commands]\ndeny = [\"id\", \"/usr/bin/echo through\"]\nfrom_workspace = false";

/// Ways to start `id` under another name. Each says `MADE` once the mounts are there, or the rest would prove nothing.
const DISGUISES: &[&str] = &[
    "mount --bind /usr/bin/id /usr/bin/true && echo MADE; /usr/bin/true",
    "mount -t tmpfs none /dev/shm && cp /usr/bin/id /dev/shm/x && echo MADE; /dev/shm/x",
    "mount -t tmpfs none /dev/shm && mkdir /dev/shm/u /dev/shm/w && cp /usr/bin/id /dev/shm/u/true && mount -t overlay -o userxattr,lowerdir=/usr/bin,upperdir=/dev/shm/u,workdir=/dev/shm/w none /usr/bin && echo MADE; /usr/bin/true",
    "mount -t tmpfs none /dev/shm && mkdir /dev/shm/r && mount --rbind / /dev/shm/r && mount --bind /usr/bin/id /dev/shm/r/usr/bin/true && echo MADE; chroot /dev/shm/r /usr/bin/true",
    "mount -t tmpfs none /dev/shm && cp -r /usr/bin/id /dev/shm/true && echo MADE; cd /dev/shm && ./true",
    "mount --bind /usr/bin/id /usr/bin/true && echo MADE; unshare -pf /usr/bin/true",
    "mount --bind /usr/bin/id /usr/bin/true && echo MADE; python3 -c 'import os; os.execve(os.open(\"/usr/bin/true\", os.O_PATH), [\"true\"], {})'",
    "mount --bind /usr/bin/id /usr/bin/true && echo MADE; python3 -c 'import ctypes,os; ctypes.CDLL(None).execveat(os.open(\"/usr/bin\", os.O_PATH), b\"true\", (ctypes.c_char_p*2)(b\"true\", None), None, 0)'",
    "mount -t tmpfs none /dev/shm && cp /usr/bin/id /dev/shm/id && mount --bind /dev/shm /usr/bin && echo MADE; umount -l /usr/bin; /dev/shm/id",
    "echo MADE; id; /usr/bin/id; /proc/self/root/usr/bin/id; bwrap --ro-bind / / id",
];

#[test]
fn what_is_denied_starts_under_no_name_there() {
    let place = Place::new();
    for script in DISGUISES {
        let outcome = inside(&place, DENY, script);
        assert!(outcome.out.contains("MADE"), "{script}: {outcome:?}");
        assert!(!outcome.out.contains("uid="), "{script}: {outcome:?}");
        let free = inside(&place, "", script);
        assert!(free.out.contains("uid="), "without rules it works: {script}: {free:?}");
    }
    let outcome = inside(&place, DENY, "/usr/bin/echo through; /usr/bin/echo fine");
    assert_eq!(outcome.out, "fine\n", "{outcome:?}");
    let explained = place.ringfence(&["explain"]);
    assert!(explained.out.contains("`/usr/bin/echo through` in `commands.deny`"), "{explained:?}");
    assert_eq!(
        inside(&place, DENY, "mount --bind /usr/bin/cat /usr/bin/true; /usr/bin/true /etc/hosts").out,
        ""
    );
    let explained = place.ringfence(&["explain"]);
    assert!(explained.out.contains("runtime.user_namespaces"), "{explained:?}");
}

/// What makes namespaces for itself starts programs as ever.
#[test]
fn other_sandboxes_work_under_rules_of_programs() {
    let place = Place::new();
    place.write("x", "content\n");
    let bare = "--ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --bind . /far --chdir /far";
    let binds = "--ro-bind /usr /usr --ro-bind /bin /bin --ro-bind /lib /lib --ro-bind /lib64 /lib64 --bind . /far --chdir /far";
    for script in [
        "bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev sh -c 'cat x'".to_owned(),
        format!("bwrap --unshare-all {bare} --proc /proc --dev /dev sh -c 'exec cat x'"),
        format!("bwrap {binds} --proc /proc --dev /dev /bin/sh -c 'cat x'"),
        format!("bwrap {bare} /bin/python3 -c 'import subprocess; subprocess.run([\"cat\", \"x\"])'"),
        "unshare -Urm sh -c 'mount -t tmpfs none /dev/shm && mkdir /dev/shm/r && mount --rbind / /dev/shm/r && chroot /dev/shm/r /bin/cat \"$PWD/x\"'".to_owned(),
        "unshare -Urmpf --mount-proc sh -c 'cat x'".to_owned(),
        "unshare -Urm python3 -c 'import os; here = open(\"x\"); os.dup2(here.fileno(), 0); os.chroot(\"/usr\"); os.execv(\"/bin/cat\", [\"cat\"])' || cat x".to_owned(),
        "mkdir d; cd d; rmdir ../d; /bin/cat < /proc/self/cwd/../x || cat \"$OLDPWD/x\"".to_owned(),
        "unshare -Ur sh -c 'cd /usr/lib && ../bin/cat - < \"$OLDPWD/x\"'".to_owned(),
        "unshare -Ur sh -c 'cd /usr/bin && ./cat - < \"$OLDPWD/x\"'".to_owned(),
        "unshare -Urm sh -c 'mount -t tmpfs none /dev/shm; cp x /dev/shm; cd /dev/shm; cat x'".to_owned(),
        "unshare -Urm bash -c 'exec {fd}</usr/bin/cat; python3 -c \"import os; os.execve($fd, [\\\"cat\\\", \\\"x\\\"], {})\"'".to_owned(),
    ] {
        let outcome = start(&place, DENY, &["sh", "-c", &script]);
        assert_eq!((outcome.out.as_str(), outcome.status), ("content\n", 0), "{script}: {outcome:?}");
    }
}

/// Plain lists too: Landlock, which holds them elsewhere, forbids the mounts.
#[test]
fn a_list_holds_there() {
    let place = Place::new();
    let list = "[commands]\nallow = [\"sh -c *\", \"unshare -Urm sh -c *\", \"mount\", \"cp\", \"/usr/bin/echo fine\", \"cat ./**\"]\nfrom_workspace = false";
    for script in [
        "ls /; echo MADE",
        "mount --bind /usr/bin/ls /usr/bin/cp && echo MADE; cp /",
        "mount -t tmpfs none /dev/shm && cp /usr/bin/ls /dev/shm/cp && echo MADE; /dev/shm/cp /",
        "echo MADE; /lib64/ld-linux-x86-64.so.2 /usr/bin/ls /; /lib/ld-linux-aarch64.so.1 /usr/bin/ls /",
        "echo MADE; /usr/bin/echo through usr",
    ] {
        let outcome = inside(&place, list, script);
        assert!(outcome.out.contains("MADE") && !outcome.out.contains("usr"), "{script}: {outcome:?}");
    }
    place.write("x", "content\n");
    let outcome = inside(&place, list, "/usr/bin/echo fine; cat x; cat ./x; cat /etc/hosts");
    assert_eq!(outcome.out, "fine\ncontent\ncontent\n", "{outcome:?}");
    // A directory that is another one there is not the workspace, whatever it is called.
    let outcome =
        inside(&place, list, "mount --rbind /etc \"$PWD\"; cd \"$PWD\"; cat hosts; /usr/bin/echo fine");
    assert_eq!(outcome.out, "", "{outcome:?}");
    let outcome = start(&place, list, &["sh", "-c", "ls /; /usr/bin/echo fine; cat x"]);
    assert_eq!(outcome.out, "fine\ncontent\n", "{outcome:?}");
}

/// What forbids to start what the task wrote are mounts, of which it may have its own.
#[test]
fn nothing_of_the_tasks_starts_there() {
    let place = Place::new();
    let script = "mount -t tmpfs none /dev/shm && cp /usr/bin/id /dev/shm/id && echo MADE; /dev/shm/id; cp /usr/bin/id i; ./i; /usr/bin/id -u";
    for more in ["", "children = \"free\"\n"] {
        let outcome = inside(&place, &format!("[commands]\n{more}from_workspace = false"), script);
        assert_eq!(outcome.out, "MADE\n0\n", "{outcome:?}");
    }
}

/// Its path is all that says that it is the script: `ldd` is one, of bash.
#[test]
fn a_listed_script_is_itself_only_where_the_task_cannot_mount() {
    let place = Place::in_home();
    let policy = "[commands]\nallow = [\"ldd --version\", \"sh -c *\", \"unshare\", \"mount\"]\nfrom_workspace = false";
    let outcome = start(&place, policy, &["sh", "-c", "ldd --version"]);
    assert!(outcome.status == 0 && outcome.out.starts_with("ldd "), "{outcome:?}");
    place.write("evil", "#!/bin/bash\nprintf 'evil\\n'\n");
    for script in [
        "mount --bind evil /usr/bin/ldd; ldd --version",
        "mount --bind evil /usr/bin/ldd; bash /usr/bin/ldd --version",
        "ldd --version",
    ] {
        let outcome = inside(&place, policy, script);
        assert!(outcome.status != 0 && outcome.out.is_empty(), "{script}: {outcome:?}");
        assert!(outcome.err.contains("Permission denied"), "{script}: {outcome:?}");
    }
    // In a directory of the private home another one can be put, by who has left the mount that holds it.
    let tool =
        place.write(place.base.path().join("home/.local/bin/tool"), "#!/usr/bin/python3\nprint('tool')\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (path, exec) = (tool.to_str().unwrap(), tool.parent().unwrap().display());
    let policy = format!("[files]\nexec = [\"{exec}\"]\n{}", policy.replace("ldd --version", path));
    let outcome = start(&place, &policy, &["sh", "-c", path]);
    assert!(outcome.status == 126 && outcome.out.is_empty(), "{outcome:?}");
    assert!(place.ringfence(&["explain"]).out.contains("list this beside it"));
}

#[test]
fn mounts_that_race_let_nothing_through() {
    let (place, rounds) = (Place::new(), races::rounds());
    races::build(&place);
    let policy = "[commands]\ndeny = [\"id\"]\nfrom_workspace = true";
    for kind in ["mount", "link", "path"] {
        let command = ["unshare", "-Urm", "./race", kind, &rounds.to_string()];
        races::held(kind, &start(&place, policy, &command), rounds);
    }
}

/// A sandbox holds no second one, and the boundary of the first is said to be there.
#[test]
fn ringfence_itself_is_refused_inside_with_the_cause() {
    for policy in ["", "[runtime]\nuser_namespaces = true"] {
        let place = Place::new();
        std::fs::copy(ringfence_promises::binary(), place.workspace.join("again")).unwrap();
        let outcome = place.run(policy, "RINGFENCE_STATE=/tmp/s ./again run -- echo nested");
        assert!(outcome.status == 125 && !outcome.out.contains("nested"), "{outcome:?}");
        assert!(outcome.err.contains("inside of a ringfence sandbox"), "{outcome:?}");
        assert!(outcome.err.contains("the boundary around it holds already"), "{outcome:?}");
    }
}
