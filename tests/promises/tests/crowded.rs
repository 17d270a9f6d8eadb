//! No flood of made-up names hides that a task looks for what is there, and how many had no room is told.

use ringfence_promises::Place;
use serde_json::Value;

/// Whether the root is one that sees who looks.
fn watched() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
}

fn asked<'a>(told: &'a [Value], name: &str) -> Vec<&'a Value> {
    let whole = |event: &&Value| event["asked"].as_str().or(event["path"].as_str()) == Some(name);
    told.iter().filter(whole).collect()
}

/// Below one name that the sandbox has not, and beside many; the last look is the last that the task does.
#[test]
fn what_the_host_has_is_told_after_any_flood() {
    let place = Place::in_home();
    let hidden = place.base.path().join("hidden");
    for number in 0..3 {
        place.write(hidden.join(format!("real{number}")), "SECRET");
    }
    let hidden = hidden.display();
    place.write(
        "try.py",
        &format!(
            "import os\n\
             for number in range(1500): os.path.lexists('{hidden}/absent%d' % number)\n\
             for number in range(5000): os.path.lexists('/etc/absent%d' % number)\n\
             for number in range(1500): os.path.lexists('/root/.ssh/absent%d' % number)\n\
             for name in ('{hidden}/real0', '{hidden}/real0', '/etc/shadow', '{hidden}/real1', '/etc/fstab', '{hidden}/real2'):\n  \
               try: print(open(name).read())\n  \
               except OSError: pass\n"
        ),
    );
    let report = place.base.path().join("report.json");
    let policy = place.policy("");
    let outcome = place.ringfence(&[
        "run",
        "--quiet",
        "--policy",
        &policy,
        "--workspace",
        ".",
        "--report",
        report.to_str().unwrap(),
        "--",
        "python3",
        "-I",
        "-S",
        "try.py",
    ]);
    assert_eq!((outcome.status, outcome.out.as_str()), (0, ""), "{outcome:?}");
    if !watched() {
        return;
    }
    let told = place.told("file.deny");
    assert!(told.len() < 4096 + 4 * 1024, "{}", told.len());
    for name in [
        format!("{hidden}/real0"),
        format!("{hidden}/real1"),
        format!("{hidden}/real2"),
        "/etc/shadow".into(),
    ] {
        let events = asked(&told, &name);
        assert!(events.first().is_some_and(|event| event["purpose"] == "read"), "{name}: {events:?}");
    }
    assert!(!asked(&told, "/etc/fstab").is_empty() || !std::path::Path::new("/etc/fstab").exists());
    let times: u64 =
        asked(&told, &format!("{hidden}/real0")).iter().map(|one| one["times"].as_u64().unwrap()).sum();
    assert_eq!(times, 2, "repeated ones are counted");
    let others = asked(&told, "(others)");
    let counted = others.first().map(|one| one["times"].as_u64().unwrap()).unwrap_or(0);
    let single = |beginning: &str| {
        told.iter()
            .filter(|one| one["asked"].as_str().or(one["path"].as_str()).unwrap().starts_with(beginning))
            .count()
    };
    let absent = ["/etc/absent".to_owned(), format!("{hidden}/absent"), "/root/.ssh/absent".into()];
    let single: usize = absent.iter().map(|beginning| single(beginning)).sum();
    assert!(single as u64 + counted >= 8000 && counted > 2000, "{single} told, {counted} counted");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["others"], counted, "{report}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains(&format!("{counted} more refusals, too many")), "{}", explained.len());
    for name in ["/etc/shadow", &format!("{hidden}/real2")] {
        assert!(explained.contains(name), "{name}: {}", explained.len());
    }
}

/// What lies over the root remembers `.ssh` once it was looked for: a search of it is heard by the names in it, made-up ones first.
#[test]
fn a_search_of_a_secret_directory_is_told_after_any_flood() {
    let place = Place::in_home();
    let other = place.base.path().join("other");
    let (home, other) = (place.home.display().to_string(), other.display().to_string());
    for directory in [format!("{home}/.ssh"), format!("{home}/.aws"), format!("{other}/.gnupg")] {
        place.write(format!("{directory}/there"), "SECRET");
    }
    place.write(
        "try.py",
        &format!(
            "import os\n\
             for number in range(4150): os.path.lexists('/etc/absent%d' % number)\n\
             for number in range(1100): os.path.lexists('/root/.kube/absent%d' % number)\n\
             for number in range(1100): os.path.lexists('{other}/.gnupg/absent%d' % number)\n\
             for name in ('.ssh/zzz', '.ssh/id', '.ssh/there', '.aws/zzz'):\n  \
               try: print(open('{home}/' + name).read())\n  \
               except OSError: pass\n"
        ),
    );
    let outcome = place.run("", "python3 -I -S try.py");
    assert_eq!((outcome.status, outcome.out.as_str()), (0, ""), "{outcome:?}");
    if watched() {
        let explained = place.ringfence(&["explain"]).out;
        let told = place.told("file.deny");
        for directory in [format!("{home}/.ssh"), format!("{home}/.aws")] {
            let below = |one: &&Value| {
                one["asked"].as_str().or(one["path"].as_str()).unwrap().starts_with(&directory)
            };
            assert!(told.iter().any(|one| below(&one)), "{directory}");
            assert!(explained.contains(&directory), "{directory}: {}", explained.len());
        }
        let searched = format!("{other}/.gnupg/absent");
        let searched = told
            .iter()
            .filter(|one| one["asked"].as_str().or(one["path"].as_str()).unwrap().starts_with(&searched));
        assert!(searched.count() < 20, "one search takes no room of another");
    }
}

/// System calls have a room of their own, and repeats of what is only counted are counted.
#[test]
fn what_is_called_and_repeated_is_told_after_any_flood() {
    let place = Place::in_home();
    place.write(
        "try.py",
        "import ctypes, os, subprocess, sys\n\
         libc = ctypes.CDLL(None)\n\
         if len(sys.argv) == 1:\n  \
           for number in range(4300): os.path.lexists('/etc/absent%d' % number)\n  \
           subprocess.run([sys.executable, '-I', '-S', './try.py', 'again'])\n  \
           for number in range(300):\n    \
             for call in (101, 321, 250): libc.syscall(call, 16, 0, 0, 0, 0)\n\
         else:\n  \
           for number in range(2000): os.path.lexists('/etc/absent%d' % (number % 100))\n",
    );
    let outcome = place.run("", "python3 -I -S try.py");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let told = place.told("syscall.deny");
    for name in ["ptrace", "bpf", "keyctl"] {
        let times =
            told.iter().filter(|event| event["name"] == name).map(|one| one["times"].as_u64().unwrap());
        assert_eq!(times.sum::<u64>(), 300, "{name}: {told:?}");
    }
    if watched() {
        let told = place.told("file.deny");
        let made_up = |one: &&Value| {
            let name = one["asked"].as_str().or(one["path"].as_str()).unwrap();
            name.starts_with("/etc/absent") || name == "(others)"
        };
        let times: u64 = told.iter().filter(made_up).map(|one| one["times"].as_u64().unwrap()).sum();
        assert!((6300..6400).contains(&times), "{times}");
    }
}

/// The kernel answers by itself for a name that is asked for again and again, but not where it leads to something.
#[test]
fn a_directory_that_is_asked_for_again_and_again_hides_nothing_below() {
    let place = Place::in_home();
    let hidden = place.base.path().join("hidden");
    place.write(hidden.join("real"), "SECRET");
    let hidden = hidden.display();
    place.write(
        "try.py",
        &format!(
            "import os\n\
             for number in range(100): os.path.lexists('{hidden}')\n\
             for number in range(100): os.path.lexists('{hidden}/absent')\n\
             os.path.lexists('{hidden}/real')\n"
        ),
    );
    let outcome = place.run("", "python3 -I -S try.py");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    if watched() {
        let told = place.told("file.deny");
        assert!(!asked(&told, &format!("{hidden}/real")).is_empty(), "{told:?}");
    }
}

/// A policy with a line for what is not there does not load.
#[test]
fn no_line_is_offered_for_what_is_not_there() {
    let place = Place::in_home();
    let home = place.home.display().to_string();
    place.write(format!("{home}/.ssh/there"), "SECRET");
    std::os::unix::fs::symlink(format!("{home}/.ssh/id_rsa"), format!("{home}/key")).unwrap();
    let outcome = place.run("", &format!("cat {home}/key {home}/.ssh/zzz; true"));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let explained = place.ringfence(&["explain"]).out;
    assert!(explained.contains(&format!("{home}/key")) || !watched(), "{explained}");
    assert!(!explained.contains("read = ["), "{explained}");
    let policy = place.policy("");
    for path in ["key", ".ssh/zzz"] {
        let foretold = place.ringfence(&["explain", "--policy", &policy, &format!("{home}/{path}")]).out;
        assert!(!foretold.contains("read = ["), "{foretold}");
    }
}

/// What libselinux looks for at each start of sed and cp is told, though the kernel answers most of it; what has a name like that is always.
#[test]
fn what_is_looked_for_at_each_start_is_told_and_mostly_remembered() {
    let place = Place::in_home();
    let look = "for _ in range(300): os.path.lexists('/etc/selinux'); os.path.lexists('/etc/selinux2')";
    place.write("try.py", &format!("import os\n{look}\n"));
    let outcome = place.run("", "cat /etc/selinux/config; python3 -I -S try.py");
    assert_eq!((outcome.status, outcome.out.as_str()), (0, ""), "{outcome:?}");
    if watched() {
        let told = place.told("file.deny");
        let of = |name: &str| -> u64 {
            let own = told.iter().filter(|one| one["path"] == name);
            own.map(|one| one["times"].as_u64().unwrap()).sum()
        };
        assert!((1..100).contains(&of("/etc/selinux")), "{told:?}");
        assert_eq!(of("/etc/selinux2"), 300, "{told:?}");
    }
}
