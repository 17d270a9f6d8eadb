//! Tokens of OAuth 2.0, asked for by the keeper: client credentials (RFC 6749, section 4.4) and exchange (RFC 8693).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringfence_confine::keeper::FOREVER;
use ringfence_gateway::token::{Ask, ask};
use ringfence_policy::{Oauth, SecretSource};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::keeper::{command, file, plain};
use crate::secret_service;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a server may say (RFC 6749, section 5.2; RFC 8693, section 2.2.2); anything else may repeat what it was sent.
static ERRORS: &[&str] = &[
    "no reason is told",
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];

/// A token, and for how many seconds it is good.
pub(crate) fn fetch(
    oauth: &Oauth,
    variables: &BTreeMap<OsString, OsString>,
) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let part = |source: &Option<Box<SecretSource>>| {
        source.as_ref().map(|source| read(source, variables)).transpose()
    };
    let (secret, assertion) = (part(&oauth.client_secret)?, part(&oauth.client_assertion)?);
    let grant = if oauth.subject.is_some() { EXCHANGE } else { "client_credentials" };
    let mut fields = vec![("grant_type", Zeroizing::new(grant.to_owned()))];
    if let Some((source, kind)) = &oauth.subject {
        fields.push(("subject_token", read(source, variables)?));
        fields.push(("subject_token_type", Zeroizing::new(kind.clone())));
    }
    if let Some(assertion) = assertion {
        fields.push(("client_assertion_type", Zeroizing::new(ASSERTION.to_owned())));
        fields.push(("client_assertion", assertion));
    }
    let mut authorization = None;
    match (&oauth.client_id, secret) {
        // Both are encoded before they are joined (RFC 6749, section 2.3.1).
        (Some(id), Some(secret)) => {
            let pair = Zeroizing::new(format!("{}:{}", encoded(id), *Zeroizing::new(encoded(&secret))));
            authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))));
        }
        (Some(id), None) => fields.push(("client_id", Zeroizing::new(id.clone()))),
        (None, _) => {}
    }
    let own = oauth.parameters.iter().map(|(name, text)| (name.as_str(), Zeroizing::new(text.clone())));
    let form: Vec<String> =
        fields.into_iter().chain(own).map(|(name, text)| format!("{name}={}", encoded(&text))).collect();
    let (host, port, path) = &oauth.server;
    let roots = crate::inspection::roots(variables).map_err(|_| "no certificates of authorities are found on this host: install them (`ca-certificates`), or name the file in `SSL_CERT_FILE`")?;
    let (status, body) = ask(&Ask {
        server: (host, *port, path),
        roots: &roots,
        authorization: authorization.as_deref().map(String::as_str),
        form: form.join("&"),
    })?;
    answer(status, &body)
}

/// What the server says (RFC 6749, sections 5.1 and 5.2).
fn answer(status: u16, body: &[u8]) -> Result<(Zeroizing<Vec<u8>>, u32), String> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if status != 200 {
        // Its description may repeat what was sent.
        let error = value.get("error").and_then(Value::as_str).unwrap_or("no reason is told");
        let error = if ERRORS.contains(&error) { error } else { "an error of its own" };
        return Err(format!("the server answers {status}: {error}"));
    }
    let token =
        value.get("access_token").and_then(Value::as_str).ok_or("the server gives no `access_token`")?;
    let token = Zeroizing::new(plain(token.as_bytes())?.to_vec());
    let left = value.get("expires_in").and_then(|left| left.as_u64().or_else(|| left.as_str()?.parse().ok()));
    Ok((token, left.map_or(FOREVER, |left| u32::try_from(left).unwrap_or(FOREVER))))
}

/// One part, read anew each time.
fn read(
    source: &SecretSource,
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Zeroizing<String>, String> {
    let bytes = match source {
        SecretSource::Env(name) => {
            let value = variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
            Zeroizing::new(value.ok_or(format!("the variable `{name}` is not set"))?.as_bytes().to_vec())
        }
        SecretSource::File(path) => file(path).map_err(|why| format!("{source}: {why}"))?.0,
        SecretSource::Command(words) => command(words, variables)?,
        SecretSource::SecretService(attributes) => secret_service::fetch(attributes, variables)?,
        SecretSource::SshAgent(_)
        | SecretSource::Gpg(_)
        | SecretSource::Oauth(_)
        | SecretSource::Spiffe(_) => {
            return Err("it is no plain secret".to_owned());
        }
    };
    let text = plain(&bytes).map_err(|why| format!("{source}: {why}"))?;
    Ok(Zeroizing::new(String::from_utf8_lossy(text).into_owned()))
}

/// As forms have it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_standard_has_them() {
        let read =
            |status, text: &str| answer(status, text.as_bytes()).map(|(token, left)| (token.to_vec(), left));
        assert_eq!(read(200, r#"{"access_token":"abc","expires_in":60}"#), Ok((b"abc".to_vec(), 60)));
        assert_eq!(read(200, r#"{"access_token":"abc","expires_in":"60"}"#), Ok((b"abc".to_vec(), 60)));
        assert_eq!(read(200, r#"{"access_token":"abc"}"#), Ok((b"abc".to_vec(), FOREVER)));
        assert!(read(200, "{}").is_err() && read(200, r#"{"access_token":"a\r\nb"}"#).is_err());
        let refused = read(400, r#"{"error":"invalid_client","error_description":"secret"}"#).unwrap_err();
        assert!(refused.contains("400: invalid_client") && !refused.contains("secret"));
        for own in ["S3CRET", "secret_words"] {
            assert!(!read(400, &format!(r#"{{"error":"{own}"}}"#)).unwrap_err().contains(own));
        }
    }
}
