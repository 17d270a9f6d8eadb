//! What changed on the host meanwhile is never overwritten.

use ringfence_workspace::{Reason, apply, plan_apply};

use super::support::{Case, snapshot};

const SETUP: &str =
    "mkdir -p src/deep; echo one > README.md; echo a > src/main.txt; echo x > src/deep/x; printf aaaa > t;
    touch -d 2020-01-01 t";

fn changed(reason: &Reason) -> bool {
    *reason == Reason::ChangedOnHost
}

#[test]
fn both_changed_a_file() {
    let case = Case::new(SETUP, "echo task > README.md; echo fine > src/main.txt");
    case.on_host("echo user > README.md");
    case.refused("README.md", changed);
    assert_eq!(case.read("src/main.txt"), "a\n");
}

#[test]
fn the_same_size_and_time_hide_nothing() {
    let case = Case::new(SETUP, "printf cccc > t");
    case.on_host("printf bbbb > t; touch -d 2020-01-01 t");
    case.refused("t", changed);
}

#[test]
fn the_task_removed_what_the_user_changed() {
    let case = Case::new(SETUP, "rm README.md");
    case.on_host("echo user >> README.md");
    case.refused("README.md", changed);
    let case = Case::new(SETUP, "rm -r src");
    case.on_host("echo user >> src/deep/x");
    case.refused("src/deep/x", changed);
    let case = Case::new(SETUP, "rm -r src");
    case.on_host("touch src/deep/new");
    case.refused("src/deep", changed);
    let case = Case::new(SETUP, "rm -r src; mkdir src");
    case.on_host("echo user >> src/deep/x");
    case.refused("src/deep/x", changed);
}

#[test]
fn the_user_removed_what_the_task_changed() {
    let case = Case::new(SETUP, "echo task > README.md");
    case.on_host("rm README.md");
    case.refused("README.md", |reason| *reason == Reason::GoneFromHost);
    let case = Case::new(SETUP, "echo task > src/deep/x");
    case.on_host("rm -r src");
    case.refused("src", |reason| *reason == Reason::GoneFromHost);
}

#[test]
fn both_made_the_same_name() {
    let case = Case::new(SETUP, "echo task > new");
    case.on_host("echo user > new");
    case.refused("new", changed);
    let case = Case::new(SETUP, "mkdir new; echo task > new/task");
    case.on_host("echo user > new");
    case.refused("new", changed);
}

#[test]
fn both_removed_is_no_conflict() {
    let case = Case::new(SETUP, "rm README.md; echo two > src/main.txt");
    case.on_host("rm README.md");
    case.apply().unwrap();
    assert_eq!(case.read("src/main.txt"), "two\n");
}

#[test]
fn what_the_user_did_beside_stays() {
    let case = Case::new(SETUP, "echo two > src/main.txt; rm README.md; mkdir src/new; touch src/new/n");
    case.on_host("echo mine > mine; echo mine > src/mine");
    case.apply().unwrap();
    assert_eq!(
        (case.read("mine"), case.read("src/mine"), case.read("src/main.txt")),
        ("mine\n".into(), "mine\n".into(), "two\n".into())
    );
}

#[test]
fn a_directory_swapped_for_a_symlink_or_another_directory() {
    let case = Case::new(SETUP, "echo pwn > src/main.txt; echo pwn > src/new.txt");
    case.on_host("mv src src.bak; ln -s ../outside src");
    case.refused("src", changed);
    assert!(!case.home.path().join("outside/new.txt").exists());
    let case =
        Case::new(&format!("{SETUP}; mkdir other; echo o > other/main.txt"), "echo pwn > src/main.txt");
    case.on_host("mv src src.bak; mv other src");
    case.refused("src", |reason| *reason == Reason::DirectoryReplaced);
}

#[test]
fn the_workspace_itself_was_replaced() {
    let case = Case::new(SETUP, "echo task > README.md");
    case.on_host("cd ..; mv host old; cp -a old host");
    case.refused("", |reason| *reason == Reason::WorkspaceReplaced);
    let case = Case::new(SETUP, "echo task > README.md");
    case.on_host("cd ..; mv host old; ln -s old host");
    assert!(case.apply().is_err());
}

#[test]
fn a_clock_that_runs_behind_is_no_excuse() {
    let mut case = Case::new(SETUP, "echo task > README.md");
    case.layer.started.sec += 1000;
    case.refused("", |reason| *reason == Reason::ClockSetBack);
}

#[test]
fn a_change_between_judging_and_landing() {
    for change in [
        "echo user > README.md",
        "rm README.md",
        "rm README.md; mkdir README.md",
        "chmod 600 README.md",
        "echo xne > README.md; touch -r t README.md",
    ] {
        let setup = format!("{SETUP}; touch -r t README.md");
        let case = Case::new(&setup, "echo a > 0; echo task > README.md; echo z > zzz");
        let plan = plan_apply(&case.layers()).unwrap();
        case.on_host(change);
        let before = snapshot(&case.host);
        assert!(apply(plan, &case.journal()).is_err(), "{change}");
        assert_eq!(before, snapshot(&case.host), "{change}");
    }
}

#[test]
fn a_layer_that_changes_after_it_was_judged() {
    let case = Case::new(SETUP, "echo task > README.md; echo fine > new");
    let plan = plan_apply(&case.layers()).unwrap();
    std::fs::write(case.layer.upper.join("README.md"), "late").unwrap();
    let refused = apply(plan, &case.journal()).unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == Reason::LayerChanged), "{refused}");
    assert_eq!(case.read("README.md"), "one\n");
    assert!(!case.host.join("new").exists());
}

#[test]
fn a_second_apply_waits_its_turn() {
    let case = Case::new(SETUP, "echo task > README.md");
    let lock = std::fs::File::open(&case.host).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = apply(plan_apply(&case.layers()).unwrap(), &case.journal()).unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == Reason::Busy), "{refused}");
    // Not by closing it: a child that another test forked may hold a copy for a moment.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    case.apply().unwrap();
}
