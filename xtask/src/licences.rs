//! Licences, sources and duplicates of what is linked in: by cargo-deny where it is, by a check of our own otherwise.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::command::capture;
use crate::command::cargo;
use crate::command::exists;
use crate::command::root;
use crate::command::run;

/// What other systems would link is never fetched, so it cannot be looked at offline.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The long form installs cargo-deny.
pub(crate) fn check(long: bool) -> Result<(), String> {
    if long && !exists("cargo-deny") {
        run(cargo().args(["install", "cargo-deny", "--locked"]))?;
    }
    own()?;
    if exists("cargo-deny") {
        run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

/// The same rules as `deny.toml`, read from it.
fn own() -> Result<(), String> {
    let rules = fs::read_to_string(root().join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let allowed = list(&rules, "allow");
    let skipped = list(&rules, "skip");
    let text = capture(cargo().args([
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform",
        PLATFORM,
    ]))?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let licence = package["license"].as_str().unwrap_or_default();
        if !grants(licence, &allowed) {
            wrong.push(format!("{name}: licence `{licence}` is not among those in deny.toml"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            wrong.push(format!("{name}: comes from no registry"));
        }
        versions.entry(name).or_default().insert(package["version"].to_string());
    }
    for (name, found) in versions.iter().filter(|(name, found)| found.len() > 1 && !skipped.contains(*name)) {
        wrong.push(format!("{name}: {} versions: {found:?}", found.len()));
    }
    if wrong.is_empty() {
        println!("{} packages: licences, sources and versions are in order", versions.len());
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// The strings of `key = [ ... ]`, which ends at the first `]`.
fn list(text: &str, key: &str) -> BTreeSet<String> {
    let opening = format!("\n{key} = [");
    let body =
        text.split_once(&opening).and_then(|(_, rest)| rest.split_once(']')).map_or("", |(body, _)| body);
    let lines = body.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is an old way to write OR.
fn grants(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest, allowed);
    met && rest.is_empty() && !words.is_empty()
}

fn either(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = both(words, allowed);
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = single(words, allowed);
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        met &= single(words, allowed);
    }
    met
}

fn single(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let met = either(words, allowed);
        return match words.split_first() {
            Some((&")", rest)) => {
                *words = rest;
                met
            }
            _ => false,
        };
    }
    let mut name = (*first).to_owned();
    if let [with @ "WITH", exception, rest @ ..] = *words {
        name = format!("{name} {with} {exception}");
        *words = rest;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_does() {
        let allowed: BTreeSet<String> = ["MIT", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        assert!(grants("MIT OR GPL-3.0", &allowed));
        assert!(grants("GPL-3.0/MIT", &allowed));
        assert!(grants("(MIT OR GPL-3.0) AND MIT", &allowed));
        assert!(grants("Apache-2.0 WITH LLVM-exception", &allowed));
        assert!(!grants("MIT AND GPL-3.0", &allowed));
        assert!(!grants("Apache-2.0", &allowed));
        assert!(!grants("", &allowed));
    }

    #[test]
    fn lists_are_read_from_the_rules() {
        let found = list("x\nallow = [\n  \"MIT\", # why\n  \"ISC\",\n]\n", "allow");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["ISC", "MIT"]);
    }
}
