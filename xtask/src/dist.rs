//! `cargo xtask dist`: the static release binary.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use crate::command::capture;
use crate::command::cargo;
use crate::command::exists;
use crate::command::run;
use crate::command::target;
use crate::elf;

const MUSL: &str = "x86_64-unknown-linux-musl";
const GLIBC: &str = "x86_64-unknown-linux-gnu";

/// Runs the verb.
pub(crate) fn dist() -> Result<ExitCode, String> {
    let binary = build(Form::Whole)?;
    let size = fs::metadata(&binary).map_err(|e| e.to_string())?.len();
    println!("{} {size} bytes, static", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// How much is made of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// The same program, hardly optimised: half of the time, for a run that only shows that it can be built.
    Short,
}

/// Builds it and checks that it is static: with musl where that target is installed, else with a static glibc.
pub(crate) fn build(form: Form) -> Result<PathBuf, String> {
    // The gateway's cryptography is partly C.
    let compiler = exists("x86_64-linux-musl-gcc");
    let musl = compiler && (has_musl()? || add_musl() && has_musl()?);
    if !musl {
        println!(
            "no {MUSL} here, or no compiler for it (package musl-tools): a static glibc, which starts half a millisecond later"
        );
    }
    let (triple, flags) = if musl { (MUSL, "") } else { (GLIBC, "-C target-feature=+crt-static") };
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "ringfence", "--target", triple]);
    if form == Form::Short {
        let short = [("LTO", "off"), ("OPT_LEVEL", "1"), ("CODEGEN_UNITS", "16")];
        command.envs(short.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)));
    }
    run(command.env("RUSTFLAGS", flags))?;
    let binary = target().join(triple).join("release/ringfence");
    let bytes = fs::read(&binary).map_err(|e| format!("{}: {e}", binary.display()))?;
    if elf::is_static(&bytes)? {
        Ok(binary)
    } else {
        Err(format!("{} needs a loader or a library", binary.display()))
    }
}

fn has_musl() -> Result<bool, String> {
    let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(MUSL).is_dir())
}

/// Asks rustup for it, if there is one and it can.
fn add_musl() -> bool {
    Command::new("rustup").args(["target", "add", MUSL]).status().is_ok_and(|status| status.success())
}
