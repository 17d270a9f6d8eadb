//! Which new file is probably an old one under another name: the same content, or most of its lines.

use std::collections::{BTreeMap, HashMap};

use crate::beneath::Tree;
use crate::change::{Change, FileType, Kind};
use crate::content;
use crate::hunks;
use crate::overlay::Upper;
use crate::text::{Budget, whole};

/// So many pairs of files are compared at most, so that a task cannot make this slow.
const PAIRS: usize = 20_000;
/// Files that are longer, or more of them, are not compared by lines.
const LONG: u64 = 256 << 10;
const MANY: usize = 200;

/// Marks both sides of each.
pub(crate) fn pair(changes: &mut [Change], upper: &Upper, host: &Tree, budget: &mut Budget) {
    let side = |kind: Kind| {
        let file = |change: &Change| change.kind == kind && change.file_type == FileType::File;
        let all = changes.iter().enumerate().filter(move |(_, change)| file(change));
        all.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let (mut gone, mut new) = (side(Kind::Deleted), side(Kind::Created));
    if gone.is_empty() || new.is_empty() {
        return;
    }
    let mut pairs = same(changes, &gone, &new, upper, host, budget);
    gone.retain(|at| !pairs.iter().any(|(old, _)| old == at));
    new.retain(|at| !pairs.iter().any(|(_, new)| new == at));
    if gone.len() <= MANY && new.len() <= MANY {
        pairs.extend(alike(changes, &gone, &new, upper, host, budget));
    }
    for (old, new) in pairs {
        let Some((from, size, mode)) =
            changes.get(old).map(|change| (change.path.clone(), change.old_size, change.old_mode))
        else {
            continue;
        };
        let Some(change) = changes.get_mut(new) else { continue };
        (change.renamed_from, change.old_size, change.old_mode) = (Some(from), size, mode);
        let to = change.path.clone();
        if let Some(change) = changes.get_mut(old) {
            change.renamed_to = Some(to);
        }
    }
}

/// Pairs with the same content; those with the same name first.
fn same(
    changes: &[Change],
    gone: &[usize],
    new: &[usize],
    upper: &Upper,
    host: &Tree,
    budget: &mut Budget,
) -> Vec<(usize, usize)> {
    let mut by_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for at in gone {
        let size = changes.get(*at).and_then(|change| change.old_size).filter(|size| *size > 0);
        if let Some(size) = size {
            by_size.entry(size).or_default().push(*at);
        }
    }
    let (mut pairs, mut left) = (Vec::new(), PAIRS);
    for at in new {
        let Some(change) = changes.get(*at) else { continue };
        let Some(candidates) = change.new_size.and_then(|size| by_size.get_mut(&size)) else { continue };
        let name = |old: &usize| changes.get(*old).map(|old| old.path.file_name() != change.path.file_name());
        candidates.sort_by_key(|old| (name(old), *old));
        let found = candidates.iter().position(|old| {
            let Some(old) = changes.get(*old).filter(|_| left > 0) else { return false };
            left -= 1;
            let size = change.new_size.unwrap_or(0);
            let compare = || content::same(upper.file(&change.path)?, host.file(&old.path)?, size);
            budget.take(size) && compare().unwrap_or(false)
        });
        if let Some(found) = found {
            pairs.push((candidates.remove(found), *at));
        }
    }
    pairs
}

/// Pairs that have at least half of their text in common, the most alike first.
fn alike(
    changes: &[Change],
    gone: &[usize],
    new: &[usize],
    upper: &Upper,
    host: &Tree,
    budget: &mut Budget,
) -> Vec<(usize, usize)> {
    let mut texts = |at: &usize| {
        let change = changes.get(*at)?;
        let size = change.new_size.or(change.old_size).filter(|size| (1..=LONG).contains(size))?;
        let file = match change.kind {
            Kind::Deleted => host.file(&change.path),
            _ => upper.file(&change.path),
        };
        let text = budget.take(size).then(|| whole(&file.ok()?, size)).flatten()?;
        (!text.contains(&0)).then(|| (*at, counted(&text), text.len()))
    };
    let old: Vec<_> = gone.iter().filter_map(&mut texts).collect();
    let new: Vec<_> = new.iter().filter_map(&mut texts).collect();
    let mut scores = Vec::new();
    for (from, before, size) in &old {
        for (to, after, other) in &new {
            let longest = (*size).max(*other);
            if (*size).min(*other) * 2 < longest {
                continue;
            }
            let common: usize = before
                .iter()
                .map(|(line, count)| line.len() * (*count).min(after.get(line).copied().unwrap_or(0)))
                .sum();
            if common * 2 >= longest {
                scores.push((std::cmp::Reverse(common * 1000 / longest.max(1)), *from, *to));
            }
        }
    }
    scores.sort_unstable();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (_, from, to) in scores {
        if !pairs.iter().any(|(old, new)| *old == from || *new == to) {
            pairs.push((from, to));
        }
    }
    pairs
}

fn counted(text: &[u8]) -> HashMap<Vec<u8>, usize> {
    let mut counted = HashMap::new();
    for line in hunks::lines(text) {
        *counted.entry(line.to_vec()).or_default() += 1;
    }
    counted
}
