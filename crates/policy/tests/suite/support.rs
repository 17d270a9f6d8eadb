//! A host that exists only in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_policy::{Context, Diagnostics, Files, Policy, Source, load};

/// Files by path; anything else does not exist.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read_ceiling(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

pub(crate) fn memory(files: &[(&str, &str)]) -> Memory {
    Memory(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect())
}

pub(crate) fn context() -> Context {
    Context {
        home: "/home/u".into(),
        listed_home: Some("/home/u".into()),
        cwd: "/proj".into(),
        variables: [("SDK", "/opt/sdk"), ("SSH_AUTH_SOCK", "/tmp/agent.1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        config_dir: "/etc/ringfence".into(),
        state_dir: "/home/u/.local/state/ringfence".into(),
        step: None,
    }
}

pub(crate) fn file(path: &str) -> Source {
    Source::File(path.into())
}

pub(crate) fn preset(name: &str) -> Source {
    Source::Preset(name.to_owned())
}

/// Loads /proj/p.toml with this text.
pub(crate) fn one(text: &str) -> Result<Policy, Diagnostics> {
    load(&[file("p.toml")], &context(), &memory(&[("/proj/p.toml", text)]))
}

/// The policy of a document that must be valid; `version = 1` is put in front.
pub(crate) fn good(text: &str) -> Policy {
    one(&format!("version = 1\n{text}")).unwrap_or_else(|found| panic!("{text}\n{found}"))
}

/// What is wrong with a document that must not be valid, without the trailing blanks of the renderer.
pub(crate) fn bad(text: &str) -> String {
    match one(&format!("version = 1\n{text}")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(found) => trimmed(&found),
    }
}

pub(crate) fn trimmed(found: &Diagnostics) -> String {
    found.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Compares a whole rendering, indented in the test for reading.
#[track_caller]
pub(crate) fn same(found: &str, expected: &str) {
    let lines: Vec<&str> = expected.trim_matches('\n').lines().collect();
    let indent =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
    let indent = indent.min().unwrap_or(0);
    let expected: Vec<&str> = lines.iter().map(|line| line.get(indent..).unwrap_or("").trim_end()).collect();
    let expected = expected.join("\n");
    assert!(found == expected.trim_end(), "found:\n{found}\n\nexpected:\n{expected}");
}
