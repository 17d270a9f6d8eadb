//! Files that ordinary tools open whenever they start, without being asked for what is in them: who opens a decoy there says little.

use std::path::Path;

/// The end of a path, and which tools.
const OPENED: &[(&str, &str)] = &[
    (".npmrc", "npm, npx, pnpm and yarn"),
    (".yarnrc.yml", "yarn"),
    (".netrc", "git over http, pip and curl -n"),
    (".gitconfig", "git"),
    (".config/git/config", "git"),
    (".config/git/ignore", "git"),
    (".config/git/attributes", "git"),
    (".config/pip/pip.conf", "pip"),
    (".pip/pip.conf", "pip"),
    (".config/uv/uv.toml", "uv"),
    (".cargo/config.toml", "cargo"),
    (".cargo/config", "cargo"),
    (".cargo/credentials.toml", "cargo"),
    (".bundle/config", "bundle"),
    (".gemrc", "gem"),
    (".composer/auth.json", "composer"),
    (".m2/settings.xml", "mvn"),
    (".gradle/gradle.properties", "gradle"),
    (".terraformrc", "terraform"),
    (".docker/config.json", "docker and what builds images"),
    (".curlrc", "curl"),
    (".wgetrc", "wget"),
    (".pgpass", "psql and other clients of PostgreSQL"),
    (".my.cnf", "mysql and other clients of it"),
    (".ssh/config", "ssh, and git over it"),
    (".ssh/known_hosts", "ssh, and git over it"),
    (".ssh/id_rsa", "ssh, and git over it"),
    (".ssh/id_ecdsa", "ssh, and git over it"),
    (".ssh/id_ed25519", "ssh, and git over it"),
    (".bashrc", "bash"),
    (".bash_profile", "bash"),
    (".profile", "shells"),
    (".zshrc", "zsh"),
    (".zshenv", "zsh"),
];

/// The tools that open this file by themselves, if any do.
#[must_use]
pub fn opened_by_habit(path: &Path) -> Option<&'static str> {
    OPENED.iter().find(|(end, _)| path.ends_with(end)).map(|(_, tools)| *tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_last_names() {
        let of = |path: &str| opened_by_habit(Path::new(path));
        assert!(of("/home/u/.npmrc").is_some_and(|tools| tools.starts_with("npm")));
        assert!(of("/home/u/.config/git/config").is_some());
        for path in ["/home/u/.aws/credentials", "/home/u/x.npmrc", "/home/u/config", "/srv/.env"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
