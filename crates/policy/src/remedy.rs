//! What a policy would have to say to allow what it refuses.

use std::path::Path;

use crate::context::Context;
use crate::decision::{Access, Judge};
use crate::model::{Grant, Mode, Rule};
use crate::path::{Scope, grant, normal};
use crate::print::{quoted, spelled};

/// How a policy spells this path, from the home if it lies there; `None`: what can be written would be read as something else, as a name
/// that ends in `?` would, or not at all.
pub(crate) fn written(path: &Path, home: Option<&Path>) -> Option<String> {
    let written = match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) if !rest.as_os_str().is_empty() => format!("~/{}", spelled(rest)),
        _ => spelled(path),
    };
    let context = Context { home: home.unwrap_or_else(|| Path::new("/")).to_owned(), ..Context::default() };
    let scope = Scope { context: &context, base: Path::new("/"), preset: false, ceiling: false };
    let read = grant(written.clone(), &scope).ok()?;
    (read == Grant { path: path.to_owned(), optional: false }).then_some(written)
}

/// The same, as a list of `[files]` has it.
#[must_use]
pub fn spelled_grant(path: &Path, home: &Path) -> Option<String> {
    written(path, Some(home)).map(|written| quoted(&written))
}

impl Judge<'_> {
    /// The fewest lines of policy, as TOML, that allow this; none if it is allowed, if a rule has to go first, or if no policy with these
    /// lines would load.
    pub fn remedy(&self, path: &Path, access: Access) -> Vec<String> {
        let decision = self.file(path, access);
        if decision.is_allow() || decision.reason().stands() {
            return Vec::new();
        }
        self.lines(path, access)
    }

    /// The lines that grant it, whatever is said of it now; none if no policy takes them.
    pub fn lines(&self, path: &Path, access: Access) -> Vec<String> {
        let Ok(path) = &normal(path) else { return Vec::new() };
        let workspace = self.holds(path);
        let (table, line) = match access {
            Access::Write if workspace && self.policy.workspace.mode == Mode::Read => {
                ("[workspace]", "mode = \"review\"".to_owned())
            }
            Access::Exec if workspace => ("[commands]", "from_workspace = true".to_owned()),
            _ if !self.takes(path, access) => return Vec::new(),
            _ => {
                let Some(written) = written(path, Some(&self.policy.home)) else { return Vec::new() };
                let key = match access {
                    Access::Read => "read",
                    Access::Write => "write",
                    Access::Exec => "exec",
                };
                ("[files]", format!("{key} = [{}]", quoted(&written)))
            }
        };
        vec![table.to_owned(), line]
    }

    /// Whether a grant of it can stand beside the others: it is not all there is, and nothing may be written and executed.
    fn takes(&self, path: &Path, access: Access) -> bool {
        if path.components().count() < 2 || self.of_secrets(path) {
            return false;
        }
        let meets = |rule: &Rule<Grant>| {
            let other = &rule.value.path;
            let own = self.holds(path) && self.holds(other);
            !own && (path.starts_with(other) || other.starts_with(path))
        };
        match access {
            Access::Read => true,
            Access::Write => !self.policy.files.exec.iter().any(meets),
            Access::Exec => !self.policy.files.write.iter().any(meets),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_is_spelled_is_read_as_the_same_path_or_not_offered() {
        let spelled = |path: &[u8]| written(Path::new(OsStr::from_bytes(path)), Some(Path::new("/home/u")));
        for (path, known) in [
            ("/a/b", "/a/b"),
            ("/home/u/x", "~/x"),
            ("/home/u", "/home/u"),
            ("/a/$HOME", "/a/$$HOME"),
            ("/\u{e9}", "/\u{e9}"),
        ] {
            assert_eq!(spelled(path.as_bytes()).as_deref(), Some(known), "{path}");
        }
        for path in ["/h/x?", "/h/x*", "/h/[x]", "/h/x\ty", "/h/x\u{ad}", "/h/x\u{7f}", "/a/../b", "x"] {
            assert_eq!(spelled(path.as_bytes()), None, "{path:?}");
        }
        assert_eq!(spelled(b"/h/\xff"), None);
    }
}
