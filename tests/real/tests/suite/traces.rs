//! After a run the host is as before: files, `git status`, mounts, processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringfence_real::tree::{self, Entry};
use ringfence_real::world::{World, processes};

/// What must not change.
struct Before {
    home: BTreeMap<PathBuf, Entry>,
    status: String,
    mounts: String,
}

fn repository() -> World {
    let world = World::new();
    let made = world.outside(
        "set -e; git init -q .; echo a > a; mkdir -p deep/er; echo b > deep/er/b; echo '*.o' > .gitignore; git add .
         git -c user.name=n -c user.email=e@example.org commit -q -m first; echo x > untracked; echo y > y.o; rm a
         mkdir -p ~/.ssh ~/.config/app ~/.local/state; echo secret > ~/.ssh/id_ed25519; echo c > ~/.config/app/c
         ln -s nowhere ~/dangling; git status >/dev/null",
    );
    assert_eq!(made.status, 0, "{made:#?}");
    world
}

fn look(world: &World) -> Before {
    let status = world.outside("git --no-optional-locks status --porcelain --ignored").out;
    let mut home = tree::listing(&world.home);
    home.retain(|path, _| !path.starts_with(world.home.join(".local/state")));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Before { home, status, mounts }
}

fn unchanged(world: &World, before: &Before, what: &str) {
    let after = look(world);
    assert_eq!(tree::differences(&before.home, &after.home), [""; 0], "{what}");
    assert_eq!(before.status, after.status, "{what}");
    assert_eq!(before.mounts, after.mounts, "{what}");
}

/// Within a second of the end nothing of it runs (DESIGN 2, promise 4).
fn nothing_runs(marker: &str, what: &str) {
    let begun = Instant::now();
    while !processes(marker).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(1), "{what}: {:?} still run", processes(marker));
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn runs_leave_no_trace() {
    let world = repository();
    let before = look(&world);
    let marker = format!("7654{}", std::process::id());
    let scripts = [
        ("nothing", "true".to_owned()),
        (
            "changes",
            "echo z > a; rm -r deep; git add -A; touch ~/new /tmp/new; mkdir .github node_modules".to_owned(),
        ),
        ("refusals", "cat ~/.ssh/id_ed25519; ls /root; touch /usr/x; echo x > .git/config; false".to_owned()),
        ("daemons", format!("setsid nohup sleep {marker} >/dev/null 2>&1 & (sleep {marker} &); disown")),
        ("a signal", "kill -9 $$".to_owned()),
        ("all gone", "rm -rf ./* .git 2>/dev/null; rm -rf ~ /tmp/* 2>/dev/null; true".to_owned()),
    ];
    for preset in ["default", "coding-agent"] {
        for (what, script) in &scripts {
            let ended = world.preset(preset, script);
            assert_ne!(ended.status, 125, "{what}: {ended:#?}");
            nothing_runs(&marker, what);
            unchanged(&world, &before, what);
        }
    }
}

#[test]
fn runs_in_other_modes_leave_no_trace() {
    let world = repository();
    let before = look(&world);
    for mode in ["read", "temporary", "discard"] {
        let lines = format!("[workspace]\nmode = \"{mode}\"\n");
        let ended =
            world.inside("default", &lines, "echo z > a; echo n > new; mkdir -p d; rm -rf deep; ls -A; true");
        assert_eq!(ended.status, 0, "{mode}: {ended:#?}");
        unchanged(&world, &before, mode);
    }
}

#[test]
fn the_state_directory_is_all_that_grows() {
    let world = repository();
    let before = look(&world);
    let mut run = world.command(ringfence_real::binary());
    run.env_remove("RINGFENCE_STATE").args(["run", "--preset", "default", "--", "touch", "new"]);
    let done = ringfence_real::world::outcome(&mut run);
    assert_eq!(done.status, 0, "{done:#?}");
    unchanged(&world, &before, "state below the home");
    assert!(world.home.join(".local/state/ringfence").is_dir());
    let names = tree::names(&world.home.join(".local/state"), |path| path.components().count() == 1);
    assert_eq!(names, [PathBuf::from("ringfence")]);
}

#[test]
fn what_cannot_start_leaves_no_trace() {
    let world = repository();
    let before = look(&world);
    let broken = world.policy("default", "[files]\nread = [\"/does/not/exist\"]\n");
    let runs: [(&[&str], i32); 5] = [
        (&["--policy", &broken, "--", "true"], 125),
        (&["--preset", "none", "--", "true"], 125),
        (&["--preset", "default", "--", "no-such-program"], 127),
        (&["--preset", "default", "--", "./deep"], 126),
        (&["--preset", "default", "--", "./untracked"], 126),
    ];
    for (arguments, status) in runs {
        let ended = world.ringfence(&[&["run", "--quiet"], arguments].concat());
        assert_eq!(ended.status, status, "{arguments:?}: {ended:#?}");
        unchanged(&world, &before, &format!("{arguments:?}"));
    }
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_no_mount() {
    let world = repository();
    let before = look(&world);
    let marker = format!("8765{}", std::process::id());
    let script =
        format!("setsid sleep {marker} & sleep {marker} & trap '' TERM HUP INT; echo up; sleep {marker}");
    let mut run: Command = world.command(ringfence_real::binary());
    run.args(["run", "--preset", "coding-agent", "--", "bash", "-c", &script]);
    let mut run = run.stdout(std::process::Stdio::null()).spawn().expect("the binary starts");
    let sleeping = format!("sleep\0{marker}\0");
    let begun = Instant::now();
    // The count that ends the wait is the one judged: a process in the middle of its exec shows no command line.
    let mut count = 0;
    while count < 3 && begun.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(10));
        count = processes(&sleeping).len();
    }
    assert_eq!(count, 3);
    run.kill().expect("it can be killed");
    run.wait().expect("it ends");
    nothing_runs(&sleeping, "kill -9 of the supervisor");
    unchanged(&world, &before, "kill -9 of the supervisor");
}
