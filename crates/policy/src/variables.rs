//! Variables that turn an allowed program into another: the list is data (`variables.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use crate::shells::fits;

#[derive(Debug, Deserialize)]
struct List {
    variable: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    names: Vec<String>,
    why: String,
}

fn list() -> &'static [Variable] {
    static LIST: OnceLock<Vec<Variable>> = OnceLock::new();
    LIST.get_or_init(|| {
        toml::from_str::<List>(include_str!("variables.toml")).map(|list| list.variable).unwrap_or_default()
    })
}

/// Why a variable is taken out, if it is.
pub(crate) fn why(name: &[u8]) -> Option<&'static str> {
    let name = std::str::from_utf8(name).ok()?;
    let of = |variable: &&Variable| variable.names.iter().any(|own| fits(own, name));
    list().iter().find(of).map(|variable| variable.why.as_str())
}

/// Whether it is a search path by which a shell finds functions in files: dash and ash take them from parts that end in `%func` (dash(1),
/// PATH EXPANSION). It is set aside as a whole: shells have a path of their own.
pub(crate) fn loads(variable: &[u8]) -> bool {
    variable.strip_prefix(b"PATH=").is_some_and(|path| path.contains(&b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_or_starts_code_is_known() {
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "GIT_SSH_COMMAND",
            "BASH_ENV",
            "BASH_FUNC_x%%",
            "GIT_CONFIG_KEY_0",
        ] {
            assert!(why(name.as_bytes()).is_some(), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "MAKEFLAGS", "CC", "CARGO_HOME", "LDFLAGS", ""] {
            assert!(why(name.as_bytes()).is_none(), "{name}");
        }
    }
}
