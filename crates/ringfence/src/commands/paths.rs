//! Paths of a workspace, as a command line names them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use ringfence_workspace::{Change, Danger, Named, WORKSPACE, escape};

use crate::failure::Failure;
use crate::terminal;

/// Before a kind that a path has the name of.
const KIND: &str = "kind:";

/// A path of the workspace, or of another layer, as `diff` prints it: `[git0] refs/heads/main`.
pub(super) fn named(given: &Path, workspace: &Path, cwd: &Path) -> Result<Named, Failure> {
    let other = given.to_str().and_then(|text| text.strip_prefix('[')?.split_once("] "));
    match other {
        Some((layer, path)) => Ok(Named { layer: layer.to_owned(), path: plain(Path::new(path)) }),
        None => of_workspace(given, workspace, cwd).map(Named::main),
    }
}

/// The kind that a word after `--accept` means. `kind:` before it says that no path is meant.
pub(super) fn kind(given: &Path) -> Option<Danger> {
    let text = given.to_str()?;
    Danger::named(text.strip_prefix(KIND).unwrap_or(text))
}

/// An option with a path that changed, to be pasted: it must not be read as a kind, an option or another layer.
pub(super) fn option(flag: &str, layer: &str, path: &Path, (workspace, cwd): (&Path, &Path)) -> String {
    if layer != WORKSPACE {
        let mut text = OsString::from(format!("[{layer}] "));
        text.push(path);
        return format!("{flag} {}", terminal::path(text));
    }
    if kind(path).is_none()
        && !path.as_os_str().as_bytes().starts_with(b"-")
        && !path.as_os_str().as_bytes().starts_with(b"[")
    {
        return format!("{flag} {}", terminal::path(path));
    }
    let whole = workspace.join(path);
    let shown = whole.strip_prefix(cwd).map_or(whole.clone(), |from_here| Path::new(".").join(from_here));
    format!("{flag}={}", terminal::path(shown))
}

/// By what `diff` prints; from where the caller stands, where it begins with `./` or `../`; or absolute.
fn of_workspace(given: &Path, workspace: &Path, cwd: &Path) -> Result<PathBuf, Failure> {
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
pub(super) fn expect(
    named: &Named,
    given: &Path,
    above: bool,
    changes: &[Change],
    (workspace, cwd): (&Path, &Path),
) -> Result<(), Failure> {
    let there = |named: &Named| {
        changes
            .iter()
            .any(|change| named.covers(&change.layer, &change.path) || above && named.is_below(change))
    };
    // Below the workspace, a bare name may be meant from there.
    let from_here = Path::new(".").join(given);
    let other = of_workspace(&from_here, workspace, cwd).map(Named::main).ok();
    let other = other.filter(|other| given.is_relative() && other != named && there(other));
    let here = escape(&from_here);
    match (there(named), other) {
        (true, None) => Ok(()),
        (true, Some(_)) => {
            Err(Failure::new(format!("{} changed, and so did {here}: which is meant?", escape(&named.path)))
                .hint(format!(
                    "`{here}` is the one from here, `{}` the other",
                    escape(workspace.join(&named.path))
                )))
        }
        (false, Some(_)) => Err(Failure::new(format!("nothing changed at {}", escape(given)))
            .hint(format!("names are those of the workspace; the one from here is `{here}`"))),
        (false, None) => {
            Err(Failure::new(format!("nothing changed at {}", escape(given))).hint(match above {
                false => "`ringfence diff --name-only` lists what did".to_owned(),
                true => {
                    let kinds: Vec<&str> = Danger::ALL.into_iter().map(Danger::name).collect();
                    format!(
                        "`ringfence diff --name-only` lists what did; kinds, one at a time, are {}",
                        kinds.join(", ")
                    )
                }
            }))
        }
    }
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
