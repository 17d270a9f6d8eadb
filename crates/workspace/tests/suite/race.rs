//! Somebody swaps directories of the host for symlinks while an apply runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use ringfence_workspace::{Progress, apply, apply_watched, plan_apply};

use super::support::{Case, leftovers, snapshot};

#[test]
fn a_symlink_at_every_moment() {
    // Deterministic: the swap happens right before one chosen step.
    let task = "for i in 1 2 3 4; do echo pwn > src/n$i; done; echo pwn > src/main.txt; rm src/gone";
    for step in 0..6 {
        let case = Case::new("mkdir src; echo a > src/main.txt; echo g > src/gone", task);
        let before = snapshot(&case.host);
        let outcome = apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |progress| {
            if progress == Progress::Landing(step) {
                fs::rename(case.host.join("src"), case.host.join("s2")).unwrap();
                symlink("../outside", case.host.join("src")).unwrap();
            }
        });
        assert!(outcome.is_err(), "step {step}");
        assert_eq!(fs::read_dir(case.home.path().join("outside")).unwrap().count(), 1, "step {step}");
        fs::remove_file(case.host.join("src")).unwrap();
        fs::rename(case.host.join("s2"), case.host.join("src")).unwrap();
        assert_eq!(snapshot(&case.host), before, "step {step}");
        assert!(leftovers(&case.host).is_empty(), "step {step}");
    }
}

#[test]
fn swapped_again_and_again() {
    let case = Case::new("mkdir src", "for i in $(seq 300); do echo pwn > src/n$i; done");
    let (stop, outside) = (AtomicBool::new(false), case.home.path().join("outside"));
    let (src, away) = (case.host.join("src"), case.host.join("s2"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = fs::rename(&src, &away);
                let _ = symlink(&outside, &src);
                let _ = fs::remove_file(&src);
                let _ = fs::rename(&away, &src);
            }
        });
        for _ in 0..20 {
            if let Ok(plan) = plan_apply(&case.layers()) {
                let _ = apply(plan, &case.journal());
            }
            let _ = ringfence_workspace::recover(&case.journal());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"]);
}

#[test]
fn a_file_swapped_right_before_its_rename_is_put_back() {
    let moments = [Progress::Landing(1), Progress::Judged(1)];
    for (swap, moment) in
        ["file", "symlink", "directory"].iter().flat_map(|swap| moments.map(|moment| (*swap, moment)))
    {
        let case = Case::new("echo a > a; echo b > b", "echo 2 > a; echo 2 > b");
        let outcome = apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |progress| {
            if progress == moment {
                let b = case.host.join("b");
                fs::rename(&b, case.host.join("mine")).unwrap();
                match swap {
                    "file" => fs::write(&b, "user").unwrap(),
                    "symlink" => symlink("../outside/secret", &b).unwrap(),
                    _ => fs::create_dir(&b).unwrap(),
                }
            }
        });
        assert!(outcome.is_err());
        assert_eq!((case.read("a"), case.read("mine")), ("a\n".into(), "b\n".into()));
        let b = fs::symlink_metadata(case.host.join("b")).unwrap();
        assert_eq!(b.is_file(), swap == "file");
        assert_eq!(fs::read(case.home.path().join("outside/secret")).unwrap(), b"CANARY");
        assert!(leftovers(&case.host).is_empty());
    }
}

#[test]
fn a_new_name_taken_at_the_last_moment_is_not_overwritten() {
    for moment in [Progress::Landing(1), Progress::Judged(1)] {
        let case = Case::new("echo a > a", "echo 2 > a; echo 2 > new");
        let outcome = apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |progress| {
            if progress == moment {
                fs::write(case.host.join("new"), "user").unwrap();
            }
        });
        assert!(outcome.is_err());
        assert_eq!((case.read("a"), case.read("new")), ("a\n".into(), "user".into()));
    }
}

#[test]
fn what_is_removed_is_what_was_judged() {
    for moment in [Progress::Landing(0), Progress::Judged(0)] {
        let case = Case::new("echo old > gone", "rm gone");
        let outcome = apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |progress| {
            if progress == moment {
                fs::write(case.host.join("other"), "user").unwrap();
                fs::rename(case.host.join("other"), case.host.join("gone")).unwrap();
            }
        });
        assert!(outcome.is_err());
        assert_eq!(case.read("gone"), "user");
    }
}

#[test]
fn a_directory_moved_right_before_a_rename_takes_it_nowhere_else() {
    // The rename goes into the directory that was judged, wherever it is now, and is taken back there.
    let case = Case::new("mkdir src; echo a > src/a; echo b > src/b", "echo 2 > src/a; echo 2 > src/b");
    let outcome = apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |progress| {
        if progress == Progress::Judged(0) {
            fs::rename(case.host.join("src"), case.host.join("s2")).unwrap();
            symlink("../outside", case.host.join("src")).unwrap();
        }
    });
    assert!(outcome.is_err());
    assert_eq!((case.read("s2/a"), case.read("s2/b")), ("a\n".into(), "b\n".into()));
    assert_eq!(fs::read_dir(case.home.path().join("outside")).unwrap().count(), 1);
    assert!(leftovers(&case.host).is_empty());
}
