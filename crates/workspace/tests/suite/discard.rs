//! Throwing away what a task left, however it left it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ringfence_workspace::{discard, remove_tree};

use super::support::Case;

#[test]
fn everything_goes_and_the_host_stays() {
    let case = Case::new(
        "echo one > a; mkdir d; echo x > d/x",
        "rm -r d; echo two > a; mkdir -p n/o/p; echo x > n/o/p/x; chmod 000 n/o/p n/o n; mkfifo f; ln -s / root; ln -s n l;
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'; mkdir -p 0/0 1/0/1 2; touch 0/0/f 1/0/1/f",
    );
    discard(&case.layers()).unwrap();
    assert!(!case.layer.upper.exists());
    assert!(!case.home.path().join("work").exists());
    assert_eq!((case.read("a"), case.read("d/x")), ("one\n".into(), "x\n".into()));
    // Again: there is nothing left to do.
    discard(&case.layers()).unwrap();
}

#[test]
fn a_deep_and_closed_tree_goes_without_recursion() {
    let deep = "python3 -c 'import os
for _ in range(5000): os.mkdir(\"d\"); open(\"f\", \"w\").close(); os.chdir(\"d\"); os.chmod(\"../f\", 0)'";
    let case = Case::new("", deep);
    discard(&case.layers()).unwrap();
    assert!(!case.layer.upper.exists());
}

#[test]
fn no_symlink_is_followed() {
    let home = tempfile::tempdir().unwrap();
    let (tree, outside) = (home.path().join("tree"), home.path().join("outside"));
    fs::create_dir_all(tree.join("in")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("in/link")).unwrap();
    std::os::unix::fs::symlink(&outside, home.path().join("link")).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(&home.path().join("link")).unwrap();
    assert!(outside.join("kept").exists());
}

#[test]
fn what_cannot_be_removed_is_reported_and_the_rest_goes() {
    // An unprivileged user cannot remove what stands in a directory that is not his.
    if super::support::is_root() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/fixed"), "x").unwrap();
        fs::write(tree.join("a/b/loose"), "x").unwrap();
        let chattr = |flag| {
            std::process::Command::new("chattr")
                .arg(flag)
                .arg(tree.join("a/fixed"))
                .status()
                .is_ok_and(|done| done.success())
        };
        if !chattr("+i") {
            return;
        }
        let failures = remove_tree(&tree).unwrap_err();
        assert!(chattr("-i"));
        assert!(failures.iter().any(|failure| failure.path.ends_with("a")), "{failures:?}");
        assert!(!tree.join("a/b").exists());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("tree/a")).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(!remove_tree(&home.path().join("tree")).unwrap_err().is_empty());
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
}
