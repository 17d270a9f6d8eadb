//! `ringfence man`: manual pages, made from the grammar of the command line.

use clap::Args;

use crate::failure::{Context, Failure};
use crate::{cli, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The verb; without it, the page of `ringfence` itself
    verb: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let mut command = cli::command();
    command.build();
    let command = match &arguments.verb {
        None => command,
        Some(verb) => {
            let found = command.find_subcommand(verb).cloned();
            found.ok_or_else(|| {
                Failure::new(format!("there is no verb `{verb}`")).hint("`ringfence --help` lists them")
            })?
        }
    };
    let title = command.get_display_name().unwrap_or("ringfence").to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command).title(title).render(&mut page).context("writing the manual page")?;
    terminal::print(&String::from_utf8_lossy(&page));
    Ok(0)
}
