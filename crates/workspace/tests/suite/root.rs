//! Started by root: files come out owned by the workspace's owner, and root's power overwrites nothing of others. And all
//! other tests once more as an unprivileged user.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use ringfence_workspace::{Reason, apply, plan_apply};

use super::support::{Case, is_root, shell};

const NOBODY: u32 = 65_534;

/// A workspace of another user, with the layer written as that user.
fn of_nobody(setup: &str, task: &str) -> Case {
    let case = Case::before(&format!("{setup}; chown -R {NOBODY}:{NOBODY} ."));
    let home = case.home.path();
    shell(home, &format!("chmod 755 .; chown {NOBODY}:{NOBODY} upper work merged"));
    let mount =
        "mount -t overlay overlay -o userxattr,lowerdir=host,upperdir=upper,workdir=work merged && cd merged";
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urm", "bash", "-ec"])
        .arg(format!("{mount}\n{task}"))
        .current_dir(home)
        .status()
        .unwrap();
    assert!(status.success());
    std::thread::sleep(std::time::Duration::from_millis(25));
    case
}

#[test]
fn files_come_out_owned_by_the_owner_of_the_workspace() {
    if !is_root() {
        return;
    }
    let case = of_nobody(
        "mkdir d; echo one > a",
        "echo two > a; mkdir -p d/e; echo x > d/e/x; ln -s a l; chmod 000 d/e/x; chmod 500 d/e",
    );
    case.apply().unwrap();
    for path in ["a", "d/e", "d/e/x", "l"] {
        let stat = fs::symlink_metadata(case.host.join(path)).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (NOBODY, NOBODY), "{path}");
    }
}

#[test]
fn files_of_others_are_neither_replaced_nor_removed() {
    if !is_root() {
        return;
    }
    for task in ["rm -f a; echo two > a", "rm -f a", "rm -rf d"] {
        let case = of_nobody("mkdir d; echo x > d/x; echo one > a", task);
        // As if they had been there before: the time of the change is not what this test is about.
        for path in ["a", "d/x"] {
            chown(case.host.join(path), Some(1), Some(1)).unwrap();
        }
        let mut layer = case.layer.clone();
        std::thread::sleep(std::time::Duration::from_millis(25));
        layer.started = ringfence_workspace::Timestamp::now();
        let refused = plan_apply(&[layer]).map(|plan| apply(plan, &case.journal()).map(|_| ())).unwrap_err();
        assert!(refused.refusals.iter().any(|refusal| refusal.reason == Reason::OtherOwner), "{refused}");
        assert!(case.host.join("a").exists() && case.host.join("d/x").exists());
    }
    let case = of_nobody("mkdir d; echo x > d/x", "echo y > d/y");
    chown(case.host.join("d"), Some(1), Some(1)).unwrap();
    let mut layer = case.layer.clone();
    std::thread::sleep(std::time::Duration::from_millis(25));
    layer.started = ringfence_workspace::Timestamp::now();
    let refused = plan_apply(&[layer]).unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == Reason::OtherOwner), "{refused}");
}

#[test]
fn file_capabilities_do_not_land() {
    if !is_root() {
        return;
    }
    let case = Case::new("", "cp /bin/true ping");
    // CAP_NET_RAW, effective, version 2; a task has no right to set it.
    let set = "import os; os.setxattr('ping', 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'))";
    let done = Command::new("python3").args(["-c", set]).current_dir(&case.layer.upper).status().unwrap();
    assert!(done.success());
    case.refused("ping", |reason| *reason == Reason::Capabilities);
}

#[test]
fn everything_once_more_as_an_unprivileged_user() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (binary, scratch) = (home.path().join("tests"), home.path().join("scratch"));
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::create_dir(&scratch).unwrap();
    shell(
        home.path(),
        &format!(
            "chmod 755 .; chown {NOBODY}:{NOBODY} scratch; git config --global --list > /dev/null || true"
        ),
    );
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["--test-threads=2"])
        .current_dir("/")
        .env("TMPDIR", &scratch)
        .env("HOME", &scratch)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
