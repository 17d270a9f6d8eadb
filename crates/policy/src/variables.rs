//! Variables that turn an allowed program into another: the list is data (`variables.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use crate::shells::{fits, flags_hold_code};

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
    if npm(name) {
        return Some("npm takes programs, options and settings of code from it");
    }
    list().iter().find(of).map(|variable| variable.why.as_str())
}

/// Settings of npm are read in any case, and with `-` for `_`.
fn npm(name: &str) -> bool {
    const SETTINGS: [&str; 8] = [
        "userconfig",
        "globalconfig",
        "script-shell",
        "node-options",
        "shell",
        "git",
        "init-module",
        "node-gyp",
    ];
    // Few names begin so, and all of them come by here at each start.
    if !name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("npm")) {
        return false;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    name.strip_prefix("npm-config-").is_some_and(|setting| SETTINGS.contains(&setting))
}

/// Whether what it holds is code: rules among make's options, which it hands on by a variable, or a search path by which a shell finds
/// functions in files: dash and ash take them from parts that end in `%func` (dash(1), PATH EXPANSION). It is set aside as a whole.
pub(crate) fn loads(variable: &[u8]) -> bool {
    let Some(equal) = variable.iter().position(|byte| *byte == b'=') else { return false };
    let (name, value) =
        (variable.get(..equal).unwrap_or_default(), variable.get(equal + 1..).unwrap_or_default());
    match name {
        b"PATH" => value.contains(&b'%'),
        b"MAKEFLAGS" | b"MFLAGS" => flags_hold_code(&String::from_utf8_lossy(value)),
        _ => false,
    }
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
            "Npm_Config-Script_shell",
            "CARGO_ALIAS_P",
            "LESSKEYIN",
            "BC_ENV_ARGS",
            "PIP_PYTHON",
            "JDK_JAVAC_OPTIONS",
            "BUN_OPTIONS",
            "PLTCOLLECTS",
            "OCTAVE_PATH",
            "MONO_PATH",
            "LIBMYSQL_PLUGIN_DIR",
            "GST_PLUGIN_SYSTEM_PATH_1_0",
            "autom4te_perllibdir",
        ] {
            assert!(why(name.as_bytes()).is_some(), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "LANG",
            "MAKEFLAGS",
            "CC",
            "CARGO_HOME",
            "LDFLAGS",
            "XZ_OPT",
            "PIP_INDEX_URL",
            "",
        ] {
            assert!(why(name.as_bytes()).is_none(), "{name}");
        }
        for variable in ["PATH=/a:/b%func", "MAKEFLAGS=--eval=$(info x)", "MAKEFLAGS=kE x:;y", "MFLAGS=-kE x"]
        {
            assert!(loads(variable.as_bytes()), "{variable}");
        }
        for variable in ["PATH=/a:/b", "MAKEFLAGS= -j8 --jobserver-auth=fifo:/tmp/E -- CFLAGS=-E", "X=--eval"]
        {
            assert!(!loads(variable.as_bytes()), "{variable}");
        }
    }
}
