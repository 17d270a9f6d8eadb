//! What in a file of secrets is one: values behind names that say so, in the forms that such files have, and words that look random.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::pairs::pairs;
use crate::percent::percent_decoded;
use crate::random::{different, random_words};

/// Shorter ones would be found by chance; passwords that look like no word may be shorter.
const SHORTEST: usize = 12;
const SHORTEST_PASSWORD: usize = 8;
/// Longer ones are looked for by parts of their second half: what they begin with, others of their kind begin with too.
const LONG: usize = 256;
const PART: usize = 64;
/// Parts of one, and secrets of one file.
const MOST: (usize, usize) = (8, 64);
/// What people write where a secret will be, or where none is.
const COMMON: &[&str] = &[
    "admin",
    "administrator",
    "changeit",
    "changeme",
    "default",
    "developer",
    "development",
    "dummy",
    "guest",
    "hello",
    "letmein",
    "localhost",
    "passwd",
    "password",
    "placeholder",
    "postgres",
    "postgresql",
    "production",
    "qwerty",
    "root",
    "secret",
    "supersecret",
    "test",
    "testing",
    "testpassword",
    "undefined",
    "user",
    "welcome",
    "xxxxxxxxxxxx",
    "yourpassword",
    "yoursecret",
    "yourtoken",
];

/// What a name says of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Password,
    Secret,
    /// A key of some kind: secret if it looks so.
    Key,
    /// User and password, in base64.
    Login,
    /// Known to everybody, however random.
    Public,
    Else,
}

/// The secrets in the text of a file of this name.
#[must_use]
pub fn secret_values(file: &str, text: &[u8]) -> Vec<Vec<u8>> {
    // Databases and what is encrypted hold nothing that could be told from the rest.
    if text.contains(&0) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(text);
    let mut found = Found::default();
    // Of a file that holds one word, that is it.
    if let (Some(word), None) = (text.split_whitespace().next(), text.split_whitespace().nth(1))
        && pairs(word).is_empty()
    {
        found.value(word, Named::Secret);
    }
    let mut words = text.split_whitespace();
    while let Some(word) = words.next().filter(|_| file.contains("netrc") || file.contains("authinfo")) {
        if word == "password" {
            found.value(words.next().unwrap_or_default().trim_matches('"'), Named::Password);
        }
    }
    let mut block: Option<(bool, String)> = None;
    for line in text.lines() {
        let marker = line.trim();
        match &mut block {
            Some((private, inside)) if marker.starts_with("-----END ") => {
                if *private {
                    found.long(inside);
                }
                block = None;
            }
            Some((_, inside)) => {
                if marker.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
                    inside.push_str(marker);
                }
            }
            None if marker.starts_with("-----BEGIN ") && marker.ends_with("-----") => {
                block = Some((marker.contains("PRIVATE KEY"), String::new()));
            }
            None => found.line(file, line),
        }
    }
    found.0.into_iter().map(String::into_bytes).collect()
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn line(&mut self, file: &str, line: &str) {
        if file.contains("pgpass") && !line.starts_with('#') {
            self.last_field(line);
        }
        self.addresses(line);
        let mut public =
            ["public", "fingerprint"].iter().any(|word| line.to_ascii_lowercase().contains(word));
        for (name, value) in pairs(line) {
            let named = named(name);
            public |= named == Named::Public;
            if !(public && named == Named::Key) {
                self.value(&value, named);
            }
        }
        let words = random_words(line.as_bytes()).filter_map(|word| str::from_utf8(word).ok());
        let words = words.filter(|word| !public && !hash(word) && !uuid(word) && !word.starts_with("age1"));
        for word in words {
            // Parts of a secret are none of their own.
            if !self.0.iter().any(|known| known.contains(word)) {
                self.add(word);
            }
        }
    }

    /// host:port:database:user:password, where a colon may be escaped (libpq, The Password File).
    fn last_field(&mut self, line: &str) {
        let (mut field, mut text, mut letters) = (0, String::new(), line.chars());
        while let Some(letter) = letters.next() {
            match letter {
                ':' if field < 4 => field += 1,
                letter if field == 4 => {
                    text.extend(if letter == '\\' { letters.next() } else { Some(letter) });
                }
                '\\' => drop(letters.next()),
                _ => {}
            }
        }
        self.value(&text, Named::Password);
    }

    fn addresses(&mut self, line: &str) {
        for (who, password) in authorities(line) {
            match password {
                Some(password) => self.value(&unescaped(password), Named::Password),
                None => self.value(&unescaped(who), Named::Key),
            }
        }
    }

    fn value(&mut self, value: &str, named: Named) {
        let secret = match named {
            Named::Password => is_password(value),
            Named::Secret => is_secret(value),
            Named::Key => is_secret(value) && value.len() >= 16 && kinds(value) >= 2,
            Named::Login => {
                let config =
                    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
                let decoded = GeneralPurpose::new(&STANDARD, config).decode(value).ok();
                let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                if let Some((_, password)) = text.as_deref().and_then(|text| text.split_once(':')) {
                    self.value(password, Named::Password);
                }
                is_secret(value)
            }
            Named::Public | Named::Else => false,
        };
        if secret && value.len() > LONG && !value.starts_with("eyJ") {
            self.long(value);
        } else if secret {
            self.add(value);
        }
    }

    fn long(&mut self, value: &str) {
        let (_, second) = value.split_at_checked(value.len() / 2).unwrap_or_default();
        for part in second.as_bytes().chunks(PART).filter(|part| part.len() > SHORTEST).take(MOST.0) {
            self.add(&String::from_utf8_lossy(part));
        }
    }

    fn add(&mut self, value: &str) {
        if self.0.len() < MOST.1 && !self.0.iter().any(|known| known == value) {
            self.0.push(value.to_owned());
        }
    }
}

/// `scheme://user:password@host`, or a token in the user's place.
fn authorities(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    line.split("://").skip(1).filter_map(|rest| {
        let end = |letter: char| letter.is_whitespace() || "/\"'<>?#".contains(letter);
        let (who, _) = rest.split(end).next().unwrap_or_default().rsplit_once('@')?;
        Some(who.split_once(':').map_or((who, None), |(who, password)| (who, Some(password))))
    })
}

/// The passwords in the addresses of a line.
pub fn passwords_in_addresses(line: &str) -> impl Iterator<Item = String> {
    authorities(line)
        .filter_map(|(_, password)| password)
        .map(unescaped)
        .filter(|password| is_password(password))
}

fn named(name: &str) -> Named {
    let parts: Vec<String> = words(name);
    let last = parts.last().map_or("", String::as_str);
    let has = |word: &str| parts.iter().any(|part| part == word);
    let joined = parts.concat();
    let ends = |ends: &[&str]| ends.iter().any(|end| joined.ends_with(end));
    match last {
        _ if ["public", "publishable", "cert", "certificate", "certificates", "fingerprint"]
            .into_iter()
            .any(has) =>
        {
            Named::Public
        }
        "sha256" | "sha512" | "checksum" | "integrity" | "digest" | "hash" => Named::Public,
        "pass" | "pwd" | "pw" => Named::Password,
        _ if ends(&["password", "passwd", "passphrase"]) => Named::Password,
        "auth" => Named::Login,
        "cookie" | "credential" | "authorization" | "extraheader" | "pat" => Named::Secret,
        _ if ends(&["token", "secret", "secretkey", "accesskey", "apikey", "authkey", "privatekey"]) => {
            Named::Secret
        }
        "key" => Named::Key,
        _ if ends(&["keydata"]) => Named::Key,
        _ => Named::Else,
    }
}

/// The words of a name, in lower case: `clientSecret`, `CLIENT_SECRET`, `client-secret`.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut small) = (vec![String::new()], false);
    for letter in name.chars() {
        if !letter.is_ascii_alphanumeric() || letter.is_ascii_uppercase() && small {
            words.push(String::new());
        }
        small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        if letter.is_ascii_alphanumeric() {
            words.iter_mut().last().into_iter().for_each(|word| word.push(letter.to_ascii_lowercase()));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value that is said to be a secret is one, and not a reference to it, a path or a word.
pub(crate) fn is_secret(value: &str) -> bool {
    let reference = ["$", "<", "{", "/", "~", "./", "../", "%(", "op://", "vault:"];
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte >= 0x80);
    // An address may hold a secret, which is found there.
    let address = value.contains("://");
    let fits = value.len() >= SHORTEST
        && plain
        && !address
        && !reference.iter().any(|begins| value.starts_with(begins));
    // One word of small letters would be found where it means nothing.
    fits && different(value.as_bytes()) >= 5 && !common(value) && (kinds(value) >= 2 || value.len() >= 16)
}

/// The same of a password: a shorter one too, if it looks like no word.
#[must_use]
pub fn is_password(value: &str) -> bool {
    let graphic = value.bytes().all(|byte| byte.is_ascii_graphic());
    let short =
        value.len() >= SHORTEST_PASSWORD && graphic && kinds(value) >= 3 && different(value.as_bytes()) >= 5;
    is_secret(value)
        || short
            && !value.contains("://")
            && !value.starts_with(['$', '<', '{', '/', '~', '%'])
            && !common(value)
}

fn common(value: &str) -> bool {
    let letters: String =
        value.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    COMMON.contains(&letters.as_str()) && value.len() < letters.len() + 8
}

/// Kinds of characters: small letters, capitals, digits, others.
fn kinds(value: &str) -> usize {
    let other = |byte: &u8| !byte.is_ascii_alphanumeric();
    let kinds = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit, other];
    kinds.iter().filter(|kind| value.as_bytes().iter().any(**kind)).count()
}

/// Names of objects and files, in which nothing is secret; one that is stands behind a name that says so.
fn hash(word: &str) -> bool {
    [40, 64, 96, 128].contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn uuid(word: &str) -> bool {
    word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

fn unescaped(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(file: &str, text: &str) -> Vec<String> {
        secret_values(file, text.as_bytes())
            .into_iter()
            .map(|value| String::from_utf8(value).unwrap())
            .collect()
    }

    #[test]
    fn each_file_has_its_form() {
        let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        for (file, text, secret) in [
            (".netrc", "machine a.example\n  login me password nrcPassWord99887766\n", "nrcPassWord99887766"),
            (".netrc", "machine b password Zx81kQp0/aLw93RtYbn47Vdq", "Zx81kQp0/aLw93RtYbn47Vdq"),
            (".pgpass", "db.example:5432:*:me:S3cr3t-PgPassw0rd", "S3cr3t-PgPassw0rd"),
            (".pgpass", "db\\:x:5432:*:me:with\\:colon-99-\\\\x", "with:colon-99-\\x"),
            ("credentials", &format!("[default]\naws_secret_access_key = {key}\n"), key),
            (
                "credentials",
                "aws_session_token=IQoJb3JpZ2luX2VjEA//plain+words==",
                "IQoJb3JpZ2luX2VjEA//plain+words==",
            ),
            (".env", "export DB_PASSWORD='Tr0ub4dor&3'", "Tr0ub4dor&3"),
            (".env", "SESSION_SECRET=correct-horse-battery", "correct-horse-battery"),
            (".env", "DATABASE_URL=postgres://u:Zx81kQp0aLw9@db/x", "Zx81kQp0aLw9"),
            (".git-credentials", "https://me:s%2Fcret-word-1@git.example", "s/cret-word-1"),
            (
                ".git-credentials",
                "https://0123456789abcdef77aa66bb55cc44dd@git.example",
                "0123456789abcdef77aa66bb55cc44dd",
            ),
            (
                "config.json",
                "{\"auths\":{\"r\":{\"auth\":\"bWU6cGFzcy13b3JkLW9mLW1lLTE=\"}}}",
                "pass-word-of-me-1",
            ),
            (".npmrc", "//registry.example/:_authToken=plain-token-word", "plain-token-word"),
            (".pypirc", "[pypi]\nusername = me\npassword: plain-upload-word", "plain-upload-word"),
            ("config", "users:\n- user:\n    token: plain-kube-word", "plain-kube-word"),
            ("hosts.yml", "github.com:\n    oauth_token: aB3dE5fG7hI9jK1lM2nO\n", "aB3dE5fG7hI9jK1lM2nO"),
            ("settings.xml", "<server><password>plain-maven-word</password></server>", "plain-maven-word"),
            (
                ".gitconfig",
                "\textraheader = AUTHORIZATION: Basic bWU6cGFzcy13b3JkLW9mLW1lLTE=",
                "bWU6cGFzcy13b3JkLW9mLW1lLTE=",
            ),
            ("db_password", "plain-word-of-one-file\n", "plain-word-of-one-file"),
            (
                "auth.json",
                r#"{"tokens":{"refresh":"x","access_token":"a\/b-cdefghijkl-1"}}"#,
                "a/b-cdefghijkl-1",
            ),
        ] {
            assert!(
                values(file, text).iter().any(|value| value == secret),
                "{text}: {:?}",
                values(file, text)
            );
        }
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(2)
            + "aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2zZ9/+aB3dE5fG7hI9jK1lM2nO4pQ\n";
        let pem = |what: &str| values("id", &format!("-----BEGIN {what}-----\n{body}-----END {what}-----\n"));
        assert!(pem("CERTIFICATE").is_empty() && pem("PUBLIC KEY").is_empty());
        assert!(
            pem("PRIVATE KEY").iter().all(|value| !value.contains("MIIEv")) && !pem("PRIVATE KEY").is_empty()
        );
        assert!(values("x", "token = \0 binary-secret-word-1").is_empty());
        let many: String = (0..9999).map(|number| format!("token = a-secret-word-{number}\n")).collect();
        assert_eq!(values("x", &many).len(), MOST.1);
    }

    #[test]
    fn whatever_stands_in_a_file_is_read_to_its_end() {
        let parts: [&[u8]; 12] = [
            b"=",
            b":",
            b"\"",
            b"\\",
            b"\n",
            b"://",
            b"@",
            b"-----BEGIN ",
            b"password",
            b"<a>",
            "\u{fc}".as_bytes(),
            b"\xff%2",
        ];
        let mut state = 7u64;
        for _ in 0..3000 {
            let mut text = Vec::new();
            for _ in 0..40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.extend_from_slice(parts[(state >> 33) as usize % parts.len()]);
            }
            for file in [".netrc", ".pgpass", "x"] {
                assert!(secret_values(file, &text).len() <= MOST.1);
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_not_taken() {
        for text in [
            "PASSWORD=changeme",
            "DB_PASSWORD=password123",
            "DB_PASSWORD=postgres",
            "API_TOKEN=${CI_TOKEN_OF_THE_JOB}",
            "TOKEN_FILE=/run/secrets/token-of-mine",
            "token_path = ~/.config/tracker/token",
            "REGION=us-central1-docker.pkg.dev",
            "server: https://kubernetes.docker.internal:6443",
            "DATABASE_HOST=database-1.internal.example.com",
            "NODE_ENV=development-of-something",
            "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSURCVENDQWUyZ0F3SUJB",
            "# public key: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudrv8x",
            "commit 0123456789abcdef0123456789abcdef01234567",
            "subscription abcd12f2-46da-4fdb-b8d5-fbd4c466928f of mine",
            "{\"credsStore\": \"desktop\", \"currentContext\": \"desktop-linux\"}",
            "user = somebody.with.a.long.name",
            "secret",
            "email = me@example.org",
        ] {
            assert!(values("file", text).is_empty(), "{text}: {:?}", values("file", text));
        }
    }
}
