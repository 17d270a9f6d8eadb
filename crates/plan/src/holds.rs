//! Directories that keep their place, because of what lies below them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfence_policy::{Mode, Policy};

use crate::grants::{Access, Granted, Grants};
use crate::mounts::Builder;
use crate::steps::{Flags, Step};
use crate::survey::Survey;

impl Builder {
    /// What is hidden below something that is written on the host keeps its place: a directory above it that is renamed would
    /// take the mask along and leave the name free.
    pub(crate) fn hold_hidden(&mut self, policy: &Policy, survey: &Survey, grants: &Grants) {
        let direct = (policy.workspace.mode == Mode::Direct).then_some(&survey.workspace.real);
        let written = grants.mounts.iter().filter(|granted| granted.access == Access::Write);
        let roots: Vec<&PathBuf> = written.map(|granted| &granted.place.real).chain(direct).collect();
        let mut held: BTreeSet<PathBuf> = BTreeSet::new();
        for marked in &survey.hidden {
            // What is written by itself is a mount, and keeps its place.
            let above = |root: &&&PathBuf| marked.path != ***root && marked.path.starts_with(root);
            let Some(root) = roots.iter().find(above) else { continue };
            let above = marked.path.ancestors().skip(1).take_while(|ancestor| ancestor != root);
            held.extend(above.map(Path::to_path_buf));
        }
        self.hold(held);
    }

    /// A script that is listed is known by its path, and so is what runs it: nobody puts another directory on the way there.
    pub(crate) fn hold_scripts(&mut self, policy: &Policy, survey: &Survey, grants: &Grants) {
        // In a mount namespace of its own a task renames them all the same.
        if policy.runtime.user_namespaces {
            return;
        }
        let written = |path: &Path| {
            let own = |granted: &Granted| granted.access == Access::Write && granted.place.real == path;
            grants.mounts.iter().any(own)
        };
        let mut held = BTreeSet::new();
        // What no tree shows cannot start, and is nowhere to be held.
        let shown = |path: &Path| grants.covering(path).is_some() || path.starts_with(&survey.workspace.real);
        let scripts = survey.programs.iter().filter(|program| !program.interpreters.is_empty());
        let files = scripts.flat_map(|program| {
            let interpreters = program.interpreters.iter().map(|interpreter| &interpreter.place);
            std::iter::once(&program.place).chain(interpreters)
        });
        for file in files.filter(|file| shown(&file.real)) {
            let mut above = Vec::new();
            // From what is mounted for itself up to what can be written.
            for path in file.real.ancestors() {
                match self.mounted.get(path.as_os_str()) {
                    Some(_) if path == Path::new("/") => break,
                    Some(true) => held.extend(above.drain(..)),
                    Some(false) if written(path) => held.extend(above.drain(..)),
                    Some(false) => above.clear(),
                    None => above.push(path.to_path_buf()),
                }
            }
        }
        self.hold(held);
    }

    /// Where something is mounted nothing is renamed (rename(2), EBUSY).
    fn hold(&mut self, mut held: BTreeSet<PathBuf>) {
        let pinned: BTreeSet<&PathBuf> = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Pin { path, .. } | Step::Bind { path, .. } => Some(path),
                _ => None,
            })
            .collect();
        held.retain(|path| !pinned.contains(path));
        self.steps.extend(held.into_iter().map(|path| Step::Pin { path, flags: Flags::default() }));
    }
}
