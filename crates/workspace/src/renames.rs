//! Which new file is probably an old one under another name: the same content, or most of its lines.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};

use crate::beneath::Tree;
use crate::change::{Change, FileType, Kind};
use crate::content;
use crate::hunks;
use crate::overlay::Upper;
use crate::text::{Budget, whole};

/// So many files are read at most, so that a task cannot make this slow.
const FILES: usize = 40_000;
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
    let paired: HashSet<usize> = pairs.iter().flat_map(|(old, new)| [*old, *new]).collect();
    gone.retain(|at| !paired.contains(at));
    new.retain(|at| !paired.contains(at));
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

/// Pairs with the same content; those with the same name first. Each file is read twice at most, whatever there is to compare it with.
fn same(
    changes: &[Change],
    gone: &[usize],
    new: &[usize],
    upper: &Upper,
    host: &Tree,
    budget: &mut Budget,
) -> Vec<(usize, usize)> {
    let size_of = |at: &usize| {
        let change = changes.get(*at)?;
        let size = if change.kind == Kind::Deleted { change.old_size } else { change.new_size };
        size.filter(|size| *size > 0)
    };
    let wanted: HashSet<u64> = new.iter().filter_map(size_of).collect();
    let offered: HashSet<u64> =
        gone.iter().filter_map(size_of).filter(|size| wanted.contains(size)).collect();
    let keys = RandomState::new();
    let mut left = FILES;
    let mut key = |at: &usize| {
        let size = size_of(at).filter(|size| offered.contains(size) && left > 0 && budget.take(*size))?;
        left -= 1;
        let change = changes.get(*at)?;
        let file =
            if change.kind == Kind::Deleted { host.file(&change.path) } else { upper.file(&change.path) };
        Some((size, content::digest(file.ok()?, size, keys.build_hasher()).ok()?))
    };
    let mut offers: HashMap<(u64, u64), BTreeMap<&OsStr, VecDeque<usize>>> = HashMap::new();
    for at in gone {
        let name = changes.get(*at).and_then(|change| change.path.file_name());
        if let (Some(key), Some(name)) = (key(at), name) {
            offers.entry(key).or_default().entry(name).or_default().push_back(*at);
        }
    }
    // All that keep their name before any that does not.
    let keyed: Vec<_> = new.iter().filter_map(|at| Some((*at, key(at)?))).collect();
    let mut pairs = Vec::new();
    let mut compare = |old: usize, at: usize, size: u64| {
        let equal = || {
            let (old, new) = (changes.get(old)?, changes.get(at)?);
            content::same(upper.file(&new.path).ok()?, host.file(&old.path).ok()?, size).ok()
        };
        if equal() == Some(true) {
            pairs.push((old, at));
        }
    };
    let mut rest = Vec::new();
    for (at, key) in keyed {
        let name = changes.get(at).and_then(|change| change.path.file_name());
        let named = name.and_then(|name| offers.get_mut(&key)?.get_mut(name)?.pop_front());
        match named {
            Some(old) => compare(old, at, key.0),
            None => rest.push((at, key)),
        }
    }
    for (at, key) in rest {
        let Some(names) = offers.get_mut(&key) else { continue };
        names.retain(|_, offered| !offered.is_empty());
        if let Some(old) = names.values_mut().next().and_then(VecDeque::pop_front) {
            compare(old, at, key.0);
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
