//! Path patterns: `*`, `?`, `[..]` within a name, `**` for any directories; a match covers everything below it.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::context::Context;
use crate::diagnostic::Invalid;
use crate::path::{check_characters, expand, first_wildcard, normal};

/// Stands for whatever a directory holds: no file has such a name.
const ANY_NAME: &str = "\u{1}";

/// One pattern. What stands before the first wildcard is a plain path, the rest is matched below it, so that a
/// wildcard character in the name of a home directory stays what it is.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    /// Absolute, or relative to the workspace; without `.` and `..`.
    base: PathBuf,
    /// Relative to `base`; `None`: the pattern is `base` itself.
    glob: Option<String>,
    /// Compiled when first asked: most patterns are plain paths or used through a [`PatternSet`].
    compiled: OnceLock<Option<GlobMatcher>>,
}

impl PathPattern {
    /// Reads a pattern; relative ones are relative to the workspace.
    pub fn parse(text: &str, context: &Context) -> Result<Self, Invalid> {
        check_characters(text)?;
        if text.len() > 4095 {
            return Err(Invalid::new("the pattern is too long"));
        }
        let split = first_wildcard(text)
            .map(|at| text.get(..at).and_then(|head| head.rfind('/')).map_or(0, |at| at + 1));
        let (head, glob) = text.split_at_checked(split.unwrap_or(text.len())).unwrap_or((text, ""));
        let base = match head {
            "" if split.is_some() => PathBuf::new(),
            head => lexical(&expand(head, context)?)?,
        };
        if split.is_none() && base.as_os_str().is_empty() {
            return Err(Invalid::new(format!("`{text}` names the whole workspace"))
                .help("set `workspace.mode` to change how the whole of it is seen"));
        }
        let glob = split.map(|_| checked_glob(text, glob)).transpose()?;
        Ok(Self { text: text.to_owned(), base, glob, compiled: OnceLock::new() })
    }

    /// This absolute path and what is below it; `None` where it is not UTF-8.
    pub fn exactly(path: &Path) -> Option<Self> {
        let text = path.to_str()?.to_owned();
        Some(Self { text, base: path.to_path_buf(), glob: None, compiled: OnceLock::new() })
    }

    /// This path, without wildcards, `.` and `..`.
    pub(crate) fn plain(base: PathBuf, text: &str) -> Self {
        Self { text: text.to_owned(), base, glob: None, compiled: OnceLock::new() }
    }

    /// The same relative pattern below `root` instead of the workspace.
    pub(crate) fn below(self, root: &Path, text: String) -> Self {
        Self { base: root.join(&self.base), text, ..self }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The plain path, if there is no wildcard; relative to the workspace unless absolute.
    pub fn literal(&self) -> Option<&Path> {
        self.glob.is_none().then_some(&self.base)
    }

    /// Whether it means the same whatever the workspace is.
    pub(crate) fn is_absolute(&self) -> bool {
        self.base.is_absolute()
    }

    /// The longest directory that every match is in, or the plain path itself: where a walk starts.
    pub fn base(&self, workspace: &Path) -> PathBuf {
        workspace.join(&self.base)
    }

    /// Does the pattern match this path or a directory above it? The path must be absolute and without `..`.
    pub fn matches(&self, workspace: &Path, path: &Path) -> bool {
        let below = if self.base.is_absolute() {
            path.strip_prefix(&self.base)
        } else {
            path.strip_prefix(workspace).and_then(|rest| rest.strip_prefix(&self.base))
        };
        match (below, &self.glob) {
            (Err(_), _) => false,
            (Ok(_), None) => true,
            (Ok(rest), Some(glob)) if !glob.contains(['/', '?', '[', '\\']) && glob != "**" => {
                rest.iter().next().is_some_and(|name| stars(glob.as_bytes(), name.as_bytes()))
            }
            (Ok(rest), Some(glob)) => match self.compiled.get_or_init(|| compile(glob).ok()) {
                Some(matcher) => names(rest).any(|rest| matcher.is_match(rest)),
                // Only a pattern beyond the size limit of the regex gets here; a denial must not vanish.
                None => true,
            },
        }
    }

    /// Does it match whatever a directory holds? Such a directory is hidden itself, or an empty one would take new files.
    pub fn matches_all_in(&self, workspace: &Path, directory: &Path) -> bool {
        let last = self.glob.as_deref().and_then(|glob| glob.rsplit('/').next()).unwrap_or_default();
        // Others end in a name, or a part of one: no question to match.
        last.starts_with(['*', '?', '[']) && self.matches(workspace, &directory.join(ANY_NAME))
    }

    /// One that begins anywhere, counted from the root.
    #[must_use]
    pub fn from_root(&self) -> Option<Self> {
        self.text.starts_with("**/").then(|| Self { base: PathBuf::from("/"), ..self.clone() })
    }
}

/// The path and its parents, without the empty one at the end.
fn names(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().filter(|path| !path.as_os_str().is_empty())
}

/// Whether a name matches a pattern with no wildcards but `*`: at every start of a sandbox some are asked, and none is worth the
/// compilation of a regular expression.
pub(crate) fn stars(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&[u8]> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        // The earliest place leaves the most for the parts behind it.
        let Some(at) = (0..=rest.len()).find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(part)))
        else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// Like [`normal`], but also for a path that is relative to the workspace.
fn lexical(path: &Path) -> Result<PathBuf, Invalid> {
    if path.is_absolute() {
        return normal(path);
    }
    let path = normal(&Path::new("/").join(path))?;
    Ok(path.strip_prefix("/").map(Path::to_owned).unwrap_or(path))
}

/// Checks the part with wildcards and brings it into the form that globset takes.
fn checked_glob(text: &str, glob: &str) -> Result<String, Invalid> {
    let mut names = Vec::new();
    for name in glob.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if name == ".." {
            return Err(Invalid::new(format!("`{text}` holds `..`")).help("write the path that is meant"));
        }
        if name.contains('$') {
            return Err(Invalid::new(format!("`{text}` has a variable behind a wildcard"))
                .help("put variables before the first wildcard"));
        }
        if name.contains("**") && name != "**" {
            return Err(Invalid::new(format!("`**` in `{text}` must stand alone between slashes"))
                .help(format!("write `{}`", text.replace("**", "*"))));
        }
        names.push(name);
    }
    // Alternatives in braces are not part of the format: a brace is a brace.
    let glob = names.join("/").replace('{', "[{]").replace('}', "[}]");
    let shown =
        |error: globset::Error| Invalid::new(format!("`{text}` is not a valid pattern: {}", error.kind()));
    // Built, not compiled: ten thousand of them must load in milliseconds. `lint` compiles them together.
    builder(&glob).build().map_err(shown)?;
    Ok(glob)
}

fn builder(glob: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(glob);
    builder.literal_separator(true).backslash_escape(false);
    builder
}

fn compile(glob: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(builder(glob).build()?.compile_matcher())
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base && self.glob == other.glob
    }
}

impl Eq for PathPattern {}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl serde::Serialize for PathPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// Any number of patterns asked at once, so that one walk of a tree serves all of them.
#[derive(Clone, Debug, Default)]
pub struct PatternSet {
    /// Plain paths, each with the number of its pattern.
    literals: BTreeMap<PathBuf, usize>,
    /// Patterns with wildcards by the directory they start from.
    globs: BTreeMap<PathBuf, Globs>,
}

/// What starts from one directory.
#[derive(Clone, Debug, Default)]
struct Globs {
    /// Each with the number of its pattern.
    texts: Vec<(String, usize)>,
    /// `None`: too large to be compiled together.
    compiled: OnceLock<Option<GlobSet>>,
}

impl Globs {
    fn compile(&self) -> Result<GlobSet, globset::Error> {
        let mut set = GlobSetBuilder::new();
        for (glob, _) in &self.texts {
            set.add(builder(glob).build()?);
        }
        set.build()
    }

    /// The number of the first pattern that matches.
    fn matching(&self, rest: &Path) -> Option<usize> {
        let index = match self.compiled.get_or_init(|| self.compile().ok()) {
            Some(set) => set.matches(rest).first().copied()?,
            // One that is too large by itself matches everything: a denial must not vanish.
            None => self
                .texts
                .iter()
                .position(|(glob, _)| compile(glob).map_or(true, |matcher| matcher.is_match(rest)))?,
        };
        self.texts.get(index).map(|(_, number)| *number)
    }
}

impl PatternSet {
    /// Compiles the patterns for one workspace.
    ///
    /// # Errors
    /// They are too large together.
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a PathPattern>,
        workspace: &Path,
    ) -> Result<Self, Invalid> {
        let set = Self::when_asked(patterns, workspace);
        for globs in set.globs.values() {
            let compiled = globs
                .compile()
                .map_err(|error| Invalid::new(format!("the patterns are too large together: {error}")))?;
            let _ = globs.compiled.set(Some(compiled));
        }
        Ok(set)
    }

    /// The same, compiled when a path is asked for that they can match: for few questions.
    pub fn when_asked<'a>(patterns: impl IntoIterator<Item = &'a PathPattern>, workspace: &Path) -> Self {
        let mut set = Self::default();
        for (number, pattern) in patterns.into_iter().enumerate() {
            let base = pattern.base(workspace);
            match &pattern.glob {
                None => _ = set.literals.entry(base).or_insert(number),
                Some(glob) => set.globs.entry(base).or_default().texts.push((glob.clone(), number)),
            }
        }
        set
    }

    /// Are there no patterns?
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.globs.is_empty()
    }

    /// Does any pattern match this path or a directory above it? The path must be absolute and without `..`.
    pub fn matches(&self, path: &Path) -> bool {
        self.matching(path).is_some()
    }

    /// The number of a pattern that matches this path or a directory above it, in the order they were given.
    pub fn matching(&self, path: &Path) -> Option<usize> {
        path.ancestors().find_map(|path| self.matching_itself(path))
    }

    /// The number of a pattern that matches whatever this directory holds.
    pub fn matching_all_in(&self, directory: &Path) -> Option<usize> {
        self.matching_itself(&directory.join(ANY_NAME))
    }

    /// Like [`matching`](Self::matching) for the path alone: enough in a walk that does not descend into a match.
    pub fn matching_itself(&self, path: &Path) -> Option<usize> {
        if let Some(number) = self.literals.get(path) {
            return Some(*number);
        }
        if self.globs.is_empty() {
            return None;
        }
        path.ancestors().skip(1).find_map(|base| {
            let globs = self.globs.get(base)?;
            globs.matching(path.strip_prefix(base).ok()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { home: "/home/[u]*".into(), ..Context::default() }
    }

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text, &context()).unwrap()
    }

    const CASES: &[(&str, &str, bool)] = &[
        ("**/.env", "/w/.env", true),
        ("**/.env", "/w/a/b/.env", true),
        ("**/.env", "/w/a/.env/below/it", true),
        ("**/.env", "/w/a.env", false),
        ("**/.env", "/elsewhere/.env", false),
        ("/**/.env", "/elsewhere/.env", true),
        ("**/*.pem", "/w/k.pem", true),
        ("*.pem", "/w/a/k.pem", false),
        ("dist/*", "/w/dist/x/y", true),
        ("dist/*", "/w/dist", false),
        ("dist/**", "/w/dist/x/y", true),
        (".git/hooks", "/w/.git/hooks", true),
        (".git/hooks/", "/w/.git/hooks/pre-commit", true),
        ("./.git//hooks", "/w/.git/hooks", true),
        (".git/hooks", "/w/.git/hooksx", false),
        (".git/hooks", "/w/sub/.git/hooks", false),
        ("a?c", "/w/abc", true),
        ("a?c", "/w/a/c", false),
        ("[ab]x", "/w/bx", true),
        ("[!a]x", "/w/ax", false),
        ("{a,b}*", "/w/a1", false),
        ("{a,b}*", "/w/{a,b}1", true),
        ("a\\*", "/w/a\\b", true),
        ("~/.ssh", "/home/[u]*/.ssh/id", true),
        ("~/.ssh", "/home/u/.ssh/id", false),
        ("~/*.key", "/home/[u]*/a.key", true),
        ("/etc/ssh/*_key", "/etc/ssh/ssh_host_rsa_key", true),
        ("/etc/ssh/*_key", "/etc/ssh/ssh_host_rsa_key.pub", false),
    ];

    #[test]
    fn one_pattern_and_a_set_agree() {
        let workspace = Path::new("/w");
        for (text, path, expected) in CASES {
            let pattern = pattern(text);
            assert_eq!(pattern.matches(workspace, Path::new(path)), *expected, "{text} {path}");
            let set = PatternSet::new([&pattern], workspace).unwrap();
            assert_eq!(set.matches(Path::new(path)), *expected, "set: {text} {path}");
        }
        let patterns: Vec<PathPattern> = CASES.iter().map(|(text, ..)| pattern(text)).collect();
        let set = PatternSet::new(&patterns, workspace).unwrap();
        for (_, path, _) in CASES {
            let path = Path::new(path);
            let any = patterns.iter().any(|pattern| pattern.matches(workspace, path));
            assert_eq!(set.matches(path), any, "{path:?}");
            if let Some(number) = set.matching(path) {
                assert!(patterns[number].matches(workspace, path), "{path:?} {number}");
            }
        }
    }

    #[test]
    fn stars_mean_what_they_mean_in_a_regular_expression() {
        let config =
            proptest::test_runner::Config { failure_persistence: None, cases: 4096, ..Default::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let words = ("[abc*]{1,8}", "[abc]{1,10}(/[abc]{1,3})?");
        let judged = std::cell::Cell::new(0);
        runner
            .run(&words, |(text, name)| {
                let Ok(pattern) = PathPattern::parse(&format!("/x/{text}"), &context()) else {
                    return Ok(());
                };
                let Some(glob) = &pattern.glob else { return Ok(()) };
                let path = Path::new("/x").join(&name);
                let expected = names(Path::new(&name)).any(|name| compile(glob).unwrap().is_match(name));
                judged.set(judged.get() + usize::from(expected));
                proptest::prop_assert_eq!(pattern.matches(Path::new("/w"), &path), expected);
                Ok(())
            })
            .unwrap();
        assert!(judged.get() > 0);
    }

    #[test]
    fn a_workspace_named_like_a_pattern_is_a_plain_path() {
        assert!(pattern("**/.env").matches(Path::new("/w[1]*"), Path::new("/w[1]*/.env")));
        assert!(!pattern("**/.env").matches(Path::new("/w[1]*"), Path::new("/w1x/.env")));
    }

    #[test]
    fn bases_and_literals() {
        let workspace = Path::new("/w");
        assert_eq!(pattern(".git/hooks").literal(), Some(Path::new(".git/hooks")));
        assert_eq!(pattern(".git/*").literal(), None);
        assert_eq!(pattern(".git/ho*/x").base(workspace), Path::new("/w/.git"));
        assert_eq!(pattern("/etc/ssh/*_key").base(workspace), Path::new("/etc/ssh"));
        assert_eq!(pattern("**/x").base(workspace), Path::new("/w"));
        assert_eq!(pattern("~/.ssh").literal(), Some(Path::new("/home/[u]*/.ssh")));
    }

    #[test]
    fn bad_patterns_are_errors() {
        for (text, message) in [
            ("", "empty"),
            (".", "whole workspace"),
            ("../x", "holds `..`"),
            ("*/../x", "holds `..`"),
            ("a**b", "stand alone"),
            ("[a", "not a valid pattern"),
            ("a\0*", "U+0000"),
            ("*/$HOME", "behind a wildcard"),
            ("~x/*", "another user"),
        ] {
            let error = PathPattern::parse(text, &context()).unwrap_err();
            assert!(error.message.contains(message), "{text:?}: {error}");
        }
    }
}
