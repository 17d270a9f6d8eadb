//! What well-known commands need besides the leave to start: data (`chains.toml`) for whoever explains, never for a decision.

use std::sync::OnceLock;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct List {
    chain: Vec<Chain>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    programs: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    starts: Vec<String>,
    #[serde(default)]
    parts: Vec<String>,
    #[serde(default)]
    scripts: Vec<String>,
    pager: Option<String>,
    network: Option<String>,
    #[serde(default)]
    reads: Vec<String>,
}

/// Where Debian has PostgreSQL's clients, in a directory for each version; those in PATH are a script that starts the right one
/// (pg_wrapper(1)).
pub const POSTGRESQL: &str = "/usr/lib/postgresql";

/// What a command needs further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// It starts this command.
    Start(&'a str),
    /// It starts this part of its own, without which it does nothing.
    Part(&'a str),
    /// It starts this for scripts of packages.
    Script(&'a str),
    /// It starts this command where it writes to a terminal.
    Pager(&'a str),
    /// It talks to this host, in words.
    Network(&'a str),
    /// It reads this, if it is there; `~` is the invoker's home.
    Read(&'a str),
}

fn list() -> &'static [Chain] {
    static LIST: OnceLock<Vec<Chain>> = OnceLock::new();
    // A test reads it; without it, less is explained.
    LIST.get_or_init(|| {
        toml::from_str::<List>(include_str!("chains.toml")).map(|list| list.chain).unwrap_or_default()
    })
}

/// Of a program by its name, and the first of its arguments that is no option.
pub fn needs(name: &str, word: Option<&str>) -> Vec<Need<'static>> {
    let meant = |chain: &&Chain| {
        let words = chain.words.iter().map(String::as_str);
        chain.programs.iter().any(|own| own == name)
            && (chain.words.is_empty() || word.is_some_and(|word| words.into_iter().any(|own| own == word)))
    };
    let mut found = Vec::new();
    for chain in list().iter().filter(meant) {
        found.extend(chain.starts.iter().map(|start| Need::Start(start)));
        found.extend(chain.parts.iter().map(|part| Need::Part(part)));
        found.extend(chain.scripts.iter().map(|script| Need::Script(script)));
        found.extend(chain.pager.iter().map(|pager| Need::Pager(pager)));
        found.extend(chain.network.iter().map(|host| Need::Network(host)));
        found.extend(chain.reads.iter().map(|path| Need::Read(path)));
    }
    found
}

/// Parts of its own that a program starts, by its name, which may have a machine before it and a version behind it
/// (`x86_64-linux-gnu-gcc-12`).
pub fn parts(name: &str) -> &'static [String] {
    let version = |tail: &str| tail.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let name = match name.rsplit_once('-') {
        Some((head, tail)) if version(tail) => head,
        _ => name,
    };
    let is = |own: &String| {
        name.strip_suffix(own.as_str())
            .is_some_and(|machine| matches!(machine.chars().next_back(), None | Some('-')))
    };
    let found =
        list().iter().filter(|chain| !chain.parts.is_empty()).find(|chain| chain.programs.iter().any(is));
    found.map_or(&[], |chain| chain.parts.as_slice())
}

/// Whether some program has a part of this name.
pub fn is_part(name: &str) -> bool {
    list().iter().any(|chain| chain.parts.iter().any(|own| own == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found_by_program_and_word() {
        assert!(needs("git", Some("push")).contains(&Need::Start("ssh")));
        assert_eq!(needs("git", Some("log")), [Need::Pager("less")]);
        assert!(needs("git", Some("status")).is_empty() && needs("git", None).is_empty());
        assert!(needs("gcc", Some("x.c")).contains(&Need::Part("cc1")));
        assert_eq!(needs("npm", Some("test")), [Need::Script("node FILE"), Need::Script("sh")]);
        assert_eq!(needs("make", None), [Need::Start("sh"), Need::Start("cc")]);
        for (name, first) in [("gcc", "cc1"), ("x86_64-linux-gnu-gcc-12", "cc1"), ("g++-13.2", "cc1plus")] {
            assert_eq!(parts(name).first().map(String::as_str), Some(first), "{name}");
        }
        assert!(parts("notgcc").is_empty() && parts("gcc-ar").is_empty() && is_part("ld") && !is_part("sh"));
    }
}
