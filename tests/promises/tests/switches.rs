//! `[runtime]`'s switches: what each opens, what it costs, and that the rest of the boundary holds.

use ringfence_promises::Place;

const NAMESPACES: &str = "[runtime]\nuser_namespaces = true\n";

/// A workspace with something protected and something denied.
fn place() -> Place {
    let place = Place::new();
    place.write("keep/file", "kept\n");
    place.write(".env", "SECRET\n");
    place
}

fn policy() -> String {
    format!(
        "[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]\n[files]\ndeny = [\"**/.env\"]\n{NAMESPACES}"
    )
}

#[test]
fn another_sandbox_runs_inside_where_namespaces_are_granted() {
    let place = place();
    let script = "bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp sh -c 'echo inner; ls /proc | head -1'";
    let nested = place.run(NAMESPACES, script);
    assert_eq!((nested.status, nested.out.as_str()), (0, "inner\n1\n"), "{nested:?}");
    let refused = place.run("", script);
    assert!(refused.status != 0 && !refused.out.contains("inner"), "{refused:?}");
}

/// Capabilities in a namespace of one's own: what was inherited is locked.
#[test]
fn nobody_uncovers_or_opens_for_writing_what_a_new_namespace_inherits() {
    let place = place();
    let script = "unshare -Urm sh -c '
        umount -l .env; umount -l keep; umount -l keep
        mount -o remount,rw,bind keep; mount -o remount,rw /; mount -o remount,exec /tmp
        mount --bind keep /mnt; mount --bind . /tmp && echo x > /tmp/keep/planted
        mount -t tmpfs none keep && echo covered; umount keep
        cat .env; echo x > keep/planted; mv keep moved
        cp /bin/true /tmp/run && /tmp/run && echo EXECUTED
        mkdir /planted; true'";
    // Refused, because of what the next test shows; here the locks themselves are tried.
    let policy = place.policy(&policy());
    let words = ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "sh", "-c", script];
    let refused = place.ringfence(&words);
    assert!(refused.status == 125 && refused.err.contains("--allow-degraded masks"), "{refused:?}");
    let outcome = place.ringfence(&[&["run", "--allow-degraded", "masks"], &words[1..]].concat());
    // What the kernel lets anybody do in a mount namespace of their own: cover, for themselves.
    assert!(outcome.out.contains("covered"), "{outcome:?}");
    assert!(!outcome.out.contains("SECRET") && !outcome.out.contains("EXECUTED"), "{outcome:?}");
    assert_eq!(place.read("keep/file").as_deref(), Some("kept\n"));
    assert!(place.read("keep/planted").is_none() && place.read("moved/file").is_none());
}

/// Leaves all mounts of the sandbox with a directory open, and renames there what they lie on.
const LEAVE: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    if libc.syscall(*words) != 0: raise OSError(ctypes.get_errno(), words[0])
os.makedirs("open", exist_ok=True)
here = os.open(".", os.O_RDONLY)
uid, gid = os.getuid(), os.getgid()
call(272, 0x10020000)
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    with open("/proc/self/" + name, "w") as file: file.write(text)
libc.mount(None, b"/", None, 0x44000, None)
libc.mount(b"none", b"/dev/shm", b"tmpfs", 0, None)
os.mkdir("/dev/shm/old")
os.mkdir("/dev/shm/x")
libc.mount(b"open", b"/dev/shm/x", None, 0x1000, None)
call(155, b"/dev/shm", b"/dev/shm/old")
os.chdir("/")
libc.umount2(b"/old", 2)
for name in ("keep", ".env", "sub/.env"):
    taken = name.replace("/", "-")
    try: os.rename(name, "open/" + taken, src_dir_fd=here, dst_dir_fd=here); print("taken", name)
    except OSError as error: print(name, error.errno)
    try: print(open("/x/" + taken, "rb").read())
    except OSError as error: print(name, error.errno)
"#;

/// A mount keeps a name in its place only for those who have that mount.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_a_mount_alone_holds_is_refused_beside_namespaces() {
    let place = place();
    place.write("leave.py", LEAVE);
    place.write("sub/.env", "SECRET\n");
    let run = |lines: &str, more: &[&str]| {
        let policy = place.policy(&format!("{lines}\n{NAMESPACES}"));
        let mut words = vec!["run", "--quiet", "--policy", &policy, "--workspace", "."];
        words.extend(more);
        words.extend(["--", "python3", "leave.py"]);
        place.ringfence(&words)
    };
    let far = place.write(place.base.path().join("far/keep/file"), "kept\n");
    let (keep, far) = (far.parent().unwrap().display(), far.ancestors().nth(2).unwrap().display());
    let direct = "[workspace]\nmode = \"direct\"\n[files]\ndeny = [\"**/.env\"]";
    for (lines, named) in [
        ("[workspace]\nmode = \"direct\"\nprotect = [\"keep\"]".to_owned(), "/keep`"),
        (direct.to_owned(), "/.env`, `"),
        (format!("[files]\nwrite = [\"{far}\"]\ndeny = [\"{keep}\"]"), "/far/keep`"),
    ] {
        let refused = run(&lines, &[]);
        assert_eq!((refused.status, refused.out.as_str()), (125, ""), "{lines}: {refused:?}");
        assert!(refused.err.contains(named) && refused.err.contains("user_namespaces"), "{refused:?}");
    }
    // A copy has something empty there, and what becomes of that does not land.
    let copied = run("[workspace]\nprotect = [\"keep\"]\n[files]\ndeny = [\"**/.env\"]", &[]);
    assert!(copied.out.contains("sub/.env") && !copied.out.contains("SECRET"), "{copied:?}");
    let applied = place.ringfence(&["apply", "--yes"]);
    let kept = ["keep/file", ".env", "sub/.env"].map(|name| place.read(name));
    assert_eq!(kept, ["kept\n", "SECRET\n", "SECRET\n"].map(|text| Some(text.to_owned())), "{applied:?}");
    // Why: it does happen to who says that it may, and is recorded as that.
    place.host("rm -r open");
    let taken = run(direct, &["--allow-degraded", "masks"]);
    assert!(taken.out.contains("taken .env\nb'SECRET") && taken.err.contains("can uncover"), "{taken:?}");
}

/// A nested root may set what the kernel asks a capability over the file for; through a mount that maps ids it would be the host's.
#[test]
fn no_file_gets_capabilities_of_the_host() {
    let place = place();
    let far = place.write(place.base.path().join("far/program"), "x");
    let script = format!(
        "unshare -Ur python3 -c \"import os, struct
try: os.setxattr('{}', 'security.capability', struct.pack('<IIIIII', 0x03000001, 1 << 7, 0, 0, 0, 0))
except OSError as error: print(error.errno)\"",
        far.display()
    );
    let policy = format!("[files]\nwrite = [\"{}\"]\n{NAMESPACES}", far.parent().unwrap().display());
    let outcome = place.run(&policy, &script);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let seen = place.host(&format!("getcap -n {} || true", far.display()));
    // What an ordinary user's task sets counts in namespaces of that user alone.
    let root = rustix::process::geteuid().is_root();
    assert!(
        if root {
            seen.is_empty() && outcome.out == "95\n"
        } else {
            seen.is_empty() || seen.contains("rootid")
        },
        "{seen} {outcome:?}"
    );
    let both = place.run(&format!("{policy}io_uring = true\n"), "true");
    assert_eq!(both.status, if root { 125 } else { 0 }, "{both:?}");
}

/// A point that was taken stays as it was, also where the task took away what lay over its files.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_checkpoint_is_sealed_whatever_lay_in_it() {
    let place = place();
    place.write("leave.py", LEAVE);
    place.write("sub/.env", "SECRET\n");
    let policy = place.policy(&format!("[files]\ndeny = [\"**/.env\"]\n{NAMESPACES}"));
    assert_eq!(place.ringfence(&["start", "box", "--policy", &policy, "--workspace", "."]).status, 0);
    let inside = |script: &str| place.ringfence(&["exec", "box", "--", "sh", "-c", script]);
    let taken = inside("python3 leave.py; echo 1 > .env; rm -r sub; ln -s . sub");
    assert!(taken.out.contains("taken .env"), "{taken:?}");
    let sealed = place.ringfence(&["checkpoint", "box", "one"]);
    let written = inside("echo 2 > .env; rm sub; mkdir sub; echo 3 > sub/.env");
    let back = place.ringfence(&["rollback", "box", "one"]);
    let seen = inside("cat .env; readlink sub");
    let _ = place.ringfence(&["stop", "box", "--grace", "0"]);
    assert_eq!((sealed.status, back.status), (0, 0), "{sealed:?} {back:?} {written:?}");
    assert_eq!(seen.out, "1\n.\n", "{seen:?} {written:?}");
}

/// Nor does anything that it left in the place of what is hidden keep a point from being gone to, or from being begun with.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_point_is_gone_to_whatever_lies_where_something_is_hidden() {
    for left in [
        "mkdir .env; echo in > .env/in; rm -r sub",
        "mv open/.env .env; mkdir keep; rm -r sub; echo file > sub",
        "mkdir -p sub/.env/deep; echo 1 > keep",
    ] {
        let place = place();
        place.write("leave.py", LEAVE);
        place.write("sub/.env", "SECRET\n");
        let lines = format!("[workspace]\nprotect = [\"keep\"]\n[files]\ndeny = [\"**/.env\"]\n{NAMESPACES}");
        let policy = place.policy(&lines);
        assert_eq!(place.ringfence(&["start", "box", "--policy", &policy, "--workspace", "."]).status, 0);
        let inside = |name: &str, script: &str| place.ringfence(&["exec", name, "--", "sh", "-c", script]);
        let taken = inside("box", &format!("python3 leave.py; {left}"));
        assert!(taken.out.contains("taken .env"), "{taken:?}");
        let before = inside("box", "ls -ldR . | wc -l; cat sub keep/in 2>/dev/null");
        let one = place.ringfence(&["checkpoint", "box", "one"]);
        let _ =
            inside("box", "rm -rf .env sub keep; mkdir sub; echo 2 > .env; echo 2 > keep; echo 2 > sub/.env");
        let back = place.ringfence(&["rollback", "box", "one"]);
        let after = inside("box", "ls -ldR . | wc -l; cat sub keep/in 2>/dev/null");
        let fork = place.ringfence(&["fork", "box", "other", "--from", "one"]);
        let forked = inside(
            "other",
            "cat .env .env/* sub/.env sub/.env/* 2>&1; ls -ld .env; mkdir -p a && echo b > a/b && cat a/b",
        );
        for name in ["box", "other"] {
            let _ = place.ringfence(&["stop", name, "--grace", "0"]);
        }
        assert_eq!((one.status, back.status), (0, 0), "{left}: {one:?} {back:?}");
        assert_eq!(before.out, after.out, "{left}");
        assert_eq!(fork.status, 0, "{left}: {fork:?}");
        assert!(forked.out.ends_with("b\n") && !forked.out.contains("SECRET"), "{left}: {forked:?}");
    }
}

/// What hides something comes along where the task moves it, which may be where a point has something of another kind.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_point_is_gone_to_where_what_hides_was_moved() {
    let place = place();
    let more = "os.rmdir('secret', dir_fd=here)\nos.rename('open/.env', 'secret', src_dir_fd=here, dst_dir_fd=here)\n";
    place.write("leave.py", &(LEAVE.replace("\"keep\", \".env\", \"sub/.env\"", "\".env\",") + more));
    place.write("secret/x", "SECRET\n");
    let lines = format!("[files]\ndeny = [\"**/.env\", \"secret\"]\n{NAMESPACES}");
    let policy = place.policy(&lines);
    assert_eq!(place.ringfence(&["start", "box", "--policy", &policy, "--workspace", "."]).status, 0);
    let inside = |script: &str| place.ringfence(&["exec", "box", "--", "sh", "-c", script]);
    assert_eq!(place.ringfence(&["checkpoint", "box", "one"]).status, 0);
    let taken = inside("python3 leave.py; stat -c %F secret");
    assert!(taken.out.ends_with("regular empty file\n"), "{taken:?}");
    let back = place.ringfence(&["rollback", "box", "one"]);
    let seen = inside("stat -c %F .env secret; cat .env secret/x; echo gone on");
    let _ = place.ringfence(&["stop", "box", "--grace", "0"]);
    assert_eq!(back.status, 0, "{back:?}");
    assert_eq!(seen.out, "regular empty file\ndirectory\ngone on\n", "{seen:?}");
}

/// A name may have letters that mean something in patterns.
#[test]
fn what_is_hidden_may_have_any_name() {
    let place = place();
    for name in ["a[1]/.env", "{b,c}*?/.env", "d!\\e/.env"] {
        place.write(name, "SECRET\n");
    }
    let policy = format!("[files]\ndeny = [\"**/.env\"]\n{NAMESPACES}");
    let outcome = place.run(&policy, "cat */.env; for d in */; do echo x > \"$d.env\"; done; ls -d */; true");
    assert_eq!((outcome.status, outcome.out.lines().count()), (0, 4), "{outcome:?}");
    let moved =
        "unshare -Urm sh -c 'umount -l */.env'; mv 'a[1]' other; mv '{b,c}*?' more; mv 'd!\\e' last; true";
    let _ = place.run(&policy, moved);
    let applied = place.ringfence(&["apply", "--yes"]);
    for name in ["a[1]/.env", "{b,c}*?/.env", "d!\\e/.env"] {
        assert_eq!(place.read(name).as_deref(), Some("SECRET\n"), "{name}: {applied:?}");
    }
}

/// Directories above what is hidden look as they do on the host, and land as they were.
#[test]
fn what_stands_in_has_the_attributes_of_the_hosts_directories() {
    let place = place();
    place.write("sub/.env", "SECRET\n");
    let look =
        "import os; stat = os.stat('sub'); print(os.listxattr('sub'), oct(stat.st_mode), stat.st_mtime)";
    place.host("chmod 2750 sub; python3 -c \"import os; os.setxattr('sub', 'user.mark', b'x')\"");
    // A directory that nobody may write to keeps its attributes too.
    place.host("mkdir -p shut; echo SECRET > shut/.env; python3 -c \"import os; os.setxattr('shut', 'user.mark', b'x')\"; chmod 555 shut");
    let host = place.host(&format!("python3 -c \"{look}\""));
    let policy = format!("[files]\ndeny = [\"**/.env\"]\n{NAMESPACES}");
    let outcome = place.run(&policy, &format!("python3 -c \"{look}\"; echo n > sub/n"));
    assert_eq!(outcome.out, host, "{outcome:?}");
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    let after = place.host("python3 -c \"import os; print(os.listxattr('sub'), oct(os.stat('sub').st_mode))\"; cat sub/.env sub/n");
    assert_eq!(after, "['user.mark'] 0o42750\nSECRET\nn\n");
}

/// What is read-only in a copy is held back when it lands.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_read_only_in_a_copy_does_not_land() {
    let place = place();
    place.write("leave.py", &LEAVE.replace("\"keep\", \".env\", \"sub/.env\"", "\"tool\","));
    let tool = place.write("tool", "#!/bin/sh\n");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome =
        place.run(&format!("[files]\nexec = [\"{}\"]\n{NAMESPACES}", tool.display()), "python3 leave.py");
    assert!(outcome.out.contains("taken tool"), "{outcome:?}");
    let applied = place.ringfence(&["apply", "--yes"]);
    assert!(place.read("tool").is_some() && applied.out.contains("held back"), "{applied:?}");
}

#[test]
fn the_price_of_a_switch_is_said() {
    let place = place();
    for (lines, word) in [(NAMESPACES, "Landlock"), ("[runtime]\nio_uring = true\n", "no filter")] {
        let policy = place.policy(lines);
        let plan = place.ringfence(&["plan", "--policy", &policy, "--workspace", ".", "--", "true"]);
        assert_eq!(plan.status, 0, "{plan:?}");
        assert!(plan.out.lines().any(|line| line.starts_with("note") && line.contains(word)), "{}", plan.out);
    }
}

#[test]
fn io_uring_is_what_it_is_outside_where_it_is_granted() {
    let place = place();
    let script = "import ctypes\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        made = libc.syscall(425, 4, ctypes.create_string_buffer(120))\n\
        print('made' if made >= 0 else ctypes.get_errno())\n";
    place.write("ring.py", script);
    let outside = std::process::Command::new("python3").args(["-c", script]).output().unwrap();
    let outside = String::from_utf8(outside.stdout).unwrap();
    let granted = place.run("[runtime]\nio_uring = true\n", "exec python3 -I -S ring.py");
    assert_eq!(granted.out, outside, "{granted:?}");
    assert_eq!(place.run("", "exec python3 -I -S ring.py").out, "1\n", "EPERM");
}
