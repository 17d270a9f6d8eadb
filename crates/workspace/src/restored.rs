//! What earlier applies of a run left behind on the host: new change times where one was taken back, directories where one
//! landed. They are remembered beside the journal, so that the next does not take its own traces for somebody's work.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::beneath::{Tree, names};
use crate::beside::Beside;
use crate::change::{Change, FileType};
use crate::journal::Story;
use crate::layer::{Identity, Layer, Timestamp};
use crate::name;
use crate::operation::{Action, Operation};
use crate::pieces::Chosen;

const FILE: &str = "restored.json";

/// Objects of the host as they were put back, or made.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    known: BTreeMap<(usize, PathBuf), Identity>,
    /// Files that a merge was to replace, and what it left there if it landed: what both sides wrote is in that.
    merged: BTreeMap<(usize, PathBuf), Option<Identity>>,
    /// What other journals say of the same objects: which of them is the latest does not show in their order, and what stands exactly as
    /// any of them says was touched by nobody since.
    others: BTreeMap<(usize, PathBuf), Vec<Identity>>,
    /// What other runs replaced and put back.
    beside: Beside,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    layer: usize,
    #[serde(with = "name")]
    path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    merged: bool,
}

impl Restored {
    /// What is not there or cannot be read is not known; then a change time counts for what it says.
    pub(crate) fn load(journal_dir: &Path) -> Self {
        let read = || {
            let text = std::fs::read(journal_dir.join(FILE)).ok()?;
            serde_json::from_slice::<Vec<Entry>>(&text).ok()
        };
        let mut own = Self::default();
        for Entry { layer, path, identity, merged } in read().unwrap_or_default() {
            match identity {
                _ if merged => drop(own.merged.insert((layer, path), identity)),
                Some(identity) => drop(own.known.insert((layer, path), identity)),
                None => {}
            }
        }
        own
    }

    /// The same of several applies, later ones on top.
    pub(crate) fn load_all(journal_dirs: &[PathBuf]) -> Self {
        let mut all = Self::default();
        for journal in journal_dirs {
            let Self { known, merged, .. } = Self::load(journal);
            for (key, identity) in known {
                if let Some(other) = all.known.insert(key.clone(), identity) {
                    all.others.entry(key).or_default().push(other);
                }
            }
            all.merged.extend(merged);
        }
        all
    }

    /// The same, and what applies of other runs to the same directories replaced, and put back when they were undone.
    pub(crate) fn beside(mut self, journals: &[PathBuf], layers: &[Layer]) -> Self {
        let hosts: Vec<_> = layers.iter().map(|layer| &*layer.host).collect();
        self.beside = Beside::load(journals, &hosts);
        self
    }

    /// Is this as it was before that moment, whatever was put in its place and taken away again since?
    pub(crate) fn knows_from(&self, layer: usize, path: &Path, moment: Timestamp, found: &Identity) -> bool {
        self.knows(layer, path, found)
            || self.beside.leads_where(layer, path, |stood| stood.changed < moment, found)
    }

    /// Looks at the directories that landed, and those in which something did, as they stand now: the latter only if they are the
    /// ones that were judged. What was held back was not touched, and is judged again.
    pub(crate) fn remember_landed(&mut self, changes: &[Change], hosts: &[Tree]) {
        for change in changes.iter().filter(|change| change.held.is_none()) {
            let own = (change.file_type == FileType::Directory).then_some((change.path.as_path(), None));
            let parent = change.path.parent().map(|parent| (parent, change.parent));
            for (path, judged) in own.into_iter().chain(parent) {
                let key = (change.index, path.to_owned());
                if path.as_os_str().is_empty() || self.known.contains_key(&key) {
                    continue;
                }
                if let Some(Ok(Some(found))) = hosts.get(change.index).map(|host| host.look(path))
                    && FileType::of(found.mode) == FileType::Directory
                    && judged.is_none_or(|judged| judged.same_object(&found))
                {
                    self.known.insert(key, found);
                }
            }
        }
    }

    /// This is nobody's work.
    pub(crate) fn know(&mut self, layer: usize, path: &Path, found: Identity) {
        self.known.insert((layer, path.to_owned()), found);
    }

    /// What a merge is going to replace: the host's version of it is somebody's work, also when it was put back.
    pub(crate) fn merging(chosen: &[Chosen]) -> Option<Self> {
        let merged: BTreeMap<_, _> = chosen
            .iter()
            .filter(|chosen| chosen.merged)
            .map(|chosen| ((chosen.layer, chosen.path.clone()), None))
            .collect();
        (!merged.is_empty()).then(|| Self { merged, ..Self::default() })
    }

    /// Only what was merged, which is so no more once it is undone.
    pub(crate) fn merges(self) -> Self {
        Self { merged: self.merged.into_keys().map(|key| (key, None)).collect(), ..Self::default() }
    }

    /// The same beside what this knows.
    pub(crate) fn with_merges(mut self, other: Self) -> Self {
        self.merged.extend(other.merges().merged);
        self
    }

    /// Looks at files that landed in part, or as a merge.
    pub(crate) fn remember_chosen(&mut self, chosen: &[Chosen], hosts: &[Tree]) {
        for chosen in chosen {
            if let Some(Ok(Some(found))) = hosts.get(chosen.layer).map(|host| host.look(&chosen.path)) {
                let key = (chosen.layer, chosen.path.clone());
                match chosen.merged {
                    true => drop(self.merged.insert(key, Some(found))),
                    false => drop(self.known.insert(key, found)),
                }
            }
        }
    }

    /// Is this what a merge left there, untouched since? Nothing of the task's waits there then.
    pub(crate) fn is_merged(&self, layer: usize, path: &Path, found: &Identity) -> bool {
        self.merged.get(&(layer, path.to_owned())).copied().flatten().is_some_and(|known| known.is(found))
    }

    /// Is this exactly what was put back, untouched since? The device may have another number by now.
    pub(crate) fn knows(&self, layer: usize, path: &Path, found: &Identity) -> bool {
        let key = (layer, path.to_owned());
        let others = self.others.get(&key).into_iter().flatten();
        self.known.get(&key).into_iter().chain(others).any(|known| known.is(found))
    }

    /// How this was put back.
    pub(crate) fn found(&self, layer: usize, path: &Path) -> Option<&Identity> {
        self.known.get(&(layer, path.to_owned()))
    }

    /// Looks at what an undo put back, as it stands now: as far as it is what the undo had built. What somebody wrote there since is his.
    /// `above`: the directories above it as well, whose change times tell of no more than that.
    pub(crate) fn remember_undone(&mut self, story: &Story, hosts: &[Tree], above: bool) {
        for operation in &story.operations {
            let Some(host) = hosts.get(operation.layer) else { continue };
            if self.merged.contains_key(&(operation.layer, operation.path.clone())) {
                continue;
            }
            let parents =
                operation.path.ancestors().skip(1).filter(|path| above && !path.as_os_str().is_empty());
            for path in parents {
                let key = (operation.layer, path.to_owned());
                if !self.known.contains_key(&key)
                    && let Ok(Some(found)) = host.look(path)
                {
                    self.known.insert(key, found);
                }
            }
            let Ok(Some(found)) = host.look(&operation.path) else { continue };
            match story.staged.get(&operation.number) {
                Some(built) if built.same_content(&found) => {
                    self.remember_inside(operation, host, built.changed);
                }
                // Only attributes changed.
                None if above && operation.action == Action::Mode => {}
                _ => continue,
            }
            self.known.insert((operation.layer, operation.path.clone()), found);
        }
    }

    /// The same once second names of it are gone, which sets the change time: what has the same content still.
    pub(crate) fn look_again(&mut self, hosts: &[Tree]) {
        self.known.retain(|(layer, path), known| {
            let found = hosts.get(*layer).and_then(|host| host.look(path).ok().flatten());
            match found.filter(|found| known.same_content(found)) {
                Some(found) => *known = found,
                None => return false,
            }
            true
        });
    }

    /// What a directory was built with: to move it leaves the change times in it alone.
    fn remember_inside(&mut self, operation: &Operation, host: &Tree, built: Timestamp) {
        let mut queue = vec![operation.path.clone()];
        while let Some(path) = queue.pop() {
            let Ok(inside) = host.directory(&path).and_then(|directory| names(&directory)) else { continue };
            for path in inside.into_iter().map(|name| path.join(name)) {
                let Ok(Some(found)) = host.look(&path) else { continue };
                if found.changed > built {
                    continue;
                }
                if FileType::of(found.mode) == FileType::Directory {
                    queue.push(path.clone());
                }
                self.known.insert((operation.layer, path), found);
            }
        }
    }

    /// Looks at everything that the steps touched, and remembers what is as it was.
    pub(crate) fn remember(&mut self, operations: &[Operation], hosts: &[Tree]) {
        for operation in operations {
            let Some(host) = hosts.get(operation.layer) else { continue };
            let parent = operation.path.parent().unwrap_or(Path::new(""));
            let merged = self.merged.contains_key(&(operation.layer, operation.path.clone()));
            let places = operation.old.filter(|_| !merged).map(|old| (operation.path.as_path(), old));
            for (path, judged) in places.into_iter().chain([(parent, operation.parent)]) {
                if path.as_os_str().is_empty() {
                    continue;
                }
                if let Ok(Some(found)) = host.look(path)
                    && found.same_content(&judged)
                {
                    self.known.insert((operation.layer, path.to_owned()), found);
                }
            }
        }
    }

    /// Replaces the file, on disk. If that fails, the next apply is refused where it need not be.
    pub(crate) fn save(self, journal_dir: &Path) -> Result<(), Errno> {
        let one = |merged: bool| {
            move |((layer, path), identity): ((usize, PathBuf), Option<Identity>)| Entry {
                layer,
                path,
                identity,
                merged,
            }
        };
        let known = self.known.into_iter().map(|(key, identity)| (key, Some(identity))).map(one(false));
        let entries: Vec<Entry> = known.chain(self.merged.into_iter().map(one(true))).collect();
        let text = serde_json::to_vec(&entries).map_err(|_| Errno::INVAL)?;
        let beside = journal_dir.join("restored.new");
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&beside, journal_dir.join(FILE))?;
            std::fs::File::open(journal_dir)?.sync_all()
        };
        write().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
