//! What other runs replaced on the host and put back: it has another change time now, and is nobody's work all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::change::FileType;
use crate::journal::Journal;
use crate::layer::{Identity, Timestamp};
use crate::recover::landed;
use crate::restored::Restored;
use crate::undo::reverted;

/// By layer and path, what stood before an apply and what its undo made of it, in the order of time.
#[derive(Debug, Default)]
pub(crate) struct Beside(BTreeMap<(usize, PathBuf), Vec<(Identity, Identity)>>);

impl Beside {
    /// Of applies of other runs to the same directories, by their journals, in the order in which they were undone.
    pub(crate) fn load(journals: &[PathBuf], hosts: &[&Path]) -> Self {
        let mut all = Self::default();
        for journal in journals.iter().filter(|journal| landed(&reverted(journal))) {
            let Ok(other) = Journal::look(journal) else { continue };
            let restored = Restored::load(&reverted(journal));
            for operation in &other.operations {
                let host = other.layers.get(operation.layer).map(|place| &*place.host);
                let layer = hosts.iter().position(|known| Some(*known) == host);
                if let (Some(layer), Some(old)) = (layer, operation.old)
                    && let Some(now) = restored.found(operation.layer, &operation.path)
                    && untouched(&old, now)
                {
                    all.0.entry((layer, operation.path.clone())).or_default().push((old, *now));
                }
            }
        }
        all
    }

    /// Whether what is found is what stood, replaced and put back any number of times.
    pub(crate) fn leads(&self, layer: usize, path: &Path, stood: &Identity, found: &Identity) -> bool {
        self.last(layer, path, |old| old.is(stood)).is_some_and(|now| now.is(found))
    }

    /// Whether what is found is what once stood so, likewise.
    pub(crate) fn leads_where(
        &self,
        layer: usize,
        path: &Path,
        stood: impl Fn(&Identity) -> bool,
        found: &Identity,
    ) -> bool {
        self.last(layer, path, stood).is_some_and(|now| now.is(found))
    }

    /// Whether what is found is what was not changed since that moment, likewise.
    pub(crate) fn leads_from(&self, layer: usize, path: &Path, moment: Timestamp, found: &Identity) -> bool {
        self.last(layer, path, |old| old.changed <= moment).is_some_and(|now| now.is(found))
    }

    fn last(&self, layer: usize, path: &Path, begins: impl Fn(&Identity) -> bool) -> Option<&Identity> {
        let steps = self.0.get(&(layer, path.to_owned()))?;
        steps.iter().fold(None, |reached, (old, now)| {
            let goes_on = begins(old) || reached.is_some_and(|reached| old.is(reached));
            if goes_on { Some(now) } else { reached }
        })
    }
}

/// What was taken away and put back was not written meanwhile, by whoever had it open. A copy has another inode.
fn untouched(old: &Identity, now: &Identity) -> bool {
    let all = |one: &Identity| (one.mode, one.uid, one.gid, one.size, one.modified);
    let directory = FileType::of(old.mode) == FileType::Directory;
    directory && old.mode == now.mode || all(old) == all(now)
}
