//! What the task sees in place of a secret: unlike any other, of the same form, good for nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::formats::formats;

/// Shorter ones could turn up by chance.
const SHORTEST: usize = 20;
const HEX: &[u8] = b"0123456789abcdef";
const UPPER_HEX: &[u8] = b"0123456789ABCDEF";
const DIGITS: &[u8] = b"0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// One like this secret. `random` gives bytes that nobody can guess.
///
/// Of the secret itself it holds the public beginning of its kind (`ghp_`), for a JWT its header and its times, and its length, if that is
/// at least 20.
pub fn placeholder(secret: &str, random: &mut dyn FnMut() -> u8) -> String {
    if let Some(token) = jwt(secret, random) {
        return token;
    }
    if let Some((before, own, behind)) = password(secret) {
        return format!("{before}{}{behind}", placeholder(own, random));
    }
    let prefix = formats().iter().find_map(|format| format.begins(secret)).unwrap_or_default();
    let rest = secret.get(prefix.len()..).unwrap_or_default();
    let uuid = rest.len() == 36
        && rest.bytes().enumerate().all(|(at, byte)| (byte == b'-') == [8, 13, 18, 23].contains(&at));
    let all = |letters: &[u8]| {
        !rest.is_empty() && rest.bytes().all(|byte| letters.contains(&byte) || uuid && byte == b'-')
    };
    let kinds = [(DIGITS, 24), (HEX, 0), (UPPER_HEX, 0), (UPPER, 0)];
    let (letters, least) = kinds.into_iter().find(|(letters, _)| all(letters)).unwrap_or((MIXED, 0));
    let length = rest.len().max(least).max(SHORTEST.saturating_sub(prefix.len()).max(16));
    let mut made = prefix.to_owned();
    for at in 0..length {
        made.push(if uuid && rest.as_bytes().get(at) == Some(&b'-') { '-' } else { letter(letters, random) });
    }
    made
}

/// The password in a URL, as it is written there, and what stands before and behind it (RFC 3986, section 3.2.1): `DATABASE_URL` and its like.
pub fn password(url: &str) -> Option<(&str, &str, &str)> {
    let scheme = url.find("://")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let authority = url.get(scheme + 3..)?;
    let authority = authority.split(['/', '?', '#']).next()?;
    let at = authority.rfind('@')?;
    let colon = authority.get(..at)?.find(':')?;
    let (start, end) = (scheme + 3 + colon + 1, scheme + 3 + at);
    let fine = scheme > 0 && url.bytes().take(scheme).all(plain) && start < end;
    fine.then_some((url.get(..start)?, url.get(start..end)?, url.get(end..)?))
}

fn letter(letters: &[u8], random: &mut dyn FnMut() -> u8) -> char {
    loop {
        // Those beyond the last whole round would make some letters likelier.
        let byte = usize::from(random());
        if byte < 256 / letters.len() * letters.len()
            && let Some(letter) = letters.get(byte % letters.len())
        {
            return char::from(*letter);
        }
    }
}

/// Three parts of base64, of which two are JSON (RFC 7519). Clients look at times and kinds: these stay.
fn jwt(secret: &str, random: &mut dyn FnMut() -> u8) -> Option<String> {
    let mut parts = secret.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let mut claims = read(claims)?;
    if parts.next().is_some() || !read(header)?.is_object() || signature.len() < SHORTEST {
        return None;
    }
    for (name, claim) in claims.as_object_mut()? {
        let time = ["exp", "iat", "nbf"].contains(&name.as_str()) && claim.is_number();
        if !time {
            *claim = Value::String((0..12).map(|_| letter(MIXED, random)).collect());
        }
    }
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature: String = signature.bytes().map(|_| letter(MIXED, random)).collect();
    Some(format!("{header}.{claims}.{signature}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> impl FnMut() -> u8 {
        let mut state = 7u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        }
    }

    #[test]
    fn it_has_the_form_and_nothing_of_the_secret() {
        let mut random = random();
        for (secret, begins) in [
            ("ghp_0123456789abcdefABCDEFghijklmnopqrst", "ghp_"),
            ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
            ("xoxb-123456789012-abcdefghijklmnopqrstuvwx", "xoxb-"),
            ("correct-horse-battery-staple", ""),
            ("d9e2f0a1b2c3d4e5f60718293a4b5c6d", ""),
            ("8f14e45f-ceea-467f-a0e6-4b1d6b1f5c3a", ""),
        ] {
            let made = placeholder(secret, &mut random);
            assert_eq!(made.len(), secret.len(), "{secret} {made}");
            assert!(made.starts_with(begins) && made != secret);
            let mut windows = secret.as_bytes().windows(6).skip(begins.len());
            assert!(!windows.any(|part| made.contains(str::from_utf8(part).unwrap())), "{secret} {made}");
            assert_ne!(made, placeholder(secret, &mut random));
        }
        for secret in ["", "x", "hunter2", "1234"] {
            let made = placeholder(secret, &mut random);
            assert!(made.len() >= SHORTEST && (secret.len() < 4 || !made.contains(secret)), "{made}");
        }
    }

    #[test]
    fn of_a_url_the_password_alone_is_another() {
        let made =
            placeholder("postgres://app:s3cr%40t-word@db.example:5432/main?sslmode=require", &mut random());
        let (before, own, behind) = password(&made).unwrap();
        assert_eq!((before, behind), ("postgres://app:", "@db.example:5432/main?sslmode=require"));
        assert!(own.len() >= SHORTEST && own.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{made}");
        assert_eq!(password("redis://:pw@h").map(|found| found.1), Some("pw"));
        for none in [
            "https://h/a:b@c",
            "https://user@h",
            "https://u:@h",
            "https://h:80",
            "://u:p@h",
            "a b://u:p@h",
            "u:p@h",
        ] {
            assert_eq!(password(none), None, "{none}");
        }
    }

    #[test]
    fn a_jwt_keeps_its_times_alone() {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let secret = format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256","typ":"JWT"}"#),
            part(r#"{"sub":"alice@corp","exp":1799999999,"aud":"api"}"#),
            "s".repeat(43)
        );
        let made = placeholder(&secret, &mut random());
        let parts: Vec<&str> = made.split('.').collect();
        assert_eq!(parts.len(), 3);
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        assert!(
            claims.contains("1799999999") && !claims.contains("alice") && !claims.contains("\"api\""),
            "{claims}"
        );
        assert!(parts[2].len() == 43 && !parts[2].contains("ssss"));
    }
}
