//! Promise 8: a start is cheap; the bound is ten times the target of 6 ms, the figure is printed.

use std::time::{Duration, Instant};

use ringfence_promises::Place;

#[test]
fn a_start_takes_less_than_ten_times_the_target() {
    let place = Place::new();
    let mut times: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(place.ringfence(&["run", "--quiet", "--", "true"]).status, 0);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    // The shortest: other tests run beside this one, and the build is an unoptimised one of many times the size.
    println!("start of an unoptimised build: {:.1} ms, median {:.1} ms", times[0], times[12]);
    assert!(times[0] < 60.0, "{:.1} ms, median {:.1} ms", times[0], times[12]);
}

#[test]
fn ten_thousand_rules_start_and_a_thousand_trees_are_refused() {
    let place = Place::new();
    let data = place.base.path().join("data");
    for n in 0..1001 {
        std::fs::create_dir_all(data.join(format!("{n}/own"))).unwrap();
    }
    let rules = |count: usize, step: usize| {
        let list: Vec<_> = (0..count).map(|n| format!("\"{}/{}/own\"", data.display(), n % step)).collect();
        format!("[files]\nread = [{}]", list.join(",\n"))
    };
    assert_eq!(place.run(&rules(10_000, 50), "true").status, 0);
    let outcome = place.run(&rules(300, 300), &format!("ls {} | wc -l", data.display()));
    assert_eq!(outcome.out.trim(), "300", "{}", outcome.err);
    let outcome = place.run(&rules(1001, 1001), "true");
    let parent = format!("a common parent such as {} instead", data.display());
    assert!(outcome.status == 125 && outcome.err.contains(&parent), "{}", outcome.err);
}

/// The target is 2 MiB in an optimised build, shared pages counted by their shares; pages of the process are more than that.
#[test]
fn little_stays_beside_a_sleeping_task() {
    let place = Place::new();
    let mut command = place.command(&["run", "--preset", "default", "--", "sleep", "60"]);
    let mut supervisor = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let (mut pages, mut count, mut processes) = (0, 0, vec![supervisor.id()]);
    while let Some(process) = processes.pop() {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let children = read(&format!("task/{process}/children"));
        processes.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        if read("comm").trim() != "sleep" {
            count += 1;
            pages += read("statm").split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
    }
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let kib = pages * 4;
    println!("beside a sleeping task, unoptimised build: {kib} KiB in {count} processes");
    assert!(count == 3 && kib < 20 * 1024, "{kib} KiB in {count} processes");
}

/// Patterns cost one walk of 100,000 files, and next to nothing where nothing changed. Promised: 150 ms and 15 ms.
#[test]
fn patterns_over_many_files_cost_one_walk() {
    let place = Place::new();
    for directory in 0..1000 {
        let at = place.workspace.join(format!("d{}/e{directory}", directory / 100));
        std::fs::create_dir_all(&at).unwrap();
        for file in 0..100 {
            std::fs::write(at.join(format!("f{file}")), "").unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(100));
    let time = |policy: &str| {
        let since = Instant::now();
        assert_eq!(place.run(policy, "true").status, 0);
        since.elapsed().as_millis()
    };
    let deny = "[files]\ndeny = [\"**/.env\", \"**/*.pem\", \"**/id_rsa\"]";
    let without = (0..5).map(|_| time("")).min().unwrap();
    let first = (0..3).map(|_| {
        let _ = std::fs::remove_dir_all(place.state.join("walks"));
        time(deny)
    });
    let first = first.min().unwrap().saturating_sub(without);
    let again = (0..5).map(|_| time(deny)).min().unwrap().saturating_sub(without);
    println!(
        "100,000 files: {first} ms the first time (limit 1500), {again} ms when nothing changed (limit 150)"
    );
    assert!(first < 1500 && again < 150, "{first} ms, {again} ms");
}

/// Promised: 0.3 ms for each start that is judged, and 0.02 ms for one that Landlock holds alone.
#[test]
fn a_judged_start_costs_less_than_ten_times_the_target() {
    const STARTS: u32 = 100;
    let place = Place::new();
    let script =
        format!("date +%s%N; i=0; while [ $i -lt {STARTS} ]; do /usr/bin/true; i=$((i+1)); done; date +%s%N");
    let one = |policy: &str| {
        let outcome = place.run(policy, &script);
        let times: Vec<f64> = outcome.out.lines().filter_map(|line| line.parse().ok()).collect();
        let [began, ended] = times[..] else { panic!("{outcome:?}") };
        (ended - began) / 1e6 / f64::from(STARTS)
    };
    let many: Vec<_> = (0..10_000).map(|number| format!("\"git word{number} *\"")).collect();
    let policies = [
        String::new(),
        "[commands]\nallow = [\"sh\", \"true\", \"date\"]\n".to_owned(),
        "[commands]\nallow = [\"sh -c *\", \"true ()\", \"date *\"]\ndeny = [\"git push\"]\n".to_owned(),
        format!("[commands]\ndeny = [{}]\n", many.join(",\n")),
    ];
    // Taken in turns: the machine's slow moments then fall on all of them.
    let mut quickest = [f64::INFINITY; 4];
    for _ in 0..5 {
        for (best, policy) in quickest.iter_mut().zip(&policies) {
            *best = best.min(one(policy));
        }
    }
    let [free, list, judged, many] = quickest;
    println!(
        "each start, unoptimised build: {free:.3} ms, of a list {list:.3}, judged {judged:.3}, by 10,000 rules {many:.3}"
    );
    assert!(list - free < 0.2 && judged - free < 3.0 && many - free < 3.5, "{free} {list} {judged} {many}");
}
