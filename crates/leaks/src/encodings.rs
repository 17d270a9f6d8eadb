//! How a secret may be written, so far as that can be looked for as text. Letters are compared without regard to their case, and percent and
//! JSON escapes, white space, quotes and commas are taken away beside (`scan`); what those do is not here.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::formats::formats;

/// From this length on, half of a secret is looked for: two parts of it are found too.
const HALVED: usize = 24;
/// Where all of it looks random, parts of this length, each so far behind the one before.
const PIECE: (usize, usize) = (12, 6);
/// Parts of encodings that are shorter are not looked for.
pub(crate) const SHORTEST: usize = 8;
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Each way to write it, with a name.
pub(crate) fn ways(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    // The first parts of a JWT are those of many others.
    let secret = if secret.starts_with(b"eyJ") { own(secret) } else { secret };
    let mut ways = Vec::new();
    if secret.len() >= HALVED {
        let (first, last) = secret.split_at(secret.len() / 2);
        ways.extend([("raw", first.to_vec()), ("raw", last.to_vec())]);
        let pieces: Vec<&[u8]> = own(secret).windows(PIECE.0).step_by(PIECE.1).collect();
        if pieces.iter().all(|piece| random(piece)) {
            ways.extend(pieces.into_iter().map(|piece| ("raw", piece.to_vec())));
        }
    } else {
        ways.push(("raw", secret.to_vec()));
    }
    ways.push(("reversed", secret.iter().rev().copied().collect()));
    ways.push(("hex", secret.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()));
    // What is between the letters there, the scan takes away: white space, commas, a backslash.
    let listed = |each: fn(&u8) -> String| secret.iter().map(each).collect::<String>().into_bytes();
    let mut apart = listed(|byte| format!("{byte:02x}:"));
    apart.pop();
    ways.extend([
        ("hex", apart),
        ("quoted-printable", listed(|byte| format!("={byte:02X}"))),
        ("numbers", listed(u8::to_string)),
        ("numbers", listed(|byte| format!("0x{byte:02x}"))),
        ("octal", listed(|byte| format!("{byte:03o}"))),
        ("unicode escapes", listed(|byte| format!("{{{byte:x}}}"))),
    ]);
    // Of either order.
    let wide: Vec<u8> = secret.iter().flat_map(|byte| [0, *byte]).skip(1).collect();
    ways.push(("utf-16", wide));
    for skipped in 0..3 {
        // The first letters depend on what stands before, the last on what stands behind.
        let padded = [&vec![0; skipped][..], secret].concat();
        let whole = padded.len() * 8 / 6;
        let from = (skipped * 8).div_ceil(6);
        for (name, text) in
            [("base64", STANDARD_NO_PAD.encode(&padded)), ("base64url", URL_SAFE_NO_PAD.encode(&padded))]
        {
            ways.extend(text.as_bytes().get(from..whole).map(|part| (name, part.to_vec())));
        }
    }
    for skipped in 0..5 {
        let padded = [&vec![0; skipped][..], secret].concat();
        let whole = padded.len() * 8 / 5;
        let from = (skipped * 8).div_ceil(5);
        ways.extend(base32(&padded).get(from..whole).map(|part| ("base32", part.to_vec())));
    }
    ways.push(("rot13", secret.iter().map(|byte| rot13(*byte)).collect()));
    // Half of a long one is enough, for it may have been cut.
    let ways = ways.into_iter().flat_map(|(name, text)| {
        let (first, last) = text.split_at(if text.len() >= 2 * HALVED { text.len() / 2 } else { 0 });
        [(name, first.to_vec()), (name, last.to_vec())]
    });
    let mut ways: Vec<_> = ways.filter(|(_, text)| text.len() >= SHORTEST).collect();
    ways.sort_by(|one, two| one.1.cmp(&two.1));
    ways.dedup_by(|one, two| one.1 == two.1);
    ways
}

/// Without what others of its kind have too: a public beginning, or all but the signature of a JWT.
fn own(secret: &[u8]) -> &[u8] {
    let begins =
        str::from_utf8(secret).ok().and_then(|text| formats().iter().find_map(|format| format.begins(text)));
    let rest = secret.get(begins.map_or(0, str::len)..).unwrap_or_default();
    let last = rest.rsplit(|byte| *byte == b'.').next().filter(|last| last.len() >= HALVED);
    last.filter(|_| rest.starts_with(b"eyJ")).unwrap_or(rest)
}

/// Does it look like no word: many letters that differ, of several kinds?
fn random(piece: &[u8]) -> bool {
    let different = piece
        .iter()
        .enumerate()
        .filter(|(at, byte)| !piece.iter().take(*at).any(|known| known == *byte))
        .count();
    let kinds = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    different >= 6 && kinds.iter().filter(|kind| piece.iter().any(kind)).count() >= 2
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        _ => byte,
    }
}

/// Without padding (RFC 4648, section 6).
fn base32(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.extend(BASE32.get((held >> bits & 31) as usize));
        }
    }
    if bits > 0 {
        out.extend(BASE32.get((held << (5 - bits) & 31) as usize));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_looked_for_where_they_are_random() {
        let raw = |secret: &str| ways(secret.as_bytes()).into_iter().filter(|(way, _)| *way == "raw").count();
        assert!(raw("Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6") > 4);
        assert_eq!(raw("correct-horse-battery-staple"), 2);
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        assert!(!ways(jwt.as_bytes()).iter().any(|(_, way)| way.starts_with(b"eyJ") && way.len() < 40));
    }

    #[test]
    fn encodings_are_those_of_the_standard() {
        // RFC 4648, section 10.
        assert_eq!(base32(b"foobar"), b"MZXW6YTBOI");
        assert_eq!(base32(b"foob"), b"MZXW6YQ");
        let secret = b"Zq8mT4vKx2LwP9nRb7JdYc5HsGf3AeUi1Qo6";
        for before in 0..6 {
            let text = [&b"xxxxxx"[..before], secret, b"yz"].concat();
            let encoded = STANDARD_NO_PAD.encode(&text);
            let found = ways(secret).iter().any(|(name, way)| {
                *name == "base64" && encoded.as_bytes().windows(way.len()).any(|part| part == way)
            });
            assert!(found, "{before}");
            let encoded = base32(&text);
            let found = ways(secret)
                .iter()
                .any(|(name, way)| *name == "base32" && encoded.windows(way.len()).any(|part| part == way));
            assert!(found, "{before}");
        }
    }
}
