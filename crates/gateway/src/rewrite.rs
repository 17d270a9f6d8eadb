//! A request as it is sent on: for the very host that was asked for, without what is about one connection.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri, Version};

use crate::connection::Target;
use crate::websocket;

/// Fields about one connection, which are not sent on (RFC 9110, section 7.6.1).
static OF_ONE_CONNECTION: &[&str] = &[
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// The request as it is sent on, or why it is not.
pub(crate) fn rewritten<B>(
    mut request: Request<B>,
    target: &Target,
    secure: bool,
) -> Result<Request<B>, String> {
    if request.method() == Method::CONNECT {
        return Err("a tunnel within a connection is never allowed".to_owned());
    }
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err("a transfer coding that is not `chunked` alone cannot be looked into".to_owned());
    }
    let own = if secure { 443 } else { 80 };
    let named = |text: &[u8]| same(text, target, own);
    let other = |text: &[u8]| format!("the request names another host, `{}`", String::from_utf8_lossy(text));
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if named(host.as_bytes()) => {}
        (Some(host), None) => return Err(other(host.as_bytes())),
        // HTTP/2 has it in the target.
        (None, _) if authority.is_some() && request.version() == Version::HTTP_2 => {}
        (None, _) => return Err("the request names no host".to_owned()),
        (Some(_), Some(_)) => return Err("the request names several hosts".to_owned()),
    }
    if let Some(authority) = authority.as_ref().filter(|authority| !named(authority.as_bytes())) {
        return Err(other(authority.as_bytes()));
    }
    let scheme = if secure { "https" } else { "http" };
    if request.uri().scheme_str().is_some_and(|written| written != scheme) {
        return Err(format!("the request is for another scheme than `{scheme}`"));
    }
    let websocket = websocket::wants(request.headers());
    if websocket && (request.version() != Version::HTTP_11 || request.method() != Method::GET) {
        return Err("a WebSocket begins with GET by HTTP/1.1".to_owned());
    }
    // From here on it is for the server alone: in origin form, without what was said to the gateway.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() =
        path.parse::<Uri>().map_err(|_| "the target of the request cannot be read".to_owned())?;
    leave_connection(request.headers_mut());
    if websocket {
        websocket::announce(request.headers_mut());
    }
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(request)
}

/// Is it the target's own name, or address, with its port or without one?
fn same(text: &[u8], target: &Target, usual: u16) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let text = match text.strip_suffix(&format!(":{}", target.port)) {
        Some(host) => host,
        None if target.port == usual => text,
        None => return false,
    };
    match &target.name {
        Some(name) => text.strip_suffix('.').unwrap_or(text).eq_ignore_ascii_case(name),
        None => text.trim_matches(['[', ']']).parse() == Ok(target.address),
    }
}

/// Bytes of fields, as HTTP/1.1 writes them.
pub(crate) fn octets(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Removes what is about one connection, and what the sender says is.
pub(crate) fn leave_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        // Whoever lists these wants to hide them from the server.
        .filter(|name| ![header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION].contains(name))
        .collect();
    let trailers = headers.get(header::TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named {
        headers.remove(name);
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(*name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: Option<&str>, port: u16) -> Target {
        Target { name: name.map(str::to_owned), address: "203.0.113.5".parse().unwrap(), port, source: 0 }
    }

    #[test]
    fn hosts_are_the_same_in_every_spelling() {
        let named = target(Some("a.example"), 80);
        for host in ["a.example", "A.Example", "a.example:80", "a.example."] {
            assert!(same(host.as_bytes(), &named, 80), "{host}");
        }
        for host in
            ["b.example", "a.example:8080", "xa.example", "a.example ", "", "a.example\0", "user@a.example"]
        {
            assert!(!same(host.as_bytes(), &named, 80), "{host}");
        }
        assert!(same(b"a.example:8080", &target(Some("a.example"), 8080), 80));
        assert!(!same(b"a.example", &target(Some("a.example"), 8080), 80));
        assert!(same(b"203.0.113.5", &target(None, 80), 80) && !same(b"a.example", &target(None, 80), 80));
    }

    #[test]
    fn what_is_about_a_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own, Host"),
            ("x-own", "1"),
            ("host", "a"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("accept", "y"),
        ] {
            headers
                .append(HeaderName::from_static(name.to_lowercase().leak()), HeaderValue::from_static(value));
        }
        leave_connection(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host", "te"]);
    }
}
