//! "Did you mean": the nearest of a few valid words.

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // Nobody misspells a key into 64 characters, and the distance costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, or swap neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous_left = None;
    for (row, from) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut previous_right = None;
        for (column, to) in right.iter().copied().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cell(&last, column) + usize::from(from != to))
                .min(cell(&last, column + 1) + 1)
                .min(cell(&current, column) + 1);
            if column > 0 && Some(to) == previous_left && previous_right == Some(from) {
                best = best.min(cell(&before, column - 1) + 1);
            }
            current.push(best);
            previous_right = Some(to);
        }
        previous_left = Some(from);
        before = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("netwrok", "network", 1),
            ("reed", "read", 1),
            ("x", "files", 5),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let keys = ["read", "write", "exec", "network"];
        assert_eq!(nearest("reed", keys), Some("read"));
        assert_eq!(nearest("Netwrok", keys), Some("network"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"read".repeat(100_000), keys), None);
    }
}
