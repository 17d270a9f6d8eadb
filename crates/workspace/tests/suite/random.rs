//! Random sequences of file operations, once on a copy and once in review: the same tree in the end, and after an undo
//! the tree from before.
//!
//! Left out by name, where an overlay differs from a directory: renaming a directory that was there before (EXDEV), and
//! hard links among files that were there before (they split on write).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ringfence_workspace::plan_undo;

use super::support::{Case, is_root, snapshot};

/// Sequences in a usual run; `RINGFENCE_TEST_SEQUENCES` asks for more.
const FEW: u64 = 60;
/// Sequences that one process does.
const BATCH: u64 = 30;
/// Operations of one sequence.
const LENGTH: u64 = 25;

/// Numbers that are the same for the same seed (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn name(&mut self) -> OsString {
        let names: [&[u8]; 9] =
            [b"a", b"b", b"A", b"two words", b"new\nline", b"caf\xe9", b"-x", b"c", &[b'n'; 255]];
        OsString::from_vec(names[usize::try_from(self.below(9)).unwrap()].to_vec())
    }

    /// Short, so that operations meet.
    fn path(&mut self) -> PathBuf {
        (0..=self.below(3)).map(|_| self.name()).collect()
    }

    fn text(&mut self) -> Vec<u8> {
        let length = [0, 1, 40, 5000][usize::try_from(self.below(4)).unwrap()];
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// Builds what is there before.
fn plant(root: &Path, random: &mut Random) {
    for _ in 0..20 {
        let path = root.join(random.path());
        let _ = fs::create_dir_all(path.parent().unwrap());
        match random.below(5) {
            0 => drop(fs::create_dir(&path)),
            1 => drop(symlink(random.name(), &path)),
            _ => drop(fs::symlink_metadata(&path).is_err().then(|| fs::write(&path, random.text()))),
        }
        if random.below(3) == 0 && fs::symlink_metadata(&path).is_ok_and(|stat| !stat.is_symlink()) {
            let _ = rustix::fs::lsetxattr(&path, "user.one", b"1", rustix::fs::XattrFlags::empty());
            let mode =
                0o400 | u32::try_from(random.below(0o400)).unwrap() | if path.is_dir() { 0o300 } else { 0 };
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        }
    }
}

/// One operation; what the system refuses is refused both times.
fn act(root: &Path, random: &mut Random, made: &mut BTreeSet<PathBuf>) {
    let (one, other) = (random.path(), random.path());
    let (path, second) = (root.join(&one), root.join(&other));
    let stat = fs::symlink_metadata(&path);
    let directory = stat.as_ref().is_ok_and(fs::Metadata::is_dir);
    let link = stat.as_ref().is_ok_and(fs::Metadata::is_symlink);
    let text = random.text();
    let number = random.below(0o1000);
    match random.below(16) {
        0 | 1 if !link => drop(fs::write(&path, text)),
        2 if !link => {
            let file = fs::OpenOptions::new().write(true).open(&path);
            let _ = file.and_then(|file| file.write_all_at(&text, number));
        }
        3 if !link => {
            let _ = fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(number));
        }
        4 => drop(fs::remove_file(&path)),
        5 | 6 if !directory => drop(fs::rename(&path, &second)),
        7 if !link => drop(fs::hard_link(&path, &second)),
        8 => {
            let _ = fs::remove_file(&path);
            let _ = symlink(random.name(), &path);
        }
        9 | 10 if !link && stat.is_ok() => {
            let mode = u32::try_from(number).unwrap() | if directory { 0o700 } else { 0 };
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        }
        11 if !link => {
            let _ = rustix::fs::lsetxattr(&path, "user.one", &text, rustix::fs::XattrFlags::empty());
            let _ = rustix::fs::lremovexattr(&path, "user.two");
        }
        12 if !link => drop(rustix::fs::lsetxattr(&path, "user.two", b"2", rustix::fs::XattrFlags::empty())),
        13 if fs::create_dir(&path).is_ok() => drop(made.insert(one)),
        14 => {
            let _ = if directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            made.retain(|made| !made.starts_with(&one));
            if number.is_multiple_of(3) && fs::create_dir(&path).is_ok() {
                let _ = fs::write(path.join("in"), text);
                made.insert(one);
            } else if number % 3 == 1 {
                let _ = fs::write(&path, text);
            }
        }
        15 if directory && made.contains(&one) && fs::rename(&path, &second).is_ok() => {
            let moved: Vec<_> = made.iter().filter(|made| made.starts_with(&one)).cloned().collect();
            for old in moved {
                made.remove(&old);
                made.insert(other.join(old.strip_prefix(&one).unwrap()).components().collect());
            }
        }
        _ => {}
    }
}

/// Not a test of its own: the task. Both times it is root of a user namespace.
#[test]
fn child() {
    let Ok(root) = std::env::var("RINGFENCE_TEST_ROOT") else { return };
    let seed = std::env::var("RINGFENCE_TEST_SEED").unwrap().parse().unwrap();
    let mut random = Random::new(seed);
    let mut made = BTreeSet::new();
    for _ in 0..LENGTH {
        act(Path::new(&root), &mut random, &mut made);
    }
}

fn task(case: &Case, copy: &Path, seed: u64) {
    let mount = "mount -t overlay overlay -o userxattr,lowerdir=host,upperdir=upper,workdir=work merged";
    let run = "\"$0\" --exact suite::random::child --nocapture > /dev/null";
    let script =
        format!("RINGFENCE_TEST_ROOT={} {run}; {mount}; RINGFENCE_TEST_ROOT=merged {run}", copy.display());
    let status = Command::new("unshare")
        .args(["-Urm", "bash", "-ec", &script])
        .arg(std::env::current_exe().unwrap())
        .env("RINGFENCE_TEST_SEED", seed.to_string())
        .current_dir(case.home.path())
        .status()
        .unwrap();
    assert!(status.success(), "seed {seed}");
}

fn one(seed: u64) {
    let copy = tempfile::tempdir().unwrap();
    plant(copy.path(), &mut Random::new(seed));
    let setup = format!("umask 022; cp -a {}/. .", copy.path().display());
    let case = Case::before(&setup);
    let before = snapshot(&case.host);
    assert_eq!(before, snapshot(copy.path()), "seed {seed}: the copy");
    task(&case, copy.path(), seed.wrapping_add(1 << 32));
    std::thread::sleep(std::time::Duration::from_millis(15));
    let wanted = snapshot(copy.path());
    let applied = case.apply();
    assert!(applied.is_ok(), "seed {seed}: {:?}", applied.err());
    assert_eq!(wanted, snapshot(&case.host), "seed {seed}: applied");
    // To look into what is closed to its owner, that look opened it: for an undo, it was changed since.
    let closed = |what: &String| {
        let mode = what.split(' ').next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let needed = if what.contains(" directory") { 0o500 } else { 0o400 };
        !what.contains(" -> ") && mode.is_none_or(|mode| mode & needed != needed)
    };
    if !is_root() && wanted.values().any(closed) {
        return;
    }
    if let Err(refused) = plan_undo(&case.journal(), &[], &[]).and_then(|undo| undo.carry_out(&mut |_| {})) {
        panic!("seed {seed}: {refused}");
    }
    assert_eq!(before, snapshot(&case.host), "seed {seed}: undone");
}

#[test]
fn random_sequences_land_and_are_undone() {
    let wanted = std::env::var("RINGFENCE_TEST_SEQUENCES").ok().and_then(|number| number.parse().ok());
    let first = std::env::var("RINGFENCE_TEST_FIRST").ok().and_then(|number| number.parse().ok());
    let (count, first) =
        (wanted.unwrap_or(FEW), first.unwrap_or(if wanted.is_some() { 1_000_000 } else { 0 }));
    for batch in (first..first + count).collect::<Vec<_>>().chunks(usize::try_from(BATCH).unwrap()) {
        std::thread::scope(|scope| {
            for part in batch.chunks(batch.len().div_ceil(2)) {
                scope.spawn(|| part.iter().for_each(|seed| one(*seed)));
            }
        });
    }
}
