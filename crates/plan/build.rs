//! Turns `syscalls.toml`, `enforcer.toml`, `server.toml`, `mounter.toml` and `gateway.toml` into tables of numbers and answers, so that nothing is parsed at start-up.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    answer: String,
    why: String,
    number: Option<u32>,
    arch: Option<String>,
}

/// A call of the supervisor: its reason, and the architecture that alone has it.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Own {
    Everywhere(String),
    Somewhere { why: String, arch: String },
}

fn main() -> Result<(), Box<dyn Error>> {
    task()?;
    own("enforcer", "ENFORCER")?;
    own("server", "SERVER")?;
    own("mounter", "MOUNTER")?;
    own("gateway", "GATEWAY")
}

/// The list of one of our own processes.
fn own(list: &str, table: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/{list}.toml");
    let lines: BTreeMap<String, Own> = toml::from_str(&std::fs::read_to_string(format!("src/{list}.toml"))?)?;
    let mut table = format!("static {table}: &[(u32, &str)] = &[\n");
    for (name, line) in lines {
        let (why, arch) = match line {
            Own::Everywhere(why) => (why, None),
            Own::Somewhere { why, arch } => (why, Some(arch)),
        };
        if why.is_empty() {
            return Err(format!("{list}.toml: {name} has no reason").into());
        }
        if let Some(arch) = arch {
            writeln!(table, "#[cfg(target_arch = {arch:?})]")?;
        }
        writeln!(table, "(libc::SYS_{name} as u32, {name:?}),")?;
    }
    table.push_str("];\n");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join(format!("{list}.rs")), table)?;
    Ok(())
}

fn task() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/syscalls.toml");
    let lines: BTreeMap<String, Line> = toml::from_str(&std::fs::read_to_string("src/syscalls.toml")?)?;
    let mut table = String::from("pub(crate) static SYSCALLS: &[Syscall] = &[\n");
    for (name, line) in lines {
        if line.why.is_empty() {
            return Err(format!("syscalls.toml: {name} has no reason").into());
        }
        let answer = match line.answer.as_str() {
            "allow" => "Allow",
            "refuse" => "Refuse",
            "absent" => "Absent",
            other => return Err(format!("syscalls.toml: {name} has the unknown answer {other}").into()),
        };
        if let Some(arch) = line.arch {
            writeln!(table, "#[cfg(target_arch = {arch:?})]")?;
        }
        let number =
            line.number.map_or_else(|| format!("libc::SYS_{name} as u32"), |number| number.to_string());
        writeln!(
            table,
            "Syscall {{ name: {name:?}, number: {number}, answer: Answer::{answer}, why: {:?} }},",
            line.why
        )?;
    }
    table.push_str("];\n");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("syscalls.rs"), table)?;
    Ok(())
}
