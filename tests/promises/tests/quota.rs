//! `workspace.quota`: however a task fills its workspace, it ends, and the disk keeps its room.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringfence_promises::{Outcome, Place};

/// Looked at every 25 ms, so that more can be there for a moment: promised are 256 MiB.
const OVER: u64 = 256 << 20;
const QUOTA: u64 = 32 << 20;

fn run(place: &Place, mode: &str, script: &str) -> Outcome {
    place.run(&format!("[workspace]\nmode = \"{mode}\"\nquota = \"32MiB\"\n"), script)
}

/// Bytes on disk, as `du` counts them.
fn taken(path: &Path) -> u64 {
    let out = Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap().stdout;
    String::from_utf8_lossy(&out).split_whitespace().next().unwrap().parse().unwrap()
}

fn ended(place: &Place, script: &str) {
    let outcome = run(place, "review", script);
    assert_eq!(outcome.status, 137, "{script}: {outcome:?}");
    assert!(outcome.err.contains("32 MiB into its workspace (workspace.quota)"), "{outcome:?}");
    assert!(!outcome.out.contains("went on"), "{outcome:?}");
    let taken = taken(&place.state);
    assert!(taken < QUOTA + OVER, "{script}: {} MiB", taken >> 20);
}

#[test]
fn fills_end() {
    for script in [
        "dd if=/dev/zero of=big bs=1M count=1500 2>/dev/null; echo went on",
        // Names that are gone take room all the same.
        "exec 3>gone; rm gone; dd if=/dev/zero bs=1M count=1500 >&3 2>/dev/null; echo went on",
        // So do those that are mapped alone.
        "python3 -c \"
import ctypes, os
libc = ctypes.CDLL(None)
for i in range(150):
    fd = os.open('f', os.O_RDWR | os.O_CREAT)
    for _ in range(10):
        os.write(fd, bytes(1 << 20))
    if libc.mmap(None, 4096, 1, 2, fd, 0) == -1:
        break
    os.unlink('f')
    os.close(fd)
\"; echo went on",
        // However slowly, and whoever may not look.
        "python3 -c \"
import ctypes, os, time
ctypes.CDLL(None).prctl(4, 0)
fd = os.open('f', os.O_RDWR | os.O_CREAT)
os.unlink('f')
for i in range(600):
    os.write(fd, bytes(1 << 20))
    time.sleep(0.01)
\"; echo went on",
        // So does what its maker closed to everybody.
        "mkdir d; (sleep 0.1; chmod 0 d) & cd d; dd if=/dev/zero of=big bs=1M count=1500 2>/dev/null; echo went on",
        "python3 -c \"
import itertools
for i in itertools.count():
    open(f'f{i}', 'w').close()\"; echo went on",
    ] {
        ended(&Place::new(), script);
    }
}

#[test]
fn room_that_is_only_asked_for_is_refused_and_holes_are_free() {
    let place = Place::new();
    let outcome = run(
        &place,
        "review",
        "fallocate -l 3G f 2>/dev/null || echo refused; truncate -s 50G holes; dd if=/dev/zero of=ok bs=1M count=8 2>/dev/null && \
         rm ok && dd if=/dev/zero of=ok bs=1M count=8 2>/dev/null && echo fine",
    );
    assert_eq!((outcome.status, outcome.out.as_str()), (0, "refused\nfine\n"), "{outcome:?}");
    assert!(taken(&place.state) < QUOTA);
}

#[test]
fn in_memory_the_kernel_holds_it() {
    let place = Place::new();
    let outcome = run(
        &place,
        "temporary",
        "dd if=/dev/zero of=big bs=1M count=100 2>&1 | grep -o 'No space left'; ls -s --block-size=1M big",
    );
    assert!(outcome.out.starts_with("No space left\n"), "{outcome:?}");
    assert!(outcome.out.contains("32 big"), "{outcome:?}");
}

#[test]
fn checkpoints_count() {
    let place = Place::new();
    let policy = place.policy("[workspace]\nquota = \"32MiB\"\n");
    assert_eq!(place.ringfence(&["start", "dev", "--policy", &policy, "--workspace", "."]).status, 0);
    // It is looked at now and then: what was kept by the third is found soon after.
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    while std::time::Instant::now() < until {
        let write = match number {
            0..4 => format!("dd if=/dev/urandom of=f bs=1M count=12 2>/dev/null; echo {number}"),
            _ => "sleep 0.1".to_owned(),
        };
        let outcome = place.ringfence(&["exec", "dev", "--", "sh", "-c", &write]);
        let ended = outcome.status != 0 || number < 4 && place.ringfence(&["checkpoint", "dev"]).status != 0;
        if ended {
            assert!(number >= 2, "{outcome:?}");
            let told = place.ringfence(&["explain", "last"]);
            assert!(told.status == 0, "{told:?}");
            return;
        }
        number += 1;
    }
    panic!("four times 12 MiB were kept");
}

/// Memory that is shared has names as files have; it is none, however much somebody else writes meanwhile.
#[test]
fn shared_memory_is_no_file_of_a_quota() {
    let script = "import ctypes, mmap, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
one = mmap.mmap(-1, 1 << 16)
fd = libc.memfd_create(b'x', 1 | 8)
os.ftruncate(fd, 1 << 16)
assert libc.mmap(None, 1 << 16, 3, 1, fd, 0) != ctypes.c_void_p(-1).value
os.close(fd)
time.sleep(4)
print('went on')";
    for module in ["namespace", "landlock"] {
        let place = Place::new().in_tier(module);
        place.write("f", "x");
        let policy = place.policy("[workspace]\nquota = \"32MiB\"\n");
        let words =
            ["run", "--quiet", "--policy", &policy, "--workspace", ".", "--", "python3", "-c", script];
        let child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let other = std::fs::File::create(place.home.join("other")).unwrap();
        // While it is looked at again and again.
        for _ in 0..200 {
            (&other).write_all(&vec![1; 1 << 20]).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success() && done.stdout == b"went on\n", "{module}: {done:?}");
    }
}

#[test]
fn where_it_cannot_be_held_nothing_runs() {
    let place = Place::new();
    for (policy, why) in [
        ("[workspace]\nmode = \"direct\"\nquota = \"1GiB\"\n", "the host's own files"),
        ("[workspace]\nquota = \"1GiB\"\n[limits]\nexact = true\n", "limits.exact"),
        ("[workspace]\nquota = \"1GiB\"\n[runtime]\nio_uring = true\n", "io_uring"),
    ] {
        let outcome = place.run(policy, "echo ran");
        assert!(outcome.status == 125 && outcome.err.contains(why) && outcome.out.is_empty(), "{outcome:?}");
    }
}

#[test]
fn a_named_sandbox_says_which_limit_ended_it() {
    let place = Place::new();
    let policy = place.policy("[workspace]\nquota = \"32MiB\"\n");
    assert_eq!(place.ringfence(&["start", "dev", "--policy", &policy]).status, 0);
    let ended =
        place.ringfence(&["exec", "dev", "--", "dd", "if=/dev/zero", "of=big", "bs=1M", "count=1500"]);
    assert_eq!(ended.status, 137, "{ended:?}");
    assert!(ended.err.contains("32 MiB into its workspace (workspace.quota)"), "{ended:?}");
}
