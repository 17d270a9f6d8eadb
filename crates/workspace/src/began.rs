//! What a task began with, as far as git's index of that moment tells: which object each file held that the task changed since, and what
//! the index said. A merge starts from these objects, and a later look of git's is told from a change by it.
//!
//! The index is opened when the run begins and read at its end. Git never writes into one, but puts another in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::beneath::Tree;
use crate::beside::Beside;
use crate::change::{Change, FileType, Kind};
use crate::index::{self, Known, LARGEST, Seen};
use crate::layer::{Identity, Layer, Timestamp, WORKSPACE};
use crate::name;

/// What git calls it, in its directory.
const INDEX: &str = "index";

/// What is kept of it with the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    index: Option<Index>,
    bases: Vec<Base>,
    /// What the host had at the end where the task changed something, in order: directories, and files of which the task made
    /// another one.
    #[serde(default)]
    there: Vec<There>,
}

/// Something of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct There {
    layer: String,
    #[serde(with = "name")]
    path: PathBuf,
    /// Of a directory, its number.
    inode: Option<u64>,
    /// Of a directory, that nothing spoke for another one in its place until then.
    #[serde(default)]
    settled: bool,
}

/// An index as it was, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    layer: String,
    #[serde(with = "name")]
    path: PathBuf,
    mode: u32,
    meaning: String,
}

/// What a file of the workspace held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Which one.
    #[serde(with = "name")]
    path: PathBuf,
    /// The name of git's object.
    pub object: String,
    size: u64,
    /// Why that is not sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
}

/// What git saw of a file before its index was written, and how it stood when the run began: with another change time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    seen: Seen,
    written: Timestamp,
    stood: Identity,
}

/// The index of the repository that the workspace is in, as it was when the task began.
#[derive(Debug)]
pub struct Start {
    /// Where that is checked out.
    root: PathBuf,
    path: PathBuf,
    file: OwnedFd,
    identity: Identity,
}

impl Start {
    /// Opens it; `None`: there is none, or it is not as it was at `started`, which has passed.
    pub fn hold(workspace: &Path, started: Timestamp) -> Option<Self> {
        let (root, directory) = workspace.ancestors().find_map(|root| Some((root, repository(root)?)))?;
        let path = directory?.join(INDEX);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &path, flags, Mode::empty()).ok()?;
        let identity = Identity::of(&rustix::fs::fstat(&file).ok()?);
        let plain = FileType::of(identity.mode) == FileType::File && identity.size <= LARGEST;
        (plain && identity.changed < started).then(|| Self { root: root.to_owned(), path, file, identity })
    }

    /// What is known by it at the end, of what these are.
    pub(crate) fn look_back(&self, layers: &[Layer], changes: &[Change]) -> Began {
        let wanted = self.wanted(layers, changes).unwrap_or_default();
        let written = changes.iter().find(|change| {
            let layer = layers.iter().find(|layer| layer.name == change.layer);
            layer.is_some_and(|layer| layer.host.join(&change.path) == self.path)
        });
        if wanted.is_empty() && written.is_none() {
            return Began::default();
        }
        let found = |bases: &mut Vec<Base>, known: &Known<'_>| {
            let Some((change, old)) = wanted.get(known.path) else { return };
            let seen = known.seen();
            let doubt = match self.proves(known, old) {
                true => None,
                // An undo before the run may be all that happened to it since.
                false if known.plain && seen.describes_content(old) => {
                    Some(Doubt { seen, written: self.identity.modified, stood: *old })
                }
                false => return,
            };
            let object = known.object.iter().map(|byte| format!("{byte:02x}")).collect();
            bases.push(Base { path: change.path.clone(), object, size: old.size, doubt });
        };
        let Some((bases, meaning)) = self.text().and_then(|text| index::read(&text, found)) else {
            return Began::default();
        };
        let index = written.map(|change| {
            let (layer, path) = (change.layer.clone(), change.path.clone());
            Index { layer, path, mode: self.identity.mode, meaning }
        });
        Began { index, bases, there: Vec::new() }
    }

    /// By git's paths, the files that the task changed and that are on the host what they were at the start.
    fn wanted<'a>(
        &self,
        layers: &[Layer],
        changes: &'a [Change],
    ) -> Option<BTreeMap<Vec<u8>, (&'a Change, Identity)>> {
        let layer = layers.iter().find(|layer| layer.is_workspace())?;
        let prefix = layer.host.strip_prefix(&self.root).ok()?;
        let files = changes
            .iter()
            .filter(|change| change.layer == layer.name && change.kind == Kind::Modified)
            .filter(|change| change.file_type == FileType::File)
            .filter_map(|change| Some((change, change.old.filter(|old| old.changed < layer.started)?)))
            .map(|(change, old)| (prefix.join(&change.path).into_os_string().into_vec(), (change, old)));
        Some(files.collect())
    }

    /// Is the entry of a file that nobody touched since git read it? One that changed in the moment in which the index was written
    /// may have changed after that too.
    fn proves(&self, known: &Known<'_>, found: &Identity) -> bool {
        let written = self.identity.modified;
        known.plain && known.describes(found) && found.modified < written && found.changed < written
    }

    fn text(&self) -> Option<Vec<u8>> {
        let now = Identity::of(&rustix::fs::fstat(&self.file).ok()?);
        if !now.same_content(&self.identity) {
            return None;
        }
        let mut text = vec![0; usize::try_from(now.size).ok()?];
        crate::content::fill(&self.file, 0, &mut text).ok()?.then_some(text)
    }
}

/// Was a directory renamed, or given another mode? Entries that are made or removed set both times to the same moment.
pub(crate) fn moved_since(started: Timestamp, found: &Identity) -> bool {
    found.changed >= started && found.changed != found.modified
}

/// The git directory of what is checked out here; `None`: nothing is, `Some(None)`: it cannot be told.
fn repository(root: &Path) -> Option<Option<PathBuf>> {
    let own = root.join(".git");
    let found = own.symlink_metadata().ok()?;
    if found.is_dir() {
        return Some(Some(own));
    }
    let read = || {
        let text = std::fs::read(&own).ok()?;
        let named = text.strip_prefix(b"gitdir: ")?;
        let named = named.strip_suffix(b"\n").unwrap_or(named);
        root.join(OsStr::from_bytes(named)).canonicalize().ok()
    };
    Some(if found.is_file() && found.len() <= 4096 { read() } else { None })
}

impl Began {
    /// What git's index in a workspace says at the end of a task that worked there itself: an undo tells a later look of git's by it.
    #[must_use]
    pub fn at_end(workspace: &Path) -> Self {
        let read = || {
            let directory = repository(workspace)??;
            let path = directory.strip_prefix(workspace).ok()?.join(INDEX);
            let tree = Tree::host(&directory).ok()?;
            let found = tree.look(Path::new(INDEX)).ok()??;
            if FileType::of(found.mode) != FileType::File {
                return None;
            }
            let meaning = index::meaning_at(&tree, Path::new(INDEX), found.size).ok()??;
            Some(Index { layer: WORKSPACE.into(), path, mode: found.mode, meaning })
        };
        Self { index: read(), ..Self::default() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.index.is_none() && self.bases.is_empty() && self.there.is_empty()
    }

    /// Looks at what the host has where these changes are.
    pub(crate) fn look_at_host(&mut self, layers: &[Layer], changes: &[Change], hosts: &[Tree]) {
        let mut directories = BTreeSet::new();
        for change in changes {
            let was = change.old.map(|old| FileType::of(old.mode));
            let stays = (change.file_type, was) == (FileType::Directory, Some(FileType::Directory));
            let own = |change: &&Change| change.brings() && was.is_some() && !stays && !change.origin;
            self.there.extend(Some(change).filter(own).map(|change| There {
                layer: change.layer.clone(),
                path: change.path.clone(),
                inode: None,
                settled: false,
            }));
            // Where the host has a directory, it has those above; each is taken once.
            let above = change.path.ancestors().skip(usize::from(!stays));
            let above = above.filter(|path| !path.as_os_str().is_empty());
            for path in above.take_while(|_| change.parent.is_some()) {
                if !directories.insert((change.index, &change.layer, path)) {
                    break;
                }
            }
        }
        for (index, layer, path) in directories {
            if let Some(Ok(Some(found))) = hosts.get(index).map(|host| host.look(path))
                && FileType::of(found.mode) == FileType::Directory
            {
                let settled = layers.get(index).is_some_and(|layer| !moved_since(layer.started, &found));
                let (layer, path) = (layer.clone(), path.to_owned());
                self.there.push(There { layer, path, inode: Some(found.inode), settled });
            }
        }
        self.there.sort();
    }

    fn there(&self, layer: &str, path: &Path) -> Option<&There> {
        let at = self.there.binary_search_by(|one| (&*one.layer, &*one.path).cmp(&(layer, path))).ok()?;
        self.there.get(at)
    }

    /// Is this another directory than the one that was there at the end?
    pub(crate) fn is_another(&self, layer: &str, path: &Path, found: &Identity) -> bool {
        let inode = self.there(layer, path).and_then(|there| there.inode);
        inode.is_some_and(|inode| inode != found.inode)
    }

    /// Is it the one that was there at the end, and from the start on? What became of it since is a change of its mode or name alone.
    pub(crate) fn is_the_same(&self, layer: &str, path: &Path, found: &Identity) -> bool {
        self.there(layer, path).is_some_and(|there| there.settled && there.inode == Some(found.inode))
    }

    /// Had the host something here at the end, of which the task made another one or in which it changed something?
    pub(crate) fn had(&self, layer: &str, path: &Path) -> bool {
        self.there(layer, path).is_some()
    }

    /// What a file of the workspace held.
    pub fn base(&self, path: &Path) -> Option<&Base> {
        self.bases.iter().find(|base| base.path == path)
    }

    /// Does this index of the host say what it said at the start?
    pub(crate) fn says_the_same(&self, layer: &str, path: &Path, mode: u32, meaning: &str) -> bool {
        let same = |index: &Index| {
            (&*index.layer, &*index.path, index.mode, &*index.meaning) == (layer, path, mode, meaning)
        };
        self.index.as_ref().is_some_and(same)
    }

    /// May this be it?
    pub(crate) fn is_index(&self, layer: &str, path: &Path) -> bool {
        self.index.as_ref().is_some_and(|index| index.layer == layer && index.path == path)
    }
}

impl Base {
    /// Is it known? `undone` are the journals of applies to the workspace that were undone, in the order of that: a file that they put
    /// back, and nobody touched before or since, is what git saw.
    #[must_use]
    pub fn is_known(&self, workspace: &Path, undone: &[PathBuf]) -> bool {
        let Some(Doubt { seen, written, stood }) = &self.doubt else { return true };
        let saw = |old: &Identity| seen.describes(old) && old.modified < *written && old.changed < *written;
        Beside::load(undone, &[workspace]).leads_where(0, &self.path, saw, stood)
    }

    /// Is this its content? A filter of git's may have made another one of it in the working tree.
    pub fn is(&self, content: &[u8]) -> bool {
        let parts = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let name = match self.object.len() {
            40 => hex(&Sha1::digest(&parts)),
            _ => hex(&Sha256::digest(&parts)),
        };
        content.len() as u64 == self.size && name == self.object
    }
}
