//! The changes of a run, held open for a look at their contents.

use std::path::PathBuf;

use crate::assess::{assess, judge_renames, open};
use crate::beneath::Tree;
use crate::change::Change;
use crate::layer::Layer;
use crate::options::Named;
use crate::overlay::Upper;
use crate::refuse::Failure;
use crate::restored::Restored;
use crate::text::Budget;
use crate::{lines, renames};

/// What a task changed. The order is by layer, then by path.
pub struct Review {
    pub(crate) sites: Vec<(Upper, Tree)>,
    pub(crate) changes: Vec<Change>,
}

impl Review {
    /// Looks. `journals` are those of the run's earlier applies.
    ///
    /// # Errors
    /// [`Failure`]: a directory of the layer or of the host that cannot be read.
    pub fn open(layers: &[Layer], journals: &[PathBuf]) -> Result<Self, Failure> {
        let restored = Restored::load_all(journals);
        let mut budget = Budget::look();
        let (mut sites, mut all) = (Vec::new(), Vec::new());
        for (index, layer) in layers.iter().enumerate() {
            let (upper, host) = open(layer)?;
            let (mut changes, _) = assess(layer, index, &upper, &host, &restored)?;
            renames::pair(&mut changes, &upper, &host, &mut budget);
            judge_renames(&mut changes, layer, &upper, &host, &restored);
            for change in &mut changes {
                change.content = lines::count(change, &upper, &host, &mut budget);
            }
            all.append(&mut changes);
            sites.push((upper, host));
        }
        Ok(Self { sites, changes: all })
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

    /// All of them.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}
