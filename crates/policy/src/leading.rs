//! Options before a command's name: which of them take a value is data (`leading.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct List {
    program: Vec<Program>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Program {
    names: Vec<String>,
    flags: Vec<String>,
    valued: Vec<String>,
    /// They take a value behind `=` alone.
    #[serde(default)]
    glued: Vec<String>,
    /// Those of one letter may stand together.
    #[serde(default)]
    letters: bool,
}

fn list() -> &'static [Program] {
    static LIST: OnceLock<Vec<Program>> = OnceLock::new();
    // A test reads it; without it, any option may take a value.
    LIST.get_or_init(|| {
        toml::from_str::<List>(include_str!("leading.toml")).map(|list| list.program).unwrap_or_default()
    })
}

/// Where the first word of this program may be behind options; of those that are not known, each with at most one value. Of a program
/// without a name nothing is known.
pub(crate) fn words(program: &str, arguments: &[&[u8]]) -> Vec<usize> {
    let name = program.rsplit('/').next().unwrap_or_default();
    let known = list().iter().find(|own| own.names.iter().any(|own| own == name));
    let mut found = vec![false; arguments.len() + 1];
    if let Some(first) = found.first_mut() {
        *first = true;
    }
    for (at, argument) in arguments.iter().enumerate() {
        if found.get(at) != Some(&true) || !argument.starts_with(b"-") {
            continue;
        }
        let next = arguments.get(at + 1).copied().unwrap_or_default();
        let (none, one) = known.and_then(|known| known.takes(argument, next)).unwrap_or((true, true));
        for (_, to) in [(none, at + 1), (one, at + 2)].into_iter().filter(|(may, _)| *may) {
            if let Some(cell) = found.get_mut(to) {
                *cell = true;
            }
        }
    }
    found.iter().enumerate().filter(|(_, found)| **found).map(|(at, _)| at).collect()
}

impl Program {
    /// Whether an option may take nothing, and whether it may take the next word. `None`: it is not known.
    fn takes(&self, option: &[u8], next: &[u8]) -> Option<(bool, bool)> {
        let text = std::str::from_utf8(option).ok()?;
        let is = |list: &[String], name: &str| list.iter().any(|own| own == name);
        if let Some((name, _)) = text.split_once('=') {
            return (is(&self.valued, name) || is(&self.glued, name)).then_some((true, false));
        }
        if is(&self.valued, text) {
            // Programs differ in what they make of an option in the place of a value.
            return Some((next.starts_with(b"-"), true));
        }
        let truth = [&b"true"[..], b"false", b"null"].contains(&next);
        if is(&self.flags, text) {
            return Some((true, truth));
        }
        let letters = text.strip_prefix('-').filter(|letters| self.letters && !letters.starts_with('-'))?;
        for (at, letter) in letters.char_indices() {
            let own = format!("-{letter}");
            if is(&self.valued, &own) {
                let last = letters.len() == at + letter.len_utf8();
                return Some((!last || next.starts_with(b"-"), last));
            }
            if !is(&self.flags, &own) {
                return None;
            }
        }
        Some((true, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_one_word_are_each_an_option() {
        let words = |program: &str, line: &str| {
            words(program, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
        };
        assert_eq!(words("cargo", "-qC build pp"), [0, 2]);
        assert_eq!(words("cargo", "-Zx build pp"), [0, 1]);
        assert_eq!(words("docker", "-DH h ps"), [0, 2]);
        // Nothing is known of `-x`, and git reads no two letters as options.
        assert_eq!(words("cargo", "-qx build pp"), [0, 1, 2]);
        assert_eq!(words("git", "-pc a push"), [0, 1, 2]);
    }

    #[test]
    fn no_option_of_the_list_is_two_things() {
        assert!(list().len() > 5);
        for program in list() {
            assert!(program.flags.iter().chain(&program.valued).all(|own| own.starts_with('-')));
            assert!(!program.flags.iter().any(|own| program.valued.contains(own)), "{:?}", program.names);
        }
    }
}
