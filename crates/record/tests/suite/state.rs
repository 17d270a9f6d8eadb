//! The state directory and what stands in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ringfence_record::{Error, Process, Report, ReportFile, RunDir, RunRecord, State, Status, Timestamp};

fn record(run: &RunDir, workspace: &str) -> RunRecord {
    RunRecord {
        name: None,
        id: run.id().to_owned(),
        started: Timestamp::now(),
        command: vec!["true".into()],
        identity: None,
        workspace: PathBuf::from(workspace),
        mode: "review".into(),
        layers: serde_json::json!([{ "name": "workspace" }]),
        output: None,
        most_output: None,
        denied: Vec::new(),
        keep: false,
        status: Status::Running,
        supervisor: Process::own(),
        head: None,
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn where_it_is() {
    let at = |own: Option<&str>, xdg: Option<&str>, home: Option<&str>| {
        State::location(own.map(OsStr::new), xdg.map(OsStr::new), home.map(Path::new))
    };
    assert_eq!(at(Some("/own"), Some("/xdg"), Some("/h")), Some("/own".into()));
    assert_eq!(at(None, Some("/xdg"), Some("/h")), Some("/xdg/ringfence".into()));
    assert_eq!(at(Some(""), Some("relative"), Some("/h")), Some("/h/.local/state/ringfence".into()));
    assert_eq!(at(None, None, None), None);
}

#[test]
fn it_is_made_for_its_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a/b/ringfence");
    let state = State::open(&path).unwrap();
    assert_eq!((mode(&path), mode(&path.join("runs"))), (0o700, 0o700));
    let run = state.new_run().unwrap();
    assert_eq!(mode(run.path()), 0o700);
    State::open(&path).unwrap();
}

#[test]
fn a_directory_that_is_not_ours_alone_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state");
    for bad in [0o770, 0o701, 0o750, 0o707] {
        State::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
        assert!(matches!(State::open(&path), Err(Error::Unsafe { .. })), "{bad:o}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let link = home.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(State::open(&link), Err(Error::Unsafe { .. })));
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(State::open(&file), Err(Error::Unsafe { .. })));
    fs::remove_dir(path.join("runs")).unwrap();
    symlink(home.path(), path.join("runs")).unwrap();
    assert!(matches!(State::open(&path), Err(Error::Unsafe { .. })));
    if rustix::process::geteuid().is_root() {
        let other = home.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&other, Some(65_534), None).unwrap();
        assert!(matches!(State::open(&other), Err(Error::Unsafe { .. })));
    }
}

#[test]
fn ids_sort_by_time_and_differ() {
    let home = tempfile::tempdir().unwrap();
    let state = State::open(&home.path().join("s")).unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(state.new_run().unwrap().id().to_owned());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(ids.iter().all(
        |id| id.len() == 13 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    ));
    let found: Vec<_> = state.runs().unwrap().into_iter().map(|(run, _)| run.id().to_owned()).collect();
    assert_eq!(found, ids);
}

#[test]
fn a_run_is_found_by_prefix_and_as_the_last_one() {
    let home = tempfile::tempdir().unwrap();
    let state = State::open(&home.path().join("s")).unwrap();
    assert!(matches!(state.find("last", None), Err(Error::NoRun(_))));
    let mut runs = Vec::new();
    for workspace in ["/a", "/b", "/a", "/b"] {
        let run = state.new_run().unwrap();
        run.write_record(&record(&run, workspace), false).unwrap();
        runs.push(run);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let id = |found: (RunDir, RunRecord)| found.0.id().to_owned();
    assert_eq!(id(state.find("last", None).unwrap()), runs[3].id());
    assert_eq!(id(state.find("last", Some(Path::new("/a"))).unwrap()), runs[2].id());
    assert!(matches!(state.find("last", Some(Path::new("/c"))), Err(Error::NoRun(_))));
    assert_eq!(id(state.find(runs[1].id(), None).unwrap()), runs[1].id());
    assert!(matches!(state.find(runs[1].id(), Some(Path::new("/a"))), Err(Error::NoRun(_))));
    assert!(matches!(state.find(&runs[0].id()[..2], None), Err(Error::Ambiguous { count: 4, .. })));
    for bad in ["", "..", "/", "zzzz", "../runs"] {
        assert!(matches!(state.find(bad, None), Err(Error::NoRun(_))), "{bad}");
    }
    // A run without a record, or with a broken one, does not hide the others.
    fs::write(runs[3].path().join("run.json"), "{").unwrap();
    assert_eq!(id(state.find("last", Some(Path::new("/b"))).unwrap()), runs[1].id());
    assert!(matches!(state.find(runs[3].id(), None), Err(Error::Malformed { .. })));
}

#[test]
fn a_record_is_replaced_as_a_whole() {
    let home = tempfile::tempdir().unwrap();
    let state = State::open(&home.path().join("s")).unwrap();
    let run = state.new_run().unwrap();
    let mut written = record(&run, "/w");
    run.write_record(&written, false).unwrap();
    assert!(run.record().unwrap().running());
    assert_eq!(mode(&run.path().join("run.json")), 0o600);
    written.status = Status::Applied;
    run.write_record(&written, true).unwrap();
    assert_eq!(run.record().unwrap(), written);
    assert!(!written.running());
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1);
    written.status = Status::Running;
    written.supervisor = Some(Process { pid: 1, start: u64::MAX });
    assert!(!written.running());
}

#[test]
fn a_report_is_one_object_and_follows_no_link() {
    let home = tempfile::tempdir().unwrap();
    let report = Report {
        run: Some("r".into()),
        exit: 137,
        signal: Some(9),
        limit: Some("memory".into()),
        refusals: 2,
        others: 0,
        duration_ms: 7,
        tier: Some("namespace".into()),
        degraded: Vec::new(),
        policy: Some("ab".into()),
        mode: Some("review".into()),
        changes: Some(3),
        uncounted: None,
        error: None,
    };
    let path = home.path().join("report.json");
    let read = || serde_json::from_slice::<Report>(&fs::read(&path).unwrap()).unwrap();
    for long in ["a longer report was there before ".repeat(100), String::new()] {
        fs::write(&path, long).unwrap();
        let file = ReportFile::create(&path).unwrap();
        assert_eq!(
            (read().exit, read().error.is_some()),
            (125, true),
            "until the end it says that it is not"
        );
        file.write(&report).unwrap();
        assert_eq!(read(), report);
    }
    let file = ReportFile::create(&path).unwrap();
    fs::rename(&path, home.path().join("moved")).unwrap();
    assert!(file.write(&report).is_err(), "a report that nobody finds is an error");
    let (secret, link) = (home.path().join("secret"), home.path().join("link"));
    fs::write(&secret, "CANARY").unwrap();
    symlink(&secret, &link).unwrap();
    for path in [&link, home.path(), Path::new("/nonexistent/x"), Path::new("/dev/null")] {
        assert!(ReportFile::create(path).is_err(), "{}", path.display());
    }
    assert_eq!(fs::read(&secret).unwrap(), b"CANARY");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
}
