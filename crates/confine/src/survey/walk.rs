//! A walk through a tree that remembers, until the next run, what it saw of directories that have not changed since.
//!
//! What is remembered decides what is hidden, so it is believed only where it cannot be wrong: the same directory (device, inode) with
//! the same times of change, on a file system that keeps such times to the nanosecond, last changed well before it was read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Of what is written; others are not read.
const VERSION: u32 = 1;
/// Bytes of the largest file that is read: a million directories.
const MOST: u64 = 128 << 20;
/// Nanoseconds. The kernel stamps changes with the time of its last tick, 10 ms ago at most (CONFIG_HZ=100).
const TICK: i128 = 50_000_000;
/// statfs(2): ext4, xfs, btrfs, tmpfs, f2fs. Not those whose changes another machine or program makes (nfs, fuse), nor overlays,
/// whose lower layers may change unseen.
const EXACT: [i64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010];

/// Trees that are remembered, each with what was looked for.
const MOST_TREES: usize = 64;
/// Bytes of the longest path that is looked through: names below it are still paths that the kernel takes (PATH_MAX).
const LONGEST: usize = 3500;
/// Threads, and the directories that are worth one.
const MOST_WORKERS: usize = 8;
const SHARE: usize = 256;

/// What a visitor says of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It does not matter.
    Nothing,
    /// It is marked, with all that is below it.
    Marked,
    /// A directory that is to be looked through.
    Below,
}

#[derive(Serialize, Deserialize, Default)]
struct Memory {
    version: u32,
    root: Vec<u8>,
    /// What was looked for.
    wanted: Vec<String>,
    /// By their paths.
    directories: BTreeMap<Vec<u8>, Known>,
}

#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
struct Known {
    stamp: Stamp,
    /// Directories that were looked through.
    below: Vec<Vec<u8>>,
    /// Entries that were marked, and the type bits of each.
    marked: Vec<(Vec<u8>, u32)>,
}

/// What changes when an entry of a directory does.
#[derive(Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, u64),
    modified: (i64, u64),
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "the types differ between architectures")]
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        }
    }

    /// Whether a later change cannot bear the same time.
    fn settled(&self, now: i128) -> bool {
        let [changed, modified] = [self.changed, self.modified]
            .map(|(seconds, nanoseconds)| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds));
        changed.max(modified) + TICK < now
    }
}

/// Visits everything below `root`, links not followed. `wanted` is all that `visit` goes by; `store` is where it is remembered.
/// Returns the directories that could not be looked through, though a task might find something in them.
pub(super) fn walk(
    root: &Path,
    wanted: &[String],
    store: Option<&Path>,
    visit: &mut dyn FnMut(&Path, FileType) -> Seen,
) -> Vec<PathBuf> {
    let store = store.filter(|_| exact(root));
    let file = store.map(|store| store.join(name(root, wanted)));
    let known = file.as_deref().and_then(|file| recall(file, root, wanted)).unwrap_or_default();
    let unchanged = unchanged(&known.directories);
    let device = fs::stat(root).map(|stat| Stamp::of(&stat).device).ok();
    let (mut seen, mut fresh) = (HashSet::new(), BTreeMap::new());
    let mut level = vec![root.to_path_buf()];
    let mut unread = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        let mut changed = Vec::new();
        for directory in level {
            let key = directory.as_os_str().as_bytes();
            let Some((known, _)) = unchanged.get(key).filter(|(_, unchanged)| *unchanged) else {
                changed.push(directory);
                continue;
            };
            for (name, kind) in &known.marked {
                visit(&directory.join(OsStr::from_bytes(name)), FileType::from_raw_mode(*kind));
            }
            next.extend(known.below.iter().map(|name| directory.join(OsStr::from_bytes(name))));
            seen.insert(key.to_vec());
        }
        let lists = in_parallel(&changed, |directory| read(directory));
        for (directory, listing) in changed.iter().zip(lists) {
            let Some((stamp, listed)) = listing else {
                unread.push(directory.clone());
                continue;
            };
            let mut kept = Known { stamp: stamp.unwrap_or_default(), below: Vec::new(), marked: Vec::new() };
            for (path, file_type) in listed {
                let name = || path.file_name().unwrap_or_default().as_bytes().to_vec();
                match visit(&path, file_type) {
                    Seen::Nothing => {}
                    Seen::Marked => kept.marked.push((name(), file_type.as_raw_mode())),
                    Seen::Below => {
                        kept.below.push(name());
                        next.push(path);
                    }
                }
            }
            if stamp.is_some_and(|stamp| Some(stamp.device) == device) {
                fresh.insert(directory.as_os_str().as_bytes().to_vec(), kept);
            }
        }
        level = next;
    }
    // What cannot be remembered is looked through again.
    if let Some(file) = file.filter(|_| !fresh.is_empty() || seen.len() != known.directories.len()) {
        let mut directories = known.directories;
        directories.retain(|key, _| seen.contains(key));
        directories.append(&mut fresh);
        let memory = Memory {
            version: VERSION,
            root: root.as_os_str().as_bytes().to_vec(),
            wanted: wanted.to_vec(),
            directories,
        };
        let _ = remember(&file, &memory);
    }
    unread
}

/// Which directories are as they were.
fn unchanged(known: &BTreeMap<Vec<u8>, Known>) -> HashMap<&[u8], (&Known, bool)> {
    let all: Vec<(&[u8], &Known)> = known.iter().map(|(path, known)| (path.as_slice(), known)).collect();
    let same = |(path, known): &(&[u8], &Known)| {
        fs::statat(CWD, OsStr::from_bytes(path), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| Stamp::of(&stat) == known.stamp)
    };
    let found = in_parallel(&all, same);
    all.into_iter().zip(found).map(|((path, known), same)| (path, (known, same))).collect()
}

/// Does the same to each, by all processors where they are many. All threads have ended when it returns.
fn in_parallel<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
    let share = items.len().div_ceil(workers).max(SHARE);
    let all = |part: &[T]| part.iter().map(&each).collect::<Vec<R>>();
    let all = &all;
    std::thread::scope(|scope| {
        let mut parts = items.chunks(share);
        let own = parts.next().unwrap_or_default();
        let start = |part| std::thread::Builder::new().spawn_scoped(scope, move || all(part)).ok();
        let others: Vec<(&[T], _)> = parts.map(|part| (part, start(part))).collect();
        let mut found = all(own);
        for (part, other) in others {
            // Where no more threads are to be had, or one failed, it is done here.
            found.extend(other.and_then(|other| other.join().ok()).unwrap_or_else(|| all(part)));
        }
        found
    })
}

/// A directory's stamp where that will tell of every later change, and its entries.
type Listing = (Option<Stamp>, Vec<(PathBuf, FileType)>);

/// Looks into a directory. None where it cannot be looked through and a task may open what lies in it all the same.
pub(super) fn read(directory: &Path) -> Option<Listing> {
    match listing(directory) {
        // Root is asked for nothing; what builds its sandbox has no such rights.
        Ok((stat, _)) if rustix::process::geteuid().is_root() && stat.st_mode & 0o500 != 0o500 => None,
        Ok((_, found)) => Some(found),
        Err(errno) if out_of_reach(directory, errno) => Some((None, Vec::new())),
        Err(_) => None,
    }
}

fn listing(directory: &Path) -> Result<(Stat, Listing), Errno> {
    if directory.as_os_str().len() > LONGEST {
        return Err(Errno::NAMETOOLONG);
    }
    let now = clock_gettime(ClockId::Realtime);
    let now = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(CWD, directory, flags, Mode::empty())?;
    // Before it is read: a change while it is read is a later one. By its name in itself, which must be searched, too: names that
    // can only be listed cannot be hidden, and their owner can change that.
    let stat = fs::statat(&file, ".", AtFlags::empty())?;
    let stamp = Some(Stamp::of(&stat)).filter(|stamp| stamp.settled(now));
    let mut listed = Vec::new();
    for entry in Dir::read_from(&file)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let path = directory.join(OsStr::from_bytes(entry.file_name().to_bytes()));
        let file_type = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
            known => known,
        };
        listed.push((path, file_type));
    }
    Ok((stat, (stamp, listed)))
}

/// Whether nothing in a directory that cannot be listed can be reached by a task of the same user: it is gone, or may neither be
/// passed through nor be changed so that it may.
fn out_of_reach(directory: &Path, errno: Errno) -> bool {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => true,
        Errno::ACCESS | Errno::PERM => {
            let passed = fs::statat(CWD, directory.join("."), AtFlags::empty()).is_ok();
            let own = fs::statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
            !passed && !own
        }
        _ => false,
    }
}

/// A directory's entries, as far as whoever asks may list them.
pub(super) fn entries(directory: &Path) -> Vec<(PathBuf, FileType)> {
    listing(directory).map(|(_, (_, listed))| listed).unwrap_or_default()
}

/// As many of them: each is a directory, a link or neither.
pub(super) fn some_entries(directory: &Path, most: usize) -> Vec<(PathBuf, FileType)> {
    let kind = |entry: &std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => FileType::Directory,
        Ok(kind) if kind.is_symlink() => FileType::Symlink,
        _ => FileType::RegularFile,
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().take(most);
    entries.map(|entry| (entry.path(), kind(&entry))).collect()
}

/// Whether its file system tells of every change by a directory's times.
fn exact(root: &Path) -> bool {
    #[expect(clippy::unnecessary_cast, reason = "the types differ between architectures")]
    fs::statfs(root).is_ok_and(|found| EXACT.contains(&(found.f_type as i64)))
}

/// A name for what is remembered; two that share one forget each other.
fn name(root: &Path, wanted: &[String]) -> String {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    format!("{:016x}", hasher.hash_one((root.as_os_str(), wanted)))
}

/// Only what this very user wrote, whole.
fn recall(path: &Path, root: &Path, wanted: &[String]) -> Option<Memory> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let stat = fs::fstat(&file).ok()?;
    let own = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !own || !regular {
        return None;
    }
    let mut bytes = Vec::new();
    File::from(file).take(MOST).read_to_end(&mut bytes).ok()?;
    let memory: Memory = postcard::from_bytes(&bytes).ok()?;
    let same =
        memory.version == VERSION && memory.root == root.as_os_str().as_bytes() && memory.wanted == wanted;
    same.then_some(memory)
}

/// In one step: a run beside this one reads all of it or none.
fn remember(path: &Path, memory: &Memory) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(memory).map_err(std::io::Error::other)?;
    let directory = path.parent().unwrap_or(path);
    match fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Trees and policies come and go: now and then all is forgotten.
    if std::fs::read_dir(directory)?.count() > MOST_TREES {
        std::fs::remove_dir_all(directory)?;
        fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o700))?;
    }
    let temporary = path.with_extension(std::process::id().to_string());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(fs::openat(CWD, &temporary, flags, Mode::from_raw_mode(0o600))?);
    let written = file.write_all(&bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is found below a root of entries that begin with `x`, and whether it was remembered.
    fn found(root: &Path, store: Option<&Path>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(root, &["x*".to_owned()], store, &mut |path, file_type| {
            if path.file_name().unwrap().as_bytes().starts_with(b"x") {
                found.push(path.to_path_buf());
                Seen::Marked
            } else if file_type == FileType::Directory {
                Seen::Below
            } else {
                Seen::Nothing
            }
        });
        found.sort();
        found
    }

    /// Numbers that are the same each time (xorshift).
    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn change(directories: &mut Vec<PathBuf>, state: &mut u64) {
        let pick = |state: &mut u64| usize::try_from(next(state)).unwrap_or(0);
        let at = directories[pick(state) % directories.len()].clone();
        let name = format!("{}{}", ["x", "y", "z"][pick(state) % 3], next(state) % 8);
        let path = at.join(name);
        match next(state) % 7 {
            0 | 1 => drop(std::fs::write(&path, "")),
            2 => drop(std::fs::remove_file(&path)),
            3 if std::fs::create_dir(&path).is_ok() => directories.push(path),
            // What was below it goes along, under its old names as well as the new.
            4 => drop(std::fs::rename(&path, at.join(format!("y{}", next(state) % 8)))),
            5 => {
                let other = directories[pick(state) % directories.len()].join("xlink");
                drop(std::fs::hard_link(&path, other));
            }
            _ => drop(std::os::unix::fs::symlink("x1", &path)),
        }
        directories.retain(|directory| directory.is_dir());
    }

    #[test]
    fn what_is_remembered_is_what_is_there() {
        let base = tempfile::tempdir().unwrap();
        let (root, store) = (base.path().join("root"), base.path().join("store"));
        std::fs::create_dir(&root).unwrap();
        let mut directories = vec![root.clone()];
        let mut state = 0x9E37_79B9_7F4A_7C15;
        for round in 0..400 {
            for _ in 0..next(&mut state) % 4 {
                change(&mut directories, &mut state);
            }
            assert_eq!(found(&root, Some(&store)), found(&root, None), "round {round}");
            if round % 40 == 0 {
                std::thread::sleep(Duration::from_millis(60));
            }
        }
    }

    /// Where change times are no finer than a tick (before Linux 6.13), the margin is what makes that so.
    #[test]
    fn a_change_right_after_it_was_read_is_seen() {
        let base = tempfile::tempdir().unwrap();
        let (root, store) = (base.path().join("root"), base.path().join("store"));
        for number in 0..200 {
            let at = root.join(number.to_string());
            std::fs::create_dir_all(&at).unwrap();
            assert!(found(&at, Some(&store)).is_empty());
            std::fs::write(at.join("x"), "").unwrap();
            assert_eq!(found(&at, Some(&store)).len(), 1, "{number}");
        }
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let base = tempfile::tempdir().unwrap();
        let (root, store) = (base.path().join("root"), base.path().join("store"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(root.join("a/x"), "").unwrap();
        std::thread::sleep(Duration::from_millis(80));
        assert_eq!(found(&root, Some(&store)).len(), 1);
        let file = std::fs::read_dir(&store).unwrap().next().unwrap().unwrap().path();
        let mut memory: Memory = postcard::from_bytes(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(memory.directories.len(), 2);
        // What is told is what is remembered, true or not: so it was not read. From nobody else is it believed.
        let key = root.join("a").as_os_str().as_bytes().to_vec();
        memory.directories.get_mut(&key).unwrap().marked.clear();
        remember(&file, &memory).unwrap();
        assert!(found(&root, Some(&store)).is_empty());
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o620)).unwrap();
        assert_eq!(found(&root, Some(&store)).len(), 1);
        std::fs::write(&file, b"\xff\xff\xff\xff\xff\xff").unwrap();
        assert_eq!(found(&root, Some(&store)).len(), 1);
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert_eq!(found(&root, Some(&store)).len(), 1);
    }
}
