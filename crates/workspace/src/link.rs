//! Where symlinks lead: whether one stays inside the workspace, and where one of the host ends.

use std::path::{Component, Path, PathBuf};

/// Links that are followed one after the other, as by the kernel (path_resolution(7)).
const MOST: usize = 40;

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

/// A path without links, as far as it exists; what is missing follows as it is written. Each ancestor is asked once: somebody may be
/// making them. `None`: nothing of it exists.
pub fn resolved(path: &Path) -> Option<PathBuf> {
    let (base, above) = path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, above)))?;
    let below = path.strip_prefix(above).ok().filter(|below| !below.as_os_str().is_empty());
    Some(below.map_or(base.clone(), |below| base.join(below)))
}

/// Where a link of the host leads in the end, through further ones, also where nothing is there yet. `None`: that cannot be told.
pub(crate) fn end(link: &Path) -> Option<PathBuf> {
    let mut path = link.to_owned();
    for _ in 0..MOST {
        let Ok(target) = std::fs::read_link(&path) else {
            let end = resolved(&path)?;
            return end.components().all(|part| part != Component::ParentDir).then_some(end);
        };
        // Relative to where the link really is.
        path = resolved(path.parent()?)?.join(target);
    }
    None
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
