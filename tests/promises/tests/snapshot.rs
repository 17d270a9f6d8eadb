//! `workspace.snapshot`: a task works on the host's own files, and all of it can be put back.

use ringfence_promises::{Outcome, Place};

const POLICY: &str = "[workspace]\nmode = \"direct\"\nsnapshot = true\n";

/// Names, modes, contents, and where links lead.
fn tree(place: &Place) -> String {
    place.host("find . -printf '%p %y %m %l\\n' | sort; find . -type f | sort | xargs -d '\\n' sha256sum")
}

fn filled() -> Place {
    let place = Place::new();
    place.host(
        "mkdir -p a/b c .git/hooks; echo 1 > a/one; echo 2 > a/b/two; echo 3 > c/three; ln -s a/one link; chmod 640 a/one; chmod 750 c;
         printf '#!/bin/sh\\n' > .git/hooks/h; chmod 755 .git/hooks/h; mkfifo pipe; cp -p a/one same; echo x > 'ä b'; touch -d '2 days ago' a/one c/three",
    );
    place
}

/// A directory that takes another's place, a file that keeps its size and time, and much besides.
const SCRIPT: &str = "echo changed > a/one; rm -r a/b; mkdir new; echo n > new/n; mv c d; chmod 600 same; rm link; ln -s /etc link;
    printf '4\\n' > d/t; touch -r d/three d/t; mv d/t d/three; mkdir .vscode; echo '{}' > .vscode/tasks.json; echo evil >> .git/hooks/h;
    rm 'ä b'; mkdir 'ä b'; echo y > 'ä b/y'";

fn worked(place: &Place) -> Outcome {
    let policy = place.policy(POLICY);
    let outcome =
        place.ringfence(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-ec", SCRIPT]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    outcome
}

#[test]
fn all_of_it_is_put_back_and_that_is_undone_too() {
    let place = filled();
    let before = tree(&place);
    let outcome = worked(&place);
    assert!(
        outcome.err.contains("snapshot: ") && outcome.err.contains("kept for `ringfence undo"),
        "{outcome:?}"
    );
    let after = tree(&place);
    assert!(before != after && place.read("d/three").as_deref() == Some("4\n"));
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert_eq!(tree(&place), before);
    // By its name alone: without one it would go one further back.
    assert_eq!(place.ringfence(&["undo"]).status, 125);
    let again = place.ringfence(&["undo", &place.last_run()]);
    assert!(again.status == 0 && again.out.contains("as they were at the end"), "{again:?}");
    assert_eq!(tree(&place), after);
    let third = place.ringfence(&["undo", &place.last_run()]);
    assert!(third.status == 125 && third.err.contains("brought back: no more than that"), "{third:?}");
    assert_eq!(tree(&place), after);
}

#[test]
fn holes_take_no_room_and_a_closed_workspace_is_opened() {
    let place = filled();
    let (before, mode) = (tree(&place), place.host("stat -c %a ."));
    // More than any disk here holds.
    place.host("truncate -s 8T holes");
    let policy = place.policy(POLICY);
    let script = "rm holes; echo x > a/one; rm -r c; chmod 0 .";
    let outcome =
        place.ringfence(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-ec", script]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    // Nobody but root can even go there.
    let undone = place.command(&["undo", "last"]).current_dir(&place.home).output().unwrap();
    assert!(undone.status.success(), "{undone:?}");
    assert_eq!(place.host("stat -c %a ."), mode);
    assert_eq!(place.host("stat -c %s holes; rm holes"), "8796093022208\n");
    assert_eq!(tree(&place), before);
}

#[test]
fn no_mode_is_put_back_by_way_of_a_link() {
    let place = filled();
    let policy = place.policy(POLICY);
    place.host("mkdir -p p/ws other/ws; chmod 755 p/ws; chmod 700 other/ws");
    let run = ["run", "--policy", &policy, "--workspace", "p/ws", "--", "chmod", "711", "."];
    assert_eq!(place.ringfence(&run).status, 0);
    place.host("mv p q; ln -s other p");
    let undone = place.ringfence(&["undo", "last"]);
    assert_ne!(undone.status, 0, "{undone:?}");
    assert_eq!(place.host("stat -c %a other/ws q/ws"), "700\n711\n");
}

#[test]
fn another_directory_in_its_place_is_left_alone() {
    let place = filled();
    let policy = place.policy(POLICY);
    place.host("mkdir ws other; echo 1 > ws/one; echo theirs > other/one; sleep 0.05");
    let run = ["run", "--policy", &policy, "--workspace", "ws", "--", "sh", "-c", "echo 2 > one"];
    assert_eq!(place.ringfence(&run).status, 0);
    place.host("mv ws away; mv other ws");
    let refused = place.ringfence(&["undo", "last"]);
    assert!(
        refused.status == 126 && refused.err.contains("is not the directory that the task worked on"),
        "{refused:?}"
    );
    assert_eq!(place.host("cat ws/one away/one"), "theirs\n2\n");
    place.host("mv ws other; mv away ws");
    assert_eq!(place.ringfence(&["undo", "last"]).status, 0);
    assert_eq!(place.read("ws/one").as_deref(), Some("1\n"));
}

#[test]
fn what_a_person_changed_since_is_not_overwritten() {
    let place = filled();
    let _ = worked(&place);
    std::thread::sleep(std::time::Duration::from_millis(40));
    place.write("a/one", "a person's\n");
    let refused = place.ringfence(&["undo"]);
    assert_eq!(refused.status, 126, "{refused:?}");
    assert_eq!(place.read("a/one").as_deref(), Some("a person's\n"));
    assert!(place.workspace.join("new/n").exists(), "all or nothing");
    assert!(refused.err.contains("a/one"), "{refused:?}");
}

#[test]
fn a_run_that_is_killed_can_be_undone() {
    let place = filled();
    let before = tree(&place);
    let policy = place.policy(POLICY);
    let script = format!("{SCRIPT}; touch done; sleep 30");
    let mut child = place
        .command(&["run", "--policy", &policy, "--workspace", ".", "--", "sh", "-ec", &script])
        .spawn()
        .unwrap();
    while !place.workspace.join("done").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert_eq!(tree(&place), before);
}

#[test]
fn it_means_nothing_where_the_host_is_not_changed() {
    let place = Place::new();
    let outcome = place.run("[workspace]\nsnapshot = true\n", "true");
    assert!(outcome.status == 125 && outcome.err.contains("has no meaning in this mode"), "{outcome:?}");
}

/// Git on the host writes its index anew, with nothing in it that was not there when the task ended.
#[test]
fn a_look_of_gits_does_not_stand_in_the_way() {
    for (since, refused) in [("git status; git diff", false), ("git add -A; git status", true)] {
        let place = Place::new();
        place.host(
            "git init -q -b main .; git config user.name t; git config user.email t@t; mkdir d; echo 1 > d/a; echo 1 > b",
        );
        place.host("git add -A; git commit -qm one; git status > /dev/null; sleep 0.05");
        let before = place.host("git rev-parse HEAD; git ls-files -s");
        let policy = format!("{POLICY}git = true\n");
        let outcome = place.run(&policy, "echo b >> b; git mv d e; git commit -qam agent; echo c >> b");
        assert_eq!(outcome.status, 0, "{outcome:?}");
        place.host(&format!("sleep 0.05; git update-index --force-write-index; ({since}) > /dev/null"));
        let undone = place.ringfence(&["undo"]);
        assert!(!undone.err.contains("--merge"), "{undone:?}");
        if refused {
            assert!(
                undone.status == 126
                    && undone.err.contains(".git/index: changed on the host since the run ended"),
                "{undone:?}"
            );
            continue;
        }
        assert_eq!(undone.status, 0, "{undone:?}");
        assert_eq!(place.host("git rev-parse HEAD; git ls-files -s; git status --short"), before);
    }
}
