//! How a tree of files looks, so that two moments or two trees can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What is known of a path without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type and permissions.
    pub mode: u32,
    /// Bytes; of a directory nothing.
    pub size: u64,
    /// When it was last modified.
    pub mtime: (i64, i64),
    /// Whose it is.
    pub owner: u32,
}

/// Every path below, as it was left.
#[must_use]
pub fn listing(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    walk(root, &mut |path, metadata| {
        let size = if metadata.is_dir() { 0 } else { metadata.len() };
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        let entry = Entry { mode: metadata.mode(), size, mtime, owner: metadata.uid() };
        found.insert(path.to_path_buf(), entry);
    });
    found
}

/// Every path below for which `wanted` holds, and what it holds: a digest, a link's target, or its type.
#[must_use]
pub fn contents(root: &Path, wanted: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(root, &mut |path, metadata| {
        let Ok(relative) = path.strip_prefix(root) else { return };
        if !wanted(relative) {
            return;
        }
        let executable = if metadata.permissions().mode() & 0o111 == 0 { "" } else { " x" };
        let what = if metadata.is_file() {
            format!(
                "{}{executable}",
                fs::read(path).map_or_else(|error| error.to_string(), |text| digest(&text))
            )
        } else if metadata.is_symlink() {
            fs::read_link(path).unwrap_or_default().display().to_string()
        } else {
            format!("{:o}", metadata.mode() >> 12)
        };
        found.insert(relative.to_path_buf(), what);
    });
    found
}

/// The names below for which `wanted` holds.
#[must_use]
pub fn names(root: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root, &mut |path, _| {
        if let Ok(relative) = path.strip_prefix(root)
            && wanted(relative)
        {
            found.push(relative.to_path_buf());
        }
    });
    found.sort();
    found
}

/// Lines of all files below that end in `.EXTENSION`.
#[must_use]
pub fn lines(root: &Path, extension: &str) -> usize {
    let mut sum = 0;
    walk(root, &mut |path, metadata| {
        if metadata.is_file() && path.extension().is_some_and(|found| found == extension) {
            sum += fs::read(path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        }
    });
    sum
}

/// What differs between two listings, in words.
#[must_use]
pub fn differences<V: PartialEq + std::fmt::Debug>(
    before: &BTreeMap<PathBuf, V>,
    after: &BTreeMap<PathBuf, V>,
) -> Vec<String> {
    let changed = before.iter().filter_map(|(path, old)| match after.get(path) {
        None => Some(format!("{} is gone", path.display())),
        Some(new) if new != old => Some(format!("{}: {old:?} became {new:?}", path.display())),
        Some(_) => None,
    });
    let new = after.keys().filter(|path| !before.contains_key(*path));
    changed.chain(new.map(|path| format!("{} is new", path.display()))).collect()
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        visit(&path, &metadata);
        if metadata.is_dir() {
            walk(&path, visit);
        }
    }
}

fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
