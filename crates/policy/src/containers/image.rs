//! Names of images: as one is asked for, in full, and patterns of those.

use serde::{Deserialize, Serialize};

/// Bytes of a name.
const LONGEST: usize = 512;

/// A registry and the path there, and behind it a tag or a digest; or a pattern of such names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `docker.io/library/alpine`.
    name: String,
    /// `:3.20` or `@sha256:..`; of a pattern without one, nothing.
    version: String,
}

impl Image {
    /// The image that a request means; engines mean Docker's registry where none is written, and the tag `latest`.
    pub(crate) fn reference(text: &str) -> Result<Self, String> {
        let read = Self::read(text, b"")?;
        let version = if read.version.is_empty() { ":latest".to_owned() } else { read.version };
        Ok(Self { version, ..read })
    }

    /// A pattern: `*` stands for any text within a segment, `**` for any segments.
    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        match text {
            "**" => Ok(Self { name: text.to_owned(), version: String::new() }),
            _ => Self::read(text, b"*"),
        }
    }

    fn read(text: &str, more: &[u8]) -> Result<Self, String> {
        let invalid =
            || format!("`{}` is no name of an image", text.escape_debug().take(80).collect::<String>());
        let plain = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b"._-".contains(&byte)
                || more.contains(&byte)
        };
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        // A colon behind the last slash begins a tag, before the first one a port.
        let last = rest.rfind('/').map_or(0, |at| at + 1);
        let colon = rest.get(last..).and_then(|name| name.find(':')).map(|at| last + at);
        let (name, tag) = match colon {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
            None => (rest, None),
        };
        let fine = |part: &str| part.bytes().all(plain);
        let tagged =
            |tag: &str| !tag.is_empty() && tag.bytes().all(|byte| plain(byte) || byte.is_ascii_uppercase());
        let digested = |digest: &str| {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
        };
        let (first, path) = name.split_once('/').unwrap_or(("", name));
        let registry = first.contains(['.', ':']) || first == "localhost";
        let (registry, path) = match (registry, first, path) {
            (true, "index.docker.io", path) => ("docker.io", path.to_owned()),
            (true, registry, path) => (registry, path.to_owned()),
            (false, "", path) => ("docker.io", format!("library/{path}")),
            (false, ..) => ("docker.io", name.to_owned()),
        };
        let path = match path.contains('/') || registry != "docker.io" {
            true => path,
            false => format!("library/{path}"),
        };
        let host = registry.split_once(':').map_or(registry, |(host, _)| host);
        let port = registry.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
        let segments =
            path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && fine(part));
        let versions = match (tag, digest) {
            (None, None) => Some(String::new()),
            (Some(tag), None) => tagged(tag).then(|| format!(":{tag}")),
            (None, Some(digest)) => digested(digest).then(|| format!("@{digest}")),
            // A tag beside a digest says nothing.
            (Some(_), Some(_)) => None,
        };
        let version = versions.filter(|_| {
            text.len() <= LONGEST
                && segments
                && port
                && fine(host)
                && host.split('.').all(|label| !label.is_empty())
        });
        Ok(Self { name: format!("{registry}/{path}"), version: version.ok_or_else(invalid)? })
    }

    /// In full.
    pub fn text(&self) -> String {
        format!("{}{}", self.name, self.version)
    }

    /// It is every image.
    pub(crate) fn any(&self) -> bool {
        self.name == "**"
    }

    /// Is it a pattern of that image?
    pub(crate) fn covers(&self, image: &Self) -> bool {
        let own: Vec<&str> = self.name.split('/').collect();
        let other: Vec<&str> = image.name.split('/').collect();
        let name = self.any() || segments(&own, &other);
        name && (self.version.is_empty() || wild(self.version.as_bytes(), image.version.as_bytes()))
    }
}

fn segments(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            segments(rest, name) || name.split_first().is_some_and(|(_, name)| segments(pattern, name))
        }
        (Some((own, rest)), Some((part, name))) => {
            wild(own.as_bytes(), part.as_bytes()) && segments(rest, name)
        }
        _ => false,
    }
}

/// `*` is any text.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            wild(rest, text) || text.split_first().is_some_and(|(_, text)| wild(pattern, text))
        }
        (Some((own, rest)), Some((byte, text))) => own == byte && wild(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_engines_read_them() {
        let digest = format!("alpine@sha256:{}", "a".repeat(64));
        for (text, whole) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("docker.io/alpine", "docker.io/library/alpine:latest"),
            ("index.docker.io/acme/app", "docker.io/acme/app:latest"),
            ("acme/app:V1", "docker.io/acme/app:V1"),
            ("localhost/app", "localhost/app:latest"),
            ("registry.example:5000/a/b/c", "registry.example:5000/a/b/c:latest"),
            (&digest, &format!("docker.io/library/{digest}")),
        ] {
            assert_eq!(Image::reference(text).map(|image| image.text()), Ok(whole.to_owned()), "{text}");
        }
        for text in [
            "",
            "/",
            "a//b",
            "a/../b",
            "../a",
            "Alpine",
            "a b",
            "a:",
            "a:b:c",
            "x:y/z",
            "a@sha256:1",
            "a%2fb",
            "a*",
            "a:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "http://a.example/b",
            "a\n",
        ] {
            assert!(Image::reference(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_beside() {
        let covers = |pattern: &str, image: &str| {
            Image::pattern(pattern).unwrap().covers(&Image::reference(image).unwrap())
        };
        for (pattern, image) in [
            ("**", "any.example/x"),
            ("alpine", "alpine:3.20"),
            ("alpine:3.*", "docker.io/library/alpine:3.20"),
            ("docker.io/library/*", "busybox"),
            ("registry.example/acme/**", "registry.example/acme/a/b:1"),
        ] {
            assert!(covers(pattern, image), "{pattern} {image}");
        }
        for (pattern, image) in [
            ("alpine", "evil.example/library/alpine"),
            ("alpine:3.*", "alpine"),
            ("docker.io/library/*", "docker.io/library/a/b"),
            ("registry.example/acme/**", "registry.example/acmes/a"),
            ("registry.example/**", "registry.example:5000/a"),
        ] {
            assert!(!covers(pattern, image), "{pattern} {image}");
        }
    }
}
