//! Whether a text holds a secret: a well-known form, or a random value behind a name that secrets have.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use ringfence_leaks::{Scanner, is_password, looks_random, pairs, passwords_in_addresses};
use ringfence_policy::secret_name;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// Bytes of a file that are read.
const LARGEST: u64 = 256 << 10;
/// Endings and names of files in which settings are written.
const SETTINGS: &[&str] = &[
    "env",
    "ini",
    "cfg",
    "conf",
    "config",
    "toml",
    "yaml",
    "yml",
    "json",
    "properties",
    "xml",
    "tfvars",
    "pem",
    "key",
    "sh",
    "netrc",
    "txt",
];
/// Endings of source code: what is written out there stands in quotes.
const SOURCES: &[&str] = &[
    "js", "cjs", "mjs", "jsx", "ts", "tsx", "py", "rb", "php", "go", "java", "kt", "cs", "rs", "swift",
    "scala", "ipynb",
];
/// Files of many hashes, none of them secret.
const HASHES: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "composer.lock",
    "Package.resolved",
    "go.sum",
];

/// What was found; its text is nobody's business.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// Of this form.
    Form(String),
    /// Behind this name.
    Named(String),
    /// What may be a password, behind this name.
    Password(String),
    /// The password in an address.
    Address,
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(form) => write!(formatter, "something of the form `{form}`"),
            Self::Named(name) => write!(formatter, "a random value named `{name}`"),
            Self::Password(name) => write!(formatter, "what may be a password, named `{name}`"),
            Self::Address => write!(formatter, "an address with a password in it"),
        }
    }
}

/// Is it a file in which settings are written?
pub(crate) fn may_hold(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = name.rsplit('.').next().unwrap_or_default();
    !HASHES.contains(&name.as_ref())
        && ending != "lock"
        && (name.starts_with(".env") || SETTINGS.contains(&ending) || secret_name(&name))
}

/// Is it source code, in which one may be written out?
pub(crate) fn source(path: &Path) -> bool {
    path.extension().is_some_and(|ending| SOURCES.iter().any(|own| ending == *own))
}

/// What a regular file holds, as far as it is read. Whatever else has that name is left alone.
pub(crate) fn held(path: &Path) -> Option<Secret> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).ok()?;
    let regular =
        fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if !regular {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::from(file).take(LARGEST).read_to_end(&mut text).ok()?;
    let quoted = source(path);
    form(&text).or_else(|| String::from_utf8_lossy(&text).lines().find_map(|own| line(own, quoted)))
}

/// Whether one value is a secret, by its name and itself.
pub(crate) fn value(name: &str, text: &str) -> Option<Secret> {
    form(text.as_bytes()).or_else(|| assigned(name, text))
}

/// Each word by itself: as a whole, a list of beginnings looks like a secret to who takes blanks and commas away.
fn form(text: &[u8]) -> Option<Secret> {
    static SCANNER: OnceLock<Option<Scanner>> = OnceLock::new();
    let scanner = SCANNER.get_or_init(|| Scanner::new(&[], true)).as_ref()?;
    if private_key(text) {
        return Some(Secret::Form("private key".to_owned()));
    }
    let apart = |byte: &u8| !byte.is_ascii_graphic() || b"\"'`,;()[]{}<>=".contains(byte);
    let words = text.split(apart).filter(|word| (16..=4096).contains(&word.len()) && !example(word));
    words.filter_map(|word| scanner.whole(word)).map(|hit| Secret::Form(hit.name)).next()
}

/// Documentation marks what it made up.
fn example(word: &[u8]) -> bool {
    let word = word.to_ascii_lowercase();
    word.windows(7).any(|part| part == b"example") || word.ends_with(b"...")
}

/// The first line of one, and then a line of base64, which no mention of one has.
fn private_key(text: &[u8]) -> bool {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(10_000).collect();
    lines.windows(2).any(|pair| {
        let [head, body] = pair else { return false };
        let (head, body) = (head.trim_ascii(), body.trim_ascii());
        head.starts_with(b"-----BEGIN ")
            && head.ends_with(b"PRIVATE KEY-----")
            && body.len() >= 32
            && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
    })
}

/// `NAME = value`, `name: "value"`, `export NAME='value'`, `scheme://user:value@host`; in source code, in quotes alone.
fn line(line: &str, quoted: bool) -> Option<Secret> {
    let fits = |value: &str| {
        !quoted || ["\"", "'", "`"].iter().any(|quote| line.contains(&format!("{quote}{value}{quote}")))
    };
    let named = pairs(line).into_iter().find_map(|(name, value)| {
        let name = name.rsplit('.').next().unwrap_or_default();
        assigned(name, &value).filter(|_| fits(&value))
    });
    let written = |password: &String| !password.contains(['$', '<', '{', '[', '(']) && chosen(password);
    named.or_else(|| passwords_in_addresses(line).find(written).map(|_| Secret::Address))
}

fn assigned(name: &str, value: &str) -> Option<Secret> {
    let plain = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let upper = name.replace('-', "_").to_ascii_uppercase();
    let secret = plain && secret_name(&upper);
    let bytes = value.as_bytes();
    let written = bytes.iter().all(u8::is_ascii_graphic) && !value.contains(['$', '<', '{', '[', '(']);
    // Numbers of pages and of requests are no secrets, and are called tokens.
    let counted = uuid(value) && upper.ends_with("TOKEN");
    let password =
        ["PASSWORD", "PASSWD", "PASSPHRASE", "_PASS", "_PWD"].iter().any(|end| upper.ends_with(end));
    let key = upper.ends_with("SECRET_ACCESS_KEY") && bytes.len() == 40;
    let random = looks_random(bytes) && (mixed(bytes) || key);
    if !secret || !written || counted || example(bytes) {
        return None;
    }
    let chosen = password && is_password(value) && chosen(value);
    let named = || name.to_owned();
    if random { Some(Secret::Named(named())) } else { chosen.then(|| Secret::Password(named())) }
}

/// With a digit, as most rules for passwords ask: names of fields and messages have none.
fn chosen(password: &str) -> bool {
    password.bytes().any(|byte| byte.is_ascii_digit())
        && password.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Letters and digits take turns, as they do in no name (`Ipv4AddressesOfPools`).
fn mixed(word: &[u8]) -> bool {
    let turn = |pair: &[u8]| matches!(pair, [a, b] if a.is_ascii_digit() != b.is_ascii_digit());
    word.windows(2).filter(|pair| turn(pair)).count() >= 4
}

fn uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_behind_names_that_secrets_have() {
        for text in [
            "API_TOKEN=Zx81kQp0aLw93RtYbn47Vd",
            "export DB_PASSWORD='Zx81kQp0aLw93RtYbn47Vd'",
            "  \"client_secret\": \"Zx81kQp0aLw93RtYbn47Vd\",",
            "spring.datasource.password = Zx81kQp0aLw93RtYbn47Vd",
            "HEROKU_API_KEY=abcd12f2-46da-4fdb-b8d5-fbd4c466928f",
            "aws_secret_access_key = Zx81kQp0/aLw93RtYbn47VdqZ/Qd+hGf3AeUi1Qo",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzQvLkXsTuY",
        ] {
            assert!(matches!(line(text, false), Some(Secret::Named(_))), "{text}");
        }
        for text in [
            "API_TOKEN=${CI_TOKEN_OF_THE_JOB_12345}",
            "checksum = \"Zx81kQp0aLw93RtYbn47Vd\"",
            "token: changeme",
            "PASSWORD=<put-yours-here-1234567890>",
            "cache_key: /usr/lib/x86_64-linux-gnu/libc6",
            "\"result_key\": \"ServerlessV2PlatformVersions\"",
            "password: changeme123",
            "\"password\": \"password_reset_token\",",
            "reset_password = user.password_reset(params)",
            "url = postgres://user:password@localhost/x",
            "url = https://me:${TOKEN_OF_1}@host/",
            "\"ChangeToken\": \"abcd12f2-46da-4fdb-b8d5-fbd4c466928f\",",
            "\"nextToken\": \"RW5DdDJkMWYwZjM2MzM2VHVpOHJIUXlDUXlhc2QzRGViYnc9SEXAMPLE=\"",
        ] {
            assert_eq!(line(text, false), None, "{text}");
        }
        for text in
            ["password = hunter2hunter2", "  db_password: Tr0ub4dor&3", "PGPASSWORD='s3cret-word-of-me'"]
        {
            assert!(matches!(line(text, false), Some(Secret::Password(_))), "{text}");
        }
        assert_eq!(line("DB=postgres://u:Zx81kQp0aLw9@db.example/x", false), Some(Secret::Address));
        for text in
            ["const token = \"Zx81kQp0aLw93RtYbn47Vd\";", "let o = { apiKey: 'Zx81kQp0aLw93RtYbn47Vd' };"]
        {
            assert!(matches!(line(text, true), Some(Secret::Named(_))), "{text}");
        }
        for text in ["token = Zx81kQp0aLw93RtYbn47Vd.field", "password = read_Password1()", "token: String,"]
        {
            assert_eq!(line(text, true), None, "{text}");
        }
        assert!(matches!(
            value("X", &format!("ghp_{}", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF3gH6")),
            Some(Secret::Form(_))
        ));
    }
}
