//! Killed at any point, an apply is all or nothing.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringfence_workspace::{
    Layer, Progress, Reason, Recovered, apply_watched, plan_apply, plan_undo, recover, recover_leaving,
};
use rustix::process::{Signal, getpid, kill_process};

use super::support::{Case, leftovers, snapshot};

pub(crate) const SETUP: &str = "mkdir -p d/e m; echo one > a; echo one > d/b; echo one > d/e/c; echo gone > gone; mkdir -p tree/in; echo t > tree/in/t;
    chmod 755 m; echo x > type; mkdir closed; echo c > closed/c; chmod 500 closed";
pub(crate) const TASK: &str = "echo two > a; echo two > d/b; echo two > d/e/c; rm gone; rm -r tree; mkdir -p new/dir; echo n > new/dir/n;
    chmod 700 m; rm type; mkdir type; echo in > type/in; chmod 700 closed; rm -r closed; ln -s a link";

/// The last moment before the point of no return: everything is in place, nothing is decided.
fn last_move(case: &Case) -> usize {
    let mut steps = Vec::new();
    apply_watched(plan_apply(&case.layers()).unwrap(), &case.journal(), &mut |step| steps.push(step))
        .unwrap();
    steps.iter().rposition(|step| matches!(step, Progress::Moved(_))).unwrap()
}

/// Not a test of its own: the process that the tests kill.
#[test]
fn child() {
    let Ok(journal) = std::env::var("RINGFENCE_TEST_JOURNAL") else { return };
    let journal = PathBuf::from(journal);
    if std::env::var_os("RINGFENCE_TEST_RECOVER").is_some() {
        recover(&journal).unwrap();
        return;
    }
    if std::env::var_os("RINGFENCE_TEST_UNDO").is_some() {
        plan_undo(&journal, &[], &[]).unwrap().carry_out(&mut |_| {}).unwrap();
        return;
    }
    let layers: Vec<Layer> = serde_json::from_str(&std::env::var("RINGFENCE_TEST_LAYERS").unwrap()).unwrap();
    let stop: Option<usize> = std::env::var("RINGFENCE_TEST_STOP").ok().map(|stop| stop.parse().unwrap());
    let pause: Option<usize> = std::env::var("RINGFENCE_TEST_PAUSE").ok().map(|pause| pause.parse().unwrap());
    let mut seen = 0;
    apply_watched(plan_apply(&layers).unwrap(), &journal, &mut |_| {
        if Some(seen) == pause {
            kill_process(getpid(), Signal::STOP).unwrap();
        }
        if Some(seen) == stop {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        seen += 1;
    })
    .unwrap();
}

pub(crate) fn spawn(case: &Case, stop: Option<usize>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "suite::crash::child", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.env("RINGFENCE_TEST_JOURNAL", case.journal());
    command.env("RINGFENCE_TEST_LAYERS", serde_json::to_string(&case.layers()).unwrap());
    if let Some(stop) = stop {
        command.env("RINGFENCE_TEST_STOP", stop.to_string());
    }
    command.spawn().unwrap()
}

fn outcome_is_all_or_nothing(case: &Case, old: &impl PartialEq<Snapshot>, new: &Snapshot) -> bool {
    let recovered = recover(&case.journal()).unwrap();
    let now = snapshot(&case.host);
    assert!(leftovers(&case.host).is_empty(), "left behind: {:?}", leftovers(&case.host));
    let (is_old, is_new) = (*old == now, *new == now);
    assert!(is_old || is_new, "neither old nor new after {recovered:?}: {now:#?}");
    assert!(matches!(recover(&case.journal()).unwrap(), Recovered::Nothing));
    is_new
}

pub(crate) type Snapshot = std::collections::BTreeMap<PathBuf, String>;

fn expected() -> (Snapshot, Snapshot) {
    let case = Case::new(SETUP, TASK);
    let old = snapshot(&case.host);
    case.apply().unwrap();
    (old, snapshot(&case.host))
}

#[test]
fn killed_at_each_step() {
    let (old, new) = expected();
    assert_ne!(old, new);
    let (mut before, mut after) = (0, 0);
    for stop in 0..200 {
        let case = Case::new(SETUP, TASK);
        let status = spawn(&case, Some(stop)).wait().unwrap();
        if status.success() {
            assert!(stop > 25, "only {stop} steps");
            assert_eq!(snapshot(&case.host), new);
            assert!(before > 20 && after > 1, "{before} before, {after} after");
            return;
        }
        if outcome_is_all_or_nothing(&case, &old, &new) {
            after += 1;
        } else {
            before += 1;
            // What was rolled back can be applied again.
            case.apply().unwrap();
            assert_eq!(snapshot(&case.host), new);
        }
    }
    panic!("the apply never ended");
}

#[test]
fn killed_at_random_moments_and_during_the_recovery() {
    let (old, new) = expected();
    let mut seed = std::process::id();
    for _ in 0..25 {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let case = Case::new(SETUP, TASK);
        let mut child = spawn(&case, None);
        std::thread::sleep(Duration::from_micros(u64::from(seed >> 16) % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "suite::crash::child"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("RINGFENCE_TEST_JOURNAL", case.journal()).env("RINGFENCE_TEST_RECOVER", "1");
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(seed >> 8) % 10_000));
        child.kill().unwrap();
        child.wait().unwrap();
        outcome_is_all_or_nothing(&case, &old, &new);
    }
}

#[test]
fn an_interrupted_apply_is_recovered_before_the_next() {
    let case = Case::new(SETUP, TASK);
    let status = spawn(&case, Some(20)).wait().unwrap();
    assert!(!status.success());
    assert_eq!(leftovers(&case.host).len(), 1);
    let refused = case.apply().unwrap_err();
    let interrupted = Reason::Interrupted;
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == interrupted), "{refused}");
    // Another run keeps its journal elsewhere and sees only the workspace: a layer of it that conflicts with nothing.
    let upper = case.home.path().join("other");
    std::fs::create_dir(&upper).unwrap();
    std::fs::write(upper.join("fresh"), "x").unwrap();
    let layer = Layer { upper, ..case.layer.clone() };
    let refused = plan_apply(&[layer]).unwrap_err();
    assert!(refused.refusals.iter().any(|refusal| refusal.reason == interrupted), "{refused}");
    recover(&case.journal()).unwrap();
    case.apply().unwrap();
}

#[test]
fn edits_between_the_crash_and_the_recovery_are_not_lost() {
    let case = Case::new(SETUP, TASK);
    assert!(!spawn(&case, Some(last_move(&Case::new(SETUP, TASK)))).wait().unwrap().success());
    assert_eq!(case.read("a"), "two\n");
    case.on_host("echo mine > a; echo mine > new/dir/mine; echo mine > gone");
    let refused = recover(&case.journal()).unwrap_err();
    let kept: Vec<String> = refused
        .refusals
        .iter()
        .filter_map(|refusal| match &refusal.reason {
            Reason::Left { kept } => Some(format!("{}={}", refusal.path.display(), snapshot_of(kept))),
            _ => None,
        })
        .collect();
    assert!(kept.iter().any(|line| line.starts_with("a=") && line.contains("mine")), "{kept:?}");
    assert!(kept.iter().any(|line| line.starts_with("new=") && line.contains("dir/mine")), "{kept:?}");
    assert!(kept.iter().any(|line| line.starts_with("gone=") && line.contains("gone")), "{kept:?}");
    assert_eq!(
        (case.read("a"), case.read("gone"), case.read("d/b")),
        ("one\n".into(), "mine\n".into(), "one\n".into())
    );
    assert!(leftovers(&case.host).is_empty());
    assert!(matches!(recover(&case.journal()).unwrap(), Recovered::Nothing));
}

fn snapshot_of(path: &std::path::Path) -> String {
    match path.is_dir() {
        true => format!("{:?}", snapshot(path)),
        false => std::fs::read_to_string(path).unwrap(),
    }
}

#[test]
fn a_directory_that_was_moved_away_is_waited_for() {
    let (old, new) = expected();
    let interrupted = || {
        let case = Case::new(SETUP, TASK);
        assert!(!spawn(&case, Some(last_move(&Case::new(SETUP, TASK)))).wait().unwrap().success());
        case.on_host("mv d elsewhere; ln -s ../outside d");
        assert_eq!(
            std::fs::read_to_string(case.host.join("elsewhere/b")).unwrap(),
            "two\n",
            "not interrupted where it should be"
        );
        assert!(recover(&case.journal()).is_err());
        assert_eq!(leftovers(&case.host).len(), 1);
        case
    };
    let case = interrupted();
    case.on_host("rm d; mv elsewhere d");
    outcome_is_all_or_nothing(&case, &old, &new);
    assert_eq!(snapshot(&case.host), old);
    let case = interrupted();
    let left = recover_leaving(&case.journal()).unwrap_err();
    assert!(left.refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Left { .. })), "{left}");
    assert!(leftovers(&case.host).is_empty());
    assert!(matches!(recover(&case.journal()).unwrap(), Recovered::Nothing));
}

#[test]
fn a_directory_left_open_by_a_kill_is_closed_again() {
    let (setup, task) =
        ("mkdir shut; echo a > shut/a; chmod 500 shut", "chmod 700 shut; echo b > shut/a; chmod 500 shut");
    let case = Case::new(setup, task);
    let old = snapshot(&case.host);
    assert!(!spawn(&case, Some(last_move(&Case::new(setup, task)))).wait().unwrap().success());
    // As if the kill had come while its owner had the right to write it.
    case.on_host("chmod 700 shut");
    recover(&case.journal()).unwrap();
    assert_eq!(snapshot(&case.host), old);
}

#[test]
fn a_torn_journal_is_understood_and_a_damaged_one_is_not_guessed_at() {
    let (old, new) = expected();
    let case = Case::new(SETUP, TASK);
    assert!(!spawn(&case, Some(20)).wait().unwrap().success());
    let path = case.journal().join("journal.jsonl");
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(b"{\"line\":\"landed\"");
    std::fs::write(&path, &text).unwrap();
    outcome_is_all_or_nothing(&case, &old, &new);
    assert_eq!(snapshot(&case.host), old);

    let case = Case::new(SETUP, TASK);
    assert!(!spawn(&case, Some(20)).wait().unwrap().success());
    let path = case.journal().join("journal.jsonl");
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"line\"", "\"lime\"", 1);
    std::fs::write(&path, text).unwrap();
    let before = snapshot(&case.host);
    assert!(recover(&case.journal()).is_err());
    assert_eq!(before, snapshot(&case.host));
}
