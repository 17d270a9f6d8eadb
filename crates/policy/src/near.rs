//! A tree of a few paths, against which very many are held: most leave it at their first or second name.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The paths, name by name.
#[derive(Debug, Default)]
pub(crate) struct Near {
    below: Vec<(Vec<u8>, Self)>,
    /// What lies below this one is near too.
    whole: bool,
}

impl Near {
    /// Adds a plain absolute path; with `whole`, everything below it is near too.
    pub(crate) fn add(&mut self, path: &Path, whole: bool) {
        let mut node = self;
        for name in names(path.as_os_str().as_bytes()) {
            let at = node.below.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                node.below.push((name.to_owned(), Self::default()));
                node.below.len() - 1
            });
            let Some((_, next)) = node.below.get_mut(at) else { return };
            node = next;
        }
        node.whole |= whole;
    }

    /// Whether a plain absolute path is one of them, above one, or below one that counts as a whole.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let mut node = self;
        for name in names(path.as_os_str().as_bytes()) {
            if node.whole {
                return true;
            }
            // The first bytes and lengths decide most of them.
            let same =
                |known: &[u8]| known.len() == name.len() && known.first() == name.first() && known == name;
            match node.below.iter().find(|(known, _)| same(known)) {
                Some((_, next)) => node = next,
                None => return false,
            }
        }
        true
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix(b"/").filter(|rest| !rest.is_empty())?;
        let (name, after) = rest.split_at(memchr::memchr(b'/', rest).unwrap_or(rest.len()));
        rest = after;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_above_at_or_below() {
        let mut near = Near::default();
        for (path, whole) in [("/a/b", false), ("/a/b/c/d", true), ("/x", true)] {
            near.add(Path::new(path), whole);
        }
        for path in ["/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/b/c/d/e", "/x", "/x/y/z"] {
            assert!(near.has(Path::new(path)), "{path}");
        }
        for path in ["/b", "/ab", "/a/bc", "/a/b/d", "/a/b/c/e", "/xy", "/a/c/b"] {
            assert!(!near.has(Path::new(path)), "{path}");
        }
    }
}
