//! What an ssh agent is asked to sign, read and judged (draft-ietf-sshm-ssh-agent; OpenSSH's PROTOCOL.agent, PROTOCOL.sshsig; RFC 4252).

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

/// A connection says which hosts it is for as often as this, as OpenSSH's own agent has it.
const MOST_BINDS: usize = 16;

/// A host that a connection to the agent is bound to: it signed the session, so it is really there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) host_key: Vec<u8>,
    pub(crate) session: Vec<u8>,
    /// The host's signature of it, as it was sent.
    pub(crate) signed: Vec<u8>,
    /// What the client said, as it said it.
    pub(crate) said: Vec<u8>,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To sign in there as this user; the number of the bind.
    SignIn(usize, String),
    /// A file or a commit, in this namespace.
    File(String),
}

/// Takes parts from the front of a message (RFC 4251, section 5).
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(4)?;
        self.0 = rest;
        Some(u32::from_be_bytes(number.try_into().ok()?))
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.string()?).ok()
    }

    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A string with its length in front.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

/// Reads `session-bind@openssh.com`, and holds the host's signature to its key.
pub(crate) fn bind(said: &[u8], known: usize) -> Result<Bind, &'static str> {
    let read = || {
        let mut reader = Reader(said);
        let parts = (reader.string()?, reader.string()?, reader.string()?, reader.byte()?);
        reader.end()?;
        Some(parts)
    };
    let (host_key, session, signed, forwarding) = read().ok_or("what it says cannot be read")?;
    if forwarding != 0 {
        return Err("an agent that is forwarded to another host is not carried");
    }
    if known >= MOST_BINDS {
        return Err("one connection is for too many sessions");
    }
    if !verified(host_key, session, signed).unwrap_or(false) {
        return Err("the host did not sign this session, or by a kind of key that is not known here");
    }
    Ok(Bind {
        host_key: host_key.to_vec(),
        session: session.to_vec(),
        signed: signed.to_vec(),
        said: said.to_vec(),
    })
}

/// Whether a signature is of that key over that text.
fn verified(key: &[u8], text: &[u8], signed: &[u8]) -> Option<bool> {
    let (mut key, mut signed) = (Reader(key), Reader(signed));
    let (kind, algorithm, value) = (key.text()?, signed.text()?, signed.string()?);
    signed.end()?;
    let plain = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8], value: &[u8]| {
        Some(UnparsedPublicKey::new(algorithm, key).verify(text, value).is_ok())
    };
    match (kind, algorithm) {
        ("ssh-ed25519", "ssh-ed25519") => plain(&signature::ED25519, key.string()?, value),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") if key.string()? == b"nistp256" => {
            plain(&signature::ECDSA_P256_SHA256_FIXED, key.string()?, &pair(value, 32)?)
        }
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") if key.string()? == b"nistp384" => {
            plain(&signature::ECDSA_P384_SHA384_FIXED, key.string()?, &pair(value, 48)?)
        }
        ("ssh-rsa", "rsa-sha2-256" | "rsa-sha2-512") => {
            let (e, n) = (positive(key.string()?), positive(key.string()?));
            let by = match algorithm {
                "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                _ => &signature::RSA_PKCS1_2048_8192_SHA512,
            };
            Some(RsaPublicKeyComponents { n, e }.verify(by, text, value).is_ok())
        }
        _ => None,
    }
}

/// Without the zeros in front.
fn positive(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Two numbers, each so long (RFC 5656, section 3.1.2).
fn pair(value: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut reader = Reader(value);
    let mut out = Vec::new();
    for _ in 0..2 {
        let number = positive(reader.string()?);
        out.resize(out.len() + length.checked_sub(number.len())?, 0);
        out.extend_from_slice(number);
    }
    reader.end()?;
    Some(out)
}

/// What this is that shall be signed with this key.
pub(crate) fn purpose(data: &[u8], key: &[u8], binds: &[Bind]) -> Result<Purpose, String> {
    if let Some(rest) = data.strip_prefix(b"SSHSIG") {
        let mut reader = Reader(rest);
        let parts = (reader.text(), reader.text(), reader.text(), reader.string());
        return match parts {
            (Some(namespace), Some(""), Some("sha256" | "sha512"), Some(_)) if reader.end().is_some() => {
                Ok(Purpose::File(namespace.to_owned()))
            }
            _ => Err("what shall be signed for a file cannot be read".to_owned()),
        };
    }
    let read = || {
        let mut reader = Reader(data);
        let session = reader.string()?;
        let asks = reader.byte()? == 50;
        let user = reader.text()?;
        let (service, method, signed) = (reader.text()?, reader.text()?, reader.byte()?);
        let (_, own) = (reader.string()?, reader.string()?);
        let bound = match method {
            "publickey" => None,
            "publickey-hostbound-v00@openssh.com" => Some(reader.string()?),
            _ => return None,
        };
        reader.end()?;
        let fine = asks && service == "ssh-connection" && signed == 1 && own == key;
        fine.then_some((session, user, bound))
    };
    let (session, user, bound) =
        read().ok_or("what shall be signed is neither the beginning of a session nor a file")?;
    let of = |bind: &Bind| bind.session == session && bound.is_none_or(|bound| bound == bind.host_key);
    let number = binds.iter().position(of).ok_or(
        "the client did not say to which host this session is, or to another one (`session-bind@openssh.com`, OpenSSH 8.9)",
    )?;
    let fine = !user.is_empty() && user.len() <= 64 && user.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then(|| Purpose::SignIn(number, user.to_owned()))
        .ok_or_else(|| "the user has no plain name".to_owned())
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod tests;
