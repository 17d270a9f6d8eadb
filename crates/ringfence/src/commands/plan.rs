//! `ringfence plan`: what the kernel would be told, without telling it.

use std::ffi::OsString;

use clap::Args;

use crate::cli::PolicyArguments;
use crate::failure::Failure;
use crate::{environment, not_executed, run, source, terminal};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: PolicyArguments,
    /// Print only the merged policy, each line with its origin
    #[arg(long)]
    policy_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The command that would run
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let invoker = environment::invoker()?;
    let policy = source::load(&arguments.policy, &invoker)?;
    if arguments.policy_only {
        if arguments.json {
            super::print_json(&policy)?;
        } else {
            terminal::print(&ringfence_policy::print_merged(&policy));
        }
        return Ok(0);
    }
    let mut command = arguments.command.clone();
    if command.is_empty() {
        command.push("COMMAND".into());
    }
    let plan =
        run::make_plan(&policy, &invoker, &arguments.policy, command, &invoker.state.join("runs/RUN"))?;
    if arguments.json {
        super::print_json(&plan)?;
    } else {
        terminal::print(&plan.to_string());
        if !arguments.command.is_empty() && not_executed::nowhere(&plan) {
            let name = plan.command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
            terminal::error(&format!(
                "{} {}: no such command on this host: `run` would end with 127",
                terminal::label("note:"),
                terminal::escape(&*name)
            ));
        }
    }
    Ok(0)
}
