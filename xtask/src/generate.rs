//! Files that are made from the code: written by `generate`, compared by `generate --check`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use crate::budget;
use crate::command::capture;
use crate::command::cargo;
use crate::command::root;
use crate::command::run;
use crate::command::target;

/// Runs the verb.
pub(crate) fn generate(args: &[String]) -> Result<ExitCode, String> {
    run(cargo().args(["build", "--quiet", "--package", "ringfence"]))?;
    match args {
        [] => {
            for (path, text) in files()? {
                fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
                println!("wrote {}", path.display());
            }
        }
        [flag] if flag == "--check" => check()?,
        _ => return Err("usage: generate [--check]".to_owned()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if a generated file is not what the code makes now. The binary must have been built.
pub(crate) fn check() -> Result<(), String> {
    let mut stale = Vec::new();
    for (path, text) in files()? {
        if fs::read_to_string(&path).is_ok_and(|kept| kept == text) {
            println!("{} is current", path.display());
        } else {
            stale.push(path.display().to_string());
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("not current: {}; run `cargo xtask generate`", stale.join(", ")))
    }
}

fn files() -> Result<Vec<(PathBuf, String)>, String> {
    let docs = root().join("docs");
    let mut schema = capture(Command::new(target().join("debug/ringfence")).arg("schema"))?;
    if !schema.ends_with('\n') {
        schema.push('\n');
    }
    Ok(vec![(docs.join("policy.schema.json"), schema), (docs.join("ci-budget.md"), budget::document())])
}
