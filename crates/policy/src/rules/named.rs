//! What rules are made of: the files that the entries of a policy mean, and where.

use std::collections::BTreeMap;
use std::path::Path;

use super::program::is_git;
use super::{CommandRules, Digest, bytes};
use crate::argv::CommandPattern;
use crate::model::Rule;

/// A file that an entry names, as it was found.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// The entry as the policy has it.
    pub entry: &'a Rule<String>,
    /// The file, without links.
    pub file: &'a Path,
    /// Which one it is, by whatever name: device and inode.
    pub identity: (u64, u64),
    /// It has another name, by which the task might write to it.
    pub shared: bool,
    /// How the kernel runs it, where it is a script: the interpreter, then what that starts.
    pub interpreted: Vec<Interpreted<'a>>,
    /// What is in these files, where the policy pins them.
    pub pinned: Vec<(&'a Path, Digest)>,
}

/// What runs a script.
#[derive(Clone, Copy, Debug)]
pub struct Interpreted<'a> {
    /// The file, without links.
    pub file: &'a Path,
    /// Which one it is.
    pub identity: (u64, u64),
    /// What it is called by.
    pub name: &'a [u8],
    /// The arguments before the script.
    pub before: &'a [Vec<u8>],
}

/// What there is of the lists.
#[derive(Debug)]
pub struct Lists<'a> {
    /// The programs of `allow` and `children`.
    pub allow: &'a [Named<'a>],
    /// Those of `deny`.
    pub deny: &'a [Named<'a>],
    /// Files of many programs: which they are, and a path by whose name that is known.
    pub many: BTreeMap<(u64, u64), &'a Path>,
    /// Those of them that are known to start what they run of their own, as they start everything else.
    pub starting: Vec<&'a Path>,
    /// Variables that the sandbox itself sets, as `NAME=VALUE`.
    pub assigned: Vec<Vec<u8>>,
}

impl Named<'_> {
    /// Whether it is one command of git's, whose file may be all of them: by a link, or another name.
    pub(super) fn is_part_of_git(&self) -> bool {
        let of_git = |own: CommandPattern| own.of_git().is_some();
        is_git(bytes(self.file)) && CommandPattern::parse(&self.entry.value, "/").is_ok_and(of_git)
    }
}

impl Lists<'_> {
    /// The file by which it is known what this one is.
    pub(super) fn whole<'a>(&'a self, identity: (u64, u64), file: &'a Path) -> &'a Path {
        self.many.get(&identity).copied().unwrap_or(file)
    }
}

/// Where the rules are to hold.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    /// The workspace, as the policy names it.
    pub workspace: &'a Path,
    /// Where the task finds it, if that is elsewhere.
    pub copy: Option<&'a Path>,
    /// Where the task's home lies, if that is not the policy's.
    pub home: Option<&'a Path>,
    /// Where it finds directories for what is temporary.
    pub temporary: Vec<&'a Path>,
}

impl CommandRules {
    /// The same beforehand: what lies in the workspace is what its copy will hold.
    #[must_use]
    pub fn uncopied(&self) -> Self {
        let mut rules = self.clone();
        if let Some(copy) = rules.copy.take() {
            for own in rules.own.iter_mut().filter(|own| **own == copy) {
                own.clone_from(&rules.workspace);
            }
        }
        rules
    }
}
