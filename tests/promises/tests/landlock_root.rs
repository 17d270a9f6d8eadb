//! Started by root in tier `landlock`, in a workspace of somebody else's.

use ringfence_promises::{Outcome, Place, root};

/// Whose workspace it is.
const SOMEBODY: u32 = 4242;

/// A place whose workspace is somebody else's; `None` where nobody but root could make that.
fn theirs() -> Option<Place> {
    if !root() {
        eprintln!("skipped: only root can do that");
        return None;
    }
    let place = Place::new().in_tier("landlock");
    place.host(&format!("chmod 755 .. ../..; echo a > a; chown -R {SOMEBODY}:{SOMEBODY} ."));
    Some(place)
}

/// Runs a script there, perhaps without capabilities to become somebody else; with its report.
fn run(
    place: &Place,
    policy: &str,
    flags: &[&str],
    powers: bool,
    script: &str,
) -> (Outcome, serde_json::Value) {
    let (path, report) = (place.policy(policy), place.base.path().join("report.json"));
    let mut arguments = vec!["run", "--policy", &path, "--workspace", "."];
    arguments.extend(flags);
    let shown = report.display().to_string();
    arguments.extend(["--report", &shown, "--", "sh", "-c", script]);
    // Without what `Place` lets root do.
    let bare = Place { hosted: false, ..Place::new() };
    let mut verb = bare.command(&arguments);
    verb.env("HOME", &place.home)
        .env("RINGFENCE_STATE", &place.state)
        .env("RINGFENCE_TEST_HOST", "no-userns");
    let less = ["--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid"];
    let mut command = place.under("setpriv", if powers { &[] } else { &less }, &verb);
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let outcome = Outcome {
        status: done.status.code().unwrap_or(-1),
        out: text(&done.stdout),
        err: text(&done.stderr),
    };
    (outcome, serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap())
}

const DIRECT: &str = "[workspace]\nmode = \"direct\"";
const ALLOWED: &[&str] = &["--allow-degraded", "root-uid"];

/// Root without capabilities could write nothing there.
#[test]
fn in_place_no_task_is_root_whatever_is_allowed() {
    let Some(place) = theirs() else { return };
    for flags in [&[], ALLOWED] {
        let (done, report) = run(&place, DIRECT, flags, true, "id -u; echo b > a; cat a");
        assert_eq!((done.status, done.out.as_str()), (0, "4242\nb\n"), "{done:?}");
        assert!(!report.to_string().contains("root-uid"), "{report}");
        let (done, report) = run(&place, DIRECT, flags, false, "echo c > a; echo ran");
        assert_eq!((done.status, done.out.as_str()), (125, ""), "{done:?}");
        let cause = "root without CAP_SETGID, CAP_SETUID cannot start it";
        assert!(report["error"].as_str().unwrap().contains(cause), "{report}");
        assert!(done.err.contains("start ringfence as uid 4242"), "{}", done.err);
        assert_eq!(place.read("a").unwrap(), "b\n");
    }
}

/// A copy is root's own: there the task may be root, where that is allowed.
#[test]
fn on_a_copy_a_task_may_be_root() {
    let Some(place) = theirs() else { return };
    for powers in [true, false] {
        let (done, report) = run(&place, "", ALLOWED, powers, "id -u; echo b > a");
        assert_eq!((done.status, done.out.as_str()), (0, "0\n"), "{done:?}");
        assert_eq!(report["changes"], 1, "{report}");
    }
    let (done, _) = run(&place, "", &[], false, "echo b > a");
    assert!(done.status == 125 && done.err.contains("`--allow-degraded root-uid`"), "{done:?}");
}

#[test]
fn why_changes_are_not_counted_is_in_the_report() {
    let Some(place) = theirs() else { return };
    let (done, report) = run(&place, "", &[], true, "id -u; echo b > a");
    assert_eq!((done.status, done.out.as_str()), (0, "4242\n"), "{done:?}");
    let why = report["uncounted"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert!(
        report["changes"].is_null() && why.contains("uid 4242") && why.contains("ringfence diff "),
        "{why}"
    );
    let (_, report) = run(&place, "[workspace]\nmode = \"temporary\"", &[], true, "true");
    assert!(report["changes"].is_null() && report.get("uncounted").is_none(), "{report}");
}
