//! `cargo xtask fuzz`: parsers of hostile bytes under a coverage-guided fuzzer. Property tests are its short form in every run.

use std::process::{Command, ExitCode};

use crate::command::{cargo, exists, root, run};

const TARGETS: [&str; 3] = ["fuse", "policy", "terminal"];

/// Runs the verb.
pub(crate) fn fuzz(args: &[String]) -> Result<ExitCode, String> {
    let (mut seconds, mut chosen) = (60_u32, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.as_slice()) {
            ("--seconds", [number, ..]) => {
                seconds = number.parse().map_err(|_| format!("`{number}` is no number of seconds"))?;
                args.next();
            }
            (target, _) if TARGETS.contains(&target) => chosen.push(target.to_owned()),
            _ => {
                return Err(format!(
                    "usage: fuzz [--seconds N] [TARGET]...; targets: {}",
                    TARGETS.join(", ")
                ));
            }
        }
    }
    if !exists("cargo-fuzz") {
        run(cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    if chosen.is_empty() {
        chosen = TARGETS.map(str::to_owned).to_vec();
    }
    for target in chosen {
        let mut command: Command = cargo();
        // The instrumentation is a flag that a stable compiler hides.
        command.env("RUSTC_BOOTSTRAP", "1").current_dir(root().join("fuzz"));
        command.args(["fuzz", "run", "--fuzz-dir", ".", &target, "--"]);
        run(command.args([&format!("-max_total_time={seconds}"), "-max_len=4096", "-rss_limit_mb=1024"]))?;
    }
    Ok(ExitCode::SUCCESS)
}
