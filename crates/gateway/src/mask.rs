//! What a server sends back of a secret that it was sent: replaced, before the task sees it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use memchr::memmem;
use ringfence_sys::secret::wipe;

/// What is replaced by what, of the same length.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The end of what came, which may be the beginning of a secret.
    held: Vec<u8>,
}

/// Bytes from which on a secret is masked in other clothes too.
const CLOTHED: usize = 12;

/// A secret as servers write what they were sent: in hex, base64 at each place, percent-encoded, as UTF-16, reversed.
fn clothes(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = |digits: &[u8; 16]| -> Vec<u8> {
        let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or_default();
        secret.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    };
    let mut wide: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
    // So it is found in either order of bytes.
    wide.pop();
    let mut percent = Vec::new();
    for byte in secret {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => percent.push(*byte),
            byte => percent.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    let mut all = vec![
        hex(b"0123456789abcdef"),
        hex(b"0123456789ABCDEF"),
        wide,
        percent,
        secret.iter().rev().copied().collect(),
    ];
    for before in 0..3 {
        let whole = [&vec![0; before][..], secret].concat();
        // Letters that hold bits of what stands around it are not its own.
        let (from, to) = ((before * 8).div_ceil(6), whole.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.extend(engine.encode(&whole).as_bytes().get(from..to).map(<[u8]>::to_vec));
        }
    }
    all.sort();
    all.dedup();
    all
}

impl Drop for Mask {
    fn drop(&mut self) {
        self.pairs.iter_mut().for_each(|(secret, _)| wipe(secret));
        wipe(&mut self.held);
    }
}

impl Mask {
    /// Adds one. What stands in its place is the placeholder if that is as long.
    pub(crate) fn hide(&mut self, secret: &[u8], placeholder: Option<&str>) {
        if secret.len() < 4 || self.pairs.iter().any(|(known, _)| known == secret) {
            return;
        }
        let like = placeholder.filter(|like| like.len() == secret.len());
        let stands = like.map_or_else(|| vec![b'*'; secret.len()], |like| like.as_bytes().to_vec());
        self.pairs.push((secret.to_vec(), stands));
        // Shorter ones would be found in these by chance.
        if secret.len() >= CLOTHED {
            let others =
                clothes(secret).into_iter().filter(|other| other.len() >= CLOTHED && other != secret);
            self.pairs.extend(
                others.map(|other| (vec![b'*'; other.len()], other)).map(|(stars, other)| (other, stars)),
            );
        }
    }

    /// Headers that hold one.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let mut bytes = value.as_bytes().to_vec();
            if self.replace(&mut bytes)
                && let Ok(masked) = HeaderValue::from_bytes(&bytes)
            {
                *value = masked;
            }
        }
    }

    /// Whether there was one.
    fn replace(&self, bytes: &mut [u8]) -> bool {
        let mut any = false;
        for (secret, stands) in &self.pairs {
            let mut from = 0;
            while let Some(at) = bytes.get(from..).and_then(|rest| memmem::find(rest, secret)) {
                let start = from + at;
                if let Some(place) = bytes.get_mut(start..start + secret.len()) {
                    place.copy_from_slice(stands);
                }
                from = start + secret.len();
                any = true;
            }
        }
        any
    }

    /// The next part of a body, without what may be the beginning of a secret; that comes with the part behind it.
    pub(crate) fn push(&mut self, part: &[u8]) -> Bytes {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(part);
        self.replace(&mut bytes);
        let longest = self.pairs.iter().map(|(secret, _)| secret.len()).max().unwrap_or(0);
        let from = bytes.len().saturating_sub(longest.saturating_sub(1));
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            self.pairs.iter().any(|(secret, _)| secret.starts_with(rest))
        };
        let end = (from..bytes.len()).find(begins).unwrap_or(bytes.len());
        self.held = bytes.split_off(end);
        Bytes::from(bytes)
    }

    /// Whether something is left.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is left at the end.
    pub(crate) fn rest(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_body_is_cut_a_secret_in_it_is_masked() {
        let text = b"{\"token\":\"s3cr3t-value-0123456789\",\"s3cr3t\":1}s3cr3t-value-0123456789".to_vec();
        let expected =
            b"{\"token\":\"PLACEHOLDER-ABCDEFGHIJ-\",\"s3cr3t\":1}PLACEHOLDER-ABCDEFGHIJ-".to_vec();
        for size in 1..text.len() {
            let mut mask = Mask::default();
            mask.hide(b"s3cr3t-value-0123456789", Some("PLACEHOLDER-ABCDEFGHIJ-"));
            let mut out = Vec::new();
            for part in text.chunks(size) {
                out.extend_from_slice(&mask.push(part));
            }
            out.extend_from_slice(&mask.rest());
            assert_eq!(out, expected, "{size}: {}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn a_secret_in_other_clothes_is_masked() {
        let secret = b"s3cr3t/value+0123456789";
        for before in 0..4 {
            let text = [&b"Aut:"[..before], secret, b" x"].concat();
            for form in [
                text.clone(),
                STANDARD_NO_PAD.encode(&text).into_bytes(),
                URL_SAFE_NO_PAD.encode(&text).into_bytes(),
                text.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
                text.iter().rev().copied().collect(),
                text.iter().flat_map(|byte| [0, *byte]).collect(),
                b"a=s3cr3t%2Fvalue%2B0123456789&b".to_vec(),
            ] {
                let mut mask = Mask::default();
                mask.hide(secret, None);
                let out = [mask.push(&form), mask.rest()].concat();
                assert_eq!(out.len(), form.len());
                // What is left are bits of its two ends.
                let kept = out.iter().zip(&form).filter(|(one, other)| one == other).count();
                assert!(
                    out.windows(12).any(|part| part == [b'*'; 12]) && kept < 22,
                    "{kept} {before} {}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_not_held_back() {
        let mut mask = Mask::default();
        mask.hide(b"s3cr3t-value", None);
        assert_eq!(&mask.push(b"data: hello\n\n")[..], b"data: hello\n\n");
        assert_eq!(&mask.push(b"data: s3c")[..], b"data: ");
        assert_eq!(&mask.push(b"ure\n\n")[..], b"s3cure\n\n");
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("/x?t=s3cr3t-value"));
        mask.headers(&mut headers);
        assert_eq!(headers["location"], "/x?t=************");
    }
}
