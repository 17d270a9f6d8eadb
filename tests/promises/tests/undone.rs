//! One undo after another, and what can be applied again after them.

use ringfence_promises::Place;

use crate::landing::answered;

fn land(place: &Place, script: &str) {
    let outcome = place.run("", script);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
}

fn undo(place: &Place) {
    let undone = place.ringfence(&["undo"]);
    assert_eq!(undone.status, 0, "{undone:?}");
}

#[test]
fn two_runs_that_changed_one_file_are_undone_one_after_the_other() {
    let place = Place::new();
    place.host("echo 1 > f; mkdir d; echo 1 > d/g");
    land(&place, "echo 2 > f; echo 2 > d/g; mkdir new; echo 2 > new/n");
    land(&place, "echo 3 > f; echo 3 > d/g; echo 3 > new/n");
    land(&place, "echo 4 > f");
    undo(&place);
    assert_eq!(place.host("cat f"), "3\n");
    undo(&place);
    assert_eq!(place.host("cat f d/g new/n"), "2\n2\n2\n");
    undo(&place);
    assert_eq!(place.host("cat f d/g; ls"), "1\n1\nd\nf\n");
    assert!(place.ringfence(&["undo"]).err.contains("no apply in this directory can be undone"));
}

/// What somebody wrote between two runs was put back by the undo of the second, and is no work of the first.
#[test]
fn what_a_person_wrote_between_two_runs_stays() {
    let place = Place::new();
    place.host("echo 1 > f");
    land(&place, "echo 2 > f");
    place.host("echo person > f");
    land(&place, "echo 3 > f");
    undo(&place);
    assert_eq!(place.host("cat f"), "person\n");
    let refused = place.ringfence(&["undo"]);
    assert!(refused.status == 126 && refused.err.contains("f: changed on the host"), "{refused:?}");
    assert_eq!(place.host("cat f"), "person\n");
}

#[test]
fn what_was_undone_can_be_applied_again() {
    let place = Place::new();
    place.host("mkdir -p src/sub; echo 1 > src/a; echo 2 > src/sub/b");
    assert_eq!(place.run("", "mv src lib; echo m > m").status, 0);
    let some = place.ringfence(&["apply", "--leave", "m"]);
    assert_eq!(some.status, 0, "{some:?}");
    undo(&place);
    let all = place.ringfence(&["apply"]);
    assert_eq!(all.status, 0, "{all:?}");
    assert_eq!(place.host("find . -type f | sort"), "./lib/a\n./lib/sub/b\n./m\n");
}

/// Without a name it goes one further back; by its name a run of the host's own files is brought back.
#[test]
fn undos_in_a_direct_workspace_go_back() {
    let place = Place::new();
    place.host("echo 1 > f; echo 1 > g");
    let policy = "[workspace]\nmode = \"direct\"\nsnapshot = true\n";
    assert_eq!(place.run(policy, "echo 2 > f").status, 0);
    assert_eq!(place.run(policy, "echo 2 > g").status, 0);
    undo(&place);
    assert_eq!(place.host("cat f g"), "2\n1\n");
    undo(&place);
    assert_eq!(place.host("cat f g"), "1\n1\n");
    assert_eq!(place.ringfence(&["undo"]).status, 125);
    assert_eq!(place.host("cat f g"), "1\n1\n");
}

/// A path that means nothing is said: what was to be left would land.
#[test]
fn paths_are_named_from_where_one_stands() {
    let place = Place::new();
    place.host("echo 1 > a; echo 1 > b; mkdir sub; echo 1 > sub/b");
    assert_eq!(place.run("", "echo 2 > a; echo 2 > b; echo 2 > sub/b").status, 0);
    for words in
        [["apply", "--leave", "bb"], ["apply", "--accept", "editors,agents"], ["apply", "--leave", "/etc/b"]]
    {
        let refused = place.ringfence(&words);
        assert!(refused.status == 125 && refused.err.contains("hint:"), "{words:?} {refused:?}");
    }
    assert_eq!(place.host("cat a b sub/b"), "1\n1\n1\n");
    let absolute = place.workspace.join("b").display().to_string();
    let shown = place.ringfence(&["diff", "--name-only", "--", "./b", "sub"]);
    assert_eq!(shown.out, "b\nsub/b\n", "{shown:?}");
    let landed = place.ringfence(&["apply", "--leave", &absolute, "--leave", "./sub/../sub/b"]);
    assert_eq!(landed.status, 0, "{landed:?}");
    assert_eq!(place.host("cat a b sub/b"), "2\n1\n1\n");
    // Nothing lands, and so there is nothing to undo but what did.
    let nothing = place.ringfence(&["apply", "--leave", "b", "--leave", "sub"]);
    assert!(nothing.status == 0 && nothing.out.contains("nothing landed"), "{nothing:?}");
    undo(&place);
    assert_eq!(place.host("cat a b sub/b"), "1\n1\n1\n");
    // Below what is new as well.
    assert_eq!(place.run("", "mkdir new; echo 1 > new/kept").status, 0);
    let refused = place.ringfence(&["apply", "--leave", "new/ketp"]);
    assert!(refused.status == 125 && refused.err.contains("nothing changed at new/ketp"), "{refused:?}");
}

/// What a program of the host writes as soon as the old content is back is not taken for what the undo put there.
#[test]
fn what_is_written_while_an_undo_ends_stays() {
    let place = Place::new();
    place.host("mkdir src; for i in $(seq 400); do echo $i > src/f$i; done; echo 1 > src/zz; echo 1 > top");
    assert_eq!(place.run("", "rm -r src; echo 2 > top; echo m > m").status, 0);
    assert_eq!(place.ringfence(&["apply", "--leave", "m"]).status, 0);
    let watcher = place.workspace.clone();
    let watcher = std::thread::spawn(move || {
        let since = std::time::Instant::now();
        while since.elapsed() < std::time::Duration::from_secs(20) {
            let file = std::fs::OpenOptions::new().append(true).open(watcher.join("src/zz"));
            if let Ok(mut file) = file {
                std::io::Write::write_all(&mut file, b"person\n").unwrap();
                return;
            }
        }
    });
    undo(&place);
    watcher.join().unwrap();
    let again = place.ringfence(&["apply"]);
    assert!(again.status == 126 && again.err.contains("src/zz: changed on the host"), "{again:?}");
    assert_eq!(place.host("cat src/zz"), "1\nperson\n");
}

/// Nobody but the undos themselves touched the file.
#[test]
fn parts_that_were_undone_one_after_the_other_land_again() {
    let place = Place::new();
    place.host("seq 40 > m.txt");
    assert_eq!(place.run("", "sed -i 's/^2$/two/; s/^39$/thirtynine/' m.txt; echo w > waits").status, 0);
    assert_eq!(answered(&place, "n\ny\nn\n").0, 0);
    let rest = place.ringfence(&["apply", "last", "--", "m.txt"]);
    assert_eq!(rest.status, 0, "{rest:?}");
    undo(&place);
    undo(&place);
    assert_eq!(place.host("cat m.txt"), place.host("seq 40"));
    let all = place.ringfence(&["apply"]);
    assert_eq!(all.status, 0, "{all:?}");
    assert_eq!(
        place.host("cat m.txt waits"),
        place.host("seq 40 | sed 's/^2$/two/; s/^39$/thirtynine/'; echo w")
    );
}

/// Nothing of a run waits after the undo of the whole: that is said before and after, with where its files are.
#[test]
fn what_the_undo_of_a_whole_apply_means_is_said() {
    let place = Place::new();
    place.host("echo 1 > f");
    assert_eq!(place.run("", "echo 2 > f").status, 0);
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    let undone = place.ringfence(&["undo"]);
    assert!(undone.status == 0 && undone.out.contains("cannot be applied again"), "{undone:?}");
    let id = place.last_run();
    for words in [&["undo"][..], &["undo", "last"], &["apply"], &["apply", "last"], &["diff"]] {
        let after = place.ringfence(words);
        let kept =
            after.err.split("what had landed is kept in ").nth(1).and_then(|rest| rest.split(',').next());
        let kept = kept.unwrap_or_else(|| panic!("{words:?} {after:?}"));
        assert!(
            after.status == 125 && after.err.contains(&id) && !after.err.contains("name the run"),
            "{after:?}"
        );
        assert_eq!(place.read(format!("{kept}/0")).as_deref(), Some("2\n"), "{words:?} {after:?}");
    }
    // Of one that waits it is said how it lands again.
    assert_eq!(place.run("", "echo 2 > f; echo w > w").status, 0);
    assert_eq!(place.ringfence(&["apply", "--leave", "w"]).status, 0);
    let undone = place.ringfence(&["undo"]);
    assert!(
        undone.out.contains(&format!("`ringfence apply {}` lands it again", place.last_run())),
        "{undone:?}"
    );
}

/// Two attempts from one base: the first lands and is taken back, then the second lands, unless somebody else worked there.
#[test]
fn what_another_run_put_back_is_no_conflict() {
    let first = "echo 1 >> y; rm x; echo 1 > d/in; mkdir new; echo 1 > new/n; chmod 700 e; echo 1 >> e/f";
    let second = "echo 2 >> y; rm x; echo 2 > d/in; mkdir new; echo 2 > new/n; rm -r e";
    let attempts = |before: &str, between: &str| {
        let place = Place::new();
        place.host(
            "echo x > x; echo y > y; mkdir d e; echo in > d/in; echo f > e/f; ln -s x link; sleep 0.05",
        );
        let runs = [first, second].map(|script| {
            assert_eq!(place.run("", script).status, 0);
            place.last_run()
        });
        place.host(before);
        // Any number of times.
        assert_eq!(place.ringfence(&["apply", &runs[0]]).status, 0);
        assert_eq!(place.ringfence(&["undo", &runs[0]]).status, 0);
        place.host(between);
        let shown = place.ringfence(&["diff", &runs[1], "--stat"]);
        let applied = place.ringfence(&["apply", &runs[1]]);
        (place, runs, shown, applied)
    };
    let (place, runs, shown, applied) = attempts("true", "true");
    assert!(applied.status == 0 && !shown.out.contains("refused"), "{shown:?} {applied:?}");
    assert_eq!(place.host("cat y d/in new/n; ls"), "y\n2\n2\n2\nd\nlink\nnew\ny\n");
    // And back, and the same once more by the first, of which parts are left.
    assert_eq!(place.ringfence(&["undo", &runs[1]]).status, 0);
    assert_eq!(place.host("cat x y d/in e/f; ls"), "x\ny\nin\nf\nd\ne\nlink\nx\ny\n");
    for (before, between, named) in [
        ("true", "echo host >> y", "y: changed on the host"),
        ("true", "echo host > d/in", "d/in: changed on the host"),
        ("true", "touch x", "x: changed on the host"),
        ("true", "mv y away; cp away y", "y: changed on the host"),
        ("true", "echo host > e/f", "e/f: changed on the host"),
    ] {
        let (place, _, shown, applied) = attempts(before, between);
        assert!(applied.status == 126 && applied.err.contains(named), "{between}: {applied:?}");
        assert!(shown.out.contains("refused: changed on the host"), "{between}: {shown:?}");
        assert!(place.read("new/n").is_none(), "{between}");
    }
}

/// What stood there before the first of two attempts landed must be what the second began with.
#[test]
fn what_was_changed_before_it_was_replaced_stays_a_conflict() {
    let place = Place::new();
    place.host("echo y > y; echo z > z; sleep 0.05");
    assert_eq!(place.run("", "echo 2 >> y").status, 0);
    let older = place.last_run();
    place.host("echo host >> y");
    assert_eq!(place.run("", "echo 1 >> y").status, 0);
    let newer = place.last_run();
    assert_eq!(place.ringfence(&["apply", &newer]).status, 0);
    assert_eq!(place.ringfence(&["undo", &newer]).status, 0);
    let applied = place.ringfence(&["apply", &older]);
    assert!(applied.status == 126 && applied.err.contains("y: changed on the host"), "{applied:?}");
    assert_eq!(place.read("y").as_deref(), Some("y\nhost\n"));
}

/// What landed before the task ended may be what it saw: that it is gone again is a conflict.
#[test]
fn what_was_put_back_after_a_task_had_seen_it_gone_is_a_conflict() {
    let place = Place::new();
    place.host("echo mine > config; echo y > y; sleep 0.05");
    assert_eq!(place.run("", "rm config; echo first >> y").status, 0);
    let first = place.last_run();
    assert_eq!(place.ringfence(&["apply", &first]).status, 0);
    // It sees no configuration, and builds on the first one's work.
    assert_eq!(place.run("", "test -e config || echo own > config; echo second >> y").status, 0);
    let second = place.last_run();
    assert_eq!(place.ringfence(&["undo", &first]).status, 0);
    // A copy of the state is younger than all of it; what the kernel made of it its user cannot read.
    let state = place.state.display();
    place.host(&format!("chmod -R u+rwx {state}/runs/*/workspace/work; cp -a {state} {state}.copy; rm -r {state}; mv {state}.copy {state}"));
    let applied = place.ringfence(&["apply", &second]);
    assert!(applied.status == 126 && applied.err.contains("config: "), "{applied:?}");
    assert!(applied.err.contains("y: changed on the host"), "{applied:?}");
    assert_eq!(place.read("config").as_deref(), Some("mine\n"));
}

/// Somebody who had a file open wrote on while another version stood in its place.
#[test]
fn what_was_written_while_it_was_replaced_is_a_conflict() {
    use std::io::Write;
    let place = Place::new();
    place.host("echo y > y; sleep 0.05");
    let runs = ["echo first >> y", "echo second >> y"].map(|script| {
        assert_eq!(place.run("", script).status, 0);
        place.last_run()
    });
    let mut open = std::fs::OpenOptions::new().append(true).open(place.workspace.join("y")).unwrap();
    assert_eq!(place.ringfence(&["apply", &runs[0]]).status, 0);
    open.write_all(b"written meanwhile\n").unwrap();
    assert_eq!(place.ringfence(&["undo", &runs[0]]).status, 0);
    let applied = place.ringfence(&["apply", &runs[1]]);
    assert!(applied.status == 126 && applied.err.contains("y: changed on the host"), "{applied:?}");
    assert_eq!(place.read("y").as_deref(), Some("y\nwritten meanwhile\n"));
}
