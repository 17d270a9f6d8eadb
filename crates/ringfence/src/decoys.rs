//! What decoys hold: secrets that look like those of their kind, unlike any other, and good for nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_policy::Policy;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// The file in the run's directory: an object of paths and what is secret in each.
const FILE: &str = "decoys.json";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of base64 in a line of a key (ssh-keygen's).
const LINE: usize = 70;

/// One decoy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoy {
    /// What the file holds.
    pub(crate) text: String,
    /// What of it is secret: wherever that turns up, it came from here.
    pub(crate) secrets: Vec<String>,
}

/// New ones for every decoy of a policy.
///
/// # Errors
/// There are no random numbers.
pub(crate) fn make(policy: &Policy) -> Result<BTreeMap<PathBuf, Decoy>, Errno> {
    policy.files.decoy.iter().map(|rule| Ok((rule.value.clone(), one(&rule.value)?))).collect()
}

/// Keeps what is secret of them with the run, for whoever looks for it later.
pub(crate) fn remember(decoys: &BTreeMap<PathBuf, Decoy>, run: &Path) -> std::io::Result<()> {
    if decoys.is_empty() {
        return Ok(());
    }
    let known: BTreeMap<_, _> =
        decoys.iter().map(|(path, decoy)| (path.to_string_lossy(), &decoy.secrets)).collect();
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(run.join(FILE))?;
    file.write_all(serde_json::to_string(&known)?.as_bytes())
}

/// What is secret of those that a run has.
pub(crate) fn remembered(run: &Path) -> std::io::Result<BTreeMap<PathBuf, Vec<String>>> {
    match std::fs::read(run.join(FILE)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// By the file's name, as its tool would have written it.
fn one(path: &Path) -> Result<Decoy, Errno> {
    let ends = |end: &str| path.ends_with(end);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(if ends(".aws/credentials") {
        let (key, secret) = (format!("AKIA{}", random(16, UPPER)?), random(40, BASE64)?);
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
        Decoy { text, secrets: vec![key, secret] }
    } else if name.starts_with("id_") || name.ends_with("_key") || name.ends_with(".pem") {
        ssh_key()?
    } else if name == ".npmrc" {
        let token = format!("npm_{}", random(36, MIXED)?);
        Decoy { text: format!("//registry.internal/:_authToken={token}\n"), secrets: vec![token] }
    } else if ends(".config/gh/hosts.yml") {
        let token = format!("gho_{}", random(36, MIXED)?);
        let text =
            format!("github.com:\n    user: deploy\n    oauth_token: {token}\n    git_protocol: https\n");
        Decoy { text, secrets: vec![token] }
    } else if name == ".git-credentials" || ends(".config/git/credentials") {
        let token = format!("ghp_{}", random(36, MIXED)?);
        Decoy { text: format!("https://deploy:{token}@github.com\n"), secrets: vec![token] }
    } else if name == ".netrc" {
        let word = random(24, MIXED)?;
        let text = format!("machine github.com\n  login deploy\n  password {word}\n");
        Decoy { text, secrets: vec![word] }
    } else if ends(".kube/config") || name.contains("kubeconfig") {
        kube_config()?
    } else if name.ends_with(".json") {
        let token = random(48, MIXED)?;
        Decoy {
            text: format!("{{\n  \"access_token\": \"{token}\",\n  \"token_type\": \"Bearer\"\n}}\n"),
            secrets: vec![token],
        }
    } else {
        let (key, word) = (format!("sk_live_{}", random(32, MIXED)?), random(20, MIXED)?);
        Decoy { text: format!("API_KEY={key}\nDB_PASSWORD={word}\n"), secrets: vec![key, word] }
    })
}

/// An ed25519 key in the form of OpenSSH (PROTOCOL.key), whose halves do not belong together.
fn ssh_key() -> Result<Decoy, Errno> {
    let mut bytes = [0; 100];
    fill(&mut bytes)?;
    let (public, rest) = bytes.split_at(32);
    let (seed, check) = (rest.get(..32).unwrap_or_default(), rest.get(32..36).unwrap_or_default());
    let mut field = Vec::new();
    let put = |into: &mut Vec<u8>, part: &[u8]| {
        into.extend(u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
        into.extend_from_slice(part);
    };
    put(&mut field, b"ssh-ed25519");
    put(&mut field, public);
    let mut private = [check, check].concat();
    private.extend_from_slice(&field);
    put(&mut private, &[seed, public].concat());
    put(&mut private, b"deploy@build");
    private.extend((1u8..).take(private.len().next_multiple_of(8) - private.len()));
    let mut blob = b"openssh-key-v1\0".to_vec();
    put(&mut blob, b"none");
    put(&mut blob, b"none");
    put(&mut blob, b"");
    blob.extend(1u32.to_be_bytes());
    put(&mut blob, &field);
    put(&mut blob, &private);
    let encoded = STANDARD.encode(&blob);
    let lines: Vec<&str> = (0..encoded.len())
        .step_by(LINE)
        .filter_map(|at| encoded.get(at..encoded.len().min(at + LINE)))
        .collect();
    // Each line by itself would tell where it came from; the middle holds what no other key has.
    let secrets =
        lines.iter().skip(2).filter(|line| line.len() == LINE).map(|line| (*line).to_owned()).collect();
    let (begin, end) = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----");
    Ok(Decoy { text: format!("{begin}\n{}\n{end}\n", lines.join("\n")), secrets })
}

fn kube_config() -> Result<Decoy, Errno> {
    let token = random(64, MIXED)?;
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: production\nclusters:\n- name: production\n  cluster:\n    \
         server: https://10.96.0.1:6443\ncontexts:\n- name: production\n  context:\n    cluster: production\n    \
         user: deploy\nusers:\n- name: deploy\n  user:\n    token: {token}\n"
    );
    Ok(Decoy { text, secrets: vec![token] })
}

fn random(length: usize, letters: &[u8]) -> Result<String, Errno> {
    let mut bytes = vec![0; length];
    fill(&mut bytes)?;
    // None is a key: that some letters are a little more likely does no harm.
    Ok(bytes
        .iter()
        .filter_map(|byte| letters.get(usize::from(*byte) % letters.len()))
        .map(|letter| char::from(*letter))
        .collect())
}

/// Reads of up to 256 bytes are not cut short (getrandom(2)).
fn fill(bytes: &mut [u8]) -> Result<(), Errno> {
    getrandom(bytes, GetRandomFlags::empty()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_its_own() {
        for (path, holds) in [
            ("/h/.aws/credentials", "aws_access_key_id = AKIA"),
            ("/h/.ssh/id_ed25519", "BEGIN OPENSSH PRIVATE KEY"),
            ("/h/.npmrc", ":_authToken=npm_"),
            ("/h/.config/gh/hosts.yml", "oauth_token: gho_"),
            ("/h/.git-credentials", "https://deploy:ghp_"),
            ("/h/.netrc", "password "),
            ("/h/.kube/config", "current-context"),
            ("/h/.docker/config.json", "access_token"),
            ("/h/app/.env", "API_KEY=sk_live_"),
        ] {
            let (first, second) = (one(Path::new(path)).unwrap(), one(Path::new(path)).unwrap());
            assert!(first.text.contains(holds), "{path}: {}", first.text);
            assert_ne!(first, second);
            assert!(!first.secrets.is_empty(), "{path}");
            for secret in &first.secrets {
                assert!(secret.len() >= 16 && first.text.contains(secret.as_str()), "{path}: {secret}");
            }
        }
    }
}
