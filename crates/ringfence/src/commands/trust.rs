//! `ringfence trust`: accepts a policy file as it is now.

use std::path::PathBuf;

use clap::Args;
use ringfence_policy::Source;

use crate::failure::{Context, Failure};
use crate::source::Recording;
use crate::{environment, source, terminal, trust};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The policy file; without it, the ringfence.toml here or above
    file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    accept(arguments.file.clone())
}

/// Accepts this file, or the one here or above.
pub(crate) fn accept(file: Option<PathBuf>) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let path = match &file {
        Some(path) => std::path::absolute(path).context(format!("the path {}", path.display()))?,
        None => source::find(&invoker).ok_or_else(|| {
            Failure::new("there is no ringfence.toml here or above").hint("name the file to trust")
        })?,
    };
    // Only what can be read as a policy is accepted; what it extends is accepted with it.
    let files = Recording::default();
    let policy = source::read(&[Source::File(path.clone())], &invoker, &files, None, None)?;
    trust::accept(&path, &files.read.into_inner(), &invoker)?;
    terminal::print(&format!("{}: trusted as it is now ({})", terminal::escape(&path), policy.hash));
    Ok(0)
}
