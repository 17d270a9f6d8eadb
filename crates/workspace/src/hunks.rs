//! The lines of two texts, and what differs between them, in bounded time.

use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

/// Lines around a difference.
const CONTEXT: usize = 3;

/// Differences that stand close together, with the lines around them.
pub(crate) type Hunk = Vec<DiffOp>;

/// A line of a hunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// On both sides, by its number in the old text.
    Both(usize),
    Gone(usize),
    New(usize),
}

/// The lines, each with its end.
pub(crate) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// What differs. When the time is over the rest differs as a whole.
pub(crate) fn operations(old: &[&[u8]], new: &[&[u8]], patience: Duration) -> Vec<DiffOp> {
    let deadline = Some(Instant::now() + patience);
    capture_diff_slices_deadline(Algorithm::Myers, old, new, deadline)
}

/// The same in hunks.
pub(crate) fn hunks(old: &[&[u8]], new: &[&[u8]], patience: Duration) -> Vec<Hunk> {
    let mut hunks = group_diff_ops(operations(old, new, patience), CONTEXT);
    hunks.retain(|hunk| hunk.iter().any(|operation| !matches!(operation, DiffOp::Equal { .. })));
    hunks
}

/// What a hunk covers of the old and of the new text.
pub(crate) fn extent(hunk: &[DiffOp]) -> (Range<usize>, Range<usize>) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return (0..0, 0..0) };
    (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end)
}

/// `@@ -1,4 +1,5 @@`
pub(crate) fn header(hunk: &[DiffOp]) -> String {
    // An empty range is named by the line before it.
    let range = |range: Range<usize>| match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        length => format!("{},{length}", range.start + 1),
    };
    let (old, new) = extent(hunk);
    format!("@@ -{} +{} @@", range(old), range(new))
}

/// The lines of one operation, those that are gone first.
pub(crate) fn walk(operation: &DiffOp) -> impl Iterator<Item = Line> + use<> {
    let (old, new) = (operation.old_range(), operation.new_range());
    let equal = matches!(operation, DiffOp::Equal { .. });
    let (both, gone) = if equal { (old, 0..0) } else { (0..0, old) };
    let new = if equal { 0..0 } else { new };
    both.map(Line::Both).chain(gone.map(Line::Gone)).chain(new.map(Line::New))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_a_unified_diff() {
        for (old, new, wanted) in [
            ("a\n", "b\n", "@@ -1 +1 @@"),
            ("", "a\nb\n", "@@ -0,0 +1,2 @@"),
            ("a\nb\n", "", "@@ -1,2 +0,0 @@"),
            ("1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n6\n", "@@ -3,3 +3,4 @@"),
        ] {
            let hunks = hunks(&lines(old.as_bytes()), &lines(new.as_bytes()), Duration::from_secs(1));
            assert_eq!(hunks.iter().map(|hunk| header(hunk)).collect::<Vec<_>>(), [wanted], "{old:?}");
        }
        assert!(hunks(&lines(b"a"), &lines(b"a"), Duration::from_secs(1)).is_empty());
    }
}
