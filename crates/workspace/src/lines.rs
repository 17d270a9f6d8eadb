//! How many lines of a text file are new and how many are gone.

use std::time::Duration;

use similar::DiffOp;

use crate::beneath::Tree;
use crate::change::{Change, Content, Kind};
use crate::hunks;
use crate::overlay::Upper;
use crate::text::{self, Budget};

const PATIENCE: Duration = Duration::from_millis(200);

/// Looks at the content of one change.
pub(crate) fn count(change: &Change, upper: &Upper, host: &Tree, budget: &mut Budget) -> Option<Content> {
    let same = matches!(change.kind, Kind::ModeChanged | Kind::AttributesChanged);
    if same || text::sides(change) == (false, false) {
        return None;
    }
    // What cannot be read is shown by its size, like what is too long.
    Some(match text::versions(change, upper, host, budget) {
        Some(both) if both.is_text() => compare(&both.old, &both.new, budget.patience(PATIENCE)),
        _ => {
            let (old, new) = text::media_types(change, upper, host, budget);
            Content::Binary { old, new }
        }
    })
}

fn compare(old: &[u8], new: &[u8], patience: Duration) -> Content {
    let (old, new) = (hunks::lines(old), hunks::lines(new));
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    if old.is_empty() || new.is_empty() {
        return Content::Text { added: number(new.len()), removed: number(old.len()) };
    }
    let (mut added, mut removed) = (0, 0);
    for operation in hunks::operations(&old, &new, patience) {
        if !matches!(operation, DiffOp::Equal { .. }) {
            removed += number(operation.old_range().len());
            added += number(operation.new_range().len());
        }
    }
    Content::Text { added, removed }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn lines_are_counted() {
        for (old, new, added, removed) in [
            ("", "a\nb", 2, 0),
            ("a\nb\n", "", 0, 2),
            ("a\nb\nc\n", "a\nx\nc\nd\n", 2, 1),
            ("a", "a\n", 1, 1),
        ] {
            assert_eq!(
                compare(old.as_bytes(), new.as_bytes(), PATIENCE),
                Content::Text { added, removed },
                "{old:?}"
            );
        }
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_patience() {
        let old: Vec<u8> = (0..250_000_u32).flat_map(|n| [b'a' + (n % 7) as u8, b'\n']).collect();
        let new: Vec<u8> = (0..250_000_u32).flat_map(|n| [b'a' + (n % 11) as u8, b'\n']).collect();
        let start = Instant::now();
        compare(&old, &new, PATIENCE);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
