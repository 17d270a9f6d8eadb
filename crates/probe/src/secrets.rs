//! Secrets that can be read: known locations, names in the current tree, variables. None is read: opening tells.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_audit::{Level, names_in_trees};
use ringfence_leaks::Scanner;
use ringfence_policy::{PathPattern, PatternSet, known_secrets, secret_name, why_secret};
use rustix::fs::FileType;

use crate::Request;
use crate::look::{entries, kind, readable, shown};
use crate::report::Out;

/// Homes that are looked at besides the own one.
const HOMES: usize = 32;

pub(crate) fn look(request: &Request, out: &mut Out<'_>) {
    let why = "what is read can be repeated: in output, in changes, and to any host that is reached";
    let own = found(&known_secrets(&request.home));
    out.list(
        "secrets-known",
        Level::High,
        own,
        "known secret locations can be read",
        "no known secret location can be read",
        why,
    );
    let mut others: Vec<PathBuf> = entries(Path::new("/home"));
    others.push(PathBuf::from("/root"));
    others.retain(|home| *home != request.home);
    let in_homes: Vec<PathPattern> = others
        .iter()
        .take(HOMES)
        .flat_map(|home| known_secrets(home).into_iter().filter(|pattern| pattern.text().starts_with('~')))
        .collect();
    let theirs = found(&in_homes);
    out.list(
        "secrets-others",
        Level::High,
        theirs,
        "secrets of other users can be read",
        "none of other users can be read",
        why,
    );
    out.list(
        "secrets-tree",
        Level::Medium,
        in_tree(&request.cwd),
        "files below the current directory have names of secrets",
        "no name of a secret below the current directory",
        why,
    );
    variables(out);
}

/// What of it is there and opens.
fn found(patterns: &[PathPattern]) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in patterns {
        let candidates = match pattern.literal() {
            Some(path) => vec![path.to_path_buf()],
            None => {
                let base = pattern.base(Path::new("/"));
                entries(&base).into_iter().filter(|path| pattern.matches(Path::new("/"), path)).collect()
            }
        };
        for path in candidates {
            // An empty one is how most sandboxes cover it.
            if holds(&path) && !found.iter().any(|(known, _)| *known == path) {
                found.push((path, why_secret(pattern)));
            }
        }
    }
    found.into_iter().map(|(path, why)| format!("{} ({why})", shown(&path))).collect()
}

fn holds(path: &Path) -> bool {
    match kind(path) {
        Ok(FileType::RegularFile) => {
            path.metadata().is_ok_and(|metadata| metadata.len() > 0) && readable(path)
        }
        Ok(FileType::Directory) => entries(path).iter().any(|entry| match kind(entry) {
            Ok(FileType::RegularFile) => {
                readable(entry) && entry.metadata().is_ok_and(|metadata| metadata.len() > 0)
            }
            Ok(FileType::Directory) => readable(entry),
            _ => false,
        }),
        _ => false,
    }
}

/// Two levels of it.
fn in_tree(root: &Path) -> Vec<String> {
    let Ok(names) = PatternSet::new(names_in_trees(), root) else { return Vec::new() };
    let mut paths = entries(root);
    let below: Vec<PathBuf> = paths
        .iter()
        .filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()))
        .take(64)
        .flat_map(|path| entries(path))
        .collect();
    paths.extend(below);
    paths.into_iter().filter(|path| names.matches(path) && holds(path)).map(|path| shown(&path)).collect()
}

/// Their names; of their values nothing but whether they have a well-known form.
fn variables(out: &mut Out<'_>) {
    let scanner = Scanner::new(&[], true);
    let (mut named, mut formed) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let shown = name.to_string_lossy().into_owned();
        let hit = scanner.as_ref().and_then(|scanner| scanner.whole(value.as_bytes()));
        // What leads to a socket or a directory is no secret.
        if let Some(hit) = hit {
            formed.push(format!("{shown} ({})", hit.name));
        } else if secret_name(&shown) && !value.is_empty() && !value.as_bytes().starts_with(b"/") {
            named.push(shown);
        }
    }
    let why = "every program that is started here has them";
    out.list(
        "environment-secrets",
        Level::High,
        formed,
        "variables hold secrets of well-known forms",
        "no variable holds a secret of a well-known form",
        why,
    );
    out.list(
        "environment-names",
        Level::Medium,
        named,
        "variables have names that secrets have",
        "no variable has the name of a secret",
        why,
    );
}
