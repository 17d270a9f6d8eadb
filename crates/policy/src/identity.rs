//! Who is running: a name or a SPIFFE ID, both safe to write into a log, a path or a certificate.

use crate::diagnostic::Invalid;
use crate::model::Identity;

/// Reads a plain name: 1 to 64 of `[a-z0-9._-]`, starting with a letter or digit.
pub(crate) fn name(text: &str) -> Result<Identity, Invalid> {
    let characters = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    let start = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
    if characters && start && text.len() <= 64 {
        return Ok(Identity::Name(text.to_owned()));
    }
    Err(Invalid::new(format!("`{}` is not an identity's name", shortened(text)))
        .help("write 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit"))
}

/// Reads a SPIFFE ID (SPIFFE-ID.md, section 2): scheme, trust domain, and a path of at least one segment.
pub(crate) fn spiffe(text: &str) -> Result<Identity, Invalid> {
    let invalid = |why: &str| {
        Invalid::new(format!("`{}` is not a SPIFFE ID: {why}", shortened(text)))
            .help("write it as `spiffe://example.org/agents/build`")
    };
    if text.len() > 2048 {
        return Err(invalid("it is longer than 2048 bytes"));
    }
    let rest = text.strip_prefix("spiffe://").ok_or_else(|| invalid("it does not start with `spiffe://`"))?;
    let (domain, path) = rest.split_once('/').ok_or_else(|| invalid("it has no path"))?;
    let domain_byte = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(domain_byte) {
        return Err(invalid("its trust domain is not 1 to 255 of `a-z 0-9 . - _`"));
    }
    for segment in path.split('/') {
        let segment_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if matches!(segment, "" | "." | "..") || !segment.bytes().all(segment_byte) {
            return Err(invalid("a segment of its path is empty, `.`, `..`, or not of `A-Z a-z 0-9 . - _`"));
        }
    }
    Ok(Identity::Spiffe(text.to_owned()))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn po20_names() {
        for good in ["a", "build-agent", "0.x_y", &"a".repeat(64)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "../../x", "a/b", "A", "-a", ".a", "a\n", "ä", "a b", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn po20_spiffe_ids() {
        for good in ["spiffe://example.org/agents/build", "spiffe://a/B_.-9"] {
            assert!(spiffe(good).is_ok(), "{good}");
        }
        for bad in [
            "spiffe://a/../b\n",
            "spiffe://a/../b",
            "spiffe://a/./b",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a",
            "spiffe:///b",
            "spiffe://A/b",
            "spiffe://a:1/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a/b%20",
            "http://a/b",
            &format!("spiffe://a/{}", "b".repeat(2048)),
        ] {
            assert!(spiffe(bad).is_err(), "{bad:?}");
        }
    }
}
