//! What a run leaves behind on the host: files that changed, processes that stayed, mounts that stayed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

/// Every file below a directory, with what a change of it would change.
pub(crate) type Files = BTreeMap<PathBuf, (u32, u64, i64, i64, u32)>;

/// Lists a tree without following links; `skip` is left out.
pub(crate) fn files(root: &Path, skip: &[&Path]) -> Files {
    let mut found = Files::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if skip.contains(&path.as_path()) {
                continue;
            }
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            if data.is_dir() {
                open.push(path.clone());
            }
            // The size and times of a directory change with what is in it, which is listed itself.
            let (size, time, part) =
                if data.is_dir() { (0, 0, 0) } else { (data.size(), data.mtime(), data.mtime_nsec()) };
            found.insert(path, (data.mode(), size, time, part, data.uid()));
        }
    }
    found
}

/// The first few paths that differ.
pub(crate) fn changed(before: &Files, after: &Files) -> Vec<String> {
    let all: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    all.into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .take(3)
        .map(|path| path.display().to_string())
        .collect()
}

/// The processes of this pid namespace that still run.
pub(crate) fn processes() -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .ok()
                .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
                .unwrap_or(false)
        })
        .collect()
}

/// Waits until no process but `known` is left; those that are still there in the end.
pub(crate) fn strangers(known: &BTreeSet<u32>, patience: Duration) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let left: Vec<u32> = processes().difference(known).copied().collect();
        if left.is_empty() || start.elapsed() >= patience {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The mount table, as a count.
pub(crate) fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").map_or(0, |table| table.lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_named() {
        let root = std::env::temp_dir().join(format!("rf-footprint-{}", std::process::id()));
        fs::create_dir_all(root.join("kept")).unwrap();
        fs::write(root.join("a"), "1").unwrap();
        let before = files(&root, &[]);
        assert!(changed(&before, &files(&root, &[])).is_empty());
        fs::write(root.join("kept/new"), "2").unwrap();
        let named = changed(&before, &files(&root, &[]));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(named.len(), 1);
        assert!(named[0].ends_with("kept/new"));
    }
}
