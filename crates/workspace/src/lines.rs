//! How many lines of a text file are new and how many are gone.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use crate::beneath::Tree;
use crate::change::{Change, Content, FileType, Kind};
use crate::content::fill;
use crate::overlay::Upper;

/// A file that is longer is not read for this.
const MAX_FILE: u64 = 1 << 20;
/// What all files of one diff may take together, so that a task cannot make a diff slow.
const MAX_TOTAL: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_millis(200);
const TOTAL_PATIENCE: Duration = Duration::from_secs(5);

/// What may still be spent on counting.
pub(crate) struct Budget {
    bytes: u64,
    end: Instant,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { bytes: MAX_TOTAL, end: Instant::now() + TOTAL_PATIENCE }
    }

    fn take(&mut self, size: u64) -> bool {
        let enough = size <= MAX_FILE && size <= self.bytes && Instant::now() < self.end;
        if enough {
            self.bytes -= size;
        }
        enough
    }
}

/// Looks at the content of one change.
pub(crate) fn count(change: &Change, upper: &Upper, host: &Tree, budget: &mut Budget) -> Option<Content> {
    let file = |kind: Option<FileType>| kind == Some(FileType::File);
    let now = change.brings().then_some(change.file_type);
    let before = match change.kind {
        Kind::Created => None,
        _ => Some(change.old_type.unwrap_or(change.file_type)),
    };
    if change.kind == Kind::ModeChanged || !(file(now) || file(before)) {
        return None;
    }
    // What cannot be read is shown as a size, like what is too long.
    let mut read = |wanted, size: Option<u64>, open: &dyn Fn() -> Result<OwnedFd, Errno>| match wanted {
        false => Some(Vec::new()),
        true => size.filter(|size| budget.take(*size)).and_then(|size| text(&open().ok()?, size)),
    };
    let old = read(file(before), change.old_size, &|| host.file(&change.path));
    let new = read(file(now), change.new_size, &|| upper.file(&change.path));
    Some(match (old, new) {
        (Some(old), Some(new)) => compare(&old, &new),
        _ => Content::Binary,
    })
}

fn text(file: &OwnedFd, size: u64) -> Option<Vec<u8>> {
    let mut text = vec![0; usize::try_from(size).ok()?];
    let whole = fill(file, 0, &mut text).ok()?;
    (whole && !text.contains(&0)).then_some(text)
}

fn compare(old: &[u8], new: &[u8]) -> Content {
    let lines = |text| -> Vec<&[u8]> { <[u8]>::split_inclusive(text, |byte| *byte == b'\n').collect() };
    let (old, new) = (lines(old), lines(new));
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if old.is_empty() || new.is_empty() {
        return Content::Text { added: number(new.len()), removed: number(old.len()) };
    }
    let deadline = Some(Instant::now() + PATIENCE);
    let (mut added, mut removed) = (0, 0);
    for operation in capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline) {
        match operation {
            DiffOp::Equal { .. } => {}
            DiffOp::Delete { old_len, .. } => removed += number(old_len),
            DiffOp::Insert { new_len, .. } => added += number(new_len),
            DiffOp::Replace { old_len, new_len, .. } => {
                removed += number(old_len);
                added += number(new_len);
            }
        }
    }
    Content::Text { added, removed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted() {
        for (old, new, added, removed) in [
            ("", "a\nb", 2, 0),
            ("a\nb\n", "", 0, 2),
            ("a\nb\nc\n", "a\nx\nc\nd\n", 2, 1),
            ("a", "a\n", 1, 1),
        ] {
            assert_eq!(compare(old.as_bytes(), new.as_bytes()), Content::Text { added, removed }, "{old:?}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_patience() {
        let old: Vec<u8> = (0..250_000_u32).flat_map(|n| [b'a' + (n % 7) as u8, b'\n']).collect();
        let new: Vec<u8> = (0..250_000_u32).flat_map(|n| [b'a' + (n % 11) as u8, b'\n']).collect();
        let start = Instant::now();
        compare(&old, &new);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
