//! Variables that turn an allowed program into another: the list is data (`variables.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use crate::shells::{fits, flags_hold_code};

#[derive(Debug, Deserialize)]
struct List {
    variable: Vec<Variable>,
    idle: Vec<Idle>,
}

/// Values of which a program becomes no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Idle {
    names: Vec<String>,
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    names: Vec<String>,
    why: String,
}

fn list() -> &'static List {
    static LIST: OnceLock<List> = OnceLock::new();
    LIST.get_or_init(|| {
        let none = List { variable: Vec::new(), idle: Vec::new() };
        toml::from_str(include_str!("variables.toml")).unwrap_or(none)
    })
}

/// Whether a variable (`NAME=VALUE`) is taken out.
pub(crate) fn is_taken(variable: &[u8]) -> bool {
    let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
    why(name).is_some() && !is_idle(variable) || loads(variable)
}

/// Whether a variable has a value by which nothing is started.
pub(crate) fn is_idle(variable: &[u8]) -> bool {
    let Some((name, value)) = std::str::from_utf8(variable).ok().and_then(|text| text.split_once('=')) else {
        return false;
    };
    let holds = |idle: &&Idle| {
        idle.names.iter().any(|own| fits(own, name)) && idle.values.iter().any(|own| own == value)
    };
    list().idle.iter().any(|idle| holds(&idle))
}

/// Why variables of a name are taken out, if they are.
pub(crate) fn why(name: &[u8]) -> Option<&'static str> {
    let name = std::str::from_utf8(name).ok()?;
    let of = |variable: &&Variable| variable.names.iter().any(|own| fits(own, name));
    if npm(name) {
        return Some("npm takes programs, options and settings of code from it");
    }
    list().variable.iter().find(of).map(|variable| variable.why.as_str())
}

/// Settings of npm are read in any case, and with `-` for `_`.
fn npm(name: &str) -> bool {
    const SETTINGS: [&str; 11] = [
        "userconfig",
        "globalconfig",
        "script-shell",
        "node-options",
        "shell",
        "git",
        "init-module",
        "init.module",
        "pnpmfile",
        "global-pnpmfile",
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
fn loads(variable: &[u8]) -> bool {
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
            "PLTCOMPILEDROOTS",
            "MONO_GAC_PREFIX",
            "GST_REGISTRY_1_0",
            "ANSIBLE_CALLBACK_PLUGINS",
            "ANSIBLE_VAULT_PASSWORD_FILE",
            "AWS_CONFIG_FILE",
            "GITPERLLIB",
            "CPAN_OPTS",
            "TF_CLI_ARGS",
            "TF_CLI_ARGS_plan",
            "GCC_COMPARE_DEBUG",
            "MAGICK_CODER_MODULE_PATH",
            "npm_config_pnpmfile",
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
            "AWS_PROFILE",
            "ANSIBLE_HOST_KEY_CHECKING",
            "TF_VAR_name",
            "TF_LOG",
            "PERL_MM_OPT",
            "COLLECT_GCC_OPTIONS",
            "",
        ] {
            assert!(why(name.as_bytes()).is_none(), "{name}");
        }
        for variable in ["GIT_EDITOR=vi", "GIT_EDITOR=true;id", "GIT_TRACE=/x", "LESS=k x", "PAGER=cat -"] {
            assert!(is_taken(variable.as_bytes()), "{variable}");
        }
        for variable in ["GIT_EDITOR=true", "GIT_SEQUENCE_EDITOR=:", "GIT_PAGER=cat", "PAGER=", "LESS=FRX"] {
            assert!(!is_taken(variable.as_bytes()), "{variable}");
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
