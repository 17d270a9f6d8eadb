//! What no list names, and what a list has to name.

use super::program::{meanings, part_of};
use super::{CommandRules, Execution, LOADER, below, last};
use crate::shells;

impl CommandRules {
    /// Whether it would load another program without a start that is seen: by its file, or by its name where that counts. What the task
    /// writes may have any name.
    fn is_loader(&self, execution: &Execution<'_>) -> bool {
        let bounded =
            !self.deny.entries.is_empty() || self.allow.is_some() && (execution.first || !self.free);
        let named = || std::str::from_utf8(last(execution.file)).is_ok_and(shells::is_loader);
        self.loaders.iter().any(|loader| loader == execution.file)
            || bounded && !self.is_own(execution.file) && named()
    }

    fn is_own(&self, file: &[u8]) -> bool {
        self.own.iter().any(|own| below(file, own))
    }

    pub(super) fn listed(&self, execution: &Execution<'_>) -> Result<(), String> {
        let Err(named) = self.named(execution) else { return Ok(()) };
        if self.is_loader(execution) {
            let shown = String::from_utf8_lossy(execution.file);
            return Err(match self.allow {
                Some(_) => format!("{} does not allow `{shown}`, {LOADER}", self.listed_at),
                None => format!("`{shown}` is {LOADER}: only a `commands.allow` that names it lets it start"),
            });
        }
        if self.allow.is_none() || self.free && !execution.first {
            return Ok(());
        }
        if self.is_own(execution.file) {
            return Ok(());
        }
        Err(self.unlisted(execution, named))
    }

    /// Whether a verdict is that no entry names it.
    #[must_use]
    pub fn unnamed(&self, rule: &str) -> bool {
        rule.starts_with(&self.listed_at)
    }

    pub(super) fn unlisted(&self, execution: &Execution<'_>, named: bool) -> String {
        let (list, mut shown) = (&self.listed_at, String::from_utf8_lossy(execution.file));
        // Which of many programs it is, where that name could be no sentence.
        let part = part_of(execution).and_then(|part| std::str::from_utf8(part).ok());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+[".contains(&byte);
        if let Some(part) = part.filter(|part| !part.is_empty() && part.bytes().all(plain)) {
            shown = format!("{part}` of `{shown}").into();
        }
        match named {
            _ if meanings(execution).any => {
                format!("{list} holds not all of `{shown}`, which may start any program of it")
            }
            true => format!("{list} names `{shown}`, but not with these arguments"),
            false => format!("{list} does not name `{shown}`"),
        }
    }
}
