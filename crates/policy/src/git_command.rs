//! What git has a server of ssh run (connect.c and quote.c of git): read, and written anew, so that nothing else is run there.

use std::fmt;

use crate::http::{HttpRequest, HttpRule, decide_http};
use crate::http_path::HttpPath;
use crate::path::is_hostile;

/// Bytes of the longest path that is told of whole.
const LONGEST: usize = 1024;
/// Bytes of the longest name of a user.
const LONGEST_USER: usize = 64;

/// The program that answers a fetch, and the one that takes a push.
const FETCH: &str = "git-upload-pack";
const PUSH: &str = "git-receive-pack";

/// A fetch from a repository, or a push to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitCommand {
    /// Whether it changes what is there.
    pub push: bool,
    /// The repository, as the server finds it.
    pub path: String,
}

impl GitCommand {
    /// Reads what git writes. `None`: it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let program = |name: &str| {
            // `git upload-pack` is what `remote.NAME.uploadpack` may say.
            let rest = text.strip_prefix("git").and_then(|rest| rest.strip_prefix(['-', ' ']));
            rest.and_then(|rest| rest.strip_prefix(name.strip_prefix("git-")?)?.strip_prefix(' '))
        };
        let (push, word) = match (program(FETCH), program(PUSH)) {
            (Some(word), _) => (false, word),
            (_, Some(word)) => (true, word),
            _ => return None,
        };
        let path = unquoted(word)?;
        // A path that begins so is an option to the program there.
        let fine = !path.is_empty()
            && path.len() <= LONGEST
            && !path.starts_with('-')
            && !path.chars().any(is_hostile);
        fine.then_some(Self { push, path })
    }

    /// Whether what was done is told in these words: one of them begins it.
    #[must_use]
    pub fn begins(text: &str) -> bool {
        [FETCH, PUSH]
            .iter()
            .any(|program| text.strip_prefix(program).is_some_and(|rest| rest.starts_with(" '")))
    }

    /// Whether the paths of a policy cover the repository; on forges `acme/app.git` and `/acme/app.git` are the same.
    #[must_use]
    pub fn within(&self, rule: &HttpRule) -> bool {
        if rule.paths.is_empty() {
            return true;
        }
        let path = format!("/{}", self.path.strip_prefix('/').unwrap_or(&self.path));
        // What has several readings, or another form than a policy can write, is covered by nothing.
        let plain =
            HttpPath::parse(path.as_bytes()).is_ok_and(|one| one.target() == path && one.path() == path);
        let only = HttpRule { paths: rule.paths.clone(), ..HttpRule::default() };
        let asked = HttpRequest { method: "GET", target: path.as_bytes(), length: None, websocket: false };
        plain && !path.contains("//") && decide_http(&[only], &asked).is_ok()
    }
}

impl fmt::Display for GitCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = if self.push { PUSH } else { FETCH };
        write!(formatter, "{program} '{}'", self.path.replace('\'', "'\\''").replace('!', "'\\!'"))
    }
}

/// One word as git quotes it, and nothing behind it.
fn unquoted(word: &str) -> Option<String> {
    let mut rest = word.strip_prefix('\'')?;
    let mut path = String::new();
    loop {
        let (plain, behind) = rest.split_once('\'')?;
        path.push_str(plain);
        if behind.is_empty() {
            return Some(path);
        }
        let (letter, behind) = ['\'', '!'].into_iter().find_map(|letter| {
            Some((letter, behind.strip_prefix(['\\'])?.strip_prefix(letter)?.strip_prefix('\'')?))
        })?;
        path.push(letter);
        rest = behind;
    }
}

/// Whether somebody signs in under this name, and no program could read it as anything else.
#[must_use]
pub fn plain_user(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first
        && name.len() <= LONGEST_USER
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_writes_is_read_and_written_anew() {
        for (text, push, path) in [
            ("git-upload-pack '/acme/app.git'", false, "/acme/app.git"),
            ("git-receive-pack 'acme/app.git'", true, "acme/app.git"),
            ("git upload-pack '~me/a b'", false, "~me/a b"),
            ("git-receive-pack '/it'\\''s'\\!''", true, "/it's!"),
            ("git-upload-pack '/$(id);`id`\"'", false, "/$(id);`id`\""),
        ] {
            let read = GitCommand::parse(text).unwrap();
            assert_eq!((read.push, read.path.as_str()), (push, path), "{text}");
            assert_eq!(GitCommand::parse(&read.to_string()), Some(read), "{text}");
        }
        assert_eq!(
            GitCommand { push: true, path: "a'b!".into() }.to_string(),
            "git-receive-pack 'a'\\''b'\\!''"
        );
    }

    #[test]
    fn nothing_else_is_a_command_of_git() {
        let long = format!("git-upload-pack '/{}'", "x".repeat(LONGEST));
        for text in [
            "",
            "id",
            "git-upload-pack",
            "git-upload-pack ",
            "git-upload-pack ''",
            "git-upload-pack /acme/app.git",
            "git-upload-pack '/a",
            "git-upload-pack '/a' ",
            "git-upload-pack '/a'; id",
            "git-upload-pack '/a';'b'",
            "git-upload-pack '/a' '/b'",
            "git-upload-pack '/a''b'",
            "git-upload-pack '/a'\\''",
            "git-upload-pack '/a'\\$'b'",
            "git-upload-pack '/a'\\!",
            "git-upload-pack  '/a'",
            "git-upload-pack --strict '/a'",
            "git-upload-pack '--strict'",
            "git-upload-pack '/a\nid'",
            "git-upload-pack '/a\0'",
            "git-upload-pack \"/a\"",
            "git-upload-archive '/a'",
            "git archive '/a'",
            "git-lfs-authenticate '/a' download",
            "git-lfs-transfer '/a' upload",
            "git-receive-packs '/a'",
            " git-receive-pack '/a'",
            "git\tupload-pack '/a'",
            "x git-receive-pack '/a'",
            "git-shell -c 'id'",
            &long,
        ] {
            assert_eq!(GitCommand::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn paths_are_covered_in_their_one_form() {
        let mut rule = HttpRule::default();
        let covered =
            |rule: &HttpRule, path: &str| GitCommand { push: true, path: path.to_owned() }.within(rule);
        assert!(covered(&rule, "any/../thing%"));
        rule.path("/acme/*.git").unwrap();
        rule.path("/srv/**").unwrap();
        for path in ["/acme/app.git", "acme/app.git", "/srv/a/b"] {
            assert!(covered(&rule, path), "{path}");
        }
        for path in [
            "/acme/app",
            "/other/app.git",
            "/acme/../other/app.git",
            "/acme/x/../app.git",
            "//acme/app.git",
            "/acme//app.git",
            "/acme/./app.git",
            "/acme/%2e%2e.git",
            "/acme/a?.git",
            "/acme/a#.git",
            "/acme/a\\.git",
            "/acme/\u{e4}.git",
            "/srv",
            "/srv/../acme",
            "~acme/app.git",
            "/Acme/app.git",
        ] {
            assert!(!covered(&rule, path), "{path}");
        }
    }

    #[test]
    fn users_have_plain_names() {
        assert!(["git", "_a", "me.too", "a-b+c", "7"].into_iter().all(plain_user));
        for name in
            ["", "-oProxyCommand=id", "a b", "a@b", "a%h", "a$b", "\u{e4}", ".a", "a\n", &"a".repeat(65)]
        {
            assert!(!plain_user(name), "{name:?}");
        }
    }
}
