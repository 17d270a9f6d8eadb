//! Signature Version 4 of AWS: what the task signed with made-up keys is checked, and signed anew with the real ones.
//!
//! The request is signed in the very form that the task's own signature was found to hold for, so that no client's way to write
//! paths and queries has to be known here. Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide.

use std::fmt::Write;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use ring::{digest, hmac};
use ringfence_leaks::percent_decoded;
use ringfence_policy::AwsScope;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const END: &str = "aws4_request";
const TOKEN: &str = "x-amz-security-token";
const PAYLOAD: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
/// A presigned request of S3, and what others say who do not sign the body.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Bodies whose parts are signed one by one, each with the keys.
const STREAMING: &str = "STREAMING-AWS4-";

/// A secret of this kind is one line, `ID:SECRET` or `ID:SECRET:TOKEN`.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) token: Option<&'a str>,
}

impl<'a> Keys<'a> {
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (id, rest) = line.split_once(':')?;
        let (secret, token) =
            rest.split_once(':').map_or((rest, None), |(secret, token)| (secret, Some(token)));
        (!id.is_empty() && !secret.is_empty()).then_some(Self { id, secret, token })
    }
}

/// Whether a request is signed so, in whichever place.
pub(crate) fn signed<B>(request: &Request<B>) -> bool {
    in_header(request.headers()).is_some() || parameter(request.uri(), "X-Amz-Signature").is_some()
}

/// The hash of the body is part of the signature, and no header tells it: the body has to be there first.
pub(crate) fn needs_body<B>(request: &Request<B>) -> bool {
    match in_header(request.headers()) {
        Some(_) => !request.headers().contains_key(PAYLOAD),
        None => Signature::read(request).is_ok_and(|read| read.query && read.scope.service != "s3"),
    }
}

/// The hash of a body, as a signature has it.
pub(crate) fn hash(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

fn in_header(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("AWS4-").map(|_| value)
}

/// What a request says of its signature.
struct Signature {
    id: String,
    day: String,
    scope: AwsScope,
    headers: Vec<String>,
    value: String,
    /// It stands in the query.
    query: bool,
}

impl Signature {
    fn read<B>(request: &Request<B>) -> Result<Self, String> {
        let (algorithm, credential, headers, value, query) = match in_header(request.headers()) {
            Some(text) => {
                let (algorithm, fields) = text.split_once(' ').unwrap_or((text, ""));
                let field = |name: &str| {
                    let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
                    fields.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
                };
                let (credential, headers) = (field("Credential"), field("SignedHeaders"));
                (algorithm.to_owned(), credential, headers, field("Signature"), false)
            }
            None => {
                let field = |name: &str| parameter(request.uri(), name);
                let algorithm = field("X-Amz-Algorithm").unwrap_or_default();
                let headers = field("X-Amz-SignedHeaders");
                (algorithm, field("X-Amz-Credential"), headers, field("X-Amz-Signature"), true)
            }
        };
        if algorithm != ALGORITHM {
            return Err(format!(
                "the request is signed by `{algorithm}`, and only `{ALGORITHM}` is signed anew"
            ));
        }
        let (Some(credential), Some(headers), Some(value)) = (credential, headers, value) else {
            return Err("its signature is not whole".to_owned());
        };
        let parts: Vec<&str> = credential.split('/').collect();
        let [id, day, region, service, END] = parts.as_slice() else {
            return Err("its signature is not for `ID/DAY/REGION/SERVICE/aws4_request`".to_owned());
        };
        let scope = AwsScope { region: (*region).to_owned(), service: (*service).to_owned() };
        let headers: Vec<String> = headers.split(';').map(str::to_ascii_lowercase).collect();
        // Line breaks in them would have something else signed than what is sent.
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if ![id, day, region, service].into_iter().all(|part| plain(part))
            || !headers.iter().all(|name| plain(name))
        {
            return Err("its signature is for what is no plain word".to_owned());
        }
        if !headers.iter().any(|name| name == "host") {
            return Err("its signature leaves out the header `host`".to_owned());
        }
        Ok(Self { id: (*id).to_owned(), day: (*day).to_owned(), scope, headers, value, query })
    }
}

/// How a client writes what it signs.
#[derive(Clone, Copy)]
struct Style {
    path: Path,
    /// Parameters are written anew, in the one form of percent-encoding.
    query: bool,
}

#[derive(Clone, Copy)]
enum Path {
    /// Decoded and encoded once, as S3 has it.
    Once,
    /// Encoded as it was sent, as all others have it.
    Twice,
    /// As it was sent.
    Sent,
}

/// Signs a request anew, that was signed with `like`, the made-up keys. `payload`: the hash of its body, if that was needed.
/// The new signature, or why there is none.
pub(crate) fn sign<B>(
    request: &mut Request<B>,
    like: Keys<'_>,
    keys: Keys<'_>,
    scope: Option<&AwsScope>,
    payload: Option<&str>,
) -> Result<String, String> {
    let read = Signature::read(request)?;
    if read.id != like.id {
        return Err("it is signed with other keys than the placeholder".to_owned());
    }
    if let Some(scope) = scope.filter(|scope| **scope != read.scope) {
        return Err(format!("it is signed for `{}`, and the policy signs for `{scope}`", read.scope));
    }
    let time = match read.query {
        true => parameter(request.uri(), "X-Amz-Date"),
        false => request.headers().get(DATE).and_then(|value| value.to_str().ok()).map(str::to_owned),
    };
    let time = time.filter(|time| is_time(time) && time.starts_with(&read.day));
    let time = time.ok_or("its signature has no time, or is for another day than that")?;
    let payload = told(request, &read, payload)?;
    let fits = |style: &Style| {
        let text = canonical(request, &read.headers, &payload, *style);
        mac(like.secret, &read, &time, &text) == read.value
    };
    let styles = [Path::Once, Path::Twice, Path::Sent].into_iter();
    let style = styles.flat_map(|path| [true, false].map(|query| Style { path, query })).find(fits).ok_or(
        "its signature does not hold for the placeholder's keys: the task signed something else than what it sent, or with keys of another kind",
    )?;
    let signed = with_keys(request, &read, keys)?;
    let text = canonical(request, &signed, &payload, style);
    let value = mac(keys.secret, &read, &time, &text);
    let written = match read.query {
        true => edited(request, |name| (name == "X-Amz-Signature").then(|| value.clone())),
        false => {
            let AwsScope { region, service } = &read.scope;
            let text = format!(
                "{ALGORITHM} Credential={}/{}/{region}/{service}/{END}, SignedHeaders={}, Signature={value}",
                keys.id,
                read.day,
                signed.join(";")
            );
            put(request.headers_mut(), "authorization", &text)
        }
    };
    written.map(|()| value).ok_or_else(|| "it does not fit there".to_owned())
}

/// The hash of the body that the signature is for.
fn told<B>(request: &Request<B>, read: &Signature, payload: Option<&str>) -> Result<String, String> {
    let told = request.headers().get(PAYLOAD).map(|value| value.to_str().unwrap_or_default());
    match (told, payload) {
        (Some(told), _) if told.starts_with(STREAMING) => Err(format!(
            "the parts of its body are signed one by one (`{told}`), which is not done anew: have the client send `{UNSIGNED}` or `STREAMING-UNSIGNED-PAYLOAD-TRAILER`, or one hash of the whole body"
        )),
        (Some(told), _) => Ok(told.to_owned()),
        (None, Some(payload)) => Ok(payload.to_owned()),
        (None, None) if read.query => Ok(UNSIGNED.to_owned()),
        (None, None) => Err("the hash of its body is not known".to_owned()),
    }
}

/// Puts the real keys' name and token where the made-up ones stood; the headers that are signed from now on.
fn with_keys<B>(request: &mut Request<B>, read: &Signature, keys: Keys<'_>) -> Result<Vec<String>, String> {
    let mut signed = read.headers.clone();
    // What comes back compressed could not be masked; and this may be signed.
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let fits = |done: Option<()>| done.ok_or_else(|| "it does not fit there".to_owned());
    if read.query {
        let AwsScope { region, service } = &read.scope;
        let credential = format!("{}/{}/{region}/{service}/{END}", keys.id, read.day);
        let parts = request.uri().query().into_iter().flat_map(|query| query.split('&'));
        let parts = parts.filter(|part| !part.starts_with("X-Amz-Security-Token="));
        let token =
            keys.token.map(|token| format!("X-Amz-Security-Token={}", encoded(token.as_bytes(), false)));
        let query: Vec<String> = parts.map(str::to_owned).chain(token).collect();
        let whole = format!("{}?{}", request.uri().path(), query.join("&"));
        *request.uri_mut() = whole.parse().map_err(|_| "it does not fit there".to_owned())?;
        fits(edited(request, |name| {
            (name == "X-Amz-Credential").then(|| encoded(credential.as_bytes(), false))
        }))?;
    } else {
        request.headers_mut().remove(TOKEN);
        signed.retain(|name| name != TOKEN);
        if let Some(token) = keys.token {
            fits(put(request.headers_mut(), TOKEN, token))?;
            signed.push(TOKEN.to_owned());
            signed.sort_unstable();
        }
    }
    Ok(signed)
}

/// Writes some parameters of the query anew.
fn edited<B>(request: &mut Request<B>, new: impl Fn(&str) -> Option<String>) -> Option<()> {
    let parts = request.uri().query()?.split('&').map(|part| {
        let name = part.split('=').next().unwrap_or_default();
        new(name).map_or_else(|| part.to_owned(), |value| format!("{name}={value}"))
    });
    let whole = format!("{}?{}", request.uri().path(), parts.collect::<Vec<_>>().join("&"));
    *request.uri_mut() = whole.parse().ok()?;
    Some(())
}

fn put(headers: &mut HeaderMap, name: &'static str, text: &str) -> Option<()> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    headers.insert(HeaderName::from_static(name), value);
    Some(())
}

/// The canonical request.
fn canonical<B>(request: &Request<B>, signed: &[String], payload: &str, style: Style) -> String {
    let sent = request.uri().path();
    let path = match style.path {
        Path::Once => encoded(&percent_decoded(sent.as_bytes()), true),
        Path::Twice => encoded(sent.as_bytes(), true),
        Path::Sent => sent.to_owned(),
    };
    let mut parameters: Vec<(String, String)> = Vec::new();
    for part in
        request.uri().query().into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty())
    {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let own = |text: &str| match style.query {
            true => encoded(&percent_decoded(text.as_bytes()), false),
            false => text.to_owned(),
        };
        if name != "X-Amz-Signature" {
            parameters.push((own(name), own(value)));
        }
    }
    parameters.sort();
    let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut text = format!("{}\n{path}\n{}\n", request.method(), parameters.join("&"));
    for name in signed {
        let values = request.headers().get_all(name.as_str()).iter();
        let values: Vec<String> = values
            .map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let _ = write!(text, "\n{}\n{payload}", signed.join(";"));
    text
}

fn mac(secret: &str, read: &Signature, time: &str, canonical: &str) -> String {
    let AwsScope { region, service } = &read.scope;
    let first = zeroize::Zeroizing::new(format!("AWS4{secret}"));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    for part in [&read.day, region, service, END] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let text =
        format!("{ALGORITHM}\n{time}\n{}/{region}/{service}/{END}\n{}", read.day, hash(canonical.as_bytes()));
    hex(hmac::sign(&key, text.as_bytes()).as_ref())
}

/// `20130524T000000Z`.
fn is_time(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

/// Percent-encoded but for what is unreserved, and slashes where they part a path.
fn encoded(text: &[u8], path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => out.push(char::from(*byte)),
            b'/' if path => out.push('/'),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The value of a parameter of the query, decoded.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let value = uri.query()?.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
    String::from_utf8(percent_decoded(value.as_bytes())).ok()
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
