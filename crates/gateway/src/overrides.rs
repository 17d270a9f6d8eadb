//! Fields that ask for something else than the request that was judged.

use hyper::header::HeaderName;

/// Fields that make some servers take a request for one of another method, or for another path (IIS, Symfony, Zend). Servers that
/// hand fields on as variables (RFC 3875, section 4.1.18) read `_` as `-`.
static OVERRIDES: &[(&str, &str)] = &[
    ("x-http-method", "method"),
    ("x-http-method-override", "method"),
    ("x-method-override", "method"),
    ("x-original-method", "method"),
    ("x-original-uri", "path"),
    ("x-original-url", "path"),
    ("x-rewrite-uri", "path"),
    ("x-rewrite-url", "path"),
    ("x-override-url", "path"),
    ("x-http-path-override", "path"),
];

/// The field that such a name is, and what it asks for.
pub(crate) fn overrides(name: &HeaderName) -> Option<(&'static str, &'static str)> {
    let plain = name.as_str().replace('_', "-");
    OVERRIDES.iter().find(|(known, _)| *known == plain).copied()
}

/// Whether a query holds `_method`, by which Symfony, Laravel and Express take a POST for a request of another method, as they read
/// its names: PHP takes `.` for `_`, and ends them at a NUL.
pub(crate) fn overrides_method(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = plain(pair.split('=').next().unwrap_or_default());
        let name = name.split('\0').next().unwrap_or_default().trim_start_matches(' ').replace('.', "_");
        name == "_method" || name.strip_prefix("_method").is_some_and(|more| more.starts_with('['))
    })
}

/// A name of a query without its escapes.
fn plain(name: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
        let (byte, left) = match (first, code) {
            (b'%', Some(code)) => (code, after.get(2..).unwrap_or_default()),
            (b'+', _) => (b' ', after),
            (byte, _) => (*byte, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_a_query_is_seen_however_it_is_spelt() {
        for query in
            ["_method=DELETE", "a=b&%5Fmethod=PUT", ".method=x", "+_method", "_method%00x=1", "_method[]=1"]
        {
            assert!(overrides_method(query), "{query}");
        }
        for query in ["", "a=_method", "_methods=1", "payment_method=card", "method=x", "%", "_metho%"] {
            assert!(!overrides_method(query), "{query}");
        }
    }
}
