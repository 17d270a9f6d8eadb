//! What `files.deny` hides from the tree, and git's object store does not.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_policy::{PatternSet, Policy};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use crate::finding::Found;
use crate::rules;

/// Bytes of an index that are read: 100,000 files are a tenth of it.
const LARGEST: u64 = 128 << 20;

pub(crate) fn look(policy: &Policy, workspace: &Path, found: &mut Found) {
    let denied = &policy.files.deny;
    if denied.is_empty() {
        return;
    }
    let Ok(set) = PatternSet::new(denied.iter().map(|rule| &rule.value), workspace) else { return };
    if set.matches(&workspace.join(".git/objects")) {
        return;
    }
    let Some(index) = read(&workspace.join(".git/index")) else { return };
    let mut hidden: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
    for name in tracked(&index) {
        if let Some(number) = set.matching(&workspace.join(OsStr::from_bytes(name))) {
            hidden.entry(number).or_default().push(OsStr::from_bytes(name).into());
        }
    }
    for (number, names) in hidden {
        let (Some(rule), Some(first)) = (denied.get(number), names.first()) else { continue };
        let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        found.add(
            &rules::SECRET_IN_HISTORY,
            Some(&rule.origin),
            format!("`{}`{more}, which `{}` hides, is tracked by git", first.display(), rule.value.text()),
            "`git show HEAD:FILE` prints it: a denial hides a file, not its history",
            "take it out of the history and rotate what it holds, or hide the history: `files.deny = [\".git/objects\"]`",
        );
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Names in an index of version 2 or 3 (gitformat-index(5)); of version 4, whose names are cut, none.
fn tracked(index: &[u8]) -> Vec<&[u8]> {
    let number =
        |at: usize| -> Option<u32> { Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?)) };
    let mut names = Vec::new();
    if index.get(..4) != Some(b"DIRC") || !matches!(number(4), Some(2 | 3)) {
        return names;
    }
    let mut at = 12;
    for _ in 0..number(8).unwrap_or(0) {
        // 60 bytes of stat data and the object's name, two of flags, two more if the second bit of those says so.
        let Some(flags) = index.get(at + 60) else { break };
        let start = at + if flags & 0x40 == 0 { 62 } else { 64 };
        let Some(rest) = index.get(start..) else { break };
        let Some(length) = rest.iter().position(|byte| *byte == 0) else { break };
        names.extend(rest.get(..length));
        // One to eight zeros behind it, to a multiple of eight.
        at += (start - at + length + 8) & !7;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_git_is_read_and_a_broken_one_ends() {
        let place = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let done = std::process::Command::new("git").args(words).current_dir(&place).output().unwrap();
            assert!(done.status.success(), "{words:?}: {done:?}");
        };
        git(&["init", "-q"]);
        for name in ["a", ".env", "a-longer-name.txt", "sub/dir/file"] {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        git(&["add", "."]);
        let index = read(&place.path().join(".git/index")).unwrap();
        let names: Vec<String> =
            tracked(&index).iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, [".env", "a", "a-longer-name.txt", "sub/dir/file"]);
        for cut in 0..index.len() {
            tracked(&index[..cut]);
        }
    }
}
