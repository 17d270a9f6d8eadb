//! Named points of a sandbox that lives: taken between commands and in the middle of one, gone back to, and started from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringfence_promises::{Outcome, Place};

/// Stops the sandbox however the test ends.
struct Named<'a>(&'a Place, &'static str);

impl<'a> Named<'a> {
    fn start(place: &'a Place, policy: &str) -> Self {
        let policy = place.policy(policy);
        done(&place.ringfence(&["start", "dev", "--policy", &policy, "--workspace", "."]));
        Self(place, "dev")
    }

    fn fork(&self, name: &'static str, more: &[&str]) -> Self {
        done(&self.0.ringfence(&[&["fork", self.1, name], more].concat()));
        Self(self.0, name)
    }

    fn exec(&self, script: &str) -> String {
        let outcome = self.0.ringfence(&["exec", self.1, "--", "sh", "-ec", script]);
        done(&outcome);
        outcome.out
    }

    fn point(&self, name: &str) -> Outcome {
        let outcome = self.0.ringfence(&["checkpoint", self.1, name, "--json"]);
        done(&outcome);
        outcome
    }

    fn rollback(&self, more: &[&str]) -> Outcome {
        self.0.ringfence(&[&["rollback", self.1], more].concat())
    }

    /// The id of its run, once it has ended.
    fn stop(self) -> String {
        let shown = self.0.ringfence(&["ps", self.1, "--json"]);
        let run: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
        done(&self.0.ringfence(&["stop", self.1, "--grace", "0"]));
        run[0]["run"].as_str().unwrap().to_owned()
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let _ = self.0.ringfence(&["stop", self.1, "--grace", "0"]);
    }
}

fn done(outcome: &Outcome) {
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// Every path with its type, mode and content.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), (metadata.mode(), content));
        }
    }
    found
}

fn filled(place: &Place) {
    place.write("a", "one\n");
    place.write("sub/b", "two\n");
    place.write("sub/deep/c", "three\n");
    place.write("other/d", "four\n");
}

/// Replaces directories by files and back, across layers: whatever one layer hides, the next shows.
const STEPS: [&str; 5] = [
    "echo more >> a; rm sub/b; mkdir new; echo n > new/n; chmod 700 other",
    "rm -r sub; echo file > sub; ln -s new link; mv new/n new/m",
    "rm sub; mkdir sub; echo back > sub/x; rm -r other; mkdir -p other/e; chmod 640 a",
    "rm -r new link; mkdir link; echo l > link/l; rm -r other; echo o > other",
    "rm -r sub; mkdir -p sub/deep; echo again > sub/deep/c; : > a",
];

#[test]
fn every_point_is_what_the_workspace_was_then_and_all_of_it_lands() {
    let place = Place::new();
    filled(&place);
    let native = place.base.path().join("native");
    let host = |script: &str, at: &Path| {
        assert!(Command::new("sh").args(["-ec", script]).current_dir(at).status().unwrap().success());
    };
    host(&format!("cp -a w {}", native.display()), &place.home);
    let dev = Named::start(&place, "");
    let before = tree(&place.workspace);
    let mut then = vec![before.clone()];
    let archive = |dev: &Named<'_>, name: &str| {
        // As the task sees it, by way of its own archive.
        let text = dev.exec("tar -C . --sort=name -cf - . | base64 -w0");
        let to = place.base.path().join(name);
        fs::create_dir(&to).unwrap();
        fs::write(to.with_extension("64"), text).unwrap();
        host(
            "base64 -d < $0.64 | tar -xpf - -C $0".replace("$0", &to.display().to_string()).as_str(),
            place.base.path(),
        );
        tree(&to)
    };
    done(&dev.point("p0"));
    for (index, step) in STEPS.iter().enumerate() {
        dev.exec(step);
        host(step, &native);
        then.push(tree(&native));
        dev.point(&format!("p{}", index + 1));
    }
    assert_eq!(tree(&place.workspace), before, "the host's files change by `apply` alone");
    for index in [2, 0, 4, 1, 3] {
        done(&dev.rollback(&[&format!("p{index}")]));
        assert_eq!(archive(&dev, &format!("r{index}")), then[index], "p{index}");
    }
    let listed = place.ringfence(&["checkpoint", "dev", "--list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    let count = |name: &str| {
        let points = listed.as_array().unwrap();
        points.iter().find(|point| point["point"] == name).unwrap()["changes"].as_u64().unwrap()
    };
    assert!(count("p0") == 0 && count("p1") == 5 && count("p5") > 5, "{listed:#}");
    let diff = place.ringfence(&["diff", "dev", "--at", "p1", "--name-only"]);
    assert_eq!(diff.out, "a\nnew\nnew/n\nother\nsub/b\n", "{diff:?}");
    done(&dev.rollback(&["p5"]));
    let run = dev.stop();
    done(&place.ringfence(&["apply", &run]));
    assert_eq!(tree(&place.workspace), then[5]);
    done(&place.ringfence(&["undo", &run]));
    assert_eq!(tree(&place.workspace), before);
}

#[test]
fn who_took_which_point_is_in_the_log() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    dev.point("first");
    dev.exec("echo more >> a");
    done(&dev.rollback(&["first"]));
    let running = place.command(&["exec", "dev", "--", "sleep", "60"]).stdout(Stdio::null()).spawn();
    let mut running = running.unwrap();
    while place.ringfence(&["ps", "dev", "--json"]).out.matches("sleep").count() == 0 {}
    dev.point("middle");
    let second = dev.fork("second", &["--from", "first"]).stop();
    let first = dev.stop();
    running.wait().unwrap();
    done(&place.ringfence(&["rollback", &first, "middle"]));
    done(&place.ringfence(&["fork", &first, "third", "--from", "middle"]));
    let third = Named(&place, "third").stop();
    let told = |run: &str| {
        let state = ringfence_record::State::open(&place.state).unwrap();
        let (directory, record) = state.find(run, None).unwrap();
        let verdict = ringfence_record::verify_against(&directory.events(), record.head.unwrap());
        assert!(matches!(verdict, Ok(ringfence_record::Verdict::Whole { .. })), "{verdict:?}");
        let lines = ringfence_record::read(&directory.events()).unwrap();
        let ours = lines.into_iter().filter(|line| {
            ["workspace.checkpoint", "workspace.rollback", "workspace.fork"].contains(&line.kind.as_str())
        });
        ours.map(|line| {
            assert_eq!(line.detail["uid"], rustix::process::getuid().as_raw());
            let word = |name: &str| line.detail[name].as_str().unwrap_or_default().to_owned();
            [word("checkpoint"), word("kept"), word("from"), word("into"), word("sandbox")]
                .into_iter()
                .filter(|word| !word.is_empty())
                .fold(line.kind.as_str()["workspace.".len()..].to_owned(), |all, word| all + " " + &word)
        })
        .collect::<Vec<_>>()
    };
    let forks = [format!("fork first {first} {second} second"), format!("fork middle {first} {third} third")];
    let all = [
        "checkpoint first",
        "rollback first before-2",
        "checkpoint middle",
        &forks[0],
        "rollback middle before-4",
        &forks[1],
    ];
    assert_eq!(told(&first), all);
    assert_eq!(told(&second), forks[..1]);
    assert_eq!(told(&third), forks[1..]);
}

#[test]
fn in_the_middle_of_a_command_it_is_a_copy_and_the_command_goes_on() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    let script =
        "i=0; while [ $i -lt 400 ]; do echo $i > n/$i; i=$((i+1)); sleep 0.005; done; echo whole > end";
    dev.exec("mkdir n; setfattr -n user.x -v y n 2>/dev/null || true");
    dev.point("before");
    let mut running =
        place.command(&["exec", "dev", "--", "sh", "-ec", script]).stdout(Stdio::null()).spawn().unwrap();
    while place.ringfence(&["ps", "dev", "--json"]).out.matches("sleep").count() == 0 {}
    let taken = dev.point("middle");
    let taken: serde_json::Value = serde_json::from_str(&taken.out).unwrap();
    assert_eq!(taken["copied"], true, "{taken}");
    // What it would change under the command is refused.
    let refused = dev.rollback(&["before"]);
    assert_eq!(refused.status, 126, "{refused:?}");
    assert!(running.wait().unwrap().success());
    assert_eq!(dev.exec("ls n | wc -l; cat end"), "400\nwhole\n");
    done(&dev.rollback(&["middle"]));
    let seen: u32 = dev.exec("ls n | wc -l; test ! -e end").trim().parse().unwrap();
    assert!((1..400).contains(&seen), "{seen}");
    // Nobody wrote while it was copied: all are whole but the one that the command may have opened just before.
    let empty: u32 = dev.exec("find n -type f -empty | wc -l").trim().parse().unwrap();
    assert!(empty <= 1, "{empty}");
}

#[test]
fn what_runs_is_ended_first_where_that_is_asked_for() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    dev.point("clean");
    dev.exec("sh -c 'while :; do echo x >> a; sleep 0.01; done' >/dev/null 2>&1 & until grep -q x a; do sleep 0.01; done");
    assert_eq!(dev.rollback(&["clean"]).status, 126);
    done(&dev.rollback(&["clean", "--end"]));
    assert_eq!(dev.exec("sleep 0.1; cat a; ls /proc | grep -c '^[0-9]' || true").lines().next(), Some("one"));
    // What was is kept, and comes back.
    let kept = place.ringfence(&["checkpoint", "dev", "--list"]).out;
    let name = kept.split_whitespace().find(|word| word.starts_with("before-")).unwrap().to_owned();
    done(&dev.rollback(&[&name]));
    assert!(dev.exec("cat a").contains('x'));
}

#[test]
fn what_protects_and_hides_stands_after_it() {
    let place = Place::new();
    filled(&place);
    place.write(".env", "SECRET\n");
    place.write(".git/config", "[core]\n");
    place.write(".git/hooks/x", "#!/bin/sh\n");
    let policy = "[workspace]\nprotect = [\".git/config\", \".git/hooks\"]\n[files]\ndeny = [\"**/.env\"]\n";
    let dev = Named::start(&place, policy);
    let tries = "cat .env 2>/dev/null && echo READ; (echo evil >> .git/config) 2>/dev/null && echo WROTE;
        (echo evil > .git/hooks/x) 2>/dev/null && echo HOOK; mv .git .git2 2>/dev/null && echo MOVED;
        (echo x > /usr/x) 2>/dev/null && echo USR; echo fine >> a; tail -n1 a";
    let run = |what: &str| {
        let outcome = place.ringfence(&["exec", "dev", "--", "sh", "-c", tries]);
        assert_eq!(outcome.out, "fine\n", "{what}: {outcome:?}");
    };
    run("before");
    dev.point("one");
    run("after a checkpoint");
    done(&dev.rollback(&["one"]));
    run("after a rollback");
    let fork = dev.fork("two", &["--from", "one"]);
    let outcome = place.ringfence(&["exec", "two", "--", "sh", "-c", tries]);
    assert_eq!(outcome.out, "fine\n", "{outcome:?}");
    drop(fork);
}

#[test]
fn forks_run_side_by_side_and_the_best_is_applied() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    dev.exec("echo base > base; rm other/d");
    dev.point("base");
    dev.exec("echo later > later");
    let one = dev.fork("one", &["--from", "base"]);
    let two = dev.fork("two", &["--from", "base"]);
    let now = dev.fork("now", &[]);
    assert_eq!(now.exec("cat later"), "later\n");
    for fork in [&one, &two] {
        fork.exec(&format!("test ! -e later; echo {} >> base; echo {} > a", fork.1, fork.1));
    }
    assert_eq!(one.exec("cat base a"), "base\none\none\n");
    assert_eq!(two.exec("cat base a"), "base\ntwo\ntwo\n");
    assert_eq!(dev.exec("cat base a"), "base\none\n", "the first has its own");
    // The first one's layers are no longer needed.
    let first = dev.stop();
    done(&place.ringfence(&["discard", &first]));
    let (one, two) = (one.stop(), two.stop());
    done(&place.ringfence(&["apply", &two]));
    assert_eq!(
        (place.read("base").as_deref(), place.read("a").as_deref()),
        (Some("base\ntwo\n"), Some("two\n"))
    );
    assert!(!place.workspace.join("other/d").exists() && !place.workspace.join("later").exists());
    // What landed since is a conflict for the other.
    let refused = place.ringfence(&["apply", &one]);
    assert_eq!(refused.status, 126, "{refused:?}");
    assert_eq!(place.read("a").as_deref(), Some("two\n"));
    done(&place.ringfence(&["undo", &two]));
    assert_eq!(place.read("a").as_deref(), Some("one\n"));
}

#[test]
fn what_changed_on_the_host_since_the_first_began_is_a_conflict_of_its_fork() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    dev.exec("echo task > a");
    dev.point("p");
    place.write("a", "a person\n");
    let fork = dev.fork("late", &["--from", "p"]);
    fork.exec("echo more >> a");
    let run = fork.stop();
    let refused = place.ringfence(&["apply", &run]);
    assert_eq!(refused.status, 126, "{refused:?}");
    assert_eq!(place.read("a").as_deref(), Some("a person\n"));
}

#[test]
fn a_sandbox_that_is_killed_keeps_every_point() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    for index in 0..13 {
        dev.exec(&format!("echo {index} > f{index}"));
        dev.point(&format!("p{index}"));
    }
    dev.exec("echo last > last; mkdir closed; echo c > closed/c; chmod 0 closed");
    let shown = place.ringfence(&["ps", "dev", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    let keeper = shown[0]["supervisor"].as_i64().unwrap();
    let run = shown[0]["run"].as_str().unwrap().to_owned();
    let killed = rustix::process::Pid::from_raw(i32::try_from(keeper).unwrap()).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let diff = place.ringfence(&["diff", &run, "--name-only"]);
    assert!(
        diff.out.contains("f0\n") && diff.out.contains("f12\n") && diff.out.contains("last\n"),
        "{diff:?}"
    );
    assert!(diff.out.contains("closed/c"), "{diff:?}");
    done(&place.ringfence(&["rollback", &run, "p3"]));
    let diff = place.ringfence(&["diff", &run, "--name-only"]);
    assert_eq!(diff.out, "f0\nf1\nf2\nf3\n", "{diff:?}");
    // A sandbox that has ended can be started from too.
    done(&place.ringfence(&["fork", &run, "again", "--from", "p1"]));
    let again = Named(&place, "again");
    assert_eq!(again.exec("ls f*"), "f0\nf1\n");
    done(&place.ringfence(&["apply", &run]));
    let refused = place.ringfence(&["rollback", &run, "p1"]);
    assert_ne!(refused.status, 0, "{refused:?}");
    assert!(place.workspace.join("f3").exists() && !place.workspace.join("f4").exists());
    let mode = fs::metadata(place.workspace.join("f3")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7000, 0);
}

#[test]
fn a_run_without_a_name_is_told_why_it_has_none() {
    let place = Place::new();
    let mut child = place.command(&["run", "--preset", "default", "--", "sleep", "3"]).spawn().unwrap();
    // Its record comes a moment after its directory.
    let mut told = place.ringfence(&["checkpoint", "last", "x"]);
    for _ in 0..200 {
        if told.status == 126 {
            break;
        }
        told = place.ringfence(&["checkpoint", "last", "x"]);
    }
    assert!(told.status == 126 && told.err.contains("ringfence start NAME"), "{told:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn after_a_whole_apply_it_is_told_where_the_points_went() {
    let place = Place::new();
    filled(&place);
    let dev = Named::start(&place, "");
    dev.exec("echo more >> a");
    dev.point("p");
    dev.exec("echo later > later; echo layout > .envrc");
    let run = dev.stop();
    // Something is held back: the points stay with it.
    done(&place.ringfence(&["apply", &run]));
    let at = place.ringfence(&["diff", &run, "--at", "p", "--name-only"]);
    assert_eq!(at.status, 0, "{at:?}");
    done(&place.ringfence(&["apply", &run, "--accept", ".envrc"]));
    for words in [
        &["diff", &run, "--at", "p"][..],
        &["checkpoint", &run, "--list"],
        &["rollback", &run, "p"],
        &["fork", &run, "other", "--from", "p"],
    ] {
        let told = place.ringfence(words);
        assert_ne!(told.status, 0, "{told:?}");
        assert!(told.err.contains("have landed, and its checkpoints went with them"), "{told:?}");
        assert!(told.err.contains(&format!("ringfence undo {run}")), "{told:?}");
    }
    done(&place.ringfence(&["undo", &run]));
    let told = place.ringfence(&["diff", &run, "--at", "p"]);
    assert!(told.err.contains("were undone, and its checkpoints went with them"), "{told:?}");
    let dev = Named::start(&place, "");
    dev.exec("echo more >> a");
    dev.point("p");
    let run = dev.stop();
    done(&place.ringfence(&["discard", &run]));
    let told = place.ringfence(&["diff", &run, "--at", "p"]);
    assert!(told.err.contains("were thrown away, and its checkpoints"), "{told:?}");
}

/// What a rollback keeps is no point of its owner's: to go there would take the rollback back.
#[test]
fn a_rollback_without_a_point_goes_to_the_last_of_ones_own() {
    let place = Place::new();
    let dev = Named::start(&place, "");
    dev.exec("echo one > f");
    dev.point("p1");
    dev.exec("echo two > f");
    done(&dev.rollback(&["p1"]));
    dev.exec("echo three > f");
    done(&dev.rollback(&[]));
    assert_eq!(dev.exec("cat f"), "one\n");
    done(&dev.rollback(&["before-2"]));
    assert_eq!(dev.exec("cat f"), "two\n");
}
