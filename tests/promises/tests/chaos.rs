//! SIGKILL at random moments to random processes of ours: nothing runs on, nothing is left, the record stands.
//!
//! The short form is for every run of the tests; `RINGFENCE_CHAOS=500` is the long one (`cargo xtask chaos`).

use std::process::Stdio;
use std::time::{Duration, Instant};

use ringfence_promises::Place;
use ringfence_record::{State, Status, Verdict, verify};

/// Leaves a daemon behind: two forks, a session of its own, deaf to signals. `$1` marks it for whoever looks for it.
const TASK: &str = "trap '' HUP INT TERM; (setsid sh -c 'trap \"\" HUP INT TERM; : $0; while :; do sleep 0.01; done' \"$1\" &) ; \
                    sleep 0.01; kill -STOP $$ & sleep 20";

fn processes() -> Vec<(i32, i32)> {
    let stat = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Every process below that one, and itself.
fn family(root: i32) -> Vec<i32> {
    let all = processes();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn marked(mark: &str) -> Vec<i32> {
    let names = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes()))
    };
    processes().into_iter().map(|(pid, _)| pid).filter(names).collect()
}

#[test]
fn whoever_is_killed_nothing_goes_on() {
    let rounds: u32 = std::env::var("RINGFENCE_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let place = Place::new();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let mut random = 0x2545_f491_u64;
    let mut next = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    // What a whole run takes here and now: other tests run beside this one.
    let whole = (0..3).map(|_| {
        let since = Instant::now();
        assert_eq!(place.ringfence(&["run", "--quiet", "--preset", "default", "--", "true"]).status, 0);
        since.elapsed()
    });
    let whole = u64::try_from(whole.max().unwrap_or_default().as_micros()).unwrap();
    for round in 0..rounds {
        let mark = format!("chaos-{}-{round}", std::process::id());
        let mut child = place
            .command(&["run", "--quiet", "--preset", "default", "--", "sh", "-c", TASK, "sh", &mark])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Half of them while it starts, half while it runs.
        let moment = if round % 2 == 0 { next(whole) } else { whole + next(60_000) };
        std::thread::sleep(Duration::from_micros(moment));
        let own = i32::try_from(child.id()).unwrap();
        let family = family(own);
        let victim = family[usize::try_from(next(family.len() as u64)).unwrap()];
        let pid = rustix::process::Pid::from_raw(victim).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        // A task that was killed leaves the others; the supervisor is next.
        std::thread::sleep(Duration::from_millis(5));
        let _ = child.kill();
        child.wait().unwrap();
        let killed = Instant::now();
        loop {
            let left = marked(&mark);
            if left.is_empty() {
                break;
            }
            assert!(
                killed.elapsed() < Duration::from_secs(1),
                "round {round}: {left:?} live on after {moment} us"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    assert_eq!(mounts(), before);
    assert_eq!(std::fs::read_dir(&place.workspace).unwrap().count(), 0);
    let state = State::open(&place.state).unwrap();
    let mut read = 0;
    for (directory, record) in state.runs().unwrap() {
        // One that was killed before its record stood ran nothing.
        let Ok(record) = record else { continue };
        read += 1;
        assert!(record.status == Status::Ended || !record.running(), "{}", record.id);
        let verdict = verify(&directory.events()).unwrap();
        assert!(
            matches!(verdict, Verdict::Whole { .. } | Verdict::Open { torn: false, .. }),
            "{}: {verdict:?}",
            record.id
        );
    }
    assert!(read * 4 > rounds, "only {read} of {rounds} runs came to their record");
    assert_eq!(place.run("", "true").status, 0);
    println!("{rounds} kills, {read} records read");
}

#[test]
fn each_descriptor_has_one_holder() {
    let place = Place::new();
    let mut child = place
        .command(&["run", "--quiet", "--preset", "default", "--", "sleep", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let own = i32::try_from(child.id()).unwrap();
    let begun = Instant::now();
    let task = loop {
        let sleeping = family(own).into_iter().find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x0020\x00")
        });
        if let Some(task) = sleeping {
            break task;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it never started");
        std::thread::sleep(Duration::from_millis(5));
    };
    std::thread::sleep(Duration::from_millis(50));
    // What init holds only root may see; a task's own are its own business.
    let held = |pid: i32| -> Vec<String> {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()))
            .collect()
    };
    let listeners: usize = family(own)
        .into_iter()
        .map(|pid| held(pid).iter().filter(|name| name.contains("seccomp notify")).count())
        .sum();
    if ringfence_promises::root() {
        assert_eq!(listeners, 1, "init alone answers");
    }
    assert!(!held(own).iter().any(|name| name.contains("seccomp notify")));
    let names: Vec<String> = std::fs::read_dir(format!("/proc/{task}/fd"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 3, "the task holds {names:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
