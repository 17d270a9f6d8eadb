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
    let last = command.get_arguments().find(|argument| argument.is_last_set());
    let last = last.map(|argument| argument.get_value_names().unwrap_or_default().concat());
    let title = command.get_display_name().unwrap_or("ringfence").to_owned();
    let mut page = Vec::new();
    let source = format!("ringfence {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command).title(title).source(source);
    man.render(&mut page).context("writing the manual page")?;
    let page = String::from_utf8_lossy(&page).into_owned();
    terminal::print(&match last {
        Some(name) => with_dashes(&page, &name),
        None => page,
    });
    Ok(0)
}

/// What comes after `--` is shown so in the synopsis too.
fn with_dashes(page: &str, name: &str) -> String {
    let (one, maybe) = (format!("<\\fI{name}\\fR>"), format!("[\\fI{name}\\fR]"));
    let after = format!("\\fI{name}\\fR...");
    let first = page.replacen(&one, &format!("\\fB\\-\\-\\fR {after}"), 1);
    first.replacen(&maybe, &format!("[\\fB\\-\\-\\fR {after}]"), 1)
}
