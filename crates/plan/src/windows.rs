//! Where the owner is asked, the root itself must be what is looked into: an overlay, as the private home is one, asks for attributes
//! while it looks a name up, when nothing may be held. So the directories below which something may be granted are bound over it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfence_policy::Policy;

/// The directories in this home, outermost ones only.
pub(crate) fn windows(policy: &Policy, home: &Path) -> BTreeSet<PathBuf> {
    let asked = policy.approvals.read.iter().filter(|_| policy.approvals.ask);
    let bases: BTreeSet<PathBuf> = asked
        .filter_map(|rule| {
            let base = rule.value.base(Path::new("/"));
            // A pattern without a wildcard is its own base.
            let whole = Path::new(rule.value.text()).ends_with(base.file_name()?);
            if whole { base.parent().map(Path::to_owned) } else { Some(base) }
        })
        .filter(|base| base.starts_with(home) && base != home)
        .collect();
    let outermost = |base: &&PathBuf| !base.ancestors().skip(1).any(|above| bases.contains(above));
    bases.iter().filter(outermost).cloned().collect()
}
