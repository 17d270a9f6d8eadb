//! What is said of a path or of the nearest directory above it, each directory asked once: a deep tree would ask all of them for all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Answers for directories, with those above them.
#[derive(Debug)]
pub(crate) struct Nearest<T>(RefCell<HashMap<PathBuf, Option<T>>>);

impl<T> Default for Nearest<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Copy> Nearest<T> {
    /// `own` says what is said of one path alone.
    pub(crate) fn find(&self, path: &Path, own: impl Fn(&Path) -> Option<T>) -> Option<T> {
        own(path).or_else(|| self.above(path.parent()?, own))
    }

    fn above(&self, directory: &Path, own: impl Fn(&Path) -> Option<T>) -> Option<T> {
        let mut known = self.0.borrow_mut();
        let (mut asked, mut found) = (Vec::new(), None);
        for path in directory.ancestors() {
            if let Some(answer) = known.get(path) {
                found = *answer;
                break;
            }
            asked.push(path);
        }
        for path in asked.into_iter().rev() {
            found = own(path).or(found);
            known.insert(path.to_owned(), found);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_counts_and_each_is_asked_once() {
        let asked = RefCell::new(Vec::new());
        let own = |path: &Path| {
            asked.borrow_mut().push(path.to_owned());
            [("a", 1), ("a/b/c", 2)]
                .iter()
                .find(|(name, _)| Path::new(name) == path)
                .map(|(_, number)| *number)
        };
        let nearest = Nearest::default();
        for (path, expected) in [
            ("a/b/c/d", Some(2)),
            ("a/b/x", Some(1)),
            ("z/y", None),
            ("a", Some(1)),
            ("a/b/c", Some(2)),
            ("a/b/c/e", Some(2)),
        ] {
            assert_eq!(nearest.find(Path::new(path), own), expected, "{path}");
        }
        // Six paths, and a/b/c, a/b, a, the root and z above them.
        assert_eq!(asked.borrow().len(), 11, "{asked:?}");
    }
}
