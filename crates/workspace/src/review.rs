//! The changes of a run, held open for a look at their contents.

use std::path::{Path, PathBuf};

use crate::assess::{assess, judge_renames, open, whole};
use crate::beneath::Tree;
use crate::change::{Change, Kind};
use crate::layer::Layer;
use crate::options::Named;
use crate::overlay::Upper;
use crate::refuse::{Failure, Reason, Refusal, Refused};
use crate::restored::Restored;
use crate::text::Budget;
use crate::{lines, renames};

/// What a task changed. The order is by layer, then by path.
pub struct Review {
    pub(crate) sites: Vec<(Upper, Tree)>,
    pub(crate) changes: Vec<Change>,
    whole: Vec<Refusal>,
    unseen: usize,
}

impl Review {
    /// Looks. `journals` are those of the run's earlier applies, `others` those of applies of other runs that were undone.
    ///
    /// # Errors
    /// [`Failure`]: a directory of the layer or of the host that cannot be read.
    pub fn open(layers: &[Layer], journals: &[PathBuf], others: &[PathBuf]) -> Result<Self, Failure> {
        let restored = Restored::load_all(journals).beside(others, layers);
        let (mut budget, mut glance, mut unseen) = (Budget::look(), Budget::look(), 0);
        let (mut sites, mut all, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for (index, layer) in layers.iter().enumerate() {
            let (upper, host) = open(layer)?;
            let (mut changes, obstacles) = assess(layer, index, &upper, &host, &restored)?;
            renames::pair(&mut changes, &upper, &host, &mut budget);
            judge_renames(&mut changes, layer, &upper, &host, &restored);
            refuse_below(&mut changes, &obstacles);
            refusals
                .extend(whole(layer, &host).map(|reason| Refusal::new(&layer.name, Path::new(""), reason)));
            if layer.scan.is_none() {
                unseen += layer.secrets.glance(&mut changes, &upper, &mut glance);
            }
            for change in &mut changes {
                change.content = lines::count(change, &upper, &host, &mut budget);
            }
            all.append(&mut changes);
            sites.push((upper, host));
        }
        Ok(Self { sites, changes: all, whole: refusals, unseen })
    }

    /// What forbids to land any of it, whatever is chosen.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        (!self.whole.is_empty()).then(|| Refused { refusals: self.whole.clone() })
    }

    /// Only these paths, with what is below them.
    pub fn only(&mut self, only: &[Named]) {
        if !only.is_empty() {
            let named = |change: &Change| only.iter().any(|one| one.covers(&change.layer, &change.path));
            self.changes.retain(named);
        }
    }

    /// Neither these paths nor what is below them.
    pub fn without(&mut self, left: &[Named]) {
        let named = |change: &Change| left.iter().any(|one| one.covers(&change.layer, &change.path));
        self.changes.retain(|change| !named(change));
    }

    /// How many files were not looked through for what seems to be a secret, being too large or too many, where no policy asks for it.
    #[must_use]
    pub fn unseen(&self) -> usize {
        self.unseen
    }

    /// All of them.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// What is refused of a directory, or lies in the way, is refused of all that came with it; a removal that would take something refused
/// along is refused as a whole. The changes are in the order of paths.
fn refuse_below(changes: &mut [Change], obstacles: &[Refusal]) {
    let mut top: Option<usize> = None;
    for at in 0..changes.len() {
        let Some(change) = changes.get_mut(at) else { break };
        let gone = change.kind == Kind::Deleted;
        let obstacle = || {
            let meets = |one: &&Refusal| {
                change.path.starts_with(&one.path) || gone && one.path.starts_with(&change.path)
            };
            obstacles.iter().find(meets)
        };
        if change.held.is_none() && change.refused.is_none() {
            change.refused = obstacle().map(|one| one.reason.clone());
        }
        if !change.covered {
            top = Some(at);
        } else if let (Kind::Deleted, Some(reason)) = (change.kind, change.refused.clone())
            && let Some(above) = top.and_then(|top| changes.get_mut(top)).filter(|above| above.held.is_none())
        {
            above.refused.get_or_insert(reason);
        }
    }
    let mut above: Option<(PathBuf, Reason)> = None;
    for change in changes {
        let covered = above.as_ref().filter(|(path, _)| change.covered && change.path.starts_with(path));
        if let Some((_, reason)) = covered {
            if change.held.is_none() {
                change.refused.get_or_insert(reason.clone());
            }
        } else {
            above = change.refused.clone().map(|reason| (change.path.clone(), reason));
        }
    }
}
