//! What rules are made of: the files that the entries of a policy mean, and where.

use std::path::Path;

use super::Digest;
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
    /// The file of many programs that this is another name of, by which it would be told which of them it is.
    pub part_of: Option<&'a Path>,
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
    /// What it is called by.
    pub name: &'a [u8],
    /// The arguments before the script.
    pub before: &'a [Vec<u8>],
}

/// Where the rules are to hold.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    /// The workspace, as the policy names it.
    pub workspace: &'a Path,
    /// Where the task finds it, if that is elsewhere.
    pub copy: Option<&'a Path>,
    /// Where it finds directories for what is temporary.
    pub temporary: Vec<&'a Path>,
}
