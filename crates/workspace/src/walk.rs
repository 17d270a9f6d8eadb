//! Walks an upper directory and says what differs from the host: it costs what changed, not what exists.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::attributes::{self, Attribute, Setting};
use crate::began::moved_since;
use crate::beneath::{MAX_PATH, Tree, by_descriptor, look_at, names};
use crate::change::{Change, FileType, Kind};
use crate::content;
use crate::index;
use crate::layer::{Identity, Layer};
use crate::overlay::{Marks, Upper, is_whiteout, link_target};
use crate::refuse::{Failure, Reason, Refusal};
use crate::restored::Restored;

/// What a walk found.
#[derive(Default)]
pub(crate) struct Found {
    /// Sorted by path, a directory before what is in it.
    pub(crate) changes: Vec<Change>,
    /// What is no change but stands in the way of those at or below its path.
    pub(crate) obstacles: Vec<Refusal>,
}

/// Walks one layer.
pub(crate) fn walk(
    layer: &Layer,
    index: usize,
    upper: &Upper,
    host: &Tree,
    restored: &Restored,
) -> Result<Found, Failure> {
    let mut walk = Walk { layer, index, upper, host, restored, found: Found::default(), queue: Vec::new() };
    walk.queue.push(Todo::Upper { path: PathBuf::new(), lower: Lower::Merged });
    while let Some(todo) = walk.queue.pop() {
        match todo {
            Todo::Upper { path, lower } => walk.upper_directory(&path, lower)?,
            Todo::Gone { path } => walk.gone_directory(&path)?,
        }
    }
    walk.found.changes.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(walk.found)
}

struct Walk<'a> {
    layer: &'a Layer,
    index: usize,
    upper: &'a Upper,
    host: &'a Tree,
    restored: &'a Restored,
    found: Found,
    queue: Vec<Todo>,
}

/// A directory that is still to be read. Paths, not descriptors: a hostile tree is deeper than any limit of those.
enum Todo {
    Upper { path: PathBuf, lower: Lower },
    Gone { path: PathBuf },
}

/// What the task sees of the host's directory beneath an upper one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lower {
    /// Its entries show through.
    Merged,
    /// It is there, but nothing shows through.
    Hidden,
    /// There is none.
    Absent,
}

/// One entry that is looked at.
struct Entry<'a> {
    path: PathBuf,
    directory: &'a OwnedFd,
    new: Identity,
    old: Option<Identity>,
    parent: Option<Identity>,
    lower: Option<&'a OwnedFd>,
    /// A directory above is opaque: nothing of the host shows through here either, marked or not.
    hidden: bool,
}

impl Walk<'_> {
    fn upper_directory(&mut self, path: &Path, lower: Lower) -> Result<(), Failure> {
        let directory = self.upper.directory(path).map_err(Failure::of("read the layer's", path))?;
        let below = match lower {
            Lower::Absent => None,
            _ => match self.host.directory(path) {
                Ok(below) => Some(below),
                Err(errno) => {
                    self.obstacle(path, unreadable(errno));
                    None
                }
            },
        };
        let parent = match &below {
            Some(below) => {
                Some(Identity::of(&rustix::fs::fstat(below).map_err(Failure::of("look at", path))?))
            }
            None => None,
        };
        if let Some(parent) = parent.filter(|_| !path.as_os_str().is_empty()) {
            let (name, began) = (&self.layer.name, &self.layer.began);
            let later = moved_since(self.layer.started, &parent) && !began.is_the_same(name, path, &parent);
            let another = began.is_another(name, path, &parent);
            if (later || another) && !self.restored.knows_from(self.index, path, self.layer.started, &parent)
            {
                self.obstacle(path, Reason::DirectoryReplaced);
            }
        }
        let inside = names(&directory).map_err(Failure::of("list the layer's", path))?;
        for name in &inside {
            let path = path.join(name);
            let new = look_at(&directory, name).map_err(Failure::of("look at the layer's", &path))?;
            let Some(new) = new else { continue };
            let old = match &below {
                Some(below) => match look_at(below, name) {
                    Err(Errno::ACCESS) => {
                        self.obstacle(&path, Reason::Closed);
                        None
                    }
                    old => old.map_err(Failure::of("look at", &path))?,
                },
                None => None,
            };
            let hidden = lower == Lower::Hidden;
            let lower = below.as_ref();
            self.entry(Entry { path, directory: &directory, new, old, parent, lower, hidden })?;
        }
        if let (Lower::Hidden, Some(below)) = (lower, &below) {
            let inside: BTreeSet<&OsString> = inside.iter().collect();
            for name in names(below).map_err(Failure::of("list", path))? {
                if !inside.contains(&name) {
                    let path = path.join(&name);
                    let old = look_at(below, &name).map_err(Failure::of("look at", &path))?;
                    self.gone(path, old, parent);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<(), Failure> {
        let name = entry.path.file_name().unwrap_or(OsStr::new(""));
        let failed = |doing| Failure::of(doing, &entry.path);
        let kind = FileType::of(entry.new.mode);
        if kind == FileType::Device
            && is_whiteout(entry.directory, name).map_err(failed("look at the layer's"))?
        {
            self.gone(entry.path, entry.old, entry.parent);
            return Ok(());
        }
        let marks = self
            .upper
            .marks(&entry.path, entry.directory, &entry.new)
            .map_err(failed("read the attributes of the layer's"))?;
        if marks.strange {
            self.obstacle(&entry.path, Reason::StrangeLayer);
        }
        if marks.whiteout {
            self.gone(entry.path, entry.old, entry.parent);
            return Ok(());
        }
        if entry.old.is_some_and(|old| self.host.is_foreign(&entry.path, &old)) {
            self.obstacle(&entry.path, Reason::OtherMount);
            return Ok(());
        }
        if entry.path.as_os_str().len() > MAX_PATH {
            self.obstacle(&entry.path, Reason::TooDeep);
            self.add(&entry, Kind::Created, marks)?;
            return Ok(());
        }
        match (kind, entry.old.map(|old| FileType::of(old.mode))) {
            (FileType::Directory, Some(FileType::Directory)) => {
                let lower = if marks.opaque || entry.hidden { Lower::Hidden } else { Lower::Merged };
                self.queue.push(Todo::Upper { path: entry.path.clone(), lower });
                let settings = self.settings(&entry, &marks);
                let mode = entry.old.is_some_and(|old| old.mode & 0o7777 != entry.new.mode & 0o7777);
                if mode || !settings.is_empty() {
                    let kind = if mode { Kind::ModeChanged } else { Kind::AttributesChanged };
                    self.add(&entry, kind, marks)?;
                    if let Some(change) = self.found.changes.last_mut() {
                        change.values = values(&settings);
                        change.settings = settings;
                    }
                }
            }
            (now, Some(before)) if now != before => {
                if before == FileType::Directory {
                    self.queue.push(Todo::Gone { path: entry.path.clone() });
                }
                self.add(&entry, Kind::TypeChanged, marks)?;
            }
            (FileType::Directory, _) => {
                self.queue.push(Todo::Upper { path: entry.path.clone(), lower: Lower::Absent });
                self.add(&entry, Kind::Created, marks)?;
            }
            (_, None) => self.add(&entry, Kind::Created, marks)?,
            (_, Some(_)) => {
                if entry.old.is_some_and(|old| self.restored.is_merged(self.index, &entry.path, &old)) {
                    return Ok(());
                }
                if let Some(kind) = self.difference(&entry, &marks) {
                    self.add(&entry, kind, marks)?;
                }
            }
        }
        if kind == FileType::Directory
            && entry.old.is_some_and(|old| FileType::of(old.mode) != FileType::Directory)
        {
            self.queue.push(Todo::Upper { path: entry.path, lower: Lower::Absent });
        }
        Ok(())
    }

    /// Compares two of the same type, no directories.
    fn difference(&self, entry: &Entry<'_>, marks: &Marks) -> Option<Kind> {
        let old = entry.old?;
        let same = match FileType::of(old.mode) {
            FileType::File => {
                old.size == entry.new.size && self.same_file(&entry.path, old.size)
                    || self.same_index(&entry.path, entry.new.size, old.size)
            }
            FileType::Symlink => {
                let new = self.upper.target(&entry.path);
                let old = self.host.handle(&entry.path).and_then(link_target);
                matches!((new, old), (Ok(new), Ok(old)) if new == old)
            }
            // The same kind of special file in the same place, for instance a FIFO that was only chmodded.
            _ => true,
        };
        // The mode of a symlink means nothing.
        let mode =
            FileType::of(old.mode) == FileType::Symlink || old.mode & 0o7777 == entry.new.mode & 0o7777;
        match (same, mode) {
            (true, true) if !self.settings(entry, marks).is_empty() => Some(Kind::AttributesChanged),
            (true, true) => None,
            (true, false) => Some(Kind::ModeChanged),
            (false, _) => Some(Kind::Modified),
        }
    }

    /// The attributes that differ from those of the same object on the host.
    fn settings(&self, entry: &Entry<'_>, marks: &Marks) -> Vec<Setting> {
        let name = entry.path.file_name().unwrap_or(OsStr::new(""));
        let new = by_descriptor(entry.directory.as_fd(), name);
        let same = entry.old.is_some_and(|old| FileType::of(old.mode) == FileType::of(entry.new.mode));
        let below = entry.lower.filter(|_| same);
        let old = below.map(|below| by_descriptor(below.as_fd(), name));
        attributes::settings(&new, &marks.attributes, old.as_deref())
    }

    /// What cannot be read counts as different.
    fn same_file(&self, path: &Path, size: u64) -> bool {
        let compare = || content::same(self.upper.file(path)?, self.host.file(path)?, size);
        compare().unwrap_or(false)
    }

    /// Git looked, and no more. The host's is read first, which no task has made.
    fn same_index(&self, path: &Path, new: u64, old: u64) -> bool {
        if !index::named_so(&self.layer.name, path) {
            return false;
        }
        let Ok(Some(old)) = index::meaning_at(self.host, path, old) else { return false };
        let new = self.upper.file(path).ok().and_then(|file| index::meaning_of(file, new));
        new == Some(old)
    }

    fn add(&mut self, entry: &Entry<'_>, kind: Kind, marks: Marks) -> Result<(), Failure> {
        let file_type = FileType::of(entry.new.mode);
        let target = match file_type {
            FileType::Symlink => Some(
                self.upper.target(&entry.path).map_err(Failure::of("read the layer's link", &entry.path))?,
            ),
            _ => None,
        };
        let mut change = self.change(entry.path.clone(), kind, entry.old, Some(entry.new));
        change.target = target;
        if matches!(file_type, FileType::File | FileType::Directory) {
            let settings = self.settings(entry, &marks);
            change.attributes = settings.iter().map(Attribute::of).collect();
            change.values = values(&settings);
        }
        change.covered = entry.lower.is_none();
        change.parent = entry.parent;
        change.origin = marks.origin;
        change.capabilities = marks.capabilities;
        if entry.new.mode & 0o2000 != 0 && file_type == FileType::Directory {
            let above = rustix::fs::fstat(entry.directory)
                .map_err(Failure::of("look at the layer's", &entry.path))?;
            change.inherited_group = above.st_mode & 0o2000 != 0 && above.st_gid == entry.new.gid;
        }
        self.found.changes.push(change);
        Ok(())
    }

    /// Something of the host that the task does not see any more.
    fn gone(&mut self, path: PathBuf, old: Option<Identity>, parent: Option<Identity>) {
        // Removed on both sides: nothing is left to do.
        let Some(old) = old else { return };
        if self.host.is_foreign(&path, &old) {
            self.obstacle(&path, Reason::OtherMount);
            return;
        }
        if FileType::of(old.mode) == FileType::Directory {
            self.queue.push(Todo::Gone { path: path.clone() });
        }
        let mut change = self.change(path, Kind::Deleted, Some(old), None);
        change.covered = parent.is_none();
        change.parent = parent;
        self.found.changes.push(change);
    }

    /// A directory of the host that goes with everything in it.
    fn gone_directory(&mut self, path: &Path) -> Result<(), Failure> {
        let listed = self.host.directory(path).and_then(|directory| Ok((names(&directory)?, directory)));
        let (inside, directory) = match listed {
            Ok(listed) => listed,
            Err(errno) => {
                self.obstacle(path, unreadable(errno));
                return Ok(());
            }
        };
        for name in inside {
            let path = path.join(&name);
            if path.as_os_str().as_bytes().len() > MAX_PATH {
                self.obstacle(&path, Reason::TooDeep);
                continue;
            }
            let old = look_at(&directory, &name).map_err(Failure::of("look at", &path))?;
            self.gone(path, old, None);
        }
        Ok(())
    }

    fn change(&self, path: PathBuf, kind: Kind, old: Option<Identity>, new: Option<Identity>) -> Change {
        let old_type = old.map(|old| FileType::of(old.mode));
        let file_type = new.map(|new| FileType::of(new.mode)).or(old_type).unwrap_or(FileType::Device);
        let size = |found: Option<Identity>| {
            found.filter(|found| FileType::of(found.mode) != FileType::Directory).map(|found| found.size)
        };
        Change {
            layer: self.layer.name.clone(),
            path: path.clone(),
            kind,
            file_type,
            old_type: old_type.filter(|old| *old != file_type),
            old_mode: old.map(|old| old.mode & 0o7777),
            new_mode: new.map(|new| new.mode & 0o7777),
            old_size: size(old),
            new_size: size(new),
            target: None,
            old_target: old_type
                .filter(|old| *old == FileType::Symlink)
                .and_then(|_| self.host.handle(&path).and_then(link_target).ok()),
            renamed_from: None,
            renamed_to: None,
            attributes: Vec::new(),
            settings: Vec::new(),
            content: None,
            held: None,
            flag: None,
            refused: None,
            covered: false,
            index: self.index,
            old,
            new,
            parent: None,
            origin: false,
            capabilities: false,
            inherited_group: false,
            values: Vec::new(),
            secret: None,
        }
    }

    fn obstacle(&mut self, path: &Path, reason: Reason) {
        self.found.obstacles.push(Refusal::new(&self.layer.name, path, reason));
    }
}

/// Why a directory of the host, that was one when it was looked at, cannot be read as one.
fn unreadable(errno: Errno) -> Reason {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::NOENT => Reason::DirectoryReplaced,
        Errno::XDEV => Reason::OtherMount,
        Errno::ACCESS => Reason::Closed,
        errno => Reason::failed("read the host's directory")(errno),
    }
}

/// What they say now.
fn values(settings: &[Setting]) -> Vec<u8> {
    let said = |setting: &Setting| Some([&setting.name, setting.new.as_ref()?, &b"\n"[..]].concat());
    settings.iter().filter_map(said).flatten().collect()
}
