//! Keys of ssh: asking the invoker's agent, and the keys of the hosts that it signs in at.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::{digest, hmac};

/// How long the agent may take: somebody may have to touch something.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of its longest answer.
const LONGEST: usize = 256 << 10;
/// Bytes of a file with the keys of hosts.
const FILE: u64 = 4 << 20;

/// A key that the agent has: as it is sent, and its comment.
type Key = (Vec<u8>, String);

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

/// Takes a string from the front.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(text)
}

/// A conversation with the agent.
struct Agent(UnixStream);

impl Agent {
    fn reach(socket: Option<&Path>) -> Result<Self, String> {
        let path = socket
            .filter(|path| !path.as_os_str().is_empty())
            .ok_or("`SSH_AUTH_SOCK` is not set: no agent runs")?;
        let failed = |error: std::io::Error| format!("the agent at `{}`: {error}", path.display());
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(failed)?;
        Ok(Self(stream))
    }

    fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut whole = Vec::new();
        string(&mut whole, message);
        let mut asked = || -> std::io::Result<Vec<u8>> {
            self.0.write_all(&whole)?;
            let mut length = [0; 4];
            self.0.read_exact(&mut length)?;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if length == 0 || length > LONGEST {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            let mut answer = vec![0; length];
            self.0.read_exact(&mut answer)?;
            Ok(answer)
        };
        asked().map_err(|error| format!("the agent: {error}"))
    }

    fn keys(&mut self) -> Result<Vec<Key>, String> {
        let answer = self.ask(&[11])?;
        let strange = "the agent says what is no list of keys";
        let mut rest = answer.strip_prefix(&[12]).and_then(|rest| rest.get(4..)).ok_or(strange)?;
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let (Some(key), Some(comment)) = (part(&mut rest), part(&mut rest)) else {
                return Err(strange.to_owned());
            };
            keys.push((key.to_vec(), String::from_utf8_lossy(comment).into_owned()));
        }
        Ok(keys)
    }
}

/// `SHA256:..`, as ssh-add(1) shows it.
fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, key)))
}

/// The one key that a policy means: by fingerprint, comment or as a line of a file; as base64.
pub(crate) fn key(name: &str, socket: Option<&Path>) -> Result<String, String> {
    let keys = Agent::reach(socket)?.keys()?;
    let is = |(key, comment): &&Key| {
        fingerprint(key) == name.trim_end_matches('=')
            || comment == name
            || name.split(' ').nth(1).is_some_and(|word| STANDARD.decode(word).is_ok_and(|own| own == *key))
    };
    let mut found = keys.iter().filter(is);
    match (found.next(), found.next()) {
        (Some((key, _)), None) => Ok(STANDARD.encode(key)),
        (Some(_), Some(_)) => {
            Err("the agent has several keys of that name: write a fingerprint, as `ssh-add -l` shows it"
                .to_owned())
        }
        (None, _) => Err("the agent has no such key: `ssh-add -l` lists those that it has".to_owned()),
    }
}

/// Has the agent sign: `asked` is what the client said of the session, the key, the text, each with its length, and the flags.
pub(crate) fn sign(mut asked: &[u8], socket: Option<&Path>) -> Result<Vec<u8>, String> {
    let (Some(bind), Some(key), Some(text)) = (part(&mut asked), part(&mut asked), part(&mut asked)) else {
        return Err("the question cannot be read".to_owned());
    };
    let mut agent = Agent::reach(socket)?;
    if !bind.is_empty() {
        // Agents that hold a key to hosts of their own need it; the others say that they do not know it.
        let mut message = vec![27];
        string(&mut message, b"session-bind@openssh.com");
        message.extend_from_slice(bind);
        agent.ask(&message)?;
    }
    let mut message = vec![13];
    string(&mut message, key);
    string(&mut message, text);
    message.extend_from_slice(asked);
    let answer = agent.ask(&message)?;
    let mut rest = answer
        .strip_prefix(&[14])
        .ok_or("the agent did not sign: it has the key no more, is locked, or somebody said no")?;
    part(&mut rest).map(<[u8]>::to_vec).ok_or_else(|| "the agent says what is no signature".to_owned())
}

/// A public key as a line of a file has it.
pub(crate) fn line(key: &str, comment: &str) -> String {
    let bytes = STANDARD.decode(key).unwrap_or_default();
    let kind = part(&mut bytes.as_slice()).map(|kind| String::from_utf8_lossy(kind).into_owned());
    format!("{} {key} {comment}", kind.unwrap_or_default())
}

/// The name that a host's keys are known by.
pub(crate) fn known_as(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Lines of a file with the keys of hosts: each key with `HOST:PORT`.
pub(crate) fn known_lines(keys: &[(String, Vec<u8>)]) -> Vec<String> {
    let one = |(host, key): &(String, Vec<u8>)| {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "22"));
        let name = known_as(name.trim_matches(['[', ']']), port.parse().unwrap_or(22));
        format!("{name} {}\n", line(&STANDARD.encode(key), "").trim_end())
    };
    keys.iter().map(one).collect()
}

/// The keys that a file knows of a host (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Those that are revoked are known nowhere.
pub(crate) fn host_keys(text: &str, host: &str, port: u16) -> Vec<Vec<u8>> {
    let name = known_as(host, port);
    let (mut keys, mut revoked) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(names), Some(_), Some(key)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(key) = STANDARD.decode(key) else { continue };
        match marker {
            None if named(names, &name) => keys.push(key),
            Some("@revoked") => revoked.push(key),
            _ => {}
        }
    }
    keys.retain(|key| !revoked.contains(key));
    keys
}

fn named(names: &str, name: &str) -> bool {
    if let Some((salt, hash)) = names.strip_prefix("|1|").and_then(|rest| rest.split_once('|')) {
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        return hmac::verify(&key, name.as_bytes(), &hash).is_ok();
    }
    let fits = |pattern: &str| wild(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
    let mut any = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern) => return false,
            Some(_) => {}
            None => any |= fits(pattern),
        }
    }
    any
}

/// `*` and `?`.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            wild(rest, text) || text.split_first().is_some_and(|(_, text)| wild(pattern, text))
        }
        (Some((b'?', rest)), Some((_, text))) => wild(rest, text),
        (Some((own, rest)), Some((letter, text))) => own == letter && wild(rest, text),
        _ => false,
    }
}

/// The files with the keys of hosts.
pub(crate) fn places(own: Option<&Path>, home: &Path) -> Vec<PathBuf> {
    let usual = || {
        vec![home.join(".ssh/known_hosts"), home.join(".ssh/known_hosts2"), "/etc/ssh/ssh_known_hosts".into()]
    };
    own.map_or_else(usual, |path| vec![path.to_path_buf()])
}

/// What the files say, as far as they are there.
pub(crate) fn known_hosts(own: Option<&Path>, home: &Path) -> Result<String, String> {
    let read = |path: &Path| {
        let mut text = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(FILE).read_to_end(&mut text)).map(|_| text)
    };
    if let Some(path) = own {
        let text = read(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    let texts = places(None, home);
    let texts = texts.iter().filter_map(|path| read(path).ok());
    Ok(texts.map(|text| String::from_utf8_lossy(&text).into_owned() + "\n").collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_hosts_are_known_by_every_way_to_write_their_names() {
        // Made by ssh-keygen -H.
        let hashed = "|1|NIXoQs4euafTUPsNyJ9MJm0rWXM=|isUXEt0OPu5i5AFMNo772r4OZiM= ssh-ed25519 AQ==";
        let text = format!(
            "{hashed}\n# a comment\nforge.example,10.0.0.1 ssh-ed25519 Ag==\n[forge.example]:2222 ssh-rsa Aw==\n*.example,!bad.example ssh-rsa BA==\n\
             @cert-authority *.example ssh-rsa BQ==\n@revoked * ssh-rsa Bg==\nforge.example ssh-rsa Bg==\nbroken\nforge.example ssh-rsa ???\n"
        );
        assert_eq!(host_keys(&text, "192.168.1.61", 22), [[1]]);
        assert_eq!(host_keys(&text, "forge.example", 22), [[2], [4]]);
        assert_eq!(host_keys(&text, "forge.example", 2222), [[3]]);
        assert!(host_keys(&text, "bad.example", 22).is_empty() && host_keys(&text, "other", 22).is_empty());
    }
}
