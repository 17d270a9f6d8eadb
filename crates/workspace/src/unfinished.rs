//! What a run's end left of the rename of a directory: a part of it under a name of ours, which stands beside the directory that was
//! renamed, and whose other part is still there. Neither half is to land, whatever became of what is in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::change::{Change, FileType, HoldReason, Kind};
use crate::danger::Danger;

/// As the boundary names it (`HALF`, renames.rs there), and 16 digits.
const HALF: &[u8] = b".ringfence-renaming-";
const DIGITS: usize = 16;
const NEW: &str = "the run ended while a directory was renamed, and this is a part of it";
const OLD: &str = "the run ended while a directory was renamed beside it: this may be what was renamed";

/// The directories in which there is such a part. To be asked before anything is left out.
pub(crate) fn places(changes: &[Change]) -> BTreeSet<PathBuf> {
    changes.iter().filter_map(|change| half(change).map(Path::to_owned)).collect()
}

/// Holds both back, where nothing else does.
pub(crate) fn hold(changes: &mut [Change], places: &BTreeSet<PathBuf>) {
    if places.is_empty() {
        return;
    }
    for change in changes.iter_mut().filter(|change| change.held.is_none()) {
        let beside = || change.path.ancestors().skip(1).any(|above| places.contains(above));
        let reason = if half(change).is_some() {
            NEW
        } else if change.kind == Kind::Deleted && beside() {
            OLD
        } else {
            continue;
        };
        change.held = Some(HoldReason::RunsOnHost { kind: Danger::Unfinished, reason: reason.into() });
    }
}

/// Where the part is that a change is or lies in.
fn half(change: &Change) -> Option<&Path> {
    let directory = change.file_type == FileType::Directory;
    let mut above = change.path.ancestors().skip(usize::from(!directory));
    let part = above.find(|path| path.file_name().is_some_and(is_half))?;
    (change.kind != Kind::Deleted).then(|| part.parent()).flatten()
}

fn is_half(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(HALF);
    digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}
