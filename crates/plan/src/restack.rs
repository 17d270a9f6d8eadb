//! Copy-on-write directories that can be put together anew while the sandbox lives, from more layers or fewer.

use std::path::PathBuf;

use crate::steps::{Flags, Step, Tree};
use crate::{Mode, Plan};

/// One of them, and what lies on it: that is put back afterwards.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stacked {
    /// Of the layer: `workspace`, or `git` and a number.
    pub name: String,
    /// Where it is.
    #[serde(with = "crate::wire::path")]
    pub path: PathBuf,
    /// What is only read.
    pub lower: Tree,
    /// What holds the layers.
    pub layer: Tree,
    /// Flags.
    pub flags: Flags,
    /// The task may have mounts of its own.
    pub nested: bool,
    /// What is mounted below it, in order. Only what is bound onto itself is made anew.
    pub on: Vec<Step>,
}

impl Plan {
    /// All copy-on-write directories, if they can be put together anew; else none.
    #[must_use]
    pub fn stacked(&self) -> Vec<Stacked> {
        if self.hosted.is_some() || !matches!(self.mode, Mode::Review | Mode::Discard) {
            return Vec::new();
        }
        let mut found: Vec<Stacked> = Vec::new();
        let mut names = self.layers.iter().map(|layer| layer.name.clone());
        for (index, step) in self.steps.iter().enumerate() {
            let Step::Overlay { path, lower, layer, flags, .. } = step else { continue };
            let (Some(lower), Some(layer), Some(name)) =
                (self.trees.get(*lower), self.trees.get(*layer), names.next())
            else {
                return Vec::new();
            };
            let on: Vec<Step> = self
                .steps
                .iter()
                .skip(index + 1)
                .filter(|step| step.path().starts_with(path) && step.path() != path)
                .filter(|step| {
                    !matches!(step, Step::Directory { .. } | Step::File { .. } | Step::Symlink { .. })
                })
                .cloned()
                .collect();
            // What is bound onto itself above it would have taken the old one along.
            let above = self.steps.iter().skip(index + 1).any(|step| match step {
                Step::Pin { path: pinned, .. } => path.starts_with(pinned),
                Step::Overlay { path: other, .. } => other.starts_with(path),
                _ => false,
            });
            if above {
                return Vec::new();
            }
            found.push(Stacked {
                name,
                path: path.clone(),
                lower: lower.clone(),
                layer: layer.clone(),
                flags: *flags,
                nested: self.filter.user_namespaces,
                on,
            });
        }
        found
    }
}
