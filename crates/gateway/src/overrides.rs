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
