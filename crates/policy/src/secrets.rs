//! Where secrets are known to lie (promise 3). They stay hidden below a granted directory; only a grant that names
//! the file itself, or something in the directory, opens that. A directory of secrets is opened by no name of its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::context::Context;
use crate::model::{Grant, Policy, Rule};
use crate::pattern::{PathPattern, PatternSet, stars};
use crate::trail::trail;

/// Each place and why it is one. `~` is the invoker's home.
const KNOWN: &[(&str, &str)] = &[
    ("~/.ssh", "private keys of SSH, and the hosts they open"),
    ("~/.gnupg", "private keys of GnuPG"),
    ("~/.aws", "access keys and session tokens of AWS"),
    ("~/.azure", "token caches of the Azure CLI"),
    ("~/.config/gcloud", "tokens of the Google Cloud CLI"),
    ("~/.local/share/uv/credentials", "passwords and tokens of uv"),
    ("~/.config/uv", "index addresses with passwords in them"),
    ("~/.config/doctl", "token of the DigitalOcean CLI"),
    ("~/.config/hcloud", "token of the Hetzner CLI"),
    ("~/.oci", "keys of the Oracle Cloud CLI"),
    ("~/.kube", "client certificates and tokens of Kubernetes clusters"),
    ("~/.docker/config.json", "registry passwords of docker"),
    ("~/.docker/run", "docker's sockets: they equal root on the host"),
    ("~/.docker/desktop", "docker's sockets: they equal root on the host"),
    ("~/.config/containers/auth.json", "registry passwords of podman"),
    ("~/.netrc", "passwords of curl, git and ftp by host"),
    ("~/.npmrc", "tokens of npm"),
    ("~/.yarnrc.yml", "tokens of yarn"),
    ("~/.pypirc", "upload passwords of Python's index"),
    ("~/.config/pip/pip.conf", "index addresses with passwords in them"),
    ("~/.gem/credentials", "tokens of RubyGems"),
    ("~/.bundle/config", "tokens of private gem servers"),
    ("~/.composer/auth.json", "tokens of PHP's Composer"),
    ("~/.m2/settings.xml", "passwords of Maven repositories"),
    ("~/.gradle/gradle.properties", "passwords and signing keys of Gradle"),
    ("~/.cargo/credentials", "token of the crate registry (old name)"),
    ("~/.cargo/credentials.toml", "token of the crate registry"),
    ("~/.git-credentials", "passwords that git stored in the clear"),
    ("~/.config/git/credentials", "passwords that git stored in the clear"),
    ("~/.config/gh", "tokens of the GitHub CLI"),
    ("~/.config/hub", "token of the old GitHub CLI"),
    ("~/.config/glab-cli", "tokens of the GitLab CLI"),
    ("~/.vault-token", "token of Vault"),
    ("~/.terraform.d/credentials.tfrc.json", "tokens of Terraform"),
    ("~/.terraformrc", "tokens of Terraform"),
    ("~/.config/op", "sessions of 1Password's CLI"),
    ("~/.config/sops", "private keys of sops and age"),
    ("~/.config/age", "private keys of age"),
    ("~/.password-store", "the password store"),
    ("~/.local/share/keyrings", "the desktop's keyring"),
    ("~/.local/share/kwalletd", "the desktop's wallet"),
    ("~/.mozilla", "cookies and passwords of Firefox"),
    ("~/.thunderbird", "mail and its passwords"),
    ("~/.config/google-chrome", "cookies and passwords of Chrome"),
    ("~/.config/chromium", "cookies and passwords of Chromium"),
    ("~/.config/BraveSoftware", "cookies and passwords of Brave"),
    ("~/.config/microsoft-edge", "cookies and passwords of Edge"),
    ("~/.claude.json", "tokens of an agent"),
    ("~/.claude/.credentials.json", "tokens of an agent"),
    ("~/.codex/auth.json", "tokens of an agent"),
    ("~/.gemini/oauth_creds.json", "tokens of an agent"),
    ("~/.config/github-copilot", "tokens of an agent"),
    ("~/.pgpass", "passwords of PostgreSQL"),
    ("~/.my.cnf", "passwords of MySQL"),
    ("~/.*_history", "what was typed into shells and clients, passwords included"),
    ("~/.lesshst", "what was searched for in files"),
    ("~/.viminfo", "what was edited and yanked"),
    ("~/.local/share/fish/fish_history", "what was typed into fish"),
    ("~/.Xauthority", "the key to the screen"),
    ("/etc/shadow", "password hashes"),
    ("/etc/shadow-", "password hashes, the copy before the last change"),
    ("/etc/gshadow", "group password hashes"),
    ("/etc/gshadow-", "group password hashes, the copy before the last change"),
    ("/etc/sudoers", "who may become root, and how"),
    ("/etc/sudoers.d", "who may become root, and how"),
    ("/etc/security/opasswd", "old password hashes"),
    ("/etc/ssh/*_key", "the host's private keys"),
    ("/etc/ssl/private", "private keys of servers"),
    ("/etc/pki/tls/private", "private keys of servers"),
    ("/etc/letsencrypt", "private keys of servers"),
    ("/etc/krb5.keytab", "the host's Kerberos key"),
    ("/etc/NetworkManager/system-connections", "passwords of networks"),
    ("/etc/wireguard", "private keys of tunnels"),
    ("/etc/kubernetes", "keys of the cluster"),
    ("/etc/rancher", "keys of the cluster"),
    ("/var/lib/kubelet", "keys and secrets of all pods of the node"),
    ("/run/secrets", "secrets of a container or pod"),
    ("/var/run/secrets", "secrets of a container or pod"),
    ("/run/credentials", "credentials of systemd services"),
    ("/run/user", "sockets of the session: D-Bus, agents, rootless docker"),
    ("/var/run/user", "sockets of the session: D-Bus, agents, rootless docker"),
    ("/run/docker.sock", "docker's socket: it equals root on the host"),
    ("/var/run/docker.sock", "docker's socket: it equals root on the host"),
    ("/run/podman", "podman's socket: it equals root on the host"),
    ("/var/run/podman", "podman's socket: it equals root on the host"),
    ("/run/containerd", "containerd's socket: it equals root on the host"),
    ("/var/run/containerd", "containerd's socket: it equals root on the host"),
    ("/run/crio", "CRI-O's socket: it equals root on the host"),
    ("/var/run/crio", "CRI-O's socket: it equals root on the host"),
];

/// The places as patterns, for one home.
pub fn known_secrets(home: &Path) -> Vec<PathPattern> {
    KNOWN.iter().filter_map(|(text, _)| pattern(text, home)).collect()
}

/// Those outside of any home.
pub fn known_secrets_of_host() -> Vec<PathPattern> {
    let host = KNOWN.iter().filter(|(text, _)| !text.starts_with('~'));
    host.filter_map(|(text, _)| pattern(text, Path::new("/"))).collect()
}

/// Those in a home, as far as it has the name that they begin with: most homes have few of them.
pub fn known_secrets_in(home: &Path, has: impl Fn(&str) -> bool) -> Vec<PathPattern> {
    let begins = |text: &str| {
        let first = text.strip_prefix("~/").and_then(|rest| rest.split('/').next());
        first.is_some_and(|first| first.contains('*') || has(first))
    };
    KNOWN.iter().filter(|(text, _)| begins(text)).filter_map(|(text, _)| pattern(text, home)).collect()
}

/// A place by its names from the home, or root of a system, that it is in.
struct Names {
    home: bool,
    names: Vec<String>,
    why: &'static str,
}

impl Names {
    /// Whether the place is there, or above it.
    fn above(&self, rest: &[&OsStr]) -> bool {
        self.names.len() <= rest.len() && self.along(rest)
    }

    /// Whether one of them leads to the other.
    fn along(&self, rest: &[&OsStr]) -> bool {
        self.names.iter().zip(rest).all(|(own, name)| stars(own.as_bytes(), name.as_bytes()))
    }
}

/// The places by their first names, none where that is a wildcard: paths of tasks are as deep as they like, and each name of one is to
/// cost little. Longer places first, plain ones before wildcards.
static BY_FIRST: LazyLock<BTreeMap<String, Vec<Names>>> = LazyLock::new(|| {
    let mut known: BTreeMap<_, Vec<Names>> = BTreeMap::new();
    for (text, why) in KNOWN {
        let (home, rest) =
            text.strip_prefix("~/").map_or((false, text.trim_start_matches('/')), |rest| (true, rest));
        let first = rest.split('/').next().filter(|first| !first.contains('*')).unwrap_or_default();
        let names = rest.split('/').map(str::to_owned).collect();
        known.entry(first.to_owned()).or_default().push(Names { home, names, why });
    }
    for places in known.values_mut() {
        let wild = |place: &Names| place.names.iter().any(|name| name.contains('*'));
        places.sort_by_key(|place| (Reverse(place.names.len()), wild(place)));
    }
    known
});

/// Those that begin with the first of these names, and those that may.
fn beginning(rest: &[&OsStr]) -> impl Iterator<Item = &'static Names> + use<> {
    let first = rest.first().and_then(|first| first.to_str());
    let plain = first.and_then(|first| BY_FIRST.get(first));
    plain.into_iter().chain(BY_FIRST.get("")).flatten()
}

/// The names of a path, without its root.
fn names(path: &Path) -> Vec<&OsStr> {
    path.iter().filter(|name| *name != "/").collect()
}

/// Why it is where a secret lies in whatever home, or root of a system, is above it; if so.
#[must_use]
pub fn secret_of_others(path: &Path) -> Option<&'static str> {
    let names = names(path);
    let below = (0..names.len()).rev().filter_map(|home| names.get(home..));
    below.into_iter().find_map(|rest| beginning(rest).find(|known| known.above(rest))).map(|known| known.why)
}

/// Names of files that hold secrets wherever they lie, and what.
const BY_NAME: &[(&[&str], &str)] = &[
    (&["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_*_sk", "*.ppk"], "a private key of SSH"),
    (&[".env", ".env.*", "*.env"], "settings of a program, passwords often among them"),
    (&["*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore"], "a private key, if not only certificates"),
    (&["*.kdbx", "*.gpg", "*.age"], "passwords, or what somebody encrypted"),
    (&["kubeconfig", "*.kubeconfig"], "keys of a cluster"),
    (
        &["terraform.tfstate", "terraform.tfstate.*", "*.tfvars"],
        "what Terraform was told and made, passwords in the clear",
    ),
    (
        &[".htpasswd", ".netrc", ".pgpass", ".my.cnf", ".npmrc", ".pypirc", ".git-credentials"],
        "passwords or tokens",
    ),
];
/// Those are for everybody.
const OF_ALL: [&str; 3] = ["/usr/", "/etc/ssl/certs/", "/etc/pki/ca-trust/"];

/// What a file of that name holds wherever it lies; nothing is hidden for that.
#[must_use]
pub fn secret_by_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.as_bytes();
    if OF_ALL.iter().any(|tree| path.as_os_str().as_bytes().starts_with(tree.as_bytes()))
        || [".example", ".sample", ".template", ".dist"].iter().any(|end| name.ends_with(end.as_bytes()))
    {
        return None;
    }
    let called = |names: &[&str]| names.iter().any(|own| stars(own.as_bytes(), name));
    BY_NAME.iter().find(|(names, _)| called(names)).map(|(_, why)| *why)
}

/// Whether it lies below where secrets lie, in whatever home. Cheap for most paths: policies have thousands.
#[must_use]
pub fn secret_above(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let may = bytes.windows(2).any(|two| two == b"/.")
        || ["/etc/", "/run/", "/var/"].iter().any(|tree| bytes.starts_with(tree.as_bytes()));
    may && path.parent().is_some_and(|above| secret_of_others(above).is_some())
}

/// A secret that is there, in whatever home, at, above or below a path: who comes to the path may be on the way to it. `has` says what is
/// there, and is asked of what lies below a directory only where that is.
pub fn secret_on_the_way(path: &Path, has: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let names = names(path);
    let mut home = if path.is_absolute() { PathBuf::from("/") } else { PathBuf::new() };
    for at in 0..names.len() {
        let rest = names.get(at..).unwrap_or_default();
        let mut known = beginning(rest).filter(|known| known.home && known.along(rest)).peekable();
        if known.peek().is_some() {
            if !has(&home) {
                return None;
            }
            if let Some(found) = known.map(|known| home.join(known.names.join("/"))).find(|known| has(known))
            {
                return Some(found);
            }
        }
        home.push(names.get(at).unwrap_or(&OsStr::new("")));
    }
    None
}

/// Why a place is among the known secrets, by the text of its pattern.
pub fn why_secret(pattern: &PathPattern) -> &'static str {
    KNOWN.iter().find(|(text, _)| *text == pattern.text()).map_or("a known secret", |(_, why)| why)
}

/// What secrets lead to by links, each with the number of the secret; `within`: also what links in directories of them do.
pub(crate) fn led_to(secrets: &[PathPattern], within: bool) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    let literal = |(number, secret): (usize, &PathPattern)| Some((number, secret.literal()?.to_path_buf()));
    // Most are not there: one question of the kernel instead of one for each part of the way.
    let there =
        |path: &Path| !path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    for (number, path) in secrets.iter().enumerate().filter_map(literal).filter(|(_, path)| there(path)) {
        let Some(real) = trail(&path).and_then(|mut trail| trail.pop()) else { continue };
        if within {
            let entries = std::fs::read_dir(&real).into_iter().flatten().flatten();
            let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
            let led = links.filter_map(|link| link.path().canonicalize().ok());
            // A link to a file of the system's own says nothing of it, nor does one to what holds the secrets.
            let meant = |led: &PathBuf| !led.starts_with("/usr") && !real.starts_with(led);
            found.extend(led.filter(meant).map(|led| (led, number)));
        }
        // History that goes to /dev/null makes no secret of that.
        if real != path && real.symlink_metadata().is_ok_and(|there| !there.file_type().is_char_device()) {
            found.push((real, number));
        }
    }
    found
}

/// The known secrets that a grant opens on purpose, by whatever name, each with that grant.
pub fn opened_secrets(policy: &Policy) -> Vec<(&Rule<Grant>, PathPattern)> {
    let secrets = known_secrets(&policy.home);
    let set = PatternSet::when_asked(&secrets, Path::new("/"));
    let led = led_to(&secrets, true);
    let by_link =
        |path: &Path| led.iter().find(|(real, _)| path.starts_with(real)).map(|(_, number)| *number);
    let grants = policy.files.read.iter().chain(&policy.files.exec).chain(&policy.files.write);
    grants
        .filter_map(|grant| {
            let path = &grant.value.path;
            let secret = secrets.get(set.matching(path).or_else(|| by_link(path))?)?;
            Some((grant, secret.clone()))
        })
        .collect()
}

fn pattern(text: &str, home: &Path) -> Option<PathPattern> {
    if !text.contains('*') {
        // A plain path, as all but a few are: at each start they are made.
        let path = text.strip_prefix("~/").map_or_else(|| text.into(), |rest| home.join(rest));
        return Some(PathPattern::plain(path, text));
    }
    parsed(text, home)
}

fn parsed(text: &str, home: &Path) -> Option<PathPattern> {
    let context = Context::default();
    match text.strip_prefix("~/") {
        Some(rest) => Some(PathPattern::parse(rest, &context).ok()?.below(home, text.to_owned())),
        None => PathPattern::parse(text, &context).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_pattern() {
        let home = Path::new("/home/u");
        assert_eq!(known_secrets(home).len(), KNOWN.len());
        let (host, own) = (known_secrets_of_host().len(), known_secrets_in(home, |_| true).len());
        assert!(host + own == KNOWN.len() && host > 10 && own > 10);
        let few: Vec<String> =
            known_secrets_in(home, |name| name == ".ssh").iter().map(|one| one.text().to_owned()).collect();
        assert_eq!(few, ["~/.ssh", "~/.*_history"]);
        for secret in known_secrets(home) {
            assert_eq!(Some(&secret), parsed(secret.text(), home).as_ref());
            assert!(secret.base(Path::new("relative")).is_absolute(), "{secret}");
            assert_ne!(why_secret(&secret), "a known secret");
        }
    }

    #[test]
    fn secrets_of_others_are_known_by_their_names() {
        let why = |path: &str| secret_of_others(Path::new(path));
        assert!(why("/root/.ssh/id_rsa").is_some_and(|why| why.contains("SSH")));
        for path in
            ["/home/other/.aws/credentials", "/srv/x/.aws", "/mnt/disk/etc/shadow", "/home/o/.bash_history"]
        {
            assert!(why(path).is_some(), "{path}");
        }
        assert!(["/root/notes", "/home/o", "/", "/usr/share/ssh"].iter().all(|path| why(path).is_none()));
        assert!(why("/home/o/.docker/run/x").is_some_and(|why| why.contains("socket")));
        assert!(why("/home/o/.docker").is_none() && why("/etc/ssh/x_key").is_some());
    }

    /// The supervisor asks for each name that a task looks for.
    #[test]
    fn some_names_hold_secrets_wherever_they_are() {
        for secret in
            ["/srv/x/id_ed25519", "/w/.env", "/w/.env.production", "/data/k.pem", "/w/terraform.tfstate"]
        {
            assert!(secret_by_name(Path::new(secret)).is_some(), "{secret}");
        }
        for plain in
            ["/srv/x/id_ed25519.pub", "/w/.env.example", "/etc/ssl/certs/a.pem", "/w/environment", "/w/x.txt"]
        {
            assert_eq!(secret_by_name(Path::new(plain)), None, "{plain}");
        }
    }

    #[test]
    fn a_deep_path_costs_little() {
        let began = std::time::Instant::now();
        for name in ["a", ".ssx", ".config", "etc"] {
            let deep = format!("/{}", vec![name; 1000].join("/"));
            assert!(secret_of_others(Path::new(&deep)).is_none(), "{name}");
            assert!(secret_on_the_way(Path::new(&deep), |_| false).is_none(), "{name}");
            assert!(secret_of_others(Path::new(&format!("{deep}/.ssh/x"))).is_some(), "{name}");
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn a_secret_on_the_way_is_one_that_is_there() {
        let there = ["/home/o", "/home/o/.ssh", "/home/o/.config", "/home/o/.config/gh"].map(Path::new);
        let way = |path: &str| secret_on_the_way(Path::new(path), |path| there.contains(&path));
        let ssh = Some(PathBuf::from("/home/o/.ssh"));
        assert_eq!((way("/home/o/.ssh"), way("/home/o/.ssh/x/y")), (ssh.clone(), ssh));
        assert_eq!(way("/home/o/.config"), Some(PathBuf::from("/home/o/.config/gh")));
        for path in ["/home/o", "/home/o/.aws/x", "/home/p/.ssh/x", "/home/o/.config/x", "/", ""] {
            assert_eq!(way(path), None, "{path}");
        }
    }

    #[test]
    fn se05_se06_se16_are_known() {
        let home = Path::new("/home/[u]");
        let set = PatternSet::new(&known_secrets(home), Path::new("/")).unwrap();
        let below_home = [
            ".ssh/id_ed25519",
            ".ssh/id_rsa",
            ".aws/credentials",
            ".aws/config",
            ".config/gcloud/credentials.db",
            ".config/gcloud/application_default_credentials.json",
            ".azure/msal_token_cache.json",
            ".kube/config",
            ".docker/config.json",
            ".npmrc",
            ".pypirc",
            ".netrc",
            ".git-credentials",
            ".config/gh/hosts.yml",
            ".cargo/credentials.toml",
            ".gnupg/secring.gpg",
            ".vault-token",
            ".terraform.d/credentials.tfrc.json",
            ".config/op/config",
            ".password-store",
            ".mozilla",
            ".config/google-chrome",
            ".local/share/keyrings/login.keyring",
            ".claude.json",
            ".codex/auth.json",
            ".gemini/oauth_creds.json",
            ".bash_history",
            ".zsh_history",
            ".python_history",
            ".psql_history",
            ".mysql_history",
            ".node_repl_history",
            ".lesshst",
            ".viminfo",
            ".local/share/fish/fish_history",
        ];
        for name in below_home {
            assert!(set.matches(&home.join(name)), "{name}");
        }
        for path in [
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
            "/run/secrets/x",
            "/run/credentials/unit/x",
            "/etc/kubernetes/admin.conf",
            "/etc/shadow",
            "/etc/ssh/ssh_host_ed25519_key",
            "/run/user/1000/bus",
        ] {
            assert!(set.matches(Path::new(path)), "{path}");
        }
        for path in [
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/etc/ssl/certs/x.pem",
            "/home/[u]/.cargo/registry/x",
            "/usr",
        ] {
            assert!(!set.matches(Path::new(path)), "{path}");
        }
    }
}
