//! What earlier applies of a run left behind on the host: new change times where one was taken back, directories where one
//! landed. They are remembered beside the journal, so that the next does not take its own traces for somebody's work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::beneath::{Tree, names};
use crate::change::{Change, FileType};
use crate::journal::Story;
use crate::layer::{Identity, Timestamp};
use crate::name;
use crate::operation::{Action, Operation};
use crate::pieces::Chosen;

const FILE: &str = "restored.json";

/// Objects of the host as they were put back, or made.
#[derive(Debug, Default)]
pub(crate) struct Restored(BTreeMap<(usize, PathBuf), Identity>);

#[derive(Serialize, Deserialize)]
struct Entry {
    layer: usize,
    #[serde(with = "name")]
    path: PathBuf,
    identity: Identity,
}

impl Restored {
    /// What is not there or cannot be read is not known; then a change time counts for what it says.
    pub(crate) fn load(journal_dir: &Path) -> Self {
        let read = || {
            let text = std::fs::read(journal_dir.join(FILE)).ok()?;
            serde_json::from_slice::<Vec<Entry>>(&text).ok()
        };
        let entries = read().unwrap_or_default();
        Self(entries.into_iter().map(|entry| ((entry.layer, entry.path), entry.identity)).collect())
    }

    /// The same of several applies, later ones on top.
    pub(crate) fn load_all(journal_dirs: &[PathBuf]) -> Self {
        Self(journal_dirs.iter().flat_map(|journal| Self::load(journal).0).collect())
    }

    /// Looks at every directory that has changes in it or is one, as all of them stand now.
    pub(crate) fn remember_landed(&mut self, changes: &[Change], hosts: &[Tree]) {
        let directories = changes.iter().flat_map(|change| {
            let own = change.file_type == FileType::Directory;
            let path = if own { Some(change.path.as_path()) } else { change.path.parent() };
            path.into_iter().flat_map(Path::ancestors).map(|path| (change.index, path))
        });
        for (layer, path) in directories.filter(|(_, path)| !path.as_os_str().is_empty()) {
            let key = (layer, path.to_owned());
            if !self.0.contains_key(&key)
                && let Some(Ok(Some(found))) = hosts.get(layer).map(|host| host.look(path))
            {
                self.0.insert(key, found);
            }
        }
    }

    /// Looks at files that landed in part.
    pub(crate) fn remember_chosen(&mut self, chosen: &[Chosen], hosts: &[Tree]) {
        for chosen in chosen {
            if let Some(Ok(Some(found))) = hosts.get(chosen.layer).map(|host| host.look(&chosen.path)) {
                self.0.insert((chosen.layer, chosen.path.clone()), found);
            }
        }
    }

    /// Is this exactly what was put back, untouched since? The device may have another number by now.
    pub(crate) fn knows(&self, layer: usize, path: &Path, found: &Identity) -> bool {
        let known = self.0.get(&(layer, path.to_owned()));
        known.is_some_and(|known| Identity { device: found.device, ..*known } == *found)
    }

    /// How this was put back.
    pub(crate) fn found(&self, layer: usize, path: &Path) -> Option<&Identity> {
        self.0.get(&(layer, path.to_owned()))
    }

    /// Looks at what an undo put back, as it stands now: as far as it is what the undo had built. What somebody wrote there since is his.
    /// `above`: the directories above it as well, whose change times tell of no more than that.
    pub(crate) fn remember_undone(&mut self, story: &Story, hosts: &[Tree], above: bool) {
        for operation in &story.operations {
            let Some(host) = hosts.get(operation.layer) else { continue };
            let parents =
                operation.path.ancestors().skip(1).filter(|path| above && !path.as_os_str().is_empty());
            for path in parents {
                let key = (operation.layer, path.to_owned());
                if !self.0.contains_key(&key)
                    && let Ok(Some(found)) = host.look(path)
                {
                    self.0.insert(key, found);
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
            self.0.insert((operation.layer, operation.path.clone()), found);
        }
    }

    /// The same once second names of it are gone, which sets the change time: what has the same content still.
    pub(crate) fn look_again(&mut self, hosts: &[Tree]) {
        self.0.retain(|(layer, path), known| {
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
                self.0.insert((operation.layer, path), found);
            }
        }
    }

    /// Looks at everything that the steps touched, and remembers what is as it was.
    pub(crate) fn remember(&mut self, operations: &[Operation], hosts: &[Tree]) {
        for operation in operations {
            let Some(host) = hosts.get(operation.layer) else { continue };
            let parent = operation.path.parent().unwrap_or(Path::new(""));
            let places = operation.old.map(|old| (operation.path.as_path(), old));
            for (path, judged) in places.into_iter().chain([(parent, operation.parent)]) {
                if path.as_os_str().is_empty() {
                    continue;
                }
                if let Ok(Some(found)) = host.look(path)
                    && found.same_content(&judged)
                {
                    self.0.insert((operation.layer, path.to_owned()), found);
                }
            }
        }
    }

    /// Replaces the file. If that fails, the next apply is refused where it need not be.
    pub(crate) fn save(self, journal_dir: &Path) -> Result<(), Errno> {
        let entries: Vec<Entry> =
            self.0.into_iter().map(|((layer, path), identity)| Entry { layer, path, identity }).collect();
        let text = serde_json::to_vec(&entries).map_err(|_| Errno::INVAL)?;
        let beside = journal_dir.join("restored.new");
        std::fs::write(&beside, text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::rename(beside, journal_dir.join(FILE))
    }
}
