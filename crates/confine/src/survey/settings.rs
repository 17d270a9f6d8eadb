//! Secrets in files that tools need for other reasons.

use std::path::{Path, PathBuf};

use ringfence_policy::Policy;

use super::Shown;
use super::hidden::inside;
use super::homes::Names;

/// Settings that tools need and presets grant, in which some people keep a secret all the same: each that does, and where.
pub(super) fn secrets(policy: &Policy, home: &Path, names: &Names, shown: &Shown) -> Vec<(PathBuf, usize)> {
    let files = &policy.files;
    let own = |path: &Path| {
        let mut rules = files.read.iter().chain(&files.exec).chain(&files.write);
        // Both are normal; as bytes, since there may be ten thousand.
        rules.any(|rule| {
            rule.value.path.as_os_str() == path.as_os_str() && !rule.origin.source.starts_with("preset ")
        })
    };
    SETTINGS
        .iter()
        .filter(|name| names.has(name.split('/').next().unwrap_or_default()))
        .map(|name| home.join(name))
        .filter(|path| inside(shown, path) && !own(path))
        .filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            let line = text.lines().position(is_secret)?;
            Some((path, line + 1))
        })
        .collect()
}

const SETTINGS: &[&str] = &[".cargo/config.toml", ".cargo/config", ".gitconfig", ".config/git/config"];

/// Keys of cargo and git whose value is one (the reference of cargo's configuration; git-config(1), git-send-email(1)).
const SECRET_KEYS: &[&str] = &["token", "secret-key", "password", "extraheader", "smtppass"];

/// Whether a line of settings has such a key, or an address with a password in it. More than one setting may stand in a line:
/// after a section's name, in a table of TOML, in a helper's commands.
fn is_secret(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with(['#', ';']) {
        return false;
    }
    let named =
        line.split(['{', ',', ']', ';', '&']).filter_map(|part| part.split_once('=')).any(|(key, value)| {
            let key = key.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
            let last = key.rsplit(['.', ' ', '\t', '"', '\'']).next().unwrap_or_default();
            // Without a scheme, as curl takes it.
            SECRET_KEYS.contains(&last)
                || (last.ends_with("proxy") && has_password(value.trim().trim_start_matches('"')))
        });
    named || line.split("://").skip(1).any(has_password)
}

/// Whether an address, from its authority on, names a password or a token.
fn has_password(rest: &str) -> bool {
    let authority = rest.split(['/', '"', ' ']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':') || user.len() >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_settings() {
        for line in [
            "token = \"x\"",
            " registry.token=\"x\"",
            "\textraHeader = Authorization: Basic x",
            "[url \"https://me:pw@host/\"]",
            "[url \"https://ghp_0123456789abcdef0123@host/\"]",
            "index = \"sparse+https://u:p@host/index/\"",
            "[http \"https://host/\"] extraHeader = Authorization: Basic x",
            "own = { index = \"https://host/\", token = \"x\" }",
            "own = {\"token\"=\"x\"}",
            "proxy = \"user:word@host:3128\"",
            "\thelper = \"!f() { echo username=me; echo password=x; }; f\"",
        ] {
            assert!(is_secret(line), "{line}");
        }
        for line in [
            "# token = 1",
            "[url \"https://git@host/\"]",
            "name = a@b",
            "git-fetch-with-cli = true",
            "",
            "token",
        ] {
            assert!(!is_secret(line), "{line}");
        }
    }
}
