//! Directories that a task closed, to everybody or to a look inside: what it changed lands and is undone all the same.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use ringfence_promises::Place;

const DIRECT: &str = "[workspace]\nmode = \"direct\"\nsnapshot = true\n";

/// Names and modes, and then all contents.
fn modes(place: &Place) -> String {
    place.host(
        "stat -c '%n %a' * | sort; find . -type d ! -perm -700 -exec chmod u+rwx '{}' ';'; find . -type f | sort | xargs grep ^",
    )
}

#[test]
fn what_a_task_closed_in_place_is_put_back() {
    let place = Place::new();
    place.host("mkdir -p d/e f; echo one > d/a; echo one > d/e/b; chmod 750 d; chmod 711 f; echo 1 > was");
    let script = "echo task > d/a; echo task > d/e/b; echo n > d/e/new; chmod 000 d/e; chmod 111 d; chmod 311 f
                  mkdir -p z/y; echo z > z/y/x; chmod 000 z/y z; rm was; mkdir -p was/in; chmod 000 was/in was";
    assert_eq!(place.run(DIRECT, script).status, 0);
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert_eq!(place.host("stat -c '%n %a' d d/e f"), "d 750\nd/e 755\nf 711\n");
    assert_eq!(modes(&place), "d 750\nf 711\nwas 644\n./d/a:one\n./d/e/b:one\n./was:1\n");
    // What it had made comes back, open to its owner.
    let again = place.ringfence(&["undo", "last"]);
    assert!(again.status == 0 && !again.out.contains("cannot be applied"), "{again:?}");
    assert!(modes(&place).ends_with("./d/a:task\n./d/e/b:task\n./d/e/new:n\n./z/y/x:z\n"), "{again:?}");
}

/// An owner who looks after what the task did changes modes, and no more.
#[test]
fn an_owners_modes_stay_and_the_rest_is_put_back() {
    for (mode, noted) in [("755", false), ("700", true), ("000", true)] {
        let place = Place::new();
        place.host("mkdir d; echo one > d/a");
        assert_eq!(place.run(DIRECT, "echo task > d/a; chmod 111 d").status, 0);
        place.host(&format!("chmod {mode} d"));
        let undone = place.ringfence(&["undo"]);
        assert_eq!(undone.status, 0, "{undone:?}");
        assert_eq!(undone.err.contains("d: its mode was changed since, and stays"), noted, "{undone:?}");
        assert_eq!(place.host("stat -c %a d"), format!("{}\n", mode.trim_start_matches("00")));
        assert_eq!(place.host("chmod 755 d; cat d/a"), "one\n");
    }
}

/// What was opened to be looked into is closed again where nothing is put back.
#[test]
fn a_refused_undo_leaves_what_is_closed_closed() {
    let place = Place::new();
    place.host("mkdir d persons; echo one > d/a; echo one > mine; echo one > persons/a");
    let script = "echo task > d/a; echo task > mine; echo task > persons/a; chmod 100 d; mkdir z; chmod 0 z";
    assert_eq!(place.run(DIRECT, script).status, 0);
    place.host("sleep 0.05; echo person > mine; chmod 0 persons");
    for _ in 0..2 {
        let refused = place.ringfence(&["undo"]);
        assert!(refused.status == 126 && refused.err.contains("mine: changed on the host"), "{refused:?}");
        assert!(
            !refused.err.contains("--merge")
                && !refused.err.contains("  d")
                && !refused.err.contains("  persons"),
            "{refused:?}"
        );
        assert_eq!(place.host("stat -c %a d z persons"), "100\n0\n0\n");
    }
    place.host("rm mine");
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
    assert_eq!(
        place.host("stat -c %a d persons; chmod 755 persons; cat d/a mine persons/a; ls"),
        "755\n0\none\none\none\nd\nmine\npersons\n"
    );
}

#[test]
fn what_landed_closed_is_undone() {
    for mode in ["000", "644", "111", "400", "200"] {
        let place = Place::new();
        place.host("mkdir -p d/e; echo one > d/a; echo one > d/gone; echo one > d/e/b; chmod 700 d/e");
        let script = format!(
            "echo task > d/a; rm d/gone; mkdir d/new; echo n > d/new/n; echo task > d/e/b; chmod {mode} d/e; chmod {mode} d"
        );
        assert_eq!(place.run("", &script).status, 0);
        let landed = place.ringfence(&["apply"]);
        assert_eq!(landed.status, 0, "{mode} {landed:?}");
        assert_eq!(place.host("stat -c %a d"), format!("{}\n", mode.trim_start_matches("00")));
        let undone = place.ringfence(&["undo"]);
        assert_eq!(undone.status, 0, "{mode} {undone:?}");
        assert_eq!(
            place.host("stat -c %a d d/e; find d -type f | sort | xargs grep ^"),
            "755\n700\nd/a:one\nd/e/b:one\nd/gone:one\n"
        );
    }
}

#[test]
fn what_landed_closed_and_was_opened_or_changed_since() {
    let landed = || {
        let place = Place::new();
        place.host("mkdir d; echo one > d/a");
        assert_eq!(place.run("", "echo task > d/a; mkdir d/new; chmod 000 d").status, 0);
        assert_eq!(place.ringfence(&["apply"]).status, 0);
        place
    };
    let place = landed();
    place.host("chmod 750 d");
    let undone = place.ringfence(&["undo"]);
    assert!(
        undone.status == 0 && undone.err.contains("d: its mode was changed since, and stays"),
        "{undone:?}"
    );
    assert_eq!(place.host("stat -c %a d; cat d/a; ls d"), "750\none\na\n");
    // Whatever the directory's mode is in the end, a person's work in it is not overwritten.
    for (work, path) in [("echo person > d/a", "d/a"), ("echo person > d/new/p", "d/new")] {
        let place = landed();
        place.host(&format!("chmod 755 d; sleep 0.05; {work}; chmod 000 d"));
        let refused = place.ringfence(&["undo"]);
        assert!(
            refused.status == 126 && refused.err.contains(&format!("{path}: changed on the host")),
            "{refused:?}"
        );
        assert_eq!(place.host("stat -c %a d; chmod 755 d; cat d/a d/new/* 2>&1 | grep -c person"), "0\n1\n");
    }
}

/// Only who may open a directory can undo what is in it: that is said.
#[test]
fn what_an_owner_closed_is_to_be_opened() {
    if ringfence_promises::root() {
        return;
    }
    let place = Place::new();
    place.host("mkdir d; echo one > d/a");
    assert_eq!(place.run("", "echo task > d/a").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    place.host("chmod 000 d");
    let refused = place.ringfence(&["undo"]);
    assert!(
        refused.status == 126 && refused.err.contains("hint: open the directory (`chmod u+rwx`)"),
        "{refused:?}"
    );
    place.host("chmod 755 d");
    assert_eq!(place.ringfence(&["undo"]).status, 0);
    assert_eq!(place.host("cat d/a"), "one\n");
}

/// A directory that may be read and not searched, and others: what is in them is shown and lands, with the mode that the task gave.
fn any_mode_lands(place: &Place) {
    place.host("mkdir d e f g; echo one > d/a; echo one > e/a; echo one > f/a; echo one > g/a; chmod 555 g");
    let script = "echo task > d/a; chmod 644 d; echo task > e/a; chmod 400 e; echo task > f/a; chmod 0 f
                  echo task > g/a; mkdir -p new/in; echo n > new/in/n; chmod 200 new/in; chmod 600 new";
    assert_eq!(place.run("", script).status, 0);
    let diff = place.ringfence(&["diff", "--name-only"]);
    assert_eq!(diff.out, "d\nd/a\ne\ne/a\nf\nf/a\ng/a\nnew\nnew/in\nnew/in/n\n", "{diff:?}");
    assert_eq!(place.ringfence(&["apply", "last", "--", "g"]).status, 0);
    let landed = place.ringfence(&["apply"]);
    assert_eq!(landed.status, 0, "{landed:?}");
    assert_eq!(place.host("stat -c '%n %a' *"), "d 644\ne 400\nf 0\ng 555\nnew 600\n");
    place.host("chmod 700 d e f new");
    assert_eq!(
        place.host("stat -c %a new/in; chmod 700 new/in; cat ?/a new/in/n"),
        "200\ntask\ntask\ntask\ntask\nn\n"
    );
}

#[test]
fn any_mode_of_a_directory_lands() {
    any_mode_lands(&Place::new());
}

#[test]
fn any_mode_of_a_directory_lands_in_tier_landlock() {
    any_mode_lands(&Place::new().in_tier("landlock"));
}

#[test]
fn checkpoints_know_directories_of_any_mode() {
    let place = Place::new();
    place.host("mkdir d; echo one > d/a");
    let policy = place.policy("");
    let verbs: [&[&str]; 8] = [
        &["start", "dev", "--policy", &policy, "--workspace", "."],
        &["exec", "dev", "--", "sh", "-c", "echo task > d/a; mkdir z; echo z > z/y; chmod 0 z; chmod 644 d"],
        &["checkpoint", "dev", "one"],
        &["diff", "dev", "--at", "one"],
        &["checkpoint", "dev", "--list"],
        &["exec", "dev", "--", "sh", "-c", "echo more > more"],
        &["stop", "dev"],
        &["apply"],
    ];
    for words in verbs {
        let done = place.ringfence(words);
        assert_eq!(done.status, 0, "{words:?} {done:?}");
    }
    assert_eq!(place.host("stat -c %a d z; chmod 700 d z; cat d/a z/y more"), "644\n0\ntask\nz\nmore\n");
}

/// A directory of which only the mode changed since a run's end is no other one; one that took its place is.
#[test]
fn a_mode_that_was_changed_and_changed_back_is_no_other_directory() {
    for (since, refused) in [
        ("chmod 555 ro; sleep 0.05; chmod 755 ro", ""),
        ("mv ro away; sleep 0.05; mv away ro", ""),
        ("mv ro away; echo person > away/a; mv away ro", "ro/a: changed on the host"),
        ("mv ro away; mv other ro; sleep 0.05; chmod 700 ro; chmod 755 ro", "ro: replaced or renamed"),
        ("chmod 555 ro", "ro: changed on the host"),
    ] {
        let place = Place::new();
        place.host(
            "mkdir -p ro/in other/in; echo one > ro/a; echo one > ro/in/b; cp ro/a other/a; cp ro/in/b other/in; sleep 0.05",
        );
        assert_eq!(place.run("", "echo task > ro/a; echo new > ro/in/new; chmod 700 ro/in").status, 0);
        place.host(&format!("sleep 0.05; {since}"));
        let landed = place.ringfence(&["apply"]);
        if refused.is_empty() {
            assert_eq!(landed.status, 0, "{since} {landed:?}");
            assert_eq!(place.host("cat ro/a ro/in/new"), "task\nnew\n");
        } else {
            assert!(landed.status == 126 && landed.err.contains(refused), "{since} {landed:?}");
        }
    }
}

/// What was exchanged while the task ran is not told from the first one by what it is in the end.
#[test]
fn a_directory_that_was_exchanged_in_the_midst_of_a_run_is_another_one() {
    let place = Place::new();
    place.host("mkdir ro other; echo one > ro/a; cp ro/a other/a; sleep 0.05");
    let mut command = place.to_run("", "echo task > ro/a; echo up; read go");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut up = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut up).unwrap();
    place.host("mv ro away; mv other ro");
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(child.wait().unwrap().success());
    place.host("sleep 0.05; chmod 700 ro; chmod 755 ro");
    let refused = place.ringfence(&["apply"]);
    assert!(refused.status == 126 && refused.err.contains("ro: replaced or renamed"), "{refused:?}");
}
