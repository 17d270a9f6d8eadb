//! Many sandboxes at once, each with a root that sees who looks: all alive, each tells its own, none leaves anything behind. The short
//! form is for every run of the tests; `RINGFENCE_MANY=1000` is the long one (`cargo xtask chaos`).

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::Place;

/// KiB of a process and all below it, shared pages counted by their shares (proc(5), Pss); its own lines in the table of mounts.
fn family(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    found
}

fn kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn mounts() -> usize {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}

#[test]
fn each_of_many_sandboxes_tells_its_own() {
    let many: usize = std::env::var("RINGFENCE_MANY").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let place = Place::new();
    let before = mounts();
    let begun = Instant::now();
    let start = |number: usize| -> Child {
        let script =
            format!("cat /nowhere-{number} 2>/dev/null; echo ready; read end; cat /again-{number}; true");
        let mut command =
            place.command(&["run", "--quiet", "--preset", "default", "--", "sh", "-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut all: Vec<Child> = (0..many).map(start).collect();
    for child in &mut all {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }
    let started = begun.elapsed();
    let families: Vec<u32> = all.iter().flat_map(|child| family(child.id())).collect();
    let total: u64 = families.iter().map(|pid| kib(*pid)).sum();
    println!(
        "{many} sandboxes: all up after {started:.1?}, {} processes, {} KiB each (unoptimised, with the shell)",
        families.len(),
        total / many as u64
    );
    assert!(families.len() >= 4 * many, "{} processes of {many} sandboxes", families.len());
    let begun = Instant::now();
    for mut child in all {
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    println!("all ended after {:.1?}", begun.elapsed());
    let left = || families.iter().filter(|pid| kib(**pid) > 0).count();
    let begun = Instant::now();
    while left() > 0 && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((left(), mounts()), (0, before), "processes and mounts that are left");
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        return;
    }
    let mut told = vec![0; many];
    for run in std::fs::read_dir(place.state.join("runs")).unwrap().flatten() {
        let Ok(log) = std::fs::read_to_string(run.path().join("events.jsonl")) else { continue };
        let named = |name: &str| -> Vec<usize> {
            let found = log
                .match_indices(name)
                .filter_map(|(at, _)| log.get(at + name.len()..)?.split('"').next()?.parse().ok());
            found.collect()
        };
        let (first, again) = (named("\"/nowhere-"), named("\"/again-"));
        if let [number] = first[..] {
            assert_eq!(again, [number], "a run tells of its own names only");
            told[number] += 1;
        }
    }
    assert!(told.iter().all(|times| *times == 1), "{told:?}");
}
