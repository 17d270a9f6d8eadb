//! Which words of changed lines differ: no syntax is known, a word is letters and digits, blanks, or one other sign.

use std::time::Duration;

use similar::DiffOp;

use crate::hunks;

/// More text than this is not looked at word by word.
const MOST: usize = 16 << 10;

/// Parts of a line, each with whether it differs from the other side.
pub(crate) type Parts<'a> = Vec<(bool, &'a [u8])>;

/// The lines of both sides in parts; `None` where it would not help: too much text, or hardly a word is the same.
pub(crate) fn compare<'a>(
    old: &[&'a [u8]],
    new: &[&'a [u8]],
    patience: Duration,
) -> Option<(Vec<Parts<'a>>, Vec<Parts<'a>>)> {
    let size = |lines: &[&[u8]]| lines.iter().map(|line| line.len()).sum::<usize>();
    if old.is_empty() || new.is_empty() || size(old) + size(new) > MOST {
        return None;
    }
    let (before, after) = (words(old), words(new));
    let operations = hunks::operations(&before, &after, patience);
    let (mut one, mut other, mut same) = (Vec::new(), Vec::new(), 0);
    for operation in &operations {
        let differs = !matches!(operation, DiffOp::Equal { .. });
        let before = before.get(operation.old_range()).unwrap_or(&[]);
        let after = after.get(operation.new_range()).unwrap_or(&[]);
        if !differs {
            same += before.iter().filter(|word| !blank(word)).map(|word| word.len()).sum::<usize>();
        }
        one.extend(before.iter().map(|word| (differs, *word)));
        other.extend(after.iter().map(|word| (differs, *word)));
    }
    (same * 4 >= size(old).min(size(new))).then(|| (in_lines(one), in_lines(other)))
}

fn blank(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_whitespace)
}

fn words<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let kind = |byte: u8| match byte {
        b'\n' => 0,
        byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => 1,
        b' ' | b'\t' => 2,
        // Each stands alone.
        _ => 3,
    };
    let together = |one: &u8, other: &u8| kind(*one) == kind(*other) && !matches!(kind(*one), 0 | 3);
    lines.iter().flat_map(|line| line.chunk_by(together)).collect()
}

fn in_lines(words: Parts<'_>) -> Vec<Parts<'_>> {
    words.split_inclusive(|(_, word)| *word == b"\n").map(<[_]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_differs_is_found() {
        let (old, new) = compare(&[b"let a = 1;\n"], &[b"let a = 22;\n"], Duration::from_secs(1)).unwrap();
        let differing = |lines: &[Parts<'_>]| -> Vec<Vec<u8>> {
            lines
                .concat()
                .into_iter()
                .filter(|(differs, _)| *differs)
                .map(|(_, word)| word.to_vec())
                .collect()
        };
        assert_eq!((differing(&old), differing(&new)), (vec![b"1".to_vec()], vec![b"22".to_vec()]));
        assert!(compare(&[b"one thing\n"], &[b"something else\n"], Duration::from_secs(1)).is_none());
    }
}
