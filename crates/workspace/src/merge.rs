//! Three versions of a text made one, where both sides changed different places.

use std::time::Duration;

use similar::DiffOp;

use crate::hunks;

/// For each of the two comparisons.
const PATIENCE: Duration = Duration::from_secs(1);

/// The merged text; `Err`: so many places where both sides changed the same lines in different ways.
pub(crate) fn merge(base: &[u8], one: &[u8], other: &[u8]) -> Result<Vec<u8>, usize> {
    let (base, one, other) = (hunks::lines(base), hunks::lines(one), hunks::lines(other));
    let (left, right) = (places(&base, &one), places(&base, &other));
    let (mut out, mut conflicts) = (Vec::new(), 0);
    let (mut from, mut from_one, mut from_other) = (0, 0, 0);
    for at in 0..=base.len() {
        // Lines that all three have, and the end, are where the sides meet.
        let (to_one, to_other) = match (left.get(at).copied().flatten(), right.get(at).copied().flatten()) {
            (Some(one), Some(other)) => (one, other),
            _ if at == base.len() => (one.len(), other.len()),
            _ => continue,
        };
        let part = |lines: &[&[u8]], from: usize, to: usize| lines.get(from..to).unwrap_or(&[]).concat();
        let before = part(&base, from, at);
        let (mine, theirs) = (part(&one, from_one, to_one), part(&other, from_other, to_other));
        if mine == theirs || theirs == before {
            out.extend(mine);
        } else if mine == before {
            out.extend(theirs);
        } else {
            conflicts += 1;
        }
        out.extend(base.get(at).copied().unwrap_or(&[]));
        (from, from_one, from_other) = (at + 1, to_one + 1, to_other + 1);
    }
    if conflicts == 0 { Ok(out) } else { Err(conflicts) }
}

/// Where each line of the base is in another text.
fn places(base: &[&[u8]], text: &[&[u8]]) -> Vec<Option<usize>> {
    let mut places = vec![None; base.len()];
    for operation in hunks::operations(base, text, PATIENCE) {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            for step in 0..len {
                if let Some(place) = places.get_mut(old_index + step) {
                    *place = Some(new_index + step);
                }
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_places_merge_and_the_same_place_does_not() {
        let base = "1\n2\n3\n4\n5\n6\n";
        for (one, other, merged) in [
            ("0\n1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\nsix\n", Ok("0\n1\n2\n3\n4\n5\nsix\n")),
            ("1\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n6\n7\n", Ok("1\n3\n4\n5\n6\n7\n")),
            ("1\nx\n3\n4\n5\n6\n", "1\nx\n3\n4\n5\n6\n", Ok("1\nx\n3\n4\n5\n6\n")),
            ("1\nx\n3\n4\n5\n6\n", "1\ny\n3\n4\n5\n6\n", Err(1)),
            ("", "1\n2\n3\n4\n5\nx\n", Err(1)),
            (base, "", Ok("")),
        ] {
            let result = merge(base.as_bytes(), one.as_bytes(), other.as_bytes());
            assert_eq!(result, merged.map(|text| text.as_bytes().to_vec()), "{one:?} {other:?}");
        }
    }
}
