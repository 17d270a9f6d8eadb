//! SIGKILL at any moment of `apply`, of `undo` and of the recovery by the next verb: the host's files are as before or as after.
//!
//! The short form is for every run of the tests; `RINGFENCE_KILLS=1000` is the long one (`cargo xtask kills`).

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::Place;

const SETUP: &str = "mkdir -p d/e m tree/in; echo one > a; echo one > d/b; echo one > d/e/c; echo gone > gone; echo t > tree/in/t;
    echo x > type; ln a hard; chmod 755 m; for i in 1 2 3 4 5 6 7 8; do echo $i > m/$i; done";
const TASK: &str = "echo two > a; echo two > d/b; echo two > d/e/c; rm gone; rm -r tree; mkdir -p new/dir; echo n > new/dir/n;
    chmod 700 m; rm type; mkdir type; echo in > type/in; ln -s a link; for i in 1 2 3 4 5 6 7 8; do echo new >> m/$i; done";

struct Random(u64);

impl Random {
    /// Up to this long; rather soon than late, `soon`.
    fn within(&mut self, longest: Duration, soon: bool) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = (self.0 % 10_000) as f64 / 10_000.0;
        longest.mul_f64(if soon { share.powi(3) } else { share })
    }
}

/// Names, modes, contents, and where links lead.
fn tree(place: &Place) -> String {
    let script =
        "find . -printf '%p %y %m %n %l\\n' | sort; find . -type f | sort | xargs -d '\\n' sha256sum";
    let done = Command::new("sh").args(["-ec", script]).current_dir(&place.workspace).output().unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

fn filled() -> Place {
    let place = Place::new();
    let done = Command::new("bash").args(["-ec", SETUP]).current_dir(&place.workspace).status().unwrap();
    assert!(done.success());
    place
}

/// What waits after a task did its work; its run's id.
fn worked(place: &Place) -> String {
    // What is as old as the start of a task would be a conflict.
    std::thread::sleep(Duration::from_millis(25));
    let outcome = place.run("", TASK);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let text = place.ringfence(&["ps", "-a", "--json"]).out;
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    all["ended"].as_array().unwrap().last().unwrap()["run"].as_str().unwrap().to_owned()
}

/// What was killed, and what stood when it was.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    /// A journal was begun, and not ended.
    half: usize,
    before: usize,
    after: usize,
}

struct Killer {
    random: Random,
    seen: Seen,
}

impl Killer {
    /// Kills it some time after it was started or, `journal`, after that appeared.
    fn kill(&mut self, place: &Place, verb: &[&str], longest: Duration, journal: Option<&str>) {
        let mut child = place.command(verb).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(path) = journal {
            let path = place.state.join(path).join("journal.jsonl");
            while !path.exists() && child.try_wait().unwrap().is_none() {
                std::hint::spin_loop();
            }
        }
        std::thread::sleep(self.random.within(longest, journal.is_some()));
        let _ = child.kill();
        child.wait().unwrap();
        self.seen.kills += 1;
        let marks = std::fs::read_dir(place.state.join("applying"));
        self.seen.half += usize::from(marks.is_ok_and(|mut marks| marks.next().is_some()));
    }

    /// The next verb of ringfence, of whatever kind, makes it whole; whether all of it stands.
    fn whole(&mut self, place: &Place, old: &str, new: &str, what: &str) -> bool {
        let next: &[&str] = match self.seen.kills % 3 {
            0 => &["ps"],
            1 => &["run", "--preset", "default", "--workspace", ".", "--quiet", "--", "true"],
            _ => &["diff", "--stat"],
        };
        let said = place.ringfence(next);
        let now = tree(place);
        assert!(now == old || now == new, "{what}: neither old nor new after {next:?}\n{said:?}\n{now}");
        let all = now == new;
        *(if all { &mut self.seen.after } else { &mut self.seen.before }) += 1;
        all
    }
}

#[test]
fn no_task_writes_where_something_stands_half_done() {
    let place = filled();
    let run = worked(&place);
    assert_eq!(place.ringfence(&["apply", &run]).status, 0);
    // As a kill leaves it before the whole has landed, with the workspace moved away since.
    let journal = place.state.join(format!("runs/{run}/apply/journal.jsonl"));
    let text = std::fs::read_to_string(&journal).unwrap();
    let ready = text.find("{\"line\":\"ready\"}\n").unwrap() + "{\"line\":\"ready\"}\n".len();
    std::fs::write(&journal, &text[..ready]).unwrap();
    std::fs::write(place.state.join("applying").join(&run), "").unwrap();
    let away = place.home.join("away");
    std::fs::rename(&place.workspace, &away).unwrap();
    std::fs::create_dir(&place.workspace).unwrap();
    let direct = || place.run("[workspace]\nmode = \"direct\"", "echo x > x");
    let refused = direct();
    assert!(refused.status == 125 && refused.err.contains("half done"), "{refused:?}");
    assert!(refused.err.contains("is not the directory that the task worked on"), "{refused:?}");
    let review = place.run("", "true");
    assert!(review.status == 0 && review.err.contains("half done"), "{review:?}");
    std::fs::remove_dir_all(&place.workspace).unwrap();
    std::fs::rename(&away, &place.workspace).unwrap();
    let after = direct();
    assert!(after.status == 0 && after.err.contains("was interrupted"), "{after:?}");
    assert_eq!(direct().err, "");
}

#[test]
fn at_any_moment_all_or_nothing() {
    let wanted: usize = std::env::var("RINGFENCE_KILLS").map_or(9, |kills| kills.parse().unwrap());
    // How long they take here and now, and what comes of it.
    let (place, begun) = (filled(), Instant::now());
    let old = tree(&place);
    let run = worked(&place);
    let ran = begun.elapsed();
    assert_eq!(place.ringfence(&["apply", &run]).status, 0);
    let long = begun.elapsed().saturating_sub(ran);
    let new = tree(&place);
    assert_ne!(old, new);
    assert_eq!(place.ringfence(&["undo", &run]).status, 0);
    assert_eq!(tree(&place), old);
    let mut killer = Killer { random: Random(0x9e37_79b9_7f4a_7c15), seen: Seen::default() };
    while killer.seen.kills < wanted {
        let place = filled();
        let run = worked(&place);
        let journal = format!("runs/{run}/apply");
        let number = killer.seen.kills;
        let since = (!number.is_multiple_of(4)).then_some(journal.as_str());
        killer.kill(&place, &["apply", &run], long, since);
        if number.is_multiple_of(3) {
            killer.kill(&place, &["ps"], long, None);
        }
        if !killer.whole(&place, &old, &new, "apply") {
            // What was taken back can be applied again.
            let again = place.ringfence(&["apply", &run]);
            assert!(again.status == 0 && tree(&place) == new, "{again:?}");
        }
        let journal = format!("{journal}/reverted");
        killer.kill(&place, &["undo", &run], long, Some(&journal));
        if number.is_multiple_of(2) {
            killer.kill(&place, &["ps"], long, None);
        }
        if killer.whole(&place, &old, &new, "undo") {
            let again = place.ringfence(&["undo", &run]);
            assert!(again.status == 0 && tree(&place) == old, "{again:?}");
        }
        let left = std::fs::read_dir(place.state.join("applying"));
        assert_eq!(left.map_or(0, Iterator::count), 0, "a mark is left");
    }
    let seen = killer.seen;
    println!("{seen:?}");
    // Where a few of them strike is chance.
    assert!(wanted < 200 || seen.half > 50 && seen.before > 20 && seen.after > 20, "{seen:?}");
}
