//! Of who did several things with a file, the most is told: a program that looks whether a file is there before it reads it did one thing.

use std::collections::{BTreeMap, BTreeSet};

use crate::explanation::Explanation;

/// Takes out what the same programs did less of, and counts it there.
pub(crate) fn settle(refusals: &mut Vec<Explanation>) {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, one) in refusals.iter().enumerate().filter(|(_, one)| one.kind == "file") {
        places.entry(one.target.clone()).or_default().push(place);
    }
    let mut gone = BTreeSet::new();
    for same in places.into_values().filter(|same| same.len() > 1) {
        for &weak in &same {
            let strong =
                same.iter().copied().find(|strong| match (refusals.get(weak), refusals.get(*strong)) {
                    (Some(weak), Some(one)) => !gone.contains(strong) && is_part(weak, one),
                    _ => false,
                });
            let Some(strong) = strong else { continue };
            let times = refusals.get(weak).map_or(0, |one| one.times);
            if let Some(strong) = refusals.get_mut(strong) {
                strong.times += times;
            }
            gone.insert(weak);
        }
    }
    let mut place = 0..;
    refusals.retain(|_| place.next().is_none_or(|place| !gone.contains(&place)));
}

/// Whether what allows the one allows the other, of the same programs.
fn is_part(weak: &Explanation, strong: &Explanation) -> bool {
    let includes = match strong.purpose.as_str() {
        "read" | "remove" => weak.purpose == "look",
        "write" | "execute" => ["look", "read"].contains(&weak.purpose.as_str()),
        _ => false,
    };
    includes && weak.askers.iter().all(|asker| strong.askers.contains(asker))
}
