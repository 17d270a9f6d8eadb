//! Where symlinks lead: whether one stays inside the workspace.

use std::path::{Component, Path};

use crate::change::{Change, FileType, HoldReason};
use crate::danger::Danger;
use crate::escape::escape;

/// Why a link that a task leaves is held back.
pub(crate) fn out(change: &Change) -> Option<HoldReason> {
    let target =
        change.target.as_ref().filter(|_| change.brings() && change.file_type == FileType::Symlink)?;
    leads_out(&change.path, target).then(|| HoldReason::RunsOnHost {
        kind: Danger::Symlinks,
        reason: format!("a link out of the workspace, to {}", escape(target)),
    })
}

/// Does a link at this path (relative to the root) lead out? An absolute target does. So does `..` after a name: where
/// that name is itself a symlink, `..` leads to the parent of *its* target, which no look at the text can tell.
pub(crate) fn leads_out(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut descended = false;
    for component in target.components() {
        match component {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::CurDir => {}
            Component::Normal(_) => descended = true,
            Component::ParentDir if descended || depth == 0 => return true,
            Component::ParentDir => depth -= 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        for (path, target, out) in [
            ("a", "b", false),
            ("a", "b/c", false),
            ("d/a", "../b", false),
            ("d/e/a", "../../b/c", false),
            ("d/a", "./../b", false),
            ("a", "..", true),
            ("a", "../x", true),
            ("d/a", "../..", true),
            ("a", "/", true),
            ("a", "/w/inside", true),
            ("a", "b/../c", true),
            ("a", "b/../../c", true),
            ("d/a", "b/../c", true),
            ("d/e/a", "../b/../c", true),
        ] {
            assert_eq!(leads_out(Path::new(path), Path::new(target)), out, "{path} -> {target}");
        }
    }
}
