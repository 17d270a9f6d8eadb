//! What an owner says about an apply: what may land, what lands alone, what stays.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::change::{Change, FileType, HoldReason, Kind};
use crate::danger::Danger;
use crate::layer::{Layer, WORKSPACE};
use crate::pieces::Chosen;

/// A path in one of the layers; it names what is below it too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// The layer's name.
    pub layer: String,
    /// The path in it.
    pub path: PathBuf,
}

impl Named {
    /// In the workspace's own layer.
    #[must_use]
    pub fn main(path: PathBuf) -> Self {
        Self { layer: WORKSPACE.to_owned(), path }
    }

    /// Of a change, which may have another name too.
    #[must_use]
    pub fn of(change: &Change, path: PathBuf) -> Self {
        Self { layer: change.layer.clone(), path }
    }

    /// Is this it, or below it?
    #[must_use]
    pub fn covers(&self, layer: &str, path: &Path) -> bool {
        self.layer == layer && path.starts_with(&self.path)
    }

    /// Does it lead there?
    #[must_use]
    pub fn is_below(&self, change: &Change) -> bool {
        self.layer == change.layer && self.path.starts_with(&change.path)
    }
}

/// What an apply takes into account beside the layers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the user named, which would otherwise be held back because it runs on the host. What `protect` holds back stays held
    /// back.
    pub named: Vec<Named>,
    /// Kinds of danger that the user accepts, wherever they are.
    pub kinds: Vec<Danger>,
    /// What the user left out: it is held back, whatever else would become of it, and whatever is accepted.
    pub left: Vec<Named>,
    /// What alone lands; all of it if empty. What else changed is left out. A new directory that leads to one of them comes along
    /// bare, and the old name of what was renamed to one of them goes.
    pub only: Vec<Named>,
    /// Versions that land instead of the task's.
    pub chosen: Vec<Chosen>,
    /// Where this run's earlier applies kept their journals, the first one first: their own traces are no conflict.
    pub journals: Vec<PathBuf>,
    /// Journals of applies of other runs that were undone, in the order of that: what they put back is no conflict either.
    pub others: Vec<PathBuf>,
}

impl Options {
    /// Holds back what is left out. Renames are paired before, as far as the user was shown them.
    pub(crate) fn leave_out(&self, changes: &mut [Change]) {
        let moved = self.moved_whole(changes);
        for change in changes {
            if self.leaves(change, &moved) {
                change.held = Some(HoldReason::LeftOut);
                change.refused = None;
            }
        }
    }

    fn leaves(&self, change: &Change, moved: &[PathBuf]) -> bool {
        if within(&self.left, change, &change.path) {
            return true;
        }
        let whole = || change.kind == Kind::Deleted && moved.iter().any(|top| change.path.starts_with(top));
        !(self.only.is_empty()
            || self.lands(change, &change.path)
            || self.leads(change)
            || self.moved(change)
            || whole())
    }

    /// Would what is below this path land, if it could be looked at?
    pub(crate) fn concerns(&self, layer: &Layer, path: &Path) -> bool {
        let covers = |named: &Named| named.covers(&layer.name, path);
        let leads = |named: &Named| named.layer == layer.name && named.path.starts_with(path);
        !self.left.iter().any(covers)
            && (self.only.is_empty() || self.only.iter().any(|only| covers(only) || leads(only)))
    }

    fn lands(&self, change: &Change, path: &Path) -> bool {
        within(&self.only, change, path) && !within(&self.left, change, path)
    }

    /// The old name of one that lands.
    fn moved(&self, change: &Change) -> bool {
        change.renamed_to.as_ref().is_some_and(|to| self.lands(change, to))
    }

    /// Directories that are gone, of which all was moved to what lands. The changes are those of one layer.
    fn moved_whole(&self, changes: &[Change]) -> Vec<PathBuf> {
        let gone = |change: &&Change| {
            change.kind == Kind::Deleted && change.file_type == FileType::Directory && !change.covered
        };
        let whole = |top: &&Change| {
            // In the order of paths, what is below it comes next.
            let from = changes.partition_point(|change| change.path < top.path);
            let below = changes.iter().skip(from).take_while(|change| change.path.starts_with(&top.path));
            let mut files = below.filter(|change| change.file_type != FileType::Directory).peekable();
            files.peek().is_some() && files.all(|change| self.moved(change))
        };
        if self.only.is_empty() {
            return Vec::new();
        }
        changes.iter().filter(gone).filter(whole).map(|top| top.path.clone()).collect()
    }

    /// Is it made on the way to one of the only paths?
    fn leads(&self, change: &Change) -> bool {
        let way = || self.only.iter().any(|only| only.path != change.path && only.is_below(change));
        change.is_new_directory() && way()
    }

    /// A new directory that leads to nothing that lands, but to what is left out, stays.
    pub(crate) fn keep_hollow(&self, changes: &mut [Change]) {
        if self.only.is_empty() && self.left.is_empty() {
            return;
        }
        let above = |of: &dyn Fn(&Change) -> bool| -> HashSet<PathBuf> {
            let those = changes.iter().filter(|change| of(change));
            those.flat_map(|change| change.path.ancestors().skip(1).map(Path::to_owned)).collect()
        };
        let left = above(&|change| change.held == Some(HoldReason::LeftOut));
        let leads =
            |change: &Change| self.leads(change) || change.is_new_directory() && left.contains(&change.path);
        let above = above(&|change| change.held.is_none() && !leads(change));
        let hollow = |change: &&mut Change| leads(change) && !above.contains(&change.path);
        for change in changes.iter_mut().filter(hollow) {
            change.held = Some(HoldReason::LeftOut);
            change.refused = None;
        }
    }

    /// Was it named, so that it lands although it runs on the host? A new directory comes along with what is named in it; the
    /// rest of it stays held.
    pub(crate) fn names(&self, change: &Change) -> bool {
        within(&self.named, change, &change.path)
            || change.is_new_directory() && self.named.iter().any(|named| named.is_below(change))
    }

    /// Was it accepted as what it is, a link out of the workspace? Whoever names a directory knows nothing of the links in it.
    pub(crate) fn lets_out(&self, change: &Change) -> bool {
        self.kinds.contains(&Danger::Symlinks)
            || self.named.iter().any(|named| named.layer == change.layer && named.path == change.path)
    }
}

fn within(all: &[Named], change: &Change, path: &Path) -> bool {
    all.iter().any(|named| named.covers(&change.layer, path))
}
