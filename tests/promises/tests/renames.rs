//! Directories of the host are renamed in a copy-on-write workspace as in any other.

use ringfence_promises::Place;

use crate::landing::host;

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
        host(place, TREE);
    }
    let moved = inside.run("", "git mv src lib && test ! -e src && ls -A lib lib/deep");
    assert!(moved.status == 0 && moved.out.contains("deep"), "{moved:?}");
    assert_eq!(host(&inside, "cat src/deep/er/c"), "c\n", "the host's files change with `apply`");
    let applied = inside.ringfence(&["apply"]);
    assert_eq!(applied.status, 0, "{applied:?}");
    host(&outside, "git mv src lib");
    assert_eq!(host(&inside, LIST), host(&outside, LIST));
    assert_eq!(inside.ringfence(&["undo"]).status, 0);
    assert_eq!(host(&inside, "git status --short; cat src/deep/er/c"), "c\n");
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
    host(&place, "mkdir one two sub empty full; touch one/1 two/2 full/x file");
    place.write("calls.py", CALLS);
    let outcome = place.run("", "/usr/bin/python3 calls.py");
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// The mount in it keeps its place, and so does everything else.
#[test]
fn what_is_protected_is_not_renamed_away() {
    let place = Place::new();
    host(&place, "mkdir -p d/below/kept d/more; touch d/below/kept/k d/more/m d/f");
    let before = host(&place, "find . | sort");
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
