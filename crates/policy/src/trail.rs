//! Where a path of the host leads: each symlink that is met on the way, and what is there in the end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Links that are followed on one way, as by the kernel (path_resolution(7)).
const MOST: usize = 40;

/// The links on the way to an absolute path, each without links before its own name, and behind them the path without any. What is
/// missing is taken as it is written: it may come. `None`: the way goes round, or is too long.
#[must_use]
pub fn trail(path: &Path) -> Option<Vec<PathBuf>> {
    let mut rest = parts(path);
    let (mut links, mut at) = (Vec::new(), PathBuf::from("/"));
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let Ok(target) = std::fs::read_link(&next) else {
            at = next;
            continue;
        };
        if links.len() == MOST {
            return None;
        }
        links.push(next);
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        let mut target = parts(&target);
        target.append(&mut rest);
        rest = target;
    }
    links.push(at);
    Some(links)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_on_the_way_is_told() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().canonicalize().unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        link("real", "mid");
        link("mid", "first");
        link("../gone/x", "real/up");
        link("round", "round");
        let found = |path: &str| {
            let found = trail(&root.join(path))?;
            Some(
                found
                    .iter()
                    .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
                    .collect::<Vec<_>>(),
            )
        };
        let all = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(found("real/deep/x"), all(&["real/deep/x"]));
        assert_eq!(found("first/deep"), all(&["first", "mid", "real/deep"]));
        assert_eq!(found("first/up"), all(&["first", "mid", "real/up", "gone/x"]));
        assert_eq!(found("round"), None);
    }
}
