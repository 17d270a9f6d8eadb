//! `source.oauth`: a token that is asked for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::credential::SecretSource;
use crate::credential::source::{Plain, plain_source};
use crate::diagnostic::Problem;
use crate::document::{OauthTable, PlainSource};
use crate::path::Scope;
use crate::reader::At;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// How a token of OAuth 2.0 is had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oauth {
    /// The host that gives tokens out, its port and the path there.
    pub server: (String, u16, String),
    /// Who asks.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Box<SecretSource>>,
    /// A JWT instead.
    pub client_assertion: Option<Box<SecretSource>>,
    /// What is exchanged, and what that is.
    pub subject: Option<(Box<SecretSource>, String)>,
    /// Further parameters: scope, audience, resource.
    pub parameters: Vec<(String, String)>,
}

impl fmt::Display for Oauth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the token of `https://{}:{}{}`", self.server.0, self.server.1, self.server.2)
    }
}

impl Oauth {
    /// Whichever parts of it are secrets.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &SecretSource)> {
        let subject = self.subject.as_ref().map(|(source, _)| source);
        let parts = [
            ("client_secret", self.client_secret.as_ref()),
            ("client_assertion", self.client_assertion.as_ref()),
            ("subject_token", subject),
        ];
        parts.into_iter().filter_map(|(name, source)| Some((name, &**source?)))
    }
}

impl Oauth {
    /// The same, to be changed.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut SecretSource> {
        let subject = self.subject.as_mut().map(|(source, _)| source);
        let parts = [self.client_secret.as_mut(), self.client_assertion.as_mut(), subject];
        parts.into_iter().flatten().map(|source| &mut **source)
    }
}

/// `https://HOST[:PORT]/PATH`.
fn server(text: &str) -> Option<(String, u16, String)> {
    let rest = text.strip_prefix("https://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 443),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let fine =
        !host.is_empty() && host.bytes().all(plain) && path.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    let path = if path.is_empty() { "/" } else { path };
    (fine && !path.contains('#')).then(|| (host.to_ascii_lowercase(), port, path.to_owned()))
}

pub(super) fn read(at: &At<OauthTable>, scope: &Scope<'_>) -> Result<SecretSource, Problem> {
    let table = &at.value;
    let wrong = |title: &str, help: &str| Problem::new(at.place, title.to_owned()).help(help.to_owned());
    let url = table.token_url.as_ref().ok_or_else(|| {
        wrong("a token needs the place where it is given out", "add `token_url = \"https://..\"`")
    })?;
    let server = server(&url.value).ok_or_else(|| {
        Problem::new(url.place, format!("`{}` is no address of TLS", url.value))
            .help("write `https://HOST/PATH`: secrets are sent there".to_owned())
    })?;
    let part = |source: &Option<At<PlainSource>>| match source {
        Some(source) => {
            let PlainSource { env, file, command, secret_service } = &source.value;
            let plain = Plain {
                env: env.as_ref(),
                file: file.as_ref(),
                command: command.as_ref(),
                service: secret_service.as_ref(),
            };
            plain_source(source.place, plain, scope).map(|read| Some(Box::new(read)))
        }
        None => Ok(None),
    };
    let (client_secret, client_assertion) = (part(&table.client_secret)?, part(&table.client_assertion)?);
    let client_id = table.client_id.as_ref().map(|id| id.value.clone());
    if client_secret.is_some() && client_assertion.is_some() {
        return Err(wrong("a client has a secret or an assertion", "remove one of them"));
    }
    if client_secret.is_some() && client_id.is_none() {
        return Err(wrong("a secret of a client needs its name", "add `client_id`"));
    }
    let kind = table.subject_token_type.as_ref().map_or(ACCESS_TOKEN, |kind| kind.value.as_str());
    let subject = part(&table.subject_token)?.map(|source| (source, kind.to_owned()));
    if subject.is_none() && client_secret.is_none() && client_assertion.is_none() {
        return Err(wrong(
            "nothing says who asks for the token",
            "add `client_secret`, `client_assertion` or, for an exchange, `subject_token`",
        ));
    }
    let parameters = [("scope", &table.scope), ("audience", &table.audience), ("resource", &table.resource)];
    let parameters =
        parameters.into_iter().filter_map(|(name, at)| Some((name.to_owned(), at.as_ref()?.value.clone())));
    let parameters = parameters.collect();
    Ok(SecretSource::Oauth(Box::new(Oauth {
        server,
        client_id,
        client_secret,
        client_assertion,
        subject,
        parameters,
    })))
}

#[cfg(test)]
mod tests {
    use super::server;

    #[test]
    fn tokens_are_asked_for_over_tls_alone() {
        let own = |host: &str, port, path: &str| Some((host.to_owned(), port, path.to_owned()));
        assert_eq!(
            server("https://login.example/oauth2/token?x=1"),
            own("login.example", 443, "/oauth2/token?x=1")
        );
        assert_eq!(server("https://Login.example:8443"), own("login.example", 8443, "/"));
        for bad in [
            "http://a.example/",
            "https://",
            "https:///x",
            "https://u@a.example/",
            "https://a.example:x/",
            "https://a b/",
            "https://a/\r\nX",
        ] {
            assert_eq!(server(bad), None, "{bad}");
        }
    }
}
