//! Which policy counts: named on the command line, found in the workspace and trusted, or the preset `default`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Invoker;
use ringfence_policy::{Context as PolicyContext, Files, HostFiles, Policy, Source};

use crate::chosen;
use crate::cli::{PolicyArguments, sources};
use crate::custody;
use crate::environment;
use crate::failure::Failure;
use crate::registries;
use crate::terminal;
use crate::trust;

/// Name of a policy file in a workspace.
pub(crate) const FILE: &str = "ringfence.toml";

/// Loads the policy that the arguments, the environment or the current directory name.
pub(crate) fn load(arguments: &PolicyArguments, invoker: &Invoker) -> Result<Policy, Failure> {
    let step = arguments.step.as_deref();
    let workspace = arguments.workspace.as_deref();
    let named = named(arguments, invoker);
    if !named.is_empty() {
        return read(&named, invoker, &HostFiles, step, workspace);
    }
    match find(invoker) {
        Some(path) => {
            let files = Recording::default();
            trust::check_before(&path, invoker)?;
            let policy = read(&[Source::File(path.clone())], invoker, &files, step, workspace)?;
            trust::check(&path, &files.read.into_inner(), invoker)?;
            Ok(policy)
        }
        None => read(&[Source::Preset("default".into())], invoker, &HostFiles, step, workspace),
    }
}

/// The one policy file that counts, if it is one.
pub(crate) fn file(arguments: &PolicyArguments, invoker: &Invoker) -> Option<PathBuf> {
    let named = named(arguments, invoker);
    let mut files = named.iter().filter_map(|source| match source {
        Source::File(path) => Some(absolute(path, invoker)),
        Source::Preset(_) => None,
    });
    let file = if named.is_empty() { find(invoker) } else { files.next() };
    file.filter(|_| files.next().is_none())
}

/// The file that a name on the command line means, as a policy is read there: `..` at its beginning leads up from where this was called.
pub(crate) fn absolute(path: &Path, invoker: &Invoker) -> PathBuf {
    let (mut absolute, mut rest) = (invoker.cwd.clone(), path);
    loop {
        rest = match (rest.strip_prefix(".."), rest.strip_prefix(".")) {
            (Ok(below), _) => {
                absolute.pop();
                below
            }
            (_, Ok(below)) => below,
            _ => return absolute.join(rest),
        };
    }
}

fn named(arguments: &PolicyArguments, invoker: &Invoker) -> Vec<Source> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut named = sources(arguments, &words);
    if named.is_empty()
        && let Some(path) =
            invoker.variables.get(OsStr::new("RINGFENCE_POLICY")).filter(|path| !path.is_empty())
    {
        named.push(Source::File(path.into()));
    }
    named
}

/// Reads and merges; errors are a finished report. `workspace`: as it is named on the command line.
pub(crate) fn read(
    sources: &[Source],
    invoker: &Invoker,
    files: &dyn Files,
    step: Option<&str>,
    workspace: Option<&Path>,
) -> Result<Policy, Failure> {
    let context = PolicyContext { step: step.map(str::to_owned), ..environment::context(invoker) };
    let mut policy = ringfence_policy::load(sources, &context, files)
        .map_err(|diagnostics| Failure::report(diagnostics.render(terminal::colour())))?;
    let workspace = chosen::workspace(&policy, invoker, workspace);
    registries::resolve(&mut policy, invoker, &workspace)?;
    custody::guard(&mut policy, invoker, Some(&workspace))?;
    Ok(policy)
}

/// A policy file here or above, up to the home directory, a mount point or a change of owner.
pub(crate) fn find(invoker: &Invoker) -> Option<PathBuf> {
    let start = invoker.cwd.metadata().ok()?;
    for directory in invoker.cwd.ancestors() {
        let metadata = directory.metadata().ok()?;
        if (metadata.dev(), metadata.uid()) != (start.dev(), start.uid()) {
            return None;
        }
        let path = directory.join(FILE);
        // A dangling link or a FIFO of that name is found too, and refused when it is read.
        if path.symlink_metadata().is_ok() {
            return Some(path);
        }
        if directory == invoker.home {
            return None;
        }
    }
    None
}

/// Remembers every file that was read, so that trust covers what a policy extends as well.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) read: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
}

impl Files for Recording {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = HostFiles.read(path)?;
        self.read.borrow_mut().insert(path.to_path_buf(), content.clone());
        Ok(content)
    }

    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        HostFiles.read_ceiling(path)
    }

    fn exists(&self, path: &Path) -> bool {
        HostFiles.exists(path)
    }
}
