//! What a network rule says about HTTP requests: methods, paths, the size of a request, bytes out, WebSocket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Invalid;
use crate::http_path::{Ambiguous, HttpPath};
use crate::sizes::size;

/// A pattern of paths: `*` is any text within one segment, `**` as a whole segment is one or more segments at the end
/// and none or more before it. Without them the path itself is meant and nothing below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpPattern {
    text: String,
}

impl HttpPattern {
    /// Reads a pattern; it must be written in the normal form that requests are compared in.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.starts_with('/') {
            return Err(
                Invalid::new(format!("`{text}` is not an HTTP path")).help(format!("write `/{text}`"))
            );
        }
        if text.contains('?') {
            return Err(Invalid::new(format!("`{text}` holds a query; rules are about paths"))
                .help("end the pattern before the `?`: any query is then allowed"));
        }
        let normal =
            HttpPath::parse(text.as_bytes()).map_err(|why| Invalid::new(format!("`{text}`: {why}")))?;
        if normal.path() != text {
            return Err(Invalid::new(format!("`{text}` is not written as requests are compared"))
                .help(format!("write `{}`", normal.path())));
        }
        if text.split('/').any(|segment| segment.contains("**") && segment != "**") {
            return Err(Invalid::new(format!("`{text}` mixes `**` with other characters"))
                .help("`**` stands alone between slashes; within a segment write `*`"));
        }
        Ok(Self { text: text.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does it cover each reading of this path?
    fn covers(&self, reading: &str) -> bool {
        let mut pattern: Vec<&str> = self.text.split('/').skip(1).collect();
        // `**` at the end is at least one segment, so that `/a/**` is not `/a`.
        if pattern.last() == Some(&"**") {
            pattern.insert(pattern.len() - 1, "*");
        }
        let path: Vec<&str> = reading.split('/').skip(1).collect();
        let within = |part: &&str, segment: &&str| {
            let segment: Vec<char> = segment.chars().collect();
            let part: Vec<char> = part.chars().collect();
            wildcard(&part, &segment, |character| *character == '*', |a, b| a == b)
        };
        wildcard(&pattern, &path, |part| *part == "**", within)
    }
}

/// Whether a text fits a pattern in which `*` stands for any bytes; in time that grows with their lengths' product alone.
#[must_use]
pub fn wild(pattern: &[u8], text: &[u8]) -> bool {
    wildcard(pattern, text, |byte| *byte == b'*', |own, byte| own == byte)
}

/// Greedy matching that goes back to the last wildcard only: at most pattern times text steps.
fn wildcard<T>(pattern: &[T], text: &[T], any: impl Fn(&T) -> bool, same: impl Fn(&T, &T) -> bool) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while let Some(item) = text.get(read) {
        match pattern.get(at) {
            Some(part) if any(part) => {
                back = Some((at, read));
                at += 1;
            }
            Some(part) if same(part, item) => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                (at, read) = (star + 1, from + 1);
            }
        }
    }
    pattern.iter().skip(at).all(any)
}

/// The HTTP part of one network rule. Empty lists and `None` set no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRule {
    /// Allowed methods, upper case.
    pub methods: Vec<String>,
    /// Allowed paths.
    pub paths: Vec<HttpPattern>,
    /// The largest body of one request, in bytes.
    pub request_size: Option<u64>,
    /// Whether a connection may become a WebSocket.
    pub websocket: bool,
}

impl HttpRule {
    /// Adds a method, as the policy writes it.
    pub fn method(&mut self, text: &str) -> Result<(), Invalid> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Err(
                Invalid::new(format!("`{text}` is not an HTTP method")).help("write it in upper case, `GET`")
            );
        }
        if text == "CONNECT" {
            return Err(Invalid::new(
                "`CONNECT` asks for a tunnel, which no rule about requests can look into",
            )
            .help("name the destination in a rule of its own"));
        }
        self.methods.push(text.to_owned());
        Ok(())
    }

    /// Adds a path pattern, as the policy writes it.
    pub fn path(&mut self, text: &str) -> Result<(), Invalid> {
        self.paths.push(HttpPattern::parse(text)?);
        Ok(())
    }

    /// Sets the largest body of a request, `"1MiB"`.
    pub fn size(&mut self, text: &str) -> Result<(), Invalid> {
        self.request_size = Some(size(text)?);
        Ok(())
    }

    fn judge(&self, request: &HttpRequest<'_>, path: &HttpPath) -> Result<(), HttpRefusal> {
        if !self.methods.is_empty() && !self.methods.iter().any(|method| method == request.method) {
            return Err(HttpRefusal::Method);
        }
        let covered = |reading| self.paths.iter().any(|pattern| pattern.covers(reading));
        if !self.paths.is_empty() && !path.readings().all(covered) {
            return Err(HttpRefusal::Path);
        }
        if request.websocket && !self.websocket {
            return Err(HttpRefusal::WebSocket);
        }
        match (self.request_size, request.length) {
            (Some(most), Some(length)) if length > most => Err(HttpRefusal::Size(most)),
            _ => Ok(()),
        }
    }
}

/// A request, so far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// As it came; methods are case-sensitive (RFC 9110, section 9.1).
    pub method: &'a str,
    /// The request target in origin form.
    pub target: &'a [u8],
    /// The length of the body where it is told in advance; who forwards the body counts what was not.
    pub length: Option<u64>,
    /// Whether it asks to become a WebSocket.
    pub websocket: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpRefusal {
    /// No rule names the host.
    NoRule,
    /// The target has no one form. No rule allows it.
    Target(Ambiguous),
    /// CONNECT inside of a connection, which no rule allows.
    Connect,
    /// No rule allows the method.
    Method,
    /// No rule allows the path with this method.
    Path,
    /// No rule allows a WebSocket there.
    WebSocket,
    /// The body is larger than this many bytes.
    Size(u64),
}

impl fmt::Display for HttpRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => formatter.write_str("no rule names this host"),
            Self::Target(why) => why.fmt(formatter),
            Self::Connect => formatter.write_str("a tunnel within a connection is never allowed"),
            Self::Method => formatter.write_str("no rule for this host allows the method"),
            Self::Path => formatter.write_str("no rule for this host allows the path"),
            Self::WebSocket => formatter.write_str("no rule for this host allows a WebSocket"),
            Self::Size(most) => write!(formatter, "the body of the request is larger than {most} bytes"),
        }
    }
}

/// Judges a request against all rules of its host: the index of the rule that allows it and the path to send on, or the
/// refusal of the rule that came nearest. What cannot be normalised is refused, whatever the rules say.
pub fn decide_http(rules: &[HttpRule], request: &HttpRequest<'_>) -> Result<(usize, HttpPath), HttpRefusal> {
    if request.method == "CONNECT" {
        return Err(HttpRefusal::Connect);
    }
    let path = HttpPath::parse(request.target).map_err(HttpRefusal::Target)?;
    let mut nearest = HttpRefusal::NoRule;
    for (index, rule) in rules.iter().enumerate() {
        match rule.judge(request, &path) {
            Ok(()) => return Ok((index, path)),
            Err(refusal) => nearest = nearest.max(refusal),
        }
    }
    Err(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], paths: &[&str]) -> HttpRule {
        let mut rule = HttpRule::default();
        methods.iter().for_each(|method| rule.method(method).unwrap());
        paths.iter().for_each(|path| rule.path(path).unwrap());
        rule
    }

    fn asks<'a>(method: &'a str, target: &'a str) -> HttpRequest<'a> {
        HttpRequest { method, target: target.as_bytes(), length: None, websocket: false }
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, path, covers) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/a/b", false),
            ("/a/**", "/a", false),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab/c", false),
            ("/**", "/", true),
            ("/**/x", "/x", true),
            ("/**/x", "/a/b/x", true),
            ("/**/x", "/a/b/xx", false),
            ("/**/x/**", "/x", false),
            ("/**/x/**", "/a/x", false),
            ("/**/x/**", "/a/x/b", true),
            ("/r/*/i", "/r/a/i", true),
            ("/r/*/i", "/r/a/b/i", false),
            ("/v*.tgz", "/v1.2.tgz", true),
            ("/*", "/a%2Fb", true),
        ] {
            assert_eq!(HttpPattern::parse(pattern).unwrap().covers(path), covers, "{pattern} {path}");
        }
    }

    #[test]
    fn patterns_are_written_in_the_normal_form() {
        for (text, mends) in [
            ("a", "write `/a`"),
            ("/a//b", "write `/a/b`"),
            ("/%61", "write `/a`"),
            ("/a?b", "end the pattern before the `?`: any query is then allowed"),
            ("/a**", "`**` stands alone between slashes; within a segment write `*`"),
        ] {
            assert_eq!(HttpPattern::parse(text).unwrap_err().help.as_deref(), Some(mends), "{text}");
        }
        assert!(HttpPattern::parse("/../a").is_err());
        assert!(HttpRule::default().method("get").is_err());
        assert!(HttpRule::default().method("CONNECT").is_err());
    }

    #[test]
    fn the_first_rule_that_allows_decides() {
        let rules = [rule(&["GET"], &["/public/**"]), rule(&["GET", "POST"], &["/api/*"])];
        let decided = |method, target| decide_http(&rules, &asks(method, target)).map(|(index, _)| index);
        assert_eq!(decided("GET", "/public/x"), Ok(0));
        assert_eq!(decided("POST", "/api/x"), Ok(1));
        assert_eq!(decided("POST", "/public/x"), Err(HttpRefusal::Path));
        assert_eq!(decided("get", "/public/x"), Err(HttpRefusal::Method));
        assert_eq!(decided("DELETE", "/api/x"), Err(HttpRefusal::Method));
        assert_eq!(decided("GET", "/public/../secret"), Err(HttpRefusal::Path));
        assert_eq!(decided("GET", "/public/%2e%2e/secret"), Err(HttpRefusal::Path));
        assert_eq!(decided("GET", "/public/..%2fsecret"), Err(HttpRefusal::Target(Ambiguous::Dots)));
        assert_eq!(decided("GET", "/public/..;/secret"), Err(HttpRefusal::Target(Ambiguous::Dots)));
        assert_eq!(decided("CONNECT", "/public/x"), Err(HttpRefusal::Connect));
        assert_eq!(decide_http(&[], &asks("GET", "/")).map(|_| ()), Err(HttpRefusal::NoRule));
    }

    #[test]
    fn an_encoded_slash_must_be_allowed_in_both_readings() {
        let wide = [rule(&[], &["/files/*"])];
        assert_eq!(decide_http(&wide, &asks("GET", "/files/a%2Fb")).map(|_| ()), Err(HttpRefusal::Path));
        let both = [rule(&[], &["/files/**"])];
        assert!(decide_http(&both, &asks("GET", "/files/a%2Fb")).is_ok());
    }

    #[test]
    fn sizes_and_websockets_are_bounded() {
        let mut small = rule(&[], &[]);
        small.size("1KiB").unwrap();
        let rules = [small];
        let sized = |length| HttpRequest { length: Some(length), ..asks("POST", "/") };
        assert!(decide_http(&rules, &sized(1024)).is_ok());
        assert_eq!(decide_http(&rules, &sized(1025)).map(|_| ()), Err(HttpRefusal::Size(1024)));
        let upgrade = HttpRequest { websocket: true, ..asks("GET", "/") };
        assert_eq!(decide_http(&rules, &upgrade).map(|_| ()), Err(HttpRefusal::WebSocket));
        let open = [HttpRule { websocket: true, ..HttpRule::default() }];
        assert!(decide_http(&open, &upgrade).is_ok());
    }
}
