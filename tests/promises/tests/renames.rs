//! Directories of the host are renamed in a copy-on-write workspace as in any other.

use ringfence_promises::Place;

const TREE: &str = "git init -q . && git config user.email a@b.example && git config user.name n && mkdir -p src/deep/er \
    && seq 5 > src/a && echo b > src/deep/b && echo c > src/deep/er/c && ln -s a src/l && chmod 750 src/deep \
    && touch -d 2001-01-01 src/deep && git add -A && git commit -qm first";

/// Names, kinds, modes, links, and times of what was not made anew by the rename.
const LIST: &str =
    "find . -name .git -prune -o -printf '%p %y %m %l\\n' | sort; stat -c %Y lib/deep; git status --short";

#[test]
fn git_renames_a_directory_as_outside() {
    let (inside, outside) = (Place::new(), Place::new());
    for place in [&inside, &outside] {
        place.host(TREE);
    }
    let moved = inside.run("", "git mv src lib && test ! -e src && ls -A lib lib/deep");
    assert!(moved.status == 0 && moved.out.contains("deep"), "{moved:?}");
    assert_eq!(inside.host("cat src/deep/er/c"), "c\n", "the host's files change with `apply`");
    let applied = inside.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    outside.host("git mv src lib");
    assert_eq!(inside.host(LIST), outside.host(LIST));
    assert_eq!(inside.ringfence(&["undo"]).status, 0);
    assert_eq!(inside.host("git status --short; cat src/deep/er/c"), "c\n");
}

/// What is asked of the kernel by other calls than git's.
const CALLS: &str = r#"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def exchange(a, b):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), 2): raise OSError(ctypes.get_errno(), "exchange")
exchange("one", "two")
assert os.listdir("one") == ["2"] and os.listdir("two") == ["1"]
os.rename("two/", "three//")
at = os.open(".", os.O_PATH)
os.rename("three", "sub/three", src_dir_fd=at, dst_dir_fd=at)
assert os.listdir("sub/three") == ["1"]
def fails(number, *names):
    try: os.rename(*names)
    except OSError as error: assert error.errno == number, error
    else: raise SystemExit(f"{names} was renamed")
fails(errno.ENOTEMPTY, "one", "full")
fails(errno.ENOTDIR, "one", "file")
fails(errno.EINVAL, "full", "full/below")
fails(errno.ENOENT, "missing", "full")
os.rename("one", "empty")
assert os.listdir("empty") == ["2"]
# Whose directory it is would be nowhere.
os.chdir("full")
fails(errno.EXDEV, "../full", "../other")
assert os.listdir(".") == ["x"] and os.getcwd().endswith("/full")
os.chdir("..")
assert not [name for name in os.listdir(".") if name.startswith(".ringfence")]
"#;

#[test]
fn each_rename_is_the_kernels_to_judge() {
    let place = Place::new();
    place.host("mkdir one two sub empty full; touch one/1 two/2 full/x file");
    place.write("calls.py", CALLS);
    let outcome = place.run("", "/usr/bin/python3 calls.py");
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// Init makes directories anew, and renames none: what a process forbade itself stays forbidden.
const CONFINED: &str = r#"
import ctypes, os, struct
call = ctypes.CDLL(None).syscall
ruleset = call(444, struct.pack("QQ", (1 << 15) - 1, 0), 8, 0)
# Executes and reads, everywhere.
assert call(445, ruleset, 1, struct.pack("=Qi", 1 | 4 | 8, os.open("/", os.O_PATH)), 0) == 0
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0 and call(446, ruleset, 0) == 0
for names in (("made", "stolen"), ("host", "lib"), ("file", "file2")):
    try: os.rename(*names)
    except PermissionError: print("refused", names[0])
    else: print("RENAMED", names[0])
"#;

#[test]
fn a_process_that_confined_itself_renames_nothing() {
    let place = Place::new();
    place.host("mkdir host; touch host/h file");
    place.write("confined.py", CONFINED);
    let outcome = place.run("", "mkdir -p made/x && python3 confined.py");
    assert_eq!(outcome.out, "refused made\nrefused host\nrefused file\n", "{outcome:?}");
}

/// Whether init has looked before or not.
#[test]
fn what_is_looked_for_in_a_rename_is_told() {
    let place = Place::new();
    let script = "import os\nfor name in ('/var/lib/dpkg', '/var/spool/cron'):\n  for try_it in (lambda: os.rename(name, 'x'), lambda: os.stat(name)):\n    try: try_it()\n    except OSError: pass";
    place.write("look.py", script);
    assert_eq!(place.run("", "python3 look.py").status, 0);
    for name in ["/var/lib/dpkg", "/var/spool/cron"] {
        let told = place.told("file.deny");
        assert!(told.iter().any(|event| event.to_string().contains(name)), "{name}: {told:?}");
    }
}

/// Whenever the run ends, nothing of the host's is lost, and no part of a directory lands.
#[test]
fn a_rename_that_the_runs_end_interrupts_does_not_land() {
    let script = "i=0; while [ $i -lt 400 ]; do echo $i > src/f$i; echo $i > src/sub/f$i; i=$((i + 1)); done; ln -s f1 src/link; touch src/none";
    for wait in ["0.05", "0.3", "0.5", "0.7"] {
        let place = Place::new();
        place.host(&format!("mkdir -p src/sub; {script}"));
        let rename = format!(
            "python3 -c 'import os\nif os.fork() == 0: os.rename(\"src\", \"lib\")\nelse: import time; time.sleep({wait})'"
        );
        assert_eq!(place.run("", &rename).status, 0);
        let applied = place.ringfence(&["apply"]);
        assert!(
            applied.status == 0
                || applied.status == 126 && applied.out.starts_with("nothing landed")
                || applied.err.contains("no run in this directory has changes"),
            "{applied:?}"
        );
        let here = place.host(
            "ls -d src lib 2>/dev/null | wc -l; find . -type f -name 'f*' | wc -l; find . -type l -o -name none | wc -l; find . -name '.ringfence*'",
        );
        assert!(here == "1\n800\n2\n", "{wait}: {here} {applied:?}");
    }
}

/// Whatever became of what is in it: neither half lands, and the name of a half hides nothing that is held for another reason.
#[test]
fn a_half_of_a_directory_does_not_land_whatever_is_in_it() {
    let place = Place::new();
    place.host(
        "mkdir -p src/empty other .claude/commands; head -c 5000 /dev/urandom > src/changed; echo 1 > src/same; echo 1 > other/gone",
    );
    let script = "H=.ringfence-renaming-0123456789abcdef; mkdir $H; mv src/changed src/same $H; rmdir src/empty; mkdir $H/empty; head -c 5000 /dev/urandom > $H/changed; \
        rm other/gone; echo x > .claude/commands/$H.md; mkdir .claude/commands/$H; echo x > .claude/commands/$H/c.md; echo more > fine";
    assert_eq!(place.run("", script).status, 0);
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    let here = place.host("ls -d src/* other/* fine; ls -A .claude/commands; ls -A | grep ringfence || true");
    assert_eq!(here, "fine\nother/gone\nsrc/changed\nsrc/empty\nsrc/same\n", "{applied:?}");
    let accepted = place.ringfence(&["apply", "--accept", "unfinished"]);
    assert_eq!(accepted.status, 0, "{accepted:?}");
    assert_eq!(place.host("ls -A .claude/commands; ls other"), "", "{accepted:?}");
}

/// Two commands of one sandbox that rename one directory: one of them finds none.
#[test]
fn of_two_renames_of_one_directory_one_fails() {
    let place = Place::new();
    place.host("for d in $(seq 8); do mkdir s$d; for i in $(seq 40); do echo $i > s$d/f$i; done; done");
    let rename = |to: &str| {
        format!(
            "import os\nfor n in range(1, 9):\n  try: os.rename(f's{{n}}', f'{to}{{n}}')\n  except OSError: pass"
        )
    };
    place.write("x.py", &rename("x"));
    place.write("y.py", &rename("y"));
    assert_eq!(place.ringfence(&["start", "two", "--preset", "default"]).status, 0);
    let both: Vec<_> = ["x.py", "y.py"]
        .map(|name| place.command(&["exec", "two", "--", "python3", name]).spawn().unwrap())
        .into();
    for mut one in both {
        assert!(one.wait().unwrap().success());
    }
    let seen = place.ringfence(&[
        "exec",
        "two",
        "--",
        "sh",
        "-c",
        "for d in x* y* s*; do test -d $d && ls $d | wc -l; done; true",
    ]);
    assert_eq!(place.ringfence(&["stop", "two"]).status, 0);
    let counts: Vec<&str> = seen.out.lines().collect();
    assert!(counts.len() == 8 && counts.iter().all(|count| *count == "40"), "{seen:?}");
}

/// Who writes into the directory meanwhile loses nothing, and nothing of ours stays.
#[test]
fn writers_in_a_renamed_directory_lose_nothing() {
    let place = Place::new();
    place.host("mkdir src; for i in $(seq 200); do echo old > src/f$i; done");
    place.write(
        "write.py",
        r#"
import os, threading, time
end, last = time.time() + 2, 0
def write():
    global last
    number = 0
    while time.time() < end:
        number += 1
        try:
            with open("src/state.tmp", "w") as file: file.write(str(number))
            os.rename("src/state.tmp", "src/f150")
            last = number
        except OSError: pass
thread = threading.Thread(target=write)
thread.start()
time.sleep(0.2)
for n in range(3):
    try: os.rename("src", "lib"); break
    except OSError as error: print(error)
thread.join()
seen = [int(open(d + "/f150").read()) for d in ("src", "lib") if os.path.exists(d + "/f150")]
assert last in seen, (last, seen)
names = [name for d in ("src", "lib") if os.path.isdir(d) for name in os.listdir(d)]
assert len(set(names) - {"state.tmp"}) == 200, len(names)
assert not [name for name in os.listdir(".") if name.startswith(".ringfence")], os.listdir(".")
"#,
    );
    let outcome = place.run("", "python3 write.py");
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// What a rename leaves alone is nobody's conflict later.
#[test]
fn a_rename_that_cannot_be_copies_nothing() {
    let place = Place::new();
    place.host(
        "mkdir -p src/d full/deep held/in; echo 1 > src/d/a; echo 1 > full/deep/x; echo k > held/in/own.key; echo 1 > held/z; chmod g+s full",
    );
    let policy = "[files]\ndeny = [\"**/*.key\"]\n";
    let script = "python3 -c 'import os\nfor names in ((\"src\", \"full\"), (\"held\", \"lib\")):\n  try: os.rename(*names)\n  except OSError as e: print(e.strerror)'; echo more >> todo";
    let outcome = place.run(policy, script);
    assert_eq!(outcome.out.lines().count(), 2, "{outcome:?}");
    place.host("echo person > src/d/new; echo person > full/deep/new; echo more >> held/z");
    let applied = place.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    assert_eq!(place.host("cat todo src/d/new full/deep/new"), "more\nperson\nperson\n");
    // A bit that a task may not set does not keep its work from landing.
    assert_eq!(place.run("", "python3 -c 'import os; os.rename(\"full\", \"whole\")'").status, 0);
    assert_eq!(place.ringfence(&["apply"]).status, 0);
    assert_eq!(place.host("ls whole"), "deep\n");
}

/// The mount in it keeps its place, and so does everything else.
#[test]
fn what_is_protected_is_not_renamed_away() {
    let place = Place::new();
    place.host("mkdir -p d/below/kept d/more; touch d/below/kept/k d/more/m d/f");
    let before = place.host("find . | sort");
    let policy = "[workspace]\nprotect = [\"d/below/kept\"]\n";
    let script = "python3 -c 'import os; os.rename(\"d\", \"e\")' 2>&1; python3 -c 'import os; os.rename(\"d/below\", \"e\")' 2>&1; find . | sort";
    let outcome = place.run(policy, script);
    assert!(outcome.out.matches("OSError").count() == 2 && outcome.out.ends_with(&before), "{outcome:?}");
    // Nothing of it is a change.
    let waiting = place.ringfence(&["diff"]);
    assert!(
        waiting.status == 125 && waiting.err.contains("no run in this directory has changes"),
        "{waiting:?}"
    );
}
