//! Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::finding::{Finding, Level};
use crate::rules;

/// One run. `file` is the policy itself, where a finding has no file of its own; `cwd` is what paths are shown from.
#[must_use]
pub fn sarif(findings: &[Finding], version: &str, file: &str, cwd: &Path) -> Value {
    let rules: Vec<Value> = rules::ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.about },
                "fullDescription": { "text": rule.about },
                "help": { "text": format!("{} See docs/check.md.", rule.about) },
                "defaultConfiguration": { "level": level(rule.level) },
                "properties": { "security-severity": severity(rule.level), "tags": ["security"] },
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, file, cwd)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "ringfence", "semanticVersion": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding, file: &str, cwd: &Path) -> Value {
    let (own, mut text) = (finding.file.as_str(), format!("{}: {}", finding.what, finding.why));
    if !finding.remedy.is_empty() {
        text.push_str(&format!(". To mend it: {}", finding.remedy));
    }
    // A line of a preset is in no file: it is shown at the policy that takes it over.
    let (uri, line) = match own {
        "" => (file, 0),
        own if own.starts_with("preset ") => {
            text.push_str(&format!(" ({own}:{})", finding.line));
            (file, 0)
        }
        own => (own, finding.line),
    };
    let index = rules::ALL.iter().position(|rule| rule.id == finding.rule.id).unwrap_or(0);
    let mut location = Map::new();
    location.insert("artifactLocation".to_owned(), json!({ "uri": address(uri, cwd) }));
    if line > 0 {
        location.insert("region".to_owned(), json!({ "startLine": line }));
    }
    let accepted = json!([{ "kind": "external", "justification": "accepted on the command line" }]);
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.level),
        "message": { "text": ringfence_policy::escape(&text) },
        "locations": [{ "physicalLocation": location }],
        "suppressions": if finding.accepted { accepted } else { json!([]) },
        "properties": { "level": finding.level, "security-severity": severity(finding.level) },
    })
}

/// SARIF's words.
fn level(level: Level) -> &'static str {
    match level {
        Level::High => "error",
        Level::Medium => "warning",
        Level::Low | Level::Note => "note",
    }
}

/// The number that code hosts rank by, 0 to 10.
fn severity(level: Level) -> &'static str {
    match level {
        Level::High => "8.0",
        Level::Medium => "5.5",
        Level::Low => "3.0",
        Level::Note => "0.5",
    }
}

/// A reference relative to the current directory where it is below that, as code hosts want it.
fn address(path: &str, cwd: &Path) -> String {
    if path.starts_with("preset ") {
        return "ringfence.toml".to_owned();
    }
    let whole = cwd.join(path);
    let (prefix, shown) = match whole.strip_prefix(cwd) {
        Ok(below) => ("", below.to_path_buf()),
        Err(_) => ("file://", whole),
    };
    let mut out = prefix.to_owned();
    for byte in shown.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
