//! `ringfence completions`: for the shells that clap knows.

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::{cli, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut cli::command(), "ringfence", &mut script);
    terminal::print(&String::from_utf8_lossy(&script));
    Ok(0)
}
