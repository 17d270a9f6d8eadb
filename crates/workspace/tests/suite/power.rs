//! The power is cut at any point of an apply, of its recovery or of an undo: what was not on disk is lost (ioctl FS_IOC_SHUTDOWN, without
//! a flush of the journal), and the host's files are as before or as after.
//!
//! As root, with a file system on a loop device in a mount namespace of its own. `RINGFENCE_TEST_POINTS` says how many points.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringfence_workspace::{Layer, plan_undo, recover};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::crash::{SETUP, Snapshot, TASK};
use super::support::{Case, leftovers, snapshot};

/// Cuts the power of the file system whose path it is told.
const CUT: &str = "import fcntl, os, struct, sys
for line in sys.stdin:
    fd = os.open(line.rstrip('\\n'), os.O_RDONLY)
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))
    os.close(fd)
    print('cut', flush=True)";

struct Power {
    child: Child,
    told: BufReader<std::process::ChildStdout>,
}

impl Power {
    fn new() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", CUT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        Self { child, told }
    }

    fn cut(&mut self, at: &Path) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", at.display()).unwrap();
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert_eq!(line, "cut\n", "the power could not be cut");
    }
}

/// Runs the test of that name once more in a mount namespace of its own; `false`: it is done, or nobody but root can.
pub(crate) fn in_a_namespace(name: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        // Nobody else may mount a file system.
        return false;
    }
    if std::env::var_os("RINGFENCE_TEST_OWN").is_none() {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--nocapture"]);
        assert!(command.env("RINGFENCE_TEST_OWN", "1").status().unwrap().success());
        return false;
    }
    true
}

pub(crate) fn shell(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A file system in a file, with a case on it.
struct Disk {
    image: PathBuf,
    at: PathBuf,
    case: Case,
}

impl Disk {
    fn mount(&self) {
        shell(&format!("mount -o loop {} {}", self.image.display(), self.at.display()));
    }

    fn unmount(&self) {
        shell(&format!("umount {}", self.at.display()));
    }

    /// As after a cut: only what was on disk is there, on a device of another number.
    fn again(&self) {
        let (image, at) = (self.image.display(), self.at.display());
        shell(&format!("next=$(losetup -f --show {image}); umount {at}; mount $next {at}; losetup -d $next"));
    }
}

/// How the process that is cut off gets there.
enum Point {
    Step(usize),
    After(Duration),
}

fn spawn(case: &Case, point: &Point, what: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "suite::crash::child"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("RINGFENCE_TEST_JOURNAL", case.journal());
    let layers: Vec<Layer> = case.layers();
    command.env("RINGFENCE_TEST_LAYERS", serde_json::to_string(&layers).unwrap());
    if what == "recover" {
        command.env("RINGFENCE_TEST_RECOVER", "1");
    } else if what == "undo" {
        command.env("RINGFENCE_TEST_UNDO", "1");
    }
    if let Point::Step(step) = point {
        command.env("RINGFENCE_TEST_PAUSE", step.to_string());
    }
    command.spawn().unwrap()
}

/// Cuts the power at this point; `false`: it was through before.
fn cut_off(disk: &Disk, power: &mut Power, point: &Point, what: &str) -> bool {
    let mut child = spawn(&disk.case, point, what);
    let pid = Pid::from_child(&child);
    let early = match point {
        Point::After(time) => {
            std::thread::sleep(*time);
            true
        }
        Point::Step(_) => {
            let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
            status.stopped()
        }
    };
    if early {
        power.cut(&disk.at);
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = child.wait();
    disk.again();
    early
}

fn whole(case: &Case, old: &Snapshot, new: &Snapshot, what: &str) -> bool {
    let recovered = recover(&case.journal()).unwrap();
    let now = snapshot(&case.host);
    assert!(leftovers(&case.host).is_empty(), "{what}: left behind: {:?}", leftovers(&case.host));
    assert!(now == *old || now == *new, "{what}: neither old nor new after {recovered:?}: {now:#?}");
    now == *new
}

#[test]
fn what_was_replaced_is_kept_though_nobody_had_synced_it() {
    if !in_a_namespace("suite::power::what_was_replaced_is_kept_though_nobody_had_synced_it") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (image, at) = (home.path().join("image"), home.path().join("disk"));
    std::fs::create_dir(&at).unwrap();
    // Nothing is written back unless somebody asks for it.
    shell(&format!(
        "truncate -s 24M {0}; mkfs.ext4 -q -b 1024 {0}; mount -o loop,commit=300 {0} {1}",
        image.display(),
        at.display()
    ));
    let case = Case::before_in(
        tempfile::tempdir_in(&at).unwrap(),
        "mkdir d; for file in a gone d/in; do seq 30 > $file; done",
    );
    let old = snapshot(&case.host);
    // Not by an overlay: its end would sync the file system.
    shell(&format!("cd {}; echo two > a; mknod gone c 0 0; mknod d c 0 0", case.layer.upper.display()));
    let disk = Disk { image, at, case };
    assert!(spawn(&disk.case, &Point::After(Duration::ZERO), "apply").wait().unwrap().success());
    let new = snapshot(&disk.case.host);
    let mut power = Power::new();
    power.cut(&disk.at);
    disk.again();
    assert!(whole(&disk.case, &old, &new, "after a whole apply") && old != new);
    plan_undo(&disk.case.journal(), &[], &[]).unwrap().carry_out(&mut |_| {}).unwrap();
    assert_eq!(snapshot(&disk.case.host), old);
    disk.unmount();
    let _ = power.child.kill();
    let _ = power.child.wait();
}

#[test]
fn cut_at_any_point() {
    if !in_a_namespace("suite::power::cut_at_any_point") {
        return;
    }
    let points: usize = std::env::var("RINGFENCE_TEST_POINTS").map_or(12, |points| points.parse().unwrap());
    // In memory, where writing is quick: what counts is the order.
    let memory = Path::new("/dev/shm");
    let home = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let home = home.unwrap();
    let (template, image, at) =
        (home.path().join("template"), home.path().join("image"), home.path().join("disk"));
    std::fs::create_dir(&at).unwrap();
    shell(&format!(
        "truncate -s 24M {0}; mkfs.ext4 -q -b 1024 {0}; mount -o loop {0} {1}",
        template.display(),
        at.display()
    ));
    let case = Case::within(&at, SETUP, TASK);
    let old = snapshot(&case.host);
    shell(&format!("sync; umount {}", at.display()));
    let disk = Disk { image, at, case };
    let mut power = Power::new();
    let renew = |disk: &Disk| {
        shell(&format!("cp --sparse=always {} {}", template.display(), disk.image.display()));
        disk.mount();
    };
    // How it is when nothing happens, and how long that takes.
    renew(&disk);
    let begun = Instant::now();
    assert!(spawn(&disk.case, &Point::After(Duration::ZERO), "apply").wait().unwrap().success());
    let long = begun.elapsed();
    let new = snapshot(&disk.case.host);
    assert_ne!(old, new);
    disk.unmount();
    // An apply of these has some 55 steps.
    let stride = (56 / points).max(1);
    let (mut before, mut after, mut steps) = (0, 0, true);
    for number in 0..points {
        renew(&disk);
        // Each step once, then any moment; the multiplier spreads them evenly (Knuth's, 2^32 divided by the golden ratio).
        let share = (number as u64).wrapping_mul(2_654_435_769) & 0xffff_ffff;
        let point = match steps {
            true => Point::Step(number * stride),
            false => Point::After(long.mul_f64(share as f64 / 4_294_967_296.0)),
        };
        steps &= cut_off(&disk, &mut power, &point, "apply");
        if number % 3 == 0 {
            cut_off(
                &disk,
                &mut power,
                &Point::After(long.mul_f64(0.3 * (share as f64 / 4_294_967_296.0))),
                "recover",
            );
        }
        if whole(&disk.case, &old, &new, &format!("point {number}")) {
            after += 1;
            if number % 4 == 0 {
                let place = disk.case.journal();
                cut_off(
                    &disk,
                    &mut power,
                    &Point::After(long.mul_f64(share as f64 / 4_294_967_296.0)),
                    "undo",
                );
                let reverted = ringfence_workspace::reverted(&place);
                recover(&reverted).unwrap();
                let now = snapshot(&disk.case.host);
                assert!(now == old || now == new, "undo at point {number}: {now:#?}");
            } else {
                plan_undo(&disk.case.journal(), &[], &[]).unwrap().carry_out(&mut |_| {}).unwrap();
                assert_eq!(snapshot(&disk.case.host), old, "point {number}");
            }
        } else {
            before += 1;
            // What was rolled back can be applied again.
            disk.case.apply().unwrap();
            assert_eq!(snapshot(&disk.case.host), new, "point {number}");
        }
        disk.unmount();
    }
    println!("{points} points: {before} times as before, {after} times as after");
    assert!(before > points / 3 && before + after == points, "{before} before, {after} after");
    let _ = power.child.kill();
    let _ = power.child.wait();
}
