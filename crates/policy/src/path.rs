//! Paths as policies write them: `~`, `$VARS`, relative to the document, a trailing `?`; never `..`, never a glob.

use std::path::{Component, Path, PathBuf};

use crate::context::Context;
use crate::diagnostic::Invalid;
use crate::model::Grant;

/// PATH_MAX without its NUL (man 3 limits.h): the kernel takes no longer path.
const LONGEST: usize = 4095;

/// What the words of one document are relative to.
pub(crate) struct Scope<'a> {
    pub(crate) context: &'a Context,
    /// The directory of the document; the current directory for presets.
    pub(crate) base: &'a Path,
    /// Is it a shipped preset?
    pub(crate) preset: bool,
    /// Is it part of the ceiling, where the invoker's variables must not count?
    pub(crate) ceiling: bool,
}

/// Reads an entry of `files.read`, `files.exec` or `files.write`.
pub(crate) fn grant(mut text: String, scope: &Scope<'_>) -> Result<Grant, Invalid> {
    let optional = text.ends_with('?');
    if is_plain(text.get(..text.len() - usize::from(optional)).unwrap_or_default()) {
        text.truncate(text.len() - usize::from(optional));
        return Ok(Grant { path: PathBuf::from(text), optional });
    }
    let written = text.strip_suffix('?').unwrap_or(&text);
    check_characters(written)?;
    if let Some(wildcard) = first_wildcard(written) {
        let parent = written.get(..wildcard).and_then(|before| before.rfind('/')).unwrap_or(0);
        let parent = match written.get(..parent) {
            Some("") | None => "a directory".to_owned(),
            Some(parent) => format!("the directory `{parent}`"),
        };
        let message = format!("a grant names one file or directory, `{text}` is a pattern");
        return Err(Invalid::new(message).help(format!("grant {parent} and hide the rest by `files.deny`")));
    }
    Ok(Grant { path: absolute(written, scope)?, optional })
}

/// Whether a path stands for itself: absolute and normal, visible ASCII, nothing to expand. Nearly all of ten thousand are,
/// and need no second look.
fn is_plain(written: &str) -> bool {
    // Folded without branches, so that the compiler takes many bytes at a time.
    let bytes = written.as_bytes();
    let odd = |byte: u8| {
        !(b' '..=b'~').contains(&byte) | (byte == b'*') | (byte == b'?') | (byte == b'[') | (byte == b'$')
    };
    let next = bytes.iter().skip(1);
    let refused = bytes.iter().fold(false, |seen, byte| seen | odd(*byte));
    let empty = bytes
        .iter()
        .zip(next)
        .fold(false, |seen, (byte, next)| seen | ((*byte == b'/') & ((*next == b'/') | (*next == b'.'))));
    !refused && !empty && written.len() <= LONGEST && written.starts_with('/') && !written.ends_with('/')
}

/// Expands and normalises a path; relative ones are relative to the document.
pub(crate) fn absolute(written: &str, scope: &Scope<'_>) -> Result<PathBuf, Invalid> {
    check_characters(written)?;
    if scope.ceiling && written.contains('$') {
        let message = format!("`{written}` in a ceiling depends on a variable that the invoker chooses");
        return Err(Invalid::new(message).help("write the path out, or start it with `~`"));
    }
    normal(&scope.base.join(expand(written, scope.context)?))
}

/// Replaces `~`, `$NAME` and `${NAME}` by what the invoker has there; `$$` is a dollar sign.
pub(crate) fn expand(written: &str, context: &Context) -> Result<PathBuf, Invalid> {
    if written.is_empty() {
        return Err(Invalid::new("a path is empty"));
    }
    let (start, rest) = match written.strip_prefix('~') {
        None => (None, written),
        // `~/x` would become `x` beside the document.
        Some(_) if !context.home.is_absolute() => {
            return Err(Invalid::new("the home directory is not known").help("write the path out"));
        }
        Some("") => return Ok(context.home.clone()),
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => (Some(&context.home), rest.trim_start_matches('/')),
            None => {
                let message = format!("`{written}` names another user's home");
                return Err(Invalid::new(message).help("write that directory out"));
            }
        },
    };
    let expanded = if rest.contains('$') { variables(rest, context)? } else { rest.to_owned() };
    Ok(match start {
        Some(home) => home.join(expanded.trim_start_matches('/')),
        None => PathBuf::from(expanded),
    })
}

fn variables(text: &str, context: &Context) -> Result<String, Invalid> {
    let mut expanded = String::with_capacity(text.len() + 32);
    let mut pieces = text.split('$');
    expanded.push_str(pieces.next().unwrap_or_default());
    while let Some(piece) = pieces.next() {
        if piece.is_empty() {
            // `$$`: the next piece follows a literal dollar sign.
            let Some(literal) = pieces.next() else {
                return Err(
                    Invalid::new(format!("`{text}` ends in `$`")).help("write `$$` for a dollar sign")
                );
            };
            expanded.push('$');
            expanded.push_str(literal);
            continue;
        }
        let (name, rest) = match piece.strip_prefix('{') {
            Some(braced) => braced
                .split_once('}')
                .ok_or_else(|| Invalid::new(format!("`{text}` has `${{` without `}}`")))?,
            None => piece.split_at(piece.bytes().take_while(|byte| is_name_byte(*byte)).count()),
        };
        if !is_variable_name(name) {
            let message = format!("`${name}` in `{text}` is not a variable");
            return Err(Invalid::new(message).help("write `$$` for a dollar sign"));
        }
        let value = context.variables.get(name).map(String::as_str).unwrap_or_default();
        if value.is_empty() {
            // An empty value would turn `$X/` into the root directory.
            return Err(Invalid::new(format!("the variable `{name}` in `{text}` is not set"))
                .help(format!("set `{name}`, or write the path out")));
        }
        check_characters(value)
            .map_err(|_| Invalid::new(format!("the value of `{name}` holds a control character")))?;
        expanded.push_str(value);
        expanded.push_str(rest);
    }
    Ok(expanded)
}

/// A name that the shell takes for a variable.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.bytes().all(is_name_byte) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Removes `//` and `/./`; `..` is an error, since what it means depends on symlinks.
pub(crate) fn normal(path: &Path) -> Result<PathBuf, Invalid> {
    let shown = || path.to_string_lossy().into_owned();
    if !path.is_absolute() {
        return Err(Invalid::new(format!("`{}` is not absolute", shown())));
    }
    let mut normal = PathBuf::with_capacity(path.as_os_str().len());
    for component in path.components() {
        match component {
            Component::ParentDir => {
                return Err(
                    Invalid::new(format!("`{}` holds `..`", shown())).help("write the path that is meant")
                );
            }
            Component::CurDir => {}
            _ => normal.push(component),
        }
    }
    if normal.as_os_str().len() > LONGEST {
        return Err(Invalid::new(format!("a path of {} bytes is too long", normal.as_os_str().len()))
            .help(format!("the kernel takes at most {LONGEST}")));
    }
    Ok(normal)
}

/// Refuses what could hide a part of a name from a reader or from a C program.
pub(crate) fn check_characters(text: &str) -> Result<(), Invalid> {
    match text.chars().find(|character| is_hostile(*character)) {
        None => Ok(()),
        Some(character) => {
            let code = character as u32;
            let message = format!("the character U+{code:04X} is not allowed here");
            Err(Invalid::new(message).help("control and invisible characters hide what a name really is"))
        }
    }
}

/// Control characters, and those that change how other text is shown or take no room themselves.
#[must_use]
pub fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The byte where the first wildcard is.
pub(crate) fn first_wildcard(text: &str) -> Option<usize> {
    text.find(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Grant, Invalid> {
        let variables = [("SDK", "/opt/sdk"), ("EMPTY", ""), ("UP", "/a/../b"), ("ESC", "/a\u{1b}")];
        let context = Context {
            home: "/home/u[1]".into(),
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..Context::default()
        };
        grant(
            text.to_owned(),
            &Scope { context: &context, base: Path::new("/proj"), preset: false, ceiling: false },
        )
    }

    #[test]
    fn paths_are_expanded_and_normalised() {
        for (text, path, optional) in [
            ("/usr//lib/./x/", "/usr/lib/x", false),
            ("~", "/home/u[1]", false),
            ("~//x", "/home/u[1]/x", false),
            ("~/x?", "/home/u[1]/x", true),
            ("data", "/proj/data", false),
            (".", "/proj", false),
            ("$SDK/bin", "/opt/sdk/bin", false),
            ("${SDK}x", "/opt/sdkx", false),
            ("/a$$b$$", "/a$b$", false),
            ("/a/~/b", "/a/~/b", false),
        ] {
            assert_eq!(read(text), Ok(Grant { path: path.into(), optional }), "{text}");
        }
    }

    /// Every text of up to six of these characters: what is taken as it is would be read the same way with care.
    #[test]
    fn plain_paths_stand_for_themselves() {
        let context = Context { home: "/home/u".into(), ..Context::default() };
        let scope = Scope { context: &context, base: Path::new("/proj"), preset: false, ceiling: false };
        let mut texts = vec![String::new()];
        let mut plain = 0;
        for _ in 0..6 {
            texts = texts
                .iter()
                .flat_map(|text| "/.a~$*\u{7f}".chars().map(move |next| format!("{text}{next}")))
                .collect();
            for text in texts.iter().filter(|text| is_plain(text)) {
                plain += 1;
                assert!(check_characters(text).is_ok() && first_wildcard(text).is_none(), "{text:?}");
                assert_eq!(absolute(text, &scope), Ok(PathBuf::from(text)), "{text:?}");
            }
        }
        assert!(plain > 100, "{plain}");
        assert!(is_plain("/usr/lib/x") && !is_plain("/a/../b") && !is_plain("/é"));
    }

    #[test]
    fn bad_paths_are_errors() {
        for (text, message) in [
            ("", "empty"),
            ("?", "empty"),
            ("/usr/../etc", "holds `..`"),
            ("..", "holds `..`"),
            ("$UP", "holds `..`"),
            ("$EMPTY/", "`EMPTY` in `$EMPTY/` is not set"),
            ("$NONE/x", "`NONE` in `$NONE/x` is not set"),
            ("$ESC", "control"),
            ("$", "ends in"),
            ("$1/x", "not a variable"),
            ("${SDK", "without `}`"),
            ("~root/x", "another user"),
            ("/a\0b", "U+0000"),
            ("/a\nb", "U+000A"),
            ("/a\u{1b}[2J", "U+001B"),
            ("/a\u{202e}b", "U+202E"),
            ("/a/*.txt", "is a pattern"),
            ("/a/[x]", "is a pattern"),
            ("/a?b", "is a pattern"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(message), "{text:?}: {error}");
        }
        assert!(expand("~/x", &Context::default()).is_err(), "an unknown home is not the current directory");
        assert!(read(&"/x".repeat(3000)).is_err());
        assert_eq!(
            read("/a/b*/c").unwrap_err().help.as_deref(),
            Some("grant the directory `/a` and hide the rest by `files.deny`")
        );
    }
}
