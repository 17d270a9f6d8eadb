//! Secrets in files that tools need for other reasons.

use std::path::{Path, PathBuf};

use ringfence_policy::Policy;

use super::Shown;
use super::homes::Names;
use super::marked::inside;

/// Settings that tools need and presets grant, in which some people keep a secret all the same: each that does, and where.
pub(super) fn secrets(policy: &Policy, home: &Path, names: &Names, shown: &Shown) -> Vec<(PathBuf, usize)> {
    let files = &policy.files;
    let own = |path: &Path| {
        let mut rules = files.read.iter().chain(&files.exec).chain(&files.write);
        rules.any(|rule| rule.value.path == path && !rule.origin.source.starts_with("preset "))
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

/// Whether a line of settings has such a key, or an address with a password in it.
fn is_secret(line: &str) -> bool {
    let line = line.trim_start();
    if line.starts_with(['#', ';']) {
        return false;
    }
    let key = line.split('=').next().unwrap_or_default().trim().trim_matches('"').to_ascii_lowercase();
    let named = line.contains('=') && SECRET_KEYS.contains(&key.rsplit('.').next().unwrap_or_default());
    let address = line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '"', ' ']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':') || user.len() >= 20)
    });
    named || address
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
