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
/// Bytes of a name in it (PATH_MAX).
const LONGEST: usize = 4096;

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
    // The first of each rule, and how many there are.
    let mut hidden: BTreeMap<usize, (PathBuf, u64)> = BTreeMap::new();
    tracked(&index, |name| {
        if let Some(number) = set.matching(&workspace.join(OsStr::from_bytes(name))) {
            hidden.entry(number).or_insert_with(|| (OsStr::from_bytes(name).into(), 0)).1 += 1;
        }
    });
    for (number, (first, count)) in hidden {
        let Some(rule) = denied.get(number) else { continue };
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
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

/// Tells each name in an index of version 2, 3 or 4 (gitformat-index(5)); those of version 4 are longer than what is there, and none is kept.
fn tracked(index: &[u8], mut tell: impl FnMut(&[u8])) {
    let number =
        |at: usize| -> Option<u32> { Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?)) };
    let mut last = Vec::new();
    let version = number(4).filter(|version| matches!(version, 2..=4));
    let (Some(b"DIRC"), Some(version)) = (index.get(..4), version) else { return };
    let mut at = 12;
    for _ in 0..number(8).unwrap_or(0) {
        // 60 bytes of stat data and the object's name, two of flags, two more if the second bit of those says so.
        let Some(flags) = index.get(at + 60) else { break };
        let mut start = at + if flags & 0x40 == 0 { 62 } else { 64 };
        let mut name = Vec::new();
        if version == 4 {
            // How much of the last name's end is another: the rest of it is not written again.
            let Some((cut, behind)) = variable(index, start) else { break };
            let Some(kept) = Vec::len(&last).checked_sub(cut) else { break };
            name.extend_from_slice(last.get(..kept).unwrap_or_default());
            start = behind;
        }
        let Some(rest) = index.get(start..) else { break };
        let Some(length) = rest.iter().position(|byte| *byte == 0) else { break };
        name.extend_from_slice(rest.get(..length).unwrap_or_default());
        // A long one would be written out over and over.
        if name.len() > LONGEST {
            break;
        }
        tell(&name);
        last = name;
        at = match version {
            4 => start + length + 1,
            // One to eight zeros behind it, to a multiple of eight.
            _ => at + ((start - at + length + 8) & !7),
        };
    }
}

/// A number as offsets of packs are written (gitformat-pack(5)), and where what follows begins.
fn variable(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut byte = *bytes.get(at)?;
    let mut number = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        at += 1;
        byte = *bytes.get(at)?;
        number = number.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
    }
    Some((number, at + 1))
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
        let long = format!("sub/dir/{}", "x".repeat(200));
        std::fs::write(place.path().join(&long), "x").unwrap();
        git(&["add", "."]);
        for version in ["2", "4"] {
            git(&["update-index", "--index-version", version]);
            let index = read(&place.path().join(".git/index")).unwrap();
            assert_eq!(index[7].to_string(), version);
            let mut names = Vec::new();
            tracked(&index, |name| names.push(String::from_utf8_lossy(name).into_owned()));
            assert_eq!(names, [".env", "a", "a-longer-name.txt", "sub/dir/file", &long]);
            for cut in 0..index.len() {
                tracked(&index[..cut], |_| {});
            }
        }
    }
}
