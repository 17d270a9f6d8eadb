//! Where in the head of a request a secret stands, or its placeholder: found there, and put there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use memchr::memmem;
use ringfence_leaks::percent_decoded;
use ringfence_policy::Form;

use crate::mask::Mask;

/// Where in a request a placeholder stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header(String),
    Basic,
    Parameter(String),
    Path,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header `{name}`"),
            Self::Basic => formatter.write_str("basic authentication"),
            Self::Parameter(name) => write!(formatter, "the parameter `{name}` of the query"),
            Self::Path => formatter.write_str("the path"),
        }
    }
}

pub(crate) fn fits(form: &Form, place: &Place) -> bool {
    match (form, place) {
        (Form::Header(own, ..), Place::Header(name)) => own == name,
        (Form::Basic(_) | Form::Registry(_), Place::Basic) => true,
        (Form::Query(own), Place::Parameter(name)) => own == name,
        _ => false,
    }
}

/// Every place in the head of a request where a placeholder stands.
pub(crate) fn found<B>(request: &Request<B>, placeholder: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let holds = |bytes: &[u8]| memmem::find(bytes, placeholder.as_bytes()).is_some();
    for (name, value) in request.headers() {
        if holds(value.as_bytes()) || holds(name.as_str().as_bytes()) {
            places.push(Place::Header(name.as_str().to_owned()));
        } else if *name == header::AUTHORIZATION
            && basic(value).is_some_and(|(user, word)| holds(&user) || holds(&word))
        {
            places.push(Place::Basic);
        }
    }
    if holds(&percent_decoded(request.uri().path().as_bytes())) {
        places.push(Place::Path);
    }
    for part in request.uri().query().into_iter().flat_map(|query| query.split('&')) {
        if holds(&percent_decoded(part.as_bytes())) {
            places.push(Place::Parameter(part.split('=').next().unwrap_or_default().to_owned()));
        }
    }
    places
}

/// User and password (RFC 7617).
fn basic(value: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, word) = value.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(word.trim()).ok())??;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded.get(..colon)?.to_vec(), decoded.get(colon + 1..)?.to_vec()))
}

/// Writes a secret there, in place of the placeholder; what comes back of it is masked. `None`: it does not fit.
pub(crate) fn place<B>(
    request: &mut Request<B>,
    form: &Form,
    placeholder: Option<&str>,
    secret: &[u8],
    mask: &mut Mask,
) -> Option<()> {
    match form {
        Form::Header(name, before, behind) => {
            let value = [before.as_bytes(), secret, behind.as_bytes()].concat();
            set(request.headers_mut(), name, &value)
        }
        Form::Basic(fixed) | Form::Registry(fixed) => {
            let sent = request.headers().get(header::AUTHORIZATION).and_then(basic);
            let user = match (fixed, sent) {
                (Some(user), _) => user.as_bytes().to_vec(),
                // Some servers take the token as the user.
                (None, Some((user, word))) if placeholder.is_some_and(|own| user == own.as_bytes()) => {
                    let word = if word == user { secret } else { &word };
                    let word = STANDARD.encode([secret, b":", word].concat());
                    mask.hide(word.as_bytes(), None);
                    mask.hide_escaped(word.as_bytes());
                    return set(request.headers_mut(), "authorization", format!("Basic {word}").as_bytes());
                }
                (None, Some((user, _))) => user,
                (None, None) => b"x-access-token".to_vec(),
            };
            let word = STANDARD.encode([&user, &b":"[..], secret].concat());
            mask.hide(word.as_bytes(), None);
            mask.hide_escaped(word.as_bytes());
            set(request.headers_mut(), "authorization", format!("Basic {word}").as_bytes())
        }
        // The whole request is signed, or none of it changes.
        Form::Sigv4(_) | Form::Certificate => None,
        Form::Query(name) => {
            let escaped = escaped(secret);
            let kept = request.uri().query().into_iter().flat_map(|query| query.split('&'));
            let kept = kept.filter(|part| part.split('=').next() != Some(name)).map(str::to_owned);
            let query: Vec<String> = kept.chain([format!("{name}={escaped}")]).collect();
            let whole = format!("{}?{}", request.uri().path(), query.join("&"));
            *request.uri_mut() = whole.parse::<Uri>().ok()?;
            Some(())
        }
    }
}

/// As a parameter of a query (RFC 3986, section 2.3).
pub(crate) fn escaped(secret: &[u8]) -> String {
    let mut escaped = String::new();
    for byte in secret {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => escaped.push(char::from(*byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Option<()> {
    let mut value = HeaderValue::from_bytes(value).ok()?;
    // Kept out of what HTTP/2 remembers between requests (RFC 7541, section 7.1.3).
    value.set_sensitive(true);
    headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    Some(())
}
