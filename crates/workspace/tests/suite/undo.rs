//! What an apply replaced comes back, all of it or nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use ringfence_workspace::{Progress, Reason, Refused, plan_undo, recover, reverted, undoable};
use rustix::process::{Signal, getpid, kill_process};

use super::support::{Case, leftovers, snapshot};

const SETUP: &str = "mkdir -p d/e m s tree/in; echo one > a; ln a twin; echo one > d/b; echo one > d/e/c; echo gone > gone;
    echo t > tree/in/t; chmod 640 tree/in/t; chmod 755 m; echo x > type; mkdir closed; echo c > closed/c; chmod 500 closed; ln -s a link;
    python3 -c 'import os; os.setxattr(\"d/b\", \"user.k\", b\"1\"); os.setxattr(\"s\", \"user.k\", b\"1\"); os.setxattr(\"tree/in\", \"user.k\", b\"1\")'";
const TASK: &str = "echo two > a; echo two > d/b; echo two > d/e/c; rm gone; rm -r tree; mkdir -p new/dir; echo n > new/dir/n;
    chmod 700 m; rm type; mkdir type; echo in > type/in; chmod 700 closed; rm -r closed; ln -sf d link; mkfifo p; rm p;
    python3 -c 'import os; os.removexattr(\"d/b\", \"user.k\"); os.setxattr(\"s\", \"user.k\", b\"2\")'";

fn undo(case: &Case) -> Result<(), Refused> {
    let left = plan_undo(&case.journal(), &[], &[])?.carry_out(&mut |_| {})?;
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn undo_gives_the_tree_from_before() {
    let case = Case::new(SETUP, TASK);
    let (before, inode) = (snapshot(&case.host), fs::metadata(case.host.join("a")).unwrap().ino());
    case.apply().unwrap();
    assert_ne!(before, snapshot(&case.host));
    assert!(undoable(&case.journal()));
    undo(&case).unwrap();
    assert_eq!(before, snapshot(&case.host));
    assert!(leftovers(&case.host).is_empty());
    // Its second name is one of the same file again.
    let twin = fs::metadata(case.host.join("twin")).unwrap();
    assert_eq!(
        (fs::metadata(case.host.join("a")).unwrap().ino(), twin.ino(), twin.nlink()),
        (inode, inode, 2)
    );
    assert!(!undoable(&case.journal()));
    // What had landed is kept in its turn.
    let kept = fs::read_dir(reverted(&case.journal()).join("undo")).unwrap().count();
    assert!(kept > 5, "{kept}");
}

/// A directory's mode that somebody set since is no reason to leave all the rest, and is not overwritten.
#[test]
fn a_directory_keeps_the_mode_that_somebody_gave_it() {
    for (mode, told) in [("755", 0), ("711", 1), ("000", 1)] {
        let case = Case::new(SETUP, TASK);
        case.apply().unwrap();
        case.on_host(&format!("chmod {mode} m"));
        let undo = plan_undo(&case.journal(), &[], &[]).unwrap();
        assert_eq!(undo.others_modes().len(), told, "{mode}");
        assert!(undo.carry_out(&mut |_| {}).unwrap().is_empty());
        let found = fs::metadata(case.host.join("m")).unwrap().mode() & 0o777;
        assert_eq!(found, u32::from_str_radix(mode, 8).unwrap());
        assert_eq!(fs::read(case.host.join("a")).unwrap(), b"one\n");
    }
}

#[test]
fn nothing_is_undone_over_later_work() {
    for (later, path) in [
        ("echo mine > a", "a"),
        ("printf 'TWO\\n' > d/b; touch -r d/e/c d/b", "d/b"),
        ("echo mine > gone", "gone"),
        ("echo mine > new/dir/mine", "new"),
        ("echo mine > new/dir/n", "new"),
        ("mkdir new/mine", "new"),
        ("rm -r new", "new"),
        ("mv d d2; mkdir d; cp d2/b d/b", "d/b"),
        ("python3 -c 'import os; os.setxattr(\"s\", \"user.k\", b\"3\")'", "s"),
    ] {
        let case = Case::new(SETUP, TASK);
        case.apply().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(25));
        case.on_host(later);
        let before = snapshot(&case.host);
        let refused = undo(&case).expect_err(later);
        let named = refused.refusals.iter().any(|refusal| {
            refusal.path == std::path::Path::new(path)
                && matches!(refusal.reason, Reason::ChangedSinceApply | Reason::DirectoryReplaced)
        });
        assert!(named, "{later}: {refused}");
        assert_eq!(before, snapshot(&case.host), "{later}");
        assert!(undoable(&case.journal()));
    }
}

#[test]
fn work_beside_it_stays() {
    let case = Case::new(SETUP, TASK);
    case.apply().unwrap();
    case.on_host("echo mine > d/mine; echo mine > mine; chmod 750 d");
    undo(&case).unwrap();
    assert_eq!((case.read("d/mine"), case.read("a")), ("mine\n".into(), "one\n".into()));
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn child() {
    let Ok(journal) = std::env::var("RINGFENCE_TEST_UNDO") else { return };
    let stop: usize = std::env::var("RINGFENCE_TEST_STOP").unwrap().parse().unwrap();
    let mut seen = 0;
    let mut watch = |_: Progress| {
        if seen == stop {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        seen += 1;
    };
    plan_undo(&PathBuf::from(journal), &[], &[]).unwrap().carry_out(&mut watch).unwrap();
}

#[test]
fn killed_at_any_step_an_undo_is_all_or_nothing() {
    let mut stop = 0;
    let (mut old, mut new) = (0, 0);
    loop {
        let case = Case::new(SETUP, TASK);
        let before = snapshot(&case.host);
        case.apply().unwrap();
        let after = snapshot(&case.host);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "suite::undo::child", "--nocapture"])
            .env("RINGFENCE_TEST_UNDO", case.journal())
            .env("RINGFENCE_TEST_STOP", stop.to_string())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        recover(&reverted(&case.journal())).unwrap();
        let now = snapshot(&case.host);
        assert!(now == before || now == after, "step {stop}: neither before nor after");
        assert!(leftovers(&case.host).is_empty(), "step {stop}");
        if now == after {
            old += 1;
            undo(&case).unwrap();
            assert_eq!(before, snapshot(&case.host), "step {stop}");
        } else {
            new += 1;
        }
        if status.success() {
            break;
        }
        stop += 3;
    }
    assert!(old > 3 && new > 1, "{old} {new}");
}
