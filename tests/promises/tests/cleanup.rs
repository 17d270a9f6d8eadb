//! What waits is listed with the disk it uses, and goes when its owner said so or it is old.

use ringfence_promises::Place;

#[test]
fn what_waits_is_listed_with_its_disk() {
    let place = Place::new();
    place.write("a", "before");
    assert_eq!(place.run("", "head -c 3M /dev/urandom > big").status, 0);
    assert_eq!(place.run("", "echo after > a; echo x > .envrc").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    let listed = place.ringfence(&["ps", "-a"]);
    assert_eq!(listed.status, 0, "{}", listed.err);
    let big = listed
        .out
        .lines()
        .find(|line| line.contains("/dev/urandom"))
        .unwrap_or_else(|| panic!("{}", listed.out));
    assert!(big.contains("waits") && big.contains("3.0 MiB"), "{big}");
    let json = place.ringfence(&["ps", "-a", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value["ended"].as_array().unwrap().len(), 2, "{}", json.out);
    assert!(value["ended"][1]["replaced"].as_u64().unwrap() > 0, "{}", json.out);
}

#[test]
fn what_was_undone_is_listed_as_that() {
    let place = Place::new();
    place.write("a", "before\n");
    let state = || {
        let json = place.ringfence(&["ps", "-a", "--json"]).out;
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        value["ended"].as_array().unwrap().last().unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(place.run("", "echo after > a").status, 0);
    let stat = place.ringfence(&["diff", "--stat"]).out;
    assert!(stat.contains(" 1 change, +1 -1 lines"), "{stat}");
    assert_eq!((place.ringfence(&["apply"]).status, state()), (0, "landed".into()));
    assert_eq!((place.ringfence(&["undo"]).status, state()), (0, "undone".into()));
    assert_eq!(place.run("[workspace]\nmode = \"direct\"\nsnapshot = true\n", "echo direct > a").status, 0);
    assert_eq!(state(), "landed");
    let run = place.last_run();
    for (expected, text) in [("undone", "before\n"), ("landed", "direct\n")] {
        let undone = place.ringfence(&["undo", &run]);
        assert_eq!((undone.status, state(), place.read("a").as_deref()), (0, expected.into(), Some(text)));
    }
    for (undo, expected) in [(true, "discarded"), (false, "landed")] {
        assert_eq!(place.run("", "echo part > a; echo rest > b").status, 0);
        let applied = place.ringfence(&["apply", "last", "--", "a"]);
        assert_eq!((applied.status, state()), (0, "waits".into()), "{applied:?}");
        if undo {
            assert_eq!((place.ringfence(&["undo"]).status, state()), (0, "waits".into()));
        }
        assert_eq!((place.ringfence(&["discard"]).status, state()), (0, expected.into()));
    }
}

#[test]
fn a_run_may_leave_nothing_or_stay() {
    let place = Place::new();
    let run = |flag: &str, script: &str| {
        place.ringfence(&["run", flag, "--preset", "default", "--", "sh", "-c", script])
    };
    let removed = run("--rm", "echo x > gone");
    assert!(removed.status == 0 && !removed.err.contains("waits"), "{}", removed.err);
    assert_eq!(place.ringfence(&["diff"]).status, 125);
    assert!(!place.listing().iter().any(|(path, _)| path.ends_with("upper")));
    assert_eq!(run("--keep", "echo x > kept").status, 0);
    assert_eq!(place.run("", "echo y > old").status, 0);
    let dry = place.ringfence(&["prune", "--older", "0s", "--dry-run"]);
    assert!(dry.err.contains("would remove") && dry.status == 0, "{}", dry.err);
    assert_eq!(place.ringfence(&["diff", "--name-only"]).out, "old\n");
    let pruned = place.ringfence(&["prune", "--older", "0s"]);
    assert!(pruned.status == 0 && pruned.err.contains("nobody applied"), "{}", pruned.err);
    // An earlier run's changes are never taken in the place of the last one's, but named.
    let last = place.ringfence(&["diff", "--name-only"]);
    assert!(last.status == 125 && last.err.contains("no changes that wait"), "{}", last.err);
    let kept = last.err.split("ringfence diff ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    assert_eq!(place.ringfence(&["apply"]).status, 125);
    assert_eq!(place.ringfence(&["diff", &kept, "--name-only"]).out, "kept\n");
    assert_eq!(place.ringfence(&["prune", "--older", "soon"]).status, 125);
    assert_eq!(place.ringfence(&["apply", &kept]).status, 0);
    assert_eq!(place.read("kept").as_deref(), Some("x\n"));
}

#[test]
fn what_applies_replaced_goes_by_age_and_size_and_the_record_stays() {
    for flags in [["--older", "0s"], ["--larger", "1KiB"]] {
        let place = Place::new();
        place.write("a", &"before".repeat(1000));
        assert_eq!(place.run("", "echo after > a").status, 0);
        assert_eq!(place.ringfence(&["apply"]).status, 0);
        let idle = place.ringfence(&["prune"]);
        assert!(idle.status == 0 && idle.out.contains("0 bytes"), "{}", idle.out);
        let pruned = place.ringfence(&[&["prune"][..], &flags].concat());
        assert!(pruned.status == 0 && pruned.err.contains("applies replaced"), "{flags:?}: {}", pruned.err);
        assert_eq!(place.ringfence(&["undo"]).status, 125);
        assert!(place.listing().iter().any(|(path, _)| path.ends_with("events.jsonl")));
        assert_eq!(place.read("a").as_deref(), Some("after\n"));
    }
}

#[test]
fn looks_keep_times_and_what_landed_ages() {
    let place = Place::new();
    place.write("a", "before\n");
    assert_eq!(place.run("", "echo after > a").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    place.write("b", "before\n");
    assert_eq!(place.run("", "echo after > b; echo waits > c").status, 0);
    assert_eq!(place.ringfence(&["apply", "--leave", "c"]).status, 0);
    assert_eq!(place.ringfence(&["undo"]).status, 0);
    let times = || {
        let runs = std::fs::read_dir(place.state.join("runs")).unwrap().flatten();
        let journals =
            runs.flat_map(|run| [run.path().join("apply/journal.jsonl"), run.path().join("run.json")]);
        journals.map(|path| path.metadata().unwrap().modified().unwrap()).collect::<Vec<_>>()
    };
    let before = times();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for look in [&["ps", "-a"][..], &["diff"], &["prune", "--dry-run"], &["prune"]] {
        assert_eq!(place.ringfence(look).status, 0, "{look:?}");
    }
    assert_eq!(times(), before);
    let dry = place.ringfence(&["prune", "--older", "2s", "--dry-run"]);
    assert_eq!(dry.err.matches("what its applies replaced").count(), 2, "{dry:?}");
    assert_eq!(dry.err.matches("which nobody applied").count(), 1, "{dry:?}");
}

#[test]
fn half_made_runs_are_no_runs() {
    let place = Place::new();
    assert_eq!(place.run("", "echo x > f").status, 0);
    // What a kill leaves between the directory and its record; ids sort by time.
    let half = place.state.join("runs/zzzzzzzzzzzzz");
    std::fs::create_dir_all(half.join("workspace/upper")).unwrap();
    assert_eq!(place.ringfence(&["diff", "last", "--name-only"]).out, "f\n");
    let named = place.ringfence(&["diff", "zzzzzzzzzzzzz"]);
    assert!(named.err.contains("no run matches"), "{named:?}");
    assert!(half.exists());
    let old = std::process::Command::new("touch").args(["-d", "2 minutes ago"]).arg(&half).status();
    assert!(old.unwrap().success());
    assert_eq!(place.ringfence(&["prune"]).status, 0);
    assert!(!half.exists());
}

#[test]
fn what_failed_to_land_and_was_thrown_away_is_not_called_landed() {
    let place = Place::new();
    place.write("a", "before\n");
    assert_eq!(place.run("", "head -c 3M /dev/zero > a").status, 0);
    let limit = ["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"];
    let failed = place.under("sh", &limit, &place.command(&["apply"])).output().unwrap();
    assert!(!failed.status.success(), "{failed:?}");
    assert_eq!(place.read("a").as_deref(), Some("before\n"));
    assert_eq!(place.ringfence(&["discard"]).status, 0);
    let listed = place.ringfence(&["ps", "-a"]).out;
    assert!(!listed.contains("landed"), "{listed}");
}
