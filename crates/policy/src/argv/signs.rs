//! Words that a program reads as more than a name, though they begin with no `-`: the list is data (`signs.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use crate::shells::{Called, is_place};

#[derive(Debug, Deserialize)]
struct List {
    sign: Vec<Sign>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sign {
    sign: char,
    names: Vec<String>,
    #[serde(default)]
    plain: bool,
    #[expect(dead_code, reason = "each line of the list has one")]
    why: String,
}

/// Whether a program reads this word as an option, or as words from a file, by one of its names.
pub(super) fn is_option<'a>(word: &[u8], names: impl IntoIterator<Item = &'a [u8]>) -> bool {
    if word.starts_with(b"-") {
        return true;
    }
    let Some(first) = word.first().copied().map(char::from).filter(|first| !first.is_alphanumeric()) else {
        return false;
    };
    let mut signs = list().sign.iter().filter(|sign| sign.sign == first).peekable();
    if signs.peek().is_none() {
        return false;
    }
    let names = names.into_iter().filter_map(|name| std::str::from_utf8(name).ok().map(Called::of));
    let names: Vec<Called<'_>> = names.collect();
    let is_plain = || std::str::from_utf8(word).is_ok_and(is_place);
    signs.any(|sign| names.iter().any(|name| name.is_among(&sign.names)) && !(sign.plain && is_plain()))
}

fn list() -> &'static List {
    static LIST: OnceLock<List> = OnceLock::new();
    LIST.get_or_init(|| toml::from_str(include_str!("signs.toml")).unwrap_or(List { sign: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_more_than_names_are_known_by_their_program() {
        for (name, word) in [
            ("cat", "-x"),
            ("gcc", "@r.c"),
            ("gcc-12", "@"),
            ("x86_64-linux-gnu-gcc-12", "@r"),
            ("aarch64-linux-gnu-ld.bfd", "@r"),
            ("clang++-16", "@r"),
            ("llvm-ar-15", "@r"),
            ("javac", "@r"),
            ("vim.basic", "+call x()"),
            ("less", "+!id"),
            ("vi", "+"),
        ] {
            let plain = name == "vi";
            assert_eq!(is_option(word.as_bytes(), [name.as_bytes()]), !plain, "{name} {word}");
        }
        for (name, word) in [
            ("gcc", "./@r.c"),
            ("gcc", "r.c"),
            ("gcc", ""),
            ("npm", "@types/node"),
            ("cat", "@x"),
            ("vim", "+42"),
            ("less", "+/word"),
            ("date", "+%s"),
            ("emacs", "+42:1"),
        ] {
            assert!(!is_option(word.as_bytes(), [name.as_bytes()]), "{name} {word}");
        }
    }
}
