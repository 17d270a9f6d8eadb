//! What of git's configuration leads back into the workspace: files there that git executes or obeys (git-config(1)).

use std::path::{Path, PathBuf};

use super::git::{normal, small};

/// As many files as are read through `include.path`; git follows ten levels.
const MOST_FILES: usize = 64;

/// Programs that git starts without being asked for them by name.
const PROGRAMS: &[(&str, &str)] = &[
    ("core", "fsmonitor"),
    ("core", "sshcommand"),
    ("core", "gitproxy"),
    ("core", "askpass"),
    ("core", "editor"),
    ("core", "pager"),
    ("core", "alternaterefscommand"),
    ("sequence", "editor"),
    ("credential", "helper"),
    ("gpg", "program"),
    ("diff", "external"),
    ("diff", "command"),
    ("diff", "textconv"),
    ("filter", "clean"),
    ("filter", "smudge"),
    ("filter", "process"),
    ("merge", "driver"),
];

/// Paths, absolute and normal, that some configuration makes git execute or obey; those of `core.hooksPath` first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Obeyed {
    pub(super) hooks: Vec<PathBuf>,
    pub(super) files: Vec<PathBuf>,
}

/// Reads the repository's configuration, the user's and the system's, with all they include, whatever the condition.
pub(super) fn obeyed(workspace: &Path, directories: &[PathBuf], homes: &[PathBuf]) -> Obeyed {
    let mut waiting: Vec<PathBuf> = directories
        .iter()
        .flat_map(|directory| ["config", "config.worktree"].map(|name| directory.join(name)))
        .chain(homes.iter().flat_map(|home| [".gitconfig", ".config/git/config"].map(|name| home.join(name))))
        .chain([PathBuf::from("/etc/gitconfig")])
        .collect();
    let mut obeyed = Obeyed::default();
    let mut at = 0;
    while let Some(file) = waiting.get(at).cloned().filter(|_| at < MOST_FILES) {
        at += 1;
        let Some(text) = small(&file) else { continue };
        let beside = file.parent().unwrap_or(Path::new("/"));
        for Entry { section, key, value } in entries(&text) {
            let path = |base: &Path| expand(&value, base, homes.first());
            match (section.as_str(), key.as_str()) {
                ("include" | "includeif", "path") => {
                    let path = path(beside);
                    if !waiting.contains(&path) {
                        waiting.push(path.clone());
                    }
                    obeyed.files.push(path);
                }
                ("core", "hookspath") => obeyed.hooks.push(path(workspace)),
                ("core", "attributesfile") => obeyed.files.push(path(workspace)),
                (section, key) if PROGRAMS.contains(&(section, key)) => {
                    let words = value.trim_start_matches('!').split_whitespace();
                    let named = words.map(|word| word.trim_matches(['"', '\'']));
                    // A shell reads the command: any word may be a script of the workspace.
                    let there = |word: &str| workspace.join(word).symlink_metadata().is_ok();
                    let paths =
                        named.filter(|word| word.contains('/') && !word.contains("://") || there(word));
                    obeyed.files.extend(paths.map(|word| expand(word, workspace, homes.first())));
                }
                _ => {}
            }
        }
    }
    obeyed
}

fn expand(value: &str, base: &Path, home: Option<&PathBuf>) -> PathBuf {
    match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => normal(&home.join(rest)),
        _ => normal(&base.join(value)),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Without its subsection, in small letters.
    section: String,
    key: String,
    value: String,
}

/// The settings of a file, in its order; what git would not read is passed over (git-config(1), "Syntax").
fn entries(text: &str) -> Vec<Entry> {
    let text = text.replace("\r\n", "\n").replace("\\\n", "");
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut rest = line.trim_start();
        if let Some(header) = rest.strip_prefix('[') {
            let Some((name, after)) = header_end(header) else { continue };
            section = name;
            rest = after.trim_start();
        }
        if rest.is_empty() || rest.starts_with(['#', ';']) {
            continue;
        }
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        found.push(Entry {
            section: section.clone(),
            key: key.trim().to_ascii_lowercase(),
            value: value_of(value),
        });
    }
    found
}

/// The section's name, and what follows its bracket on the line.
fn header_end(header: &str) -> Option<(String, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    let end = header.char_indices().find_map(|(at, character)| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some(at),
            _ => {}
        }
        None
    })?;
    let name = header.get(..end)?.split([' ', '\t', '.', '"']).next()?;
    Some((name.to_ascii_lowercase(), header.get(end + 1..)?))
}

/// A value without its quotes, escapes, comment and outer blanks.
fn value_of(written: &str) -> String {
    let mut value = String::new();
    // Blanks count only if something follows them.
    let mut blanks = String::new();
    let mut quoted = false;
    let mut characters = written.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '#' | ';' if !quoted => break,
            ' ' | '\t' if !quoted => blanks.push(character),
            _ => {
                value.push_str(&std::mem::take(&mut blanks));
                match (character, character == '\\') {
                    (_, true) => value.extend(characters.next().map(|next| match next {
                        'n' => '\n',
                        't' => '\t',
                        'b' => '\u{8}',
                        other => other,
                    })),
                    (plain, false) => value.push(plain),
                }
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_git_reads_them() {
        let text = "# c\n[core] hooksPath = \"my hooks\" ; c\n[Include]\n\tpath = ../.git\\\nconfig # c\n\
                    [includeIf \"gitdir:~/a]b/\"]\nPATH=x\\\\y\n[filter \"a.b\"]\n clean = sh \"-c\" a  b \n\
                    [filter.old]\nsmudge\n[broken\nkey = v\n";
        let found: Vec<String> = entries(text)
            .into_iter()
            .map(|Entry { section, key, value }| format!("{section}.{key}={value}"))
            .collect();
        assert_eq!(
            found,
            [
                "core.hookspath=my hooks",
                "include.path=../.gitconfig",
                "includeif.path=x\\y",
                "filter.clean=sh -c a  b",
                "filter.smudge=",
                "filter.key=v",
            ]
        );
    }
}
