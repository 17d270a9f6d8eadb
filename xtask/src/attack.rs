//! `cargo xtask attack`: the attack table, as an ordinary user and as root.

use std::path::PathBuf;
use std::process::ExitCode;

use ringfence_attacks::Options;
use ringfence_attacks::Who;

use crate::command::target;

/// How to call it.
pub(crate) const USAGE: &str = "attack [--group GROUP] [--id ID]... [--as user|root|both] [--jobs N] [--json]
         [--tier namespace|landlock] [--binary FILE] [--control-only] [--control-all] [--no-control]";

/// Runs the verb.
pub(crate) fn attack(args: &[String]) -> Result<ExitCode, String> {
    let mut options = options();
    let (mut json, mut control_only) = (false, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--group" => options.group = Some(value()?),
            "--id" => options.ids.push(value()?),
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "`--jobs` needs a number".to_owned())?,
            "--binary" => options.binary = Some(PathBuf::from(value()?)),
            "--as" => {
                options.who = match value()?.as_str() {
                    "user" => vec![Who::User],
                    "root" => vec![Who::Root],
                    "both" => vec![Who::User, Who::Root],
                    other => return Err(format!("`--as` is user, root or both, not `{other}`")),
                };
            }
            "--tier" => {
                options.hosted = match value()?.as_str() {
                    "namespace" => false,
                    "landlock" => true,
                    other => return Err(format!("`--tier` is namespace or landlock, not `{other}`")),
                };
            }
            "--json" => json = true,
            "--control-only" => control_only = true,
            "--no-control" => options.control = false,
            "--control-all" => options.control_all = true,
            _ => return Err(format!("`{arg}` is unknown; usage: {USAGE}")),
        }
    }
    if control_only {
        options.binary = None;
    }
    let summary = ringfence_attacks::run(&options).map_err(|error| error.to_string())?;
    if json {
        println!("{}", summary.json());
    } else {
        if !options.ids.is_empty() {
            print!("{}", summary.verbose());
        }
        print!("{}", summary.table());
        println!("{} passed, {} failed", summary.passed(), summary.failed());
    }
    Ok(if summary.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole `run` stage against the debug build, as both users.
pub(crate) fn options() -> Options {
    Options {
        group: None,
        ids: Vec::new(),
        who: vec![Who::User, Who::Root],
        jobs: 6,
        binary: Some(target().join("debug/ringfence")),
        control: true,
        control_all: false,
        hosted: false,
    }
}
