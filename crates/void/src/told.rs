//! What a task may know of its own refusals: a file that grows by a line each, and never past its bound.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Bytes; what comes later is only counted.
const MOST: usize = 64 << 10;
/// Room for the line that says so.
const LAST: usize = 256;

/// The file.
#[derive(Debug, Default)]
pub struct Told {
    text: String,
    known: BTreeSet<(PathBuf, &'static str)>,
    full: bool,
}

/// What refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A rule that names it.
    Rule,
    /// That no rule does.
    Nothing,
    /// The list of system calls.
    Calls,
    /// A rule, or that there is none: which of both is not told.
    Policy,
}

#[derive(Serialize)]
struct Line<'a> {
    refused: &'a str,
    to: &'static str,
    by: &'static str,
    again: &'static str,
}

impl Told {
    /// One more, unless it is there already, and what refused it. The task named it itself, so nothing is told here that it does not know.
    pub fn add(&mut self, path: &Path, purpose: &'static str, by: By) {
        if self.full || self.known.contains(&(path.to_path_buf(), purpose)) {
            return;
        }
        let refused = path.to_string_lossy();
        let line = Line {
            refused: &refused,
            to: purpose,
            by: match by {
                By::Rule => "the policy hides it",
                By::Nothing => "nothing grants it",
                By::Calls => "the list of system calls has it not",
                By::Policy => "the policy does not allow it",
            },
            again: "useless, unless the owner of this sandbox changes that, or is asked anew and grants it",
        };
        let Ok(mut line) = serde_json::to_string(&line) else { return };
        line.push('\n');
        if self.text.len() + line.len() > MOST - LAST {
            self.full = true;
            line = "{\"refused\":\"(others)\",\"to\":\"look\",\"by\":\"there are too many to list\",\"again\":\"useless\"}\n".into();
        }
        self.text.push_str(&line);
        self.known.insert((path.to_path_buf(), purpose));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_and_never_past_the_bound() {
        let mut told = Told::default();
        for number in 0..100_000 {
            told.add(&PathBuf::from(format!("/x\n{}", number / 2)), "read", By::Nothing);
        }
        assert!(told.text.len() <= MOST, "{}", told.text.len());
        let lines: Vec<&str> = told.text.lines().collect();
        assert!(lines.len() > 100 && lines.last().unwrap().contains("(others)"));
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len());
        assert!(lines.iter().all(|line| line.starts_with("{\"refused\":\"")));
    }
}
