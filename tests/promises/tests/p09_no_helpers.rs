//! Promise 9: one binary, no helper, no root, and root is not made dangerous.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use ringfence_promises::{Place, binary, root};

#[test]
fn it_runs_where_no_other_program_can_be_found() {
    let place = Place::new();
    let output =
        place.command(&["run", "--", "/bin/echo", "alone"]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "alone\n");
}

#[test]
fn the_task_has_no_privilege_and_never_kernel_uid_zero() {
    let place = Place::new();
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/self/uid_map; id -u";
    let outcome = place.run("", script);
    assert!(
        !outcome.out.lines().any(|line| line.starts_with("Cap") && !line.ends_with("0000000000000000")),
        "{}",
        outcome.out
    );
    assert!(outcome.out.contains("NoNewPrivs:\t1"), "{}", outcome.out);
    let map = outcome.out.lines().find(|line| line.split_whitespace().count() == 3).unwrap();
    let fields: Vec<&str> = map.split_whitespace().collect();
    assert!(fields[1] != "0" && fields[2] == "1" && fields[0] != "0", "{map}");
}

#[test]
fn files_come_out_owned_by_the_owner_of_the_workspace() {
    let place = Place::new();
    let owner = if root() {
        std::os::unix::fs::chown(&place.workspace, Some(4242), Some(4243)).unwrap();
        (4242, 4243)
    } else {
        let metadata = place.workspace.metadata().unwrap();
        (metadata.uid(), metadata.gid())
    };
    if root() {
        for directory in [place.base.path(), &place.home] {
            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
    let outcome = place.run(
        "[workspace]\nmode = \"direct\"",
        "echo x > new; cat /etc/shadow; echo x > /proc/sys/kernel/core_pattern",
    );
    let metadata = place.workspace.join("new").metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), owner, "{}", outcome.err);
    let outcome = place.run("", "echo y > reviewed");
    assert_eq!(outcome.status, 0, "{}", outcome.err);
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{}", applied.err);
    let metadata = place.workspace.join("reviewed").metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), owner);
}

#[test]
fn a_set_user_id_copy_refuses_to_run() {
    if !root() {
        // Only root can give a file away; the other half of this test is that an ordinary user runs at all.
        assert_eq!(Place::new().run("", "true").status, 0);
        return;
    }
    let place = Place::new();
    let copy = place.base.path().join("ringfence");
    std::fs::copy(binary(), &copy).unwrap();
    std::os::unix::fs::chown(&copy, Some(4242), Some(4242)).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o6755)).unwrap();
    std::fs::set_permissions(place.base.path(), PermissionsExt::from_mode(0o755)).unwrap();
    // By whatever verb: each would read and write as somebody else.
    for line in ["run -- true", "check /etc/shadow", "plan", "trust", "init", "ps -a", "explain", "--version"]
    {
        let line = line.split(' ');
        let output = Command::new(&copy).args(line).current_dir(&place.workspace).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(125) && text.contains("set-user-id"), "{text}");
        assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    }
    assert!(!place.workspace.join("ringfence.toml").exists());
}
