//! What an apply does to the host: a short list of independent steps, each on one entry of an existing directory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::attributes::Setting;
use crate::change::{Change, FileType, Kind};
use crate::layer::Identity;
use crate::name;

/// One step. What is below a new or removed directory goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// Names the new content while it is built, and the old content when it is kept.
    pub(crate) number: usize,
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Relative to the layer's directory.
    #[serde(with = "name")]
    pub(crate) path: PathBuf,
    pub(crate) action: Action,
    /// The host's directory it is in.
    pub(crate) parent: Identity,
    /// What is on the host.
    pub(crate) old: Option<Identity>,
    /// Permission bits of the new one.
    pub(crate) mode: u32,
    /// With `Mode`: extended attributes too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) settings: Vec<Setting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// A new entry.
    Create,
    /// A new object under a name that is taken.
    Replace,
    /// The entry goes.
    Remove,
    /// Other permission bits or attributes on a directory.
    Mode,
}

/// The steps for all changes that are not held back, in the order in which they are done.
pub(crate) fn operations(changes: &[Change]) -> Vec<Operation> {
    let mut operations: Vec<_> = changes
        .iter()
        .filter(|change| change.held.is_none() && !change.covered)
        .filter_map(|change| {
            let action = match (change.kind, change.file_type) {
                (Kind::Created, _) => Action::Create,
                (Kind::Deleted, _) => Action::Remove,
                (Kind::ModeChanged | Kind::AttributesChanged, FileType::Directory) => Action::Mode,
                // Also a change of the mode alone: the inode may have a second name outside the workspace.
                _ => Action::Replace,
            };
            let mode = permissions(change.new.map_or(0, |new| new.mode), change.file_type, change.old);
            let (layer, path) = (change.index, change.path.clone());
            Some(Operation {
                number: 0,
                layer,
                path,
                action,
                parent: change.parent?,
                old: change.old,
                mode,
                settings: change.settings.clone(),
            })
        })
        .collect();
    ordered(&mut operations);
    numbered(&mut operations);
    operations
}

/// The bits that land: no set-id bits, but a directory of the host keeps its own.
fn permissions(mode: u32, kind: FileType, old: Option<Identity>) -> u32 {
    let kept = match (kind, old) {
        (FileType::Directory, Some(old)) if FileType::of(old.mode) == FileType::Directory => {
            old.mode & 0o7000
        }
        _ => 0,
    };
    mode & 0o777 | kept
}

/// Puts them in the order in which they are done.
pub(crate) fn ordered(operations: &mut [Operation]) {
    // A directory is opened up before, and closed after, what is done in it.
    let rank = |operation: &Operation| {
        let depth = operation.path.components().count();
        let opens = operation.old.is_some_and(|old| !enterable(old.mode)) && enterable(operation.mode);
        match (operation.action, opens || operation.mode & 0o700 == 0o700) {
            (Action::Mode, true) => (0, depth),
            (Action::Mode, false) => (2, usize::MAX - depth),
            _ => (1, 0),
        }
    };
    operations.sort_by_key(rank);
}

/// May the owner of a directory look at what is in it? What it takes to write he gives himself ([`crate::shift`]).
pub(crate) fn enterable(mode: u32) -> bool {
    mode & 0o500 == 0o500
}

/// Numbers them in their order.
pub(crate) fn numbered(operations: &mut [Operation]) {
    for (number, operation) in operations.iter_mut().enumerate() {
        operation.number = number;
    }
}
