//! The path of an HTTP request, normalised once: what is judged is what is sent on.
//!
//! Servers read unusual paths in different ways (RFC 3986, section 6; CVE-2021-41773, CVE-2020-5902, "Breaking Parser
//! Logic", O. Tsai, 2018). What has one reading is brought into its one form; what has several is refused. An encoded
//! slash alone has two that are both common, so it keeps both, and a rule must allow each.

use std::fmt;

/// The longest request target, in bytes; as long as nginx and Apache httpd take by default.
pub const LONGEST_TARGET: usize = 8192;

/// A path in its one form, and the query as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPath {
    path: String,
    query: Option<String>,
    /// With `%2F` read as a slash, where there is one.
    slashed: Option<String>,
}

/// Why a request target has no one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ambiguous {
    /// It does not start with `/`: a whole URL, `*`, or the `HOST:PORT` of CONNECT.
    NotAPath,
    /// Longer than [`LONGEST_TARGET`].
    TooLong,
    /// A control character, NUL, `\`, `#`, a blank or a byte beyond ASCII, plain or percent-encoded where noted.
    Character,
    /// `%` without two hexadecimal digits.
    Escape,
    /// `%25` before two hexadecimal digits: decoded twice it is another path.
    Twice,
    /// Percent-encoded bytes that are not UTF-8, overlong forms among them.
    NotUtf8,
    /// `..` above the root, beside an empty segment or an encoded slash, or with path parameters (`..;`).
    Dots,
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAPath => "the request target is not a path",
            Self::TooLong => "the request target is longer than 8192 bytes",
            Self::Character => "the path holds a character that servers read in different ways",
            Self::Escape => "the path holds a `%` that is no escape",
            Self::Twice => "the path is percent-encoded twice",
            Self::NotUtf8 => "the path holds percent-encoded bytes that are not UTF-8",
            Self::Dots => "the path holds `..` that servers resolve in different ways",
        })
    }
}

impl HttpPath {
    /// Normalises a request target in origin form: `/path?query`.
    pub fn parse(target: &[u8]) -> Result<Self, Ambiguous> {
        if target.len() > LONGEST_TARGET {
            return Err(Ambiguous::TooLong);
        }
        if target.first() != Some(&b'/') {
            return Err(Ambiguous::NotAPath);
        }
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(Ambiguous::Character);
        }
        let text = str::from_utf8(target).map_err(|_| Ambiguous::Character)?;
        let (path, query) =
            text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query.to_owned())));
        let decoded = unescape(path)?;
        let path = resolve(&decoded)?;
        let slashed = if decoded.contains("%2F") {
            let slashed = decoded.replace("%2F", "/");
            // What `..` takes away depends on the reading, even where the encoded slash itself goes with it.
            if slashed.split('/').any(|segment| segment == "..") {
                return Err(Ambiguous::Dots);
            }
            Some(resolve(&slashed)?)
        } else {
            None
        };
        Ok(Self { path, query, slashed })
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is written into the request that is sent on.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Every path that a server may take it for; a rule must allow each.
    pub fn readings(&self) -> impl Iterator<Item = &str> {
        [Some(self.path.as_str()), self.slashed.as_deref()].into_iter().flatten()
    }
}

/// Decodes what is unreserved, encodes what no path may hold, and writes the rest of the escapes in upper case.
fn unescape(path: &str) -> Result<String, Ambiguous> {
    let mut out = String::with_capacity(path.len());
    let mut raw = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            raw.push(byte);
            match byte {
                b'\\' => return Err(Ambiguous::Character),
                b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => escape(byte, &mut out),
                _ => out.push(char::from(byte)),
            }
            continue;
        }
        let mut digit = || bytes.next().and_then(hexadecimal).ok_or(Ambiguous::Escape);
        let byte = digit()? << 4 | digit()?;
        raw.push(byte);
        match byte {
            0..=0x1f | 0x7f | b'\\' => return Err(Ambiguous::Character),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            b'%' => {
                let mut next = bytes.clone().take(2).map(hexadecimal);
                if matches!((next.next(), next.next()), (Some(Some(_)), Some(Some(_)))) {
                    return Err(Ambiguous::Twice);
                }
                // `%25%32%65` comes out as `%252e`.
                if bytes.clone().next() == Some(b'%') {
                    return Err(Ambiguous::Twice);
                }
                escape(byte, &mut out);
            }
            _ => escape(byte, &mut out),
        }
    }
    if twice(&out) {
        return Err(Ambiguous::Twice);
    }
    str::from_utf8(&raw).map_err(|_| Ambiguous::NotUtf8)?;
    Ok(out)
}

/// Does `%25` stand before two hexadecimal digits, plain ones or decoded ones?
fn twice(text: &str) -> bool {
    text.split("%25").skip(1).any(|rest| {
        let mut digits = rest.bytes().map(hexadecimal);
        matches!((digits.next(), digits.next()), (Some(Some(_)), Some(Some(_))))
    })
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn escape(byte: u8, out: &mut String) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// Takes out dot segments and empty ones.
fn resolve(path: &str) -> Result<String, Ambiguous> {
    let mut kept: Vec<&str> = Vec::new();
    let (mut empty, mut up) = (false, false);
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        // Parameters after `;`: some servers cut them off before they resolve dots, some after, some never.
        let name = segment.split(';').next().unwrap_or(segment);
        let name = name.split("%3B").next().unwrap_or(name);
        if matches!(name, "." | "..") && name != segment {
            return Err(Ambiguous::Dots);
        }
        match segment {
            "" if last => kept.push(""),
            "" => empty = true,
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                up = true;
                kept.pop().ok_or(Ambiguous::Dots)?;
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    // `/a//../b` is `/a/b` where empty segments count and `/b` where they do not.
    if empty && up {
        return Err(Ambiguous::Dots);
    }
    Ok(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(target: &str) -> Result<String, Ambiguous> {
        HttpPath::parse(target.as_bytes()).map(|path| path.target())
    }

    #[test]
    fn what_has_one_reading_gets_its_one_form() {
        for (target, form) in [
            ("/", "/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("//a///b//", "/a/b/"),
            ("/%7Euser/%61", "/~user/a"),
            ("/%c3%a9{x}", "/%C3%A9%7Bx%7D"),
            ("/100%25/x", "/100%25/x"),
            ("/a?b=../%zz//", "/a?b=../%zz//"),
            ("/...", "/..."),
        ] {
            assert_eq!(normal(target).as_deref(), Ok(form), "{target}");
        }
    }

    #[test]
    fn what_has_several_readings_is_refused() {
        use Ambiguous::*;
        for (target, why) in [
            ("", NotAPath),
            ("*", NotAPath),
            ("http://other/", NotAPath),
            ("other:443", NotAPath),
            ("/a\\b", Character),
            ("/a%5cb", Character),
            ("/a%00", Character),
            ("/a%0d%0aHost:x", Character),
            ("/a b", Character),
            ("/a#b", Character),
            ("/é", Character),
            ("/a\r\n", Character),
            ("/%", Escape),
            ("/%g0", Escape),
            ("/%2", Escape),
            ("/%252e%252e/x", Twice),
            ("/%25%32%65", Twice),
            ("/%252%65", Twice),
            ("/%c0%ae%c0%ae/", NotUtf8),
            ("/%ff", NotUtf8),
            ("/..", Dots),
            ("/a/../../b", Dots),
            ("/a//../b", Dots),
            ("/a/..;/b", Dots),
            ("/a/..%3bx/b", Dots),
            ("/a/.;x", Dots),
            ("/%2e%2e%2fetc", Dots),
            ("/a%2fb/../c", Dots),
            ("/a/b%2f..%2fc", Dots),
        ] {
            assert_eq!(normal(target), Err(why), "{target}");
        }
        assert_eq!(HttpPath::parse(&vec![b'/'; LONGEST_TARGET + 1]), Err(TooLong));
    }

    #[test]
    fn an_encoded_slash_keeps_both_readings() {
        let path = HttpPath::parse(b"/@scope%2fname").unwrap();
        assert_eq!(path.target(), "/@scope%2Fname");
        assert_eq!(path.readings().collect::<Vec<_>>(), ["/@scope%2Fname", "/@scope/name"]);
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_what_it_is(target in "/([a.;%/25eEfF3bB~{]|%2e|%2[fF]|\\.\\./){0,24}") {
            if let Ok(path) = HttpPath::parse(target.as_bytes()) {
                prop_assert_eq!(&HttpPath::parse(path.target().as_bytes()), &Ok(path.clone()));
                for reading in path.readings() {
                    prop_assert!(reading.starts_with('/'));
                    prop_assert!(!reading.contains("//"));
                    prop_assert!(!reading.split('/').any(|segment| matches!(segment, "." | "..")));
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(target in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = HttpPath::parse(&target);
        }
    }
}
