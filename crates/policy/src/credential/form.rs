//! `inject`: how a secret is written on a request.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SECRET;
use crate::diagnostic::{Invalid, Place, Problem};
use crate::document::Forms;
use crate::reader::At;

/// How a secret is written on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A header of this name, in lower case, and what stands before and behind the secret in it.
    Header(String, String, String),
    /// `Authorization: Basic`, as the password of this user, or of whoever the task names (RFC 7617).
    Basic(Option<String>),
    /// Likewise, and the tokens that a server gives out for it in its answers are kept too and go on requests as bearers (Docker Registry v2
    /// authentication).
    Registry(Option<String>),
    /// A parameter of the query.
    Query(String),
    /// The whole request is signed with it (Signature Version 4 of AWS), for this region and service, or whichever the task names.
    Sigv4(Option<AwsScope>),
    /// It goes on no request: a certificate and its key, by which TLS with the hosts says who asks.
    Certificate,
}

/// What a signature of AWS is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsScope {
    /// `eu-central-1`.
    pub region: String,
    /// `s3`.
    pub service: String,
}

impl fmt::Display for AwsScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.region, self.service)
    }
}

impl AwsScope {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let parts = text.split_once('/').filter(|(region, service)| plain(region) && plain(service));
        let invalid = || Invalid::new(format!("`{text}` is no region and service of AWS"));
        let (region, service) = parts.ok_or_else(|| invalid().help("write `sigv4:eu-central-1/s3`"))?;
        Ok(Self { region: region.to_owned(), service: service.to_owned() })
    }
}

/// Variables of AWS's tools, of which one names the others.
const KEY: &str = "SECRET_ACCESS_KEY";

/// With the name of the variable that holds the secret key (`AWS_SECRET_ACCESS_KEY`), those of the id of the keys and of a session's token.
pub fn aws_variables(name: &str) -> Option<(String, String)> {
    let before = name.strip_suffix(KEY)?;
    Some((format!("{before}ACCESS_KEY_ID"), format!("{before}SESSION_TOKEN")))
}

impl Form {
    /// Reads `bearer`, `basic`, `basic:USER`, `registry`, `registry:USER`, `sigv4`, `sigv4:REGION/SERVICE`, `certificate`, `?NAME={secret}` or
    /// `Name: text {secret}`.
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(parameter) = text.strip_prefix('?') {
            let name = parameter.strip_suffix("={secret}").filter(|name| !name.is_empty());
            let plain =
                |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let example = "write it as `?key={secret}`";
            let invalid = || Invalid::new(format!("`{text}` is no parameter of a query")).help(example);
            return name.filter(plain).map(|name| Self::Query(name.to_owned())).ok_or_else(invalid);
        }
        match text.split_once(':') {
            None if text == "bearer" => {
                Ok(Self::Header("authorization".to_owned(), "Bearer ".to_owned(), String::new()))
            }
            None if text == "basic" => Ok(Self::Basic(None)),
            None if text == "registry" => Ok(Self::Registry(None)),
            None if text == "sigv4" => Ok(Self::Sigv4(None)),
            None if text == "certificate" => Ok(Self::Certificate),
            Some(("sigv4", scope)) => Ok(Self::Sigv4(Some(AwsScope::parse(scope)?))),
            Some((kind @ ("basic" | "registry"), user)) if !user.contains(SECRET) => {
                let fine = !user.is_empty()
                    && user.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b':');
                let invalid = || {
                    Invalid::new(format!("`{user}` is no user of basic authentication"))
                        .help(format!("write `{kind}:USER`"))
                };
                let own = Some(user.to_owned()).filter(|_| fine).ok_or_else(invalid)?;
                Ok(if kind == "basic" { Self::Basic(Some(own)) } else { Self::Registry(Some(own)) })
            }
            _ => header(text),
        }
    }

    /// As a policy writes it.
    pub fn text(&self) -> String {
        match self {
            Self::Header(name, before, behind) => format!("{name}: {before}{SECRET}{behind}"),
            Self::Basic(None) => "basic".to_owned(),
            Self::Basic(Some(user)) => format!("basic:{user}"),
            Self::Registry(None) => "registry".to_owned(),
            Self::Registry(Some(user)) => format!("registry:{user}"),
            Self::Query(name) => format!("?{name}={SECRET}"),
            Self::Sigv4(None) => "sigv4".to_owned(),
            Self::Sigv4(Some(scope)) => format!("sigv4:{scope}"),
            Self::Certificate => "certificate".to_owned(),
        }
    }

    /// The header that it is in, if it is in one.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name, ..) => Some(name),
            Self::Basic(_) | Self::Registry(_) | Self::Sigv4(_) => Some("authorization"),
            Self::Query(_) | Self::Certificate => None,
        }
    }

    /// Whether one would take the other's place on a request.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Query(own), Self::Query(name)) => own == name,
            _ => self.header().is_some() && self.header() == other.header(),
        }
    }
}

/// Headers that say where a request goes or how long it is.
static NEVER: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "content-encoding",
];

/// The form of a header with a secret in it: `Name: value {secret}`.
fn header(text: &str) -> Result<Form, Invalid> {
    let example = "write it as `Authorization: Bearer {secret}`, `bearer`, `basic` or `?key={secret}`";
    if let Some(character) = text.chars().find(|character| !matches!(character, ' '..='~')) {
        // A line break here would add headers, or whole requests, of the policy's choice (CWE-113).
        let message = format!("a header cannot hold the character U+{:04X}", character as u32);
        return Err(Invalid::new(message).help(example));
    }
    let (name, value) = text.split_once(": ").unwrap_or_default();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(Invalid::new(format!("`{text}` does not start with the name of a header")).help(example));
    }
    if text.matches(SECRET).count() != 1 || name.contains(SECRET) {
        return Err(Invalid::new(format!("`{text}` must hold `{SECRET}` once, in its value")).help(example));
    }
    let name = name.to_ascii_lowercase();
    if NEVER.contains(&name.as_str()) {
        return Err(Invalid::new(format!(
            "the header `{name}` says how a request is sent, and holds no secret"
        ))
        .help(example));
    }
    let (before, behind) = value.split_once(SECRET).unwrap_or_default();
    Ok(Form::Header(name, before.to_owned(), behind.to_owned()))
}

pub(super) fn forms_of(written: Option<&At<Forms>>, found: &mut Vec<Problem>) -> Vec<Form> {
    let one;
    let texts: &[At<String>] = match written {
        None => {
            one = [At::new("bearer".to_owned(), Place::default())];
            &one
        }
        Some(At { value: Forms::Text(text), place }) => {
            one = [At::new(text.clone(), *place)];
            &one
        }
        Some(At { value: Forms::List(list), place }) => {
            if list.is_empty() {
                found.push(Problem::new(*place, "an empty `inject` would put the secret nowhere"));
            }
            list
        }
    };
    let read = |text: &At<String>| Form::parse(&text.value).map_err(|invalid| invalid.at(text.place));
    let (forms, wrong): (Vec<_>, Vec<_>) = texts.iter().map(read).partition(Result::is_ok);
    found.extend(wrong.into_iter().filter_map(Result::err));
    forms.into_iter().filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_back() {
        for text in [
            "basic",
            "basic:x-access-token",
            "registry",
            "registry:pusher",
            "?key={secret}",
            "sigv4",
            "sigv4:eu-central-1/s3",
            "certificate",
            "x-api-key: {secret}",
            "authorization: Bearer {secret}",
        ] {
            assert_eq!(Form::parse(text).unwrap().text(), text);
        }
        assert_eq!(Form::parse("bearer").unwrap().text(), "authorization: Bearer {secret}");
        for text in [
            "",
            "Bearer",
            "basic:",
            "registry:",
            "registry:a:b",
            "sigv4:",
            "sigv4:s3",
            "sigv4:a/b/c",
            "sigv4:*/s3",
            "basic:a b",
            "basic:a:b",
            "?={secret}",
            "?k",
            "?k={secret}&x=1",
            "X-A: b",
            "X-A: {secret}{secret}",
            "{secret}: x",
            "Host: {secret}",
            "Content-Length: {secret}",
            "X-A: {secret}\r\nX-B: c",
        ] {
            assert!(Form::parse(text).is_err(), "{text:?}");
        }
    }
}
