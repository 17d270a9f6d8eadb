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
    let outcome = place.run(&policy(), script);
    // What the kernel lets anybody do in a mount namespace of their own: cover, for themselves.
    assert!(outcome.out.contains("covered"), "{outcome:?}");
    assert!(!outcome.out.contains("SECRET") && !outcome.out.contains("EXECUTED"), "{outcome:?}");
    assert_eq!(place.read("keep/file").as_deref(), Some("kept\n"));
    assert!(place.read("keep/planted").is_none() && place.read("moved/file").is_none());
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
