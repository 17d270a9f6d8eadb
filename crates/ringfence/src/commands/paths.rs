//! Paths of a workspace, as a command line names them.

use std::path::{Component, Path, PathBuf};

use ringfence_workspace::{Change, escape};

use crate::failure::Failure;

/// By what `diff` prints; from where the caller stands, where it begins with `./` or `../`; or absolute.
pub(super) fn of_workspace(given: &Path, workspace: &Path, cwd: &Path) -> Result<PathBuf, Failure> {
    let from_here = matches!(given.components().next(), Some(Component::CurDir | Component::ParentDir));
    let path = if given.is_absolute() {
        given.to_owned()
    } else if from_here {
        cwd.join(given)
    } else {
        workspace.join(given)
    };
    let plain = plain(&path);
    let real = || {
        let (parent, name) = (plain.parent()?, plain.file_name()?);
        Some(parent.canonicalize().ok()?.join(name))
    };
    let inside = plain.strip_prefix(workspace).map(Path::to_owned);
    inside
        .or_else(|error| {
            real().and_then(|real| Some(real.strip_prefix(workspace).ok()?.to_owned())).ok_or(error)
        })
        .map_err(|_| {
            Failure::new(format!("{} is not in the workspace {}", escape(given), escape(workspace)))
                .hint("name it as `ringfence diff --name-only` does, or from here, beginning with `./`")
        })
}

/// A path that is of nothing would be a mistyped one, and do nothing in silence. `above`: what is above it counts too.
pub(super) fn expect(path: &Path, given: &Path, above: bool, changes: &[Change]) -> Result<(), Failure> {
    let fits = |change: &Change| change.path.starts_with(path) || above && path.starts_with(&change.path);
    if changes.iter().any(fits) {
        return Ok(());
    }
    Err(Failure::new(format!("nothing changed at {}", escape(given)))
        .hint("`ringfence diff --name-only` lists what did; kinds are given one by one"))
}

fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_workspace_or_from_here() {
        let (workspace, cwd) = (Path::new("/w"), Path::new("/w/sub"));
        for (given, path) in [
            ("b", "b"),
            ("./b", "sub/b"),
            ("../b", "b"),
            ("/w/sub/b", "sub/b"),
            ("/w/../w/b/", "b"),
            ("a/../b", "b"),
            (".", "sub"),
        ] {
            let found = of_workspace(Path::new(given), workspace, cwd).unwrap();
            assert_eq!(found, Path::new(path), "{given}");
        }
        for given in ["../../b", "/x", "../../w2/b", "a/../../b"] {
            assert!(of_workspace(Path::new(given), workspace, cwd).is_err(), "{given}");
        }
    }
}
