//! What is kept of a directory that a task changes itself: [`snapshot`] copies it before, [`reverse`] makes of what became of it an upper
//! directory that says how it was, so that an undo is an apply like every other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{self as kernel, AtFlags, Mode};
use rustix::io::Errno;

use crate::beneath::{MAX_PATH, Tree, look_at, names, reopen};
use crate::change::FileType;
use crate::copy::{Copied, copy};
use crate::layer::{Identity, Timestamp};
use crate::opened::{Opened, close_again, closed_again, is_closed};
use crate::operation::enterable;
use crate::overlay::whiteout;
use crate::refuse::Failure;
use crate::restored::Restored;

const COPY: &str = "copy";
const UPPER: &str = "upper";
/// The host's inode numbers, each before its path and ended by NUL.
const INODES: &str = "inodes";

/// Copies `host` below `place`, a directory of ours; blocks are shared where the file system can. `keep` keeps owners.
///
/// # Errors
/// As of [`copy`].
pub fn snapshot(
    host: &Path,
    place: &Path,
    keep: bool,
    progress: &mut dyn FnMut(Copied) -> bool,
) -> Result<Copied, Failure> {
    let io = |error: std::io::Error| {
        Failure::of("write", place)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    std::fs::create_dir(place.join(COPY)).map_err(io)?;
    let done = copy(host, place, &[], keep, progress)?;
    let tree = Tree::host(host).map_err(Failure::of("open", host))?;
    let mut inodes = BufWriter::new(File::create_new(place.join(INODES)).map_err(io)?);
    let mut queue = vec![PathBuf::new()];
    while let Some(path) = queue.pop() {
        let directory = tree.directory(&path).map_err(Failure::of("read", &host.join(&path)))?;
        for name in names(&directory).map_err(Failure::of("read", &host.join(&path)))? {
            let path = path.join(&name);
            let found = look_at(&directory, &name).map_err(Failure::of("look at", &host.join(&path)))?;
            let Some(found) = found else { continue };
            let line = [format!("{} ", found.inode).as_bytes(), path.as_os_str().as_bytes(), b"\0"].concat();
            inodes.write_all(&line).map_err(io)?;
            if FileType::of(found.mode) == FileType::Directory && path.as_os_str().len() < MAX_PATH {
                queue.push(path);
            }
        }
    }
    inodes.flush().map_err(io)?;
    Ok(done)
}

/// What puts a workspace back.
#[derive(Debug)]
pub struct Reversed {
    /// The upper directory that says how it was.
    pub upper: PathBuf,
    /// Directories of which somebody changed the mode since the task's end: they keep it.
    pub others_modes: Vec<PathBuf>,
}

/// Makes the upper directory below `place`. `started` is when the task began: what has not changed since, and is the same inode, is as it
/// was. What changed after `ended` is somebody else's. Directories that the task closed are opened, until [`close_again`]; an apply that
/// has `place` among its journals does not take that, or an owner's chmod, for another directory.
///
/// # Errors
/// The first thing that cannot be read or made.
pub fn reverse(host: &Path, place: &Path, started: Timestamp, ended: Timestamp) -> Result<Reversed, Failure> {
    close_again(host, place)?;
    let made = compare(host, place, started, ended);
    if made.is_err() {
        close_again(host, place)?;
    }
    made
}

fn compare(host: &Path, place: &Path, started: Timestamp, ended: Timestamp) -> Result<Reversed, Failure> {
    let upper = place.join(UPPER);
    let _ = crate::remove_tree(&upper);
    let io = |error: std::io::Error| {
        Failure::of("make", &upper)(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    std::fs::create_dir(&upper).map_err(io)?;
    let inodes = read_inodes(&place.join(INODES)).map_err(Failure::of("read", &place.join(INODES)))?;
    let open = |path: &Path| Tree::own(path).map_err(Failure::of("open", path));
    let copy = open(&place.join(COPY))?;
    // The mode of the host's own directory is no entry of it: closed, nothing in it could be looked at or put back.
    reopen(host, copy.identity.mode).map_err(Failure::of("open", host))?;
    let mut reverse = Reverse {
        own: open(place)?,
        host: Tree::host(host).map_err(Failure::of("open", host))?,
        copy,
        upper: open(&upper)?,
        inodes,
        started,
        ended,
        opened: Opened::new(place).map_err(Failure::of("write below", place))?,
        closed: closed_again(place),
        traces: Restored::default(),
        modes: BTreeMap::new(),
        placed: BTreeMap::new(),
        others_modes: Vec::new(),
    };
    let mut queue = vec![(PathBuf::new(), true)];
    while let Some((path, there)) = queue.pop() {
        queue.extend(reverse.directory(&path, there).map_err(Failure::of("compare", &path))?);
    }
    reverse.placed.insert(PathBuf::new(), reverse.copy.identity.mode & 0o7777);
    // The innermost first: closed, nothing in it could be reached.
    while let Some((path, mode)) = reverse.placed.pop_last() {
        let done =
            reverse.upper.directory(&path).and_then(|made| kernel::fchmod(made, Mode::from_raw_mode(mode)));
        done.map_err(Failure::of("finish", &upper.join(&path)))?;
    }
    reverse.traces.save(place).map_err(Failure::of("write below", place))?;
    Ok(Reversed { upper, others_modes: reverse.others_modes })
}

fn read_inodes(path: &Path) -> Result<BTreeMap<PathBuf, u64>, Errno> {
    let text = std::fs::read(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let one = |line: &[u8]| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (inode, path) = line.split_at(space);
        let inode = std::str::from_utf8(inode).ok()?.parse().ok()?;
        Some((PathBuf::from(OsString::from_vec(path.get(1..)?.to_vec())), inode))
    };
    Ok(text.split(|byte| *byte == 0).filter_map(one).collect())
}

struct Reverse {
    /// The snapshot's directory.
    own: Tree,
    host: Tree,
    copy: Tree,
    upper: Tree,
    inodes: BTreeMap<PathBuf, u64>,
    started: Timestamp,
    ended: Timestamp,
    opened: Opened,
    /// What an earlier undo, which was refused, opened and closed again.
    closed: Restored,
    /// Directories as they stand by our doing, or by an owner's who gave them another mode.
    traces: Restored,
    /// The modes of those.
    modes: BTreeMap<PathBuf, u32>,
    /// What each directory of the upper one has in the end.
    placed: BTreeMap<PathBuf, u32>,
    others_modes: Vec<PathBuf>,
}

impl Reverse {
    /// Compares a directory of the copy with the host's; `there`: the host has it. Those below are left to the caller.
    fn directory(&mut self, path: &Path, there: bool) -> Result<Vec<(PathBuf, bool)>, Errno> {
        let from = self.copy.directory(path)?;
        let host = if there { Some(self.enter(path)?) } else { None };
        if let Some(host) = &host {
            self.note_closed(path, host)?;
        }
        let mut further = Vec::new();
        let kept = names(&from)?;
        for name in &kept {
            let path = path.join(name);
            let Some(then) = look_at(&from, name)? else { continue };
            let now = host.as_ref().map_or(Ok(None), |host| look_at(host, name))?;
            let same_type = now.is_some_and(|now| FileType::of(now.mode) == FileType::of(then.mode));
            if FileType::of(then.mode) == FileType::Directory {
                let now = now.filter(|_| same_type);
                let someone = now.filter(|now| self.has_anothers_mode(&path, now, &then));
                if let Some(now) = someone {
                    self.modes.insert(path.clone(), now.mode);
                    self.others_modes.push(path.clone());
                }
                let differs = now.is_none_or(|now| now.mode & 0o1777 != then.mode & 0o1777);
                // What somebody closed is opened to be looked into, and closed with the rest.
                if someone.map_or(differs, |now| !enterable(now.mode)) {
                    self.place(&path)?;
                }
                if path.as_os_str().len() < MAX_PATH {
                    further.push((path, same_type));
                }
                continue;
            }
            if !(same_type && now.is_some_and(|now| self.untouched(&path, &now))) {
                let to = self.place(path.parent().unwrap_or(Path::new("")))?;
                kernel::linkat(&from, name, &to, name, AtFlags::empty())?;
            }
            self.open_below(&path, now)?;
        }
        for name in host.as_ref().map_or(Ok(Vec::new()), names)? {
            let path = path.join(&name);
            let Some(now) = host.as_ref().map_or(Ok(None), |host| look_at(host, &name))? else { continue };
            // Sockets and the like are not copied, and stay.
            let copied =
                matches!(FileType::of(now.mode), FileType::File | FileType::Directory | FileType::Symlink);
            let old = self.inodes.get(&path) == Some(&now.inode) && !copied;
            if kept.binary_search(&name).is_err() && !old {
                let to = self.place(path.parent().unwrap_or(Path::new("")))?;
                whiteout(&self.own, &to, &name)?;
                self.open_below(&path, Some(now))?;
            }
        }
        Ok(further)
    }

    /// Opens a directory of the host, and remembers what is no change of its content.
    fn enter(&mut self, path: &Path) -> Result<OwnedFd, Errno> {
        let before = self.host.look(path)?.ok_or(Errno::NOENT)?;
        // By its number it is the one from before the task, and no entry came or went: only its mode or attributes were changed.
        let same = self.inodes.get(path) == Some(&before.inode) && before.changed != before.modified;
        let later = self.later(path, &before);
        let nobodys = !later || same;
        let (directory, opened) = self.opened.directory(&self.host, path, !later)?;
        let touched = opened || before.changed >= self.ended;
        if !path.as_os_str().is_empty() && nobodys && touched {
            let now = Identity::of(&kernel::fstat(&directory)?);
            self.traces.know(0, path, now);
        }
        Ok(directory)
    }

    /// Writes down together what is closed in a directory: once for all of it is waited for the disk.
    fn note_closed(&mut self, path: &Path, directory: &OwnedFd) -> Result<(), Errno> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let mut closed = Vec::new();
        for name in names(directory)? {
            let path = path.join(&name);
            if let Some(found) = look_at(directory, &name)?.filter(is_closed) {
                let nobodys = !self.later(&path, &found);
                closed.push((path, found, nobodys));
            }
        }
        self.opened.note(&closed)
    }

    /// Opens what the task closed in what goes away: it is looked at before.
    fn open_below(&mut self, path: &Path, found: Option<Identity>) -> Result<(), Errno> {
        let is_directory = |found: &Identity| {
            FileType::of(found.mode) == FileType::Directory && found.device == self.host.identity.device
        };
        if !found.as_ref().is_some_and(is_directory) || rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let mut queue = vec![path.to_owned()];
        while let Some(path) = queue.pop() {
            let directory = match self.enter(&path) {
                // Something is mounted there: that is refused later.
                Err(Errno::XDEV) => continue,
                other => other?,
            };
            self.note_closed(&path, &directory)?;
            for name in names(&directory)? {
                let path = path.join(&name);
                let below = look_at(&directory, &name)?;
                if below.is_some_and(|below| FileType::of(below.mode) == FileType::Directory)
                    && path.as_os_str().len() < MAX_PATH
                {
                    queue.push(path);
                }
            }
        }
        Ok(())
    }

    /// Did somebody give the directory another mode since the task's end? Entries that are made or removed set both times.
    fn has_anothers_mode(&self, path: &Path, now: &Identity, then: &Identity) -> bool {
        now.mode & 0o1777 != then.mode & 0o1777
            && self.inodes.get(path) == Some(&now.inode)
            && self.later(path, now)
            && now.changed != now.modified
    }

    /// Was it changed since the task's end, by somebody else than an undo that closed it again?
    fn later(&self, path: &Path, now: &Identity) -> bool {
        now.changed >= self.ended && !self.closed.knows(0, path, now)
    }

    fn untouched(&self, path: &Path, now: &Identity) -> bool {
        now.changed < self.started && self.inodes.get(path) == Some(&now.inode)
    }

    /// The same directory of the upper one, with those above it.
    fn place(&mut self, path: &Path) -> Result<OwnedFd, Errno> {
        match self.upper.directory(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let parent = self.place(path.parent().ok_or(Errno::NOENT)?)?;
        let name = path.file_name().unwrap_or(OsStr::new(""));
        kernel::mkdirat(&parent, name, Mode::RWXU)?;
        let made = self.upper.directory(path)?;
        let then = self.copy.look(path)?.ok_or(Errno::NOENT)?;
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (kernel::Uid::from_raw(then.uid), kernel::Gid::from_raw(then.gid));
            kernel::fchown(&made, Some(uid), Some(gid))?;
        }
        let mode = self.modes.get(path).copied().unwrap_or(then.mode) & 0o1777;
        self.placed.insert(path.to_owned(), mode);
        Ok(made)
    }
}
