//! What lands.

use std::fs;
use std::os::unix::fs::MetadataExt;

use ringfence_workspace::{Reason, apply, plan_apply, render_stat};

use super::support::{Case, leftovers, shell, snapshot};

const SETUP: &str =
    "mkdir -p src deep/er kept; echo one > README.md; printf 'a\\nb\\n' > src/main.txt; echo x > deep/er/x;
    ln -s README.md link; echo run > tool; chmod 755 tool; echo gone > gone; echo k > kept/k";

const TASK: &str = "echo two > README.md; echo new > src/new; rm gone; chmod 700 tool; rm link; ln -s tool link;
    mkdir -p fresh/er; echo y > fresh/er/y; chmod 600 fresh/er/y; ln -s er/y fresh/l; rm -r deep; echo now-a-file > deep;
    rm src/main.txt; mkdir src/main.txt; echo in > src/main.txt/in; chmod 750 kept; echo more >> kept/k; mkdir empty;
    rm -r kept/none 2>/dev/null || true; mv tool src/tool";

#[test]
fn lands_exactly_what_the_task_did() {
    let case = Case::new(SETUP, TASK);
    case.lands_like(SETUP, TASK);
    assert!(leftovers(&case.host).is_empty());
    // Nothing differs any more.
    assert_eq!(case.summary(), Vec::<String>::new());
}

#[test]
fn times_and_modes_land_and_holes_stay_holes() {
    let case = Case::new(
        "",
        "echo a > old; touch -d @0 old; echo b > new; touch -d 2100-01-01 new; mkdir d; echo c > d/c; touch -d @5 d/c d; chmod 500 d; truncate -s 1T huge; echo end >> huge",
    );
    case.apply().unwrap();
    assert_eq!(fs::metadata(case.host.join("old")).unwrap().mtime(), 0);
    assert_eq!(fs::metadata(case.host.join("new")).unwrap().mtime(), 4_102_444_800);
    let d = fs::metadata(case.host.join("d")).unwrap();
    assert_eq!((d.mtime(), d.mode() & 0o7777), (5, 0o500));
    let huge = fs::metadata(case.host.join("huge")).unwrap();
    assert_eq!(huge.len(), (1 << 40) + 4);
    assert!(huge.blocks() < 1000);
}

#[test]
fn hostile_names_and_closed_directories_land() {
    let task = r"touch $'\xff\xfe' $'caf\xe9' $'a\nb' $'\e[1m' ' ' ./-rf .wh.README.md .wh..wh..opq src/.wh..wh..opq;
        mkdir $'\x80dir'; touch $'\x80dir/f'; echo c > none; chmod 000 none; mkdir -p nodir/in; echo d > nodir/in/x;
        chmod 000 nodir/in nodir; chmod 000 kept";
    Case::new(SETUP, task).lands_like(SETUP, task);
}

#[test]
fn a_closed_host_directory_is_replaced_removed_and_opened() {
    let setup = "mkdir -p a/x b c/y; echo 1 > a/x/1; echo 2 > b/2; echo 3 > c/y/3; chmod 500 a/x a b c/y";
    let task = "chmod 700 a a/x b c/y; rm -r a; echo file > a; echo new > b/new; chmod 500 b; rm -r c";
    Case::new(setup, task).lands_like(setup, task);
}

#[test]
fn what_was_replaced_is_kept() {
    let case = Case::new(SETUP, "echo two > README.md; rm -r deep; chmod 700 tool");
    let applied = case.apply().unwrap();
    let kept: Vec<_> = snapshot(&applied.undo)
        .into_iter()
        .map(|(path, what)| format!("{} {what}", path.display()))
        .collect();
    assert!(kept.iter().any(|line| line.ends_with("644 one\\n")), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("er/x") && line.ends_with("x\\n")), "{kept:?}");
    assert!(kept.iter().any(|line| line.ends_with("755 run\\n")), "{kept:?}");
    assert!(applied.left.is_empty());
    assert_eq!(applied.landed.len(), 5);
}

#[test]
fn undo_on_another_file_system_keeps_copies() {
    let case = Case::new(SETUP, TASK);
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let here = fs::metadata(case.home.path()).unwrap().dev();
    assert_ne!(here, fs::metadata(other.path()).unwrap().dev(), "the test needs a second file system");
    let applied = apply(plan_apply(&case.layers()).unwrap(), &other.path().join("apply")).unwrap();
    assert!(applied.left.is_empty());
    let kept = snapshot(&applied.undo);
    assert!(kept.values().any(|what| what == "644 one\\n"), "{kept:?}");
    assert!(kept.keys().any(|path| path.ends_with("er/x")), "{kept:?}");
    assert!(leftovers(&case.host).is_empty());
    let reference = tempfile::tempdir().unwrap();
    shell(reference.path(), SETUP);
    shell(reference.path(), TASK);
    assert_eq!(snapshot(&case.host), snapshot(reference.path()));
}

#[test]
fn what_cannot_be_kept_is_not_replaced() {
    // A socket can be moved, but not copied to another file system.
    let socket = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/s\")'";
    let case = Case::new(&format!("mkdir d; echo one > a; {socket}"), "echo two > a; rm -r d");
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let before = snapshot(&case.host);
    let refused = apply(plan_apply(&case.layers()).unwrap(), &other.path().join("apply")).unwrap_err();
    assert!(
        refused.refusals.iter().any(|refusal| matches!(refusal.reason, Reason::Failed { .. })),
        "{refused}"
    );
    assert_eq!(before, snapshot(&case.host));
    assert!(leftovers(&case.host).is_empty());
}

#[test]
fn a_second_name_outside_keeps_its_content_and_mode() {
    let case = Case::before("echo one > file; ln file ../outside/other; chmod 600 file");
    case.task("chmod 666 file");
    case.apply().unwrap();
    let (inside, outside) = (case.host.join("file"), case.home.path().join("outside/other"));
    assert_eq!(fs::metadata(inside).unwrap().mode() & 0o777, 0o666);
    assert_eq!(fs::metadata(outside).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn names_of_one_inode_are_both_replaced() {
    let case = Case::new("echo one > a; ln a b", "echo 2 > a; echo 3 > b");
    case.apply().unwrap();
    assert_eq!((case.read("a"), case.read("b")), ("2\n".into(), "3\n".into()));
}

#[test]
fn attributes_of_the_user_land_on_files_and_directories() {
    let set = |path: &str, name: &str| format!("os.setxattr({path:?}, {name:?}, b\"1\"); ");
    let python = |body: String| format!("python3 -c 'import os; {body}'");
    let before = set("a", "user.mine") + &set("a", "user.gone") + &set("d", "user.mine");
    let task = set("a", "user.theirs")
        + "os.removexattr(\"a\", \"user.gone\"); "
        + &set("d", "user.theirs")
        + &set("n", "user.new");
    let setup = format!("mkdir d; echo one > a; {}", python(before));
    let script = format!("mkdir n; {}; chmod 500 d", python(task));
    let case = Case::new(&setup, &script);
    assert_eq!(case.summary(), ["x a", "m d", "A n"]);
    assert!(render_stat(&case.diff()).contains("2 attributes"));
    case.lands_like(&setup, &script);
}

#[test]
fn an_apply_is_done_once() {
    let case = Case::new("echo one > a", "echo two > a");
    case.apply().unwrap();
    shell(&case.home.path().join("upper"), "echo three > a");
    let refused = case.apply().unwrap_err();
    assert!(
        refused
            .refusals
            .iter()
            .any(|refusal| matches!(refusal.reason, Reason::JournalExists | Reason::ChangedOnHost))
    );
    assert_eq!(case.read("a"), "two\n");
}

#[test]
fn a_refused_apply_can_be_repeated() {
    let case =
        Case::new("mkdir d; echo one > d/a; echo one > b", "echo two > d/a; echo two > b; echo new > new");
    // It is judged, and then something stands in the way of the second step.
    let plan = plan_apply(&case.layers()).unwrap();
    case.on_host("touch new");
    let refused = apply(plan, &case.journal()).unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == Reason::ChangedOnHost), "{refused}");
    assert_eq!(
        (case.read("d/a"), case.read("b"), case.read("new")),
        ("one\n".into(), "one\n".into(), String::new())
    );
    assert!(leftovers(&case.host).is_empty());
    case.on_host("rm new");
}

#[test]
fn two_layers_land_together_or_not_at_all() {
    let one = Case::new("echo one > a", "echo two > a");
    let two = Case::new("echo one > b", "echo two > b");
    let mut second = two.layer.clone();
    second.name = "git1".into();
    let layers = [one.layer.clone(), second];
    two.on_host("echo mine > b");
    assert!(plan_apply(&layers).is_err());
    assert_eq!(one.read("a"), "one\n");
    let (one, two) = (Case::new("echo one > a", "echo two > a"), Case::new("echo one > b", "echo two > b"));
    let mut second = two.layer.clone();
    second.name = "git1".into();
    apply(plan_apply(&[one.layer.clone(), second]).unwrap(), &one.journal()).unwrap();
    assert_eq!((one.read("a"), two.read("b")), ("two\n".into(), "two\n".into()));
}

#[test]
fn thousands_of_files_land() {
    let case = Case::new(
        "mkdir d; for i in $(seq 1000); do echo $i > d/$i; done",
        "for i in $(seq 1000); do echo x > d/$i; done; mkdir n; for i in $(seq 1000); do echo x > n/$i; done",
    );
    let applied = case.apply().unwrap();
    assert_eq!(applied.landed.len(), 2001);
    assert_eq!(case.read("d/777"), "x\n");
    assert_eq!(fs::read_dir(case.host.join("n")).unwrap().count(), 1000);
}
