//! Homes of tier `landlock`: whatever a task did with one, and whatever still holds it, the next run has another.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_promises::Place;

/// Who outlives the boundary waits until a later run has made a file beside it, and tells that run so.
const SURVIVOR: &str = "cd; echo $$ > \"$TMPDIR/first\"; (setsid sh -c 'trap \"\" HUP INT TERM; echo $$ > \"$TMPDIR/alive\"; \
    for i in $(seq 600); do test -e next && echo LEFT > late; sleep 0.05; done' > /dev/null 2>&1 &); exec sleep 60";

fn place() -> Place {
    let place = Place::in_home().in_tier("landlock");
    for path in ["grants/one", "grants/two"] {
        std::fs::create_dir_all(place.home.join(path)).unwrap();
    }
    place
}

const POLICY: &str = "[files]\nread = [\"~/grants/one\", \"~/grants/two\"]";

#[test]
fn nothing_comes_back_from_a_home() {
    let place = place();
    let look = "cd; find . | sort | tr '\\n' ' '; stat -c %a . grants; readlink grants/one; lsattr -dp . grants 2>&1; \
        python3 -c \"import os; print(os.listxattr('.'), os.listxattr('grants'), \
        [all(abs(t - $(date +%s)) < 60 for t in (os.lstat(p).st_mtime, os.lstat(p).st_atime, os.lstat(p).st_ctime)) for p in ('.', 'grants', 'grants/one', 'grants/two')])\"";
    let made = place.run(POLICY, look).out;
    assert!(made.starts_with(". ./grants ./grants/one ./grants/two 700\n700\n/"), "{made}");
    assert!(made.ends_with("[] [] [True, True, True, True]\n"), "{made}");
    for change in [
        "true",
        "cat grants/one/x; readlink grants/two; ls -R",
        "echo x > x",
        "mkdir grants/x",
        "rm grants/one",
        "ln -sf /etc/passwd grants/one",
        "mv grants/one grants/x; mv grants/x grants/one",
        "t=$(readlink grants/one); rm grants/one; ln -s $t grants/one",
        "mv grants x; mkdir grants; mv x/* grants; rmdir x",
        "chmod 777 grants",
        "chmod 1700 .",
        "touch -d 1970-01-02 . grants",
        "touch -h -d 1970-01-02 grants/one",
        // The time of the last change is that of the last modification then, as after making; a look changes no time that is to come.
        "for l in . grants grants/one grants/two; do touch -h -a -d 2050-01-02 $l; touch -h -m $l; done",
        "python3 -c \"import os; os.setxattr('grants', 'user.x', b'1'); os.setxattr('.', 'user.y', b'1')\"",
        "for i in $(seq 300); do : > grants/a-long-name-that-takes-room-$i; done; rm grants/a-*",
        "python3 -c \"import fcntl, os, struct; f = os.open('grants', 0); fcntl.ioctl(f, 0x40086602, struct.pack('l', 0x80 | 0x80000))\"",
        "chattr -p 77 . grants",
    ] {
        let changed = place.run(POLICY, &format!("cd; {change}; true"));
        assert_eq!(changed.status, 0, "{change}: {changed:?}");
        // Also where the policy is another one with the same links.
        for more in ["", "\n[limits]\nprocesses = 900"] {
            let again = place.run(&format!("{POLICY}{more}"), look);
            let told = |text: &str| text.replace(char::is_numeric, "");
            assert_eq!(told(&again.out), told(&made), "{change}: {again:?}");
        }
    }
    // Nothing waits anywhere either.
    let left = named(&place, "home -o -name grants -o -name one");
    assert_eq!(left, "");
}

/// What is called so where the runs' own directories lie.
fn named(place: &Place, name: &str) -> String {
    place.host(&format!("find {} -name {name} || true", place.state.display()))
}

fn below(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "{signal} {pid}");
}

/// Waits until the survivor has written who it is: the processes that go on.
fn survivors(place: &Place, run: &mut Child) -> Vec<u32> {
    let begun = Instant::now();
    loop {
        let files = named(place, "first -o -name alive");
        let found = files.lines().filter_map(|path| place.read(path)?.trim().parse().ok());
        let found: Vec<u32> = found.collect();
        if found.len() == 2 {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never started: {:?}", run.try_wait());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_outlives_warden_and_init_shares_no_home() {
    for with_supervisor in [false, true] {
        let place = place();
        let mut command = place.to_run(POLICY, SURVIVOR);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let survivors = survivors(&place, &mut run);
        let warden = below(run.id())[0];
        let init = below(warden)[0];
        // A warden that is stopped cannot see its init end.
        signal("-STOP", warden);
        if with_supervisor {
            signal("-KILL", run.id());
        }
        signal("-KILL", init);
        signal("-KILL", warden);
        run.wait().unwrap();
        let next = place.run(POLICY, "cd; find . | sort | tr '\\n' ' '; echo > next; sleep 1; cat late; ls");
        // Whoever of them is gone by itself is no news.
        for pid in survivors {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        assert_eq!(
            next.out, ". ./grants ./grants/one ./grants/two grants\nnext\n",
            "supervisor killed: {with_supervisor}: {next:?}"
        );
    }
}
