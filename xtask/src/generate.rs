//! Files that are made from the code: written by `generate`, compared by `generate --check`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::budget;
use crate::command::capture;
use crate::command::cargo;
use crate::command::root;

/// Runs the verb.
pub(crate) fn generate(args: &[String]) -> Result<ExitCode, String> {
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

/// Fails if a generated file is not what the code makes now.
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
    // From the model itself, and not from the binary, which only prints what is kept here.
    let mut example = cargo();
    example.args(["run", "--quiet", "--locked", "-p", "ringfence-policy", "--features", "schema"]);
    let schema = capture(example.args(["--example", "schema"]))?;
    if !schema.contains("\"workspace\"") {
        return Err("the schema is empty".to_owned());
    }
    Ok(vec![(docs.join("policy.schema.json"), schema), (docs.join("ci-budget.md"), budget::document())])
}
