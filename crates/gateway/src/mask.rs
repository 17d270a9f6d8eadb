//! What a server sends back of a secret that it was sent: replaced, before the task sees it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use memchr::memmem;
use ringfence_sys::secret::wipe;

use crate::loose::Loose;

/// So few bytes of the beginning of a long secret are not held back: a stream whose parts happen to end so would stand still.
const FEW: usize = 3;
/// From this length on a secret is long.
const LONG: usize = 16;

/// What is replaced by what, of the same length.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is replaced however it is escaped.
    loose: Vec<Loose>,
    /// The last bytes that went on, which may be the beginning of a secret too.
    gone: Vec<u8>,
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
        self.loose.iter_mut().for_each(|loose| wipe(&mut loose.secret));
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
    }

    /// Adds one that is on the request, in other clothes too.
    pub(crate) fn hide_clothed(&mut self, secret: &[u8], placeholder: Option<&str>) {
        self.hide(secret, placeholder);
        // Shorter ones would be found in these by chance.
        if secret.len() >= CLOTHED {
            let others = clothes(secret).into_iter().filter(|other| other.len() >= CLOTHED);
            others.for_each(|other| self.hide(&other, None));
        }
        self.hide_escaped(secret);
    }

    /// Adds one as texts of other kinds have it: JSON in its several ways, HTML, percent-encoded in lower case.
    pub(crate) fn hide_escaped(&mut self, secret: &[u8]) {
        if secret.len() >= CLOTHED && self.loose.iter().all(|known| known.secret != secret) {
            self.loose.push(Loose::new(secret));
        }
    }

    /// Adds one as it is within other text in base64, whatever stands around it.
    pub(crate) fn hide_encoded(&mut self, secret: &[u8]) {
        for skipped in 0..3_usize {
            let padded = [&vec![0; skipped][..], secret].concat();
            let text = STANDARD_NO_PAD.encode(&padded);
            // The first letters depend on what stands before, the last on what stands behind.
            let own = text.as_bytes().get((skipped * 8).div_ceil(6)..padded.len() * 8 / 6);
            self.hide(own.unwrap_or_default(), None);
        }
    }

    /// Adds what another one hides.
    pub(crate) fn add(&mut self, mut other: Self) {
        for loose in std::mem::take(&mut other.loose) {
            if self.loose.iter().all(|known| known.secret != loose.secret) {
                self.loose.push(loose);
            }
        }
        for pair in std::mem::take(&mut other.pairs) {
            if !self.pairs.iter().any(|(known, _)| *known == pair.0) {
                self.pairs.push(pair);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All that comes before a body. What was said in words about the status is left out if one is in it.
    pub(crate) fn head(&self, head: &mut Parts) {
        self.headers(&mut head.headers);
        let told = head.extensions.get::<ReasonPhrase>();
        if told.is_some_and(|told| self.replace(&mut told.as_bytes().to_vec())) {
            head.extensions.remove::<ReasonPhrase>();
        }
    }

    /// Headers that hold one; those whose names do are left out.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let named = |name: &&HeaderName| {
            let small = |secret: &[u8]| secret.to_ascii_lowercase();
            self.pairs
                .iter()
                .any(|(secret, _)| memmem::find(name.as_str().as_bytes(), &small(secret)).is_some())
        };
        let told: Vec<HeaderName> = headers.keys().filter(named).cloned().collect();
        for name in told {
            headers.remove(name);
        }
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
        self.loose.iter().fold(any, |any, loose| loose.replace(bytes) | any)
    }

    /// The next part of a body, without what may be the beginning of a secret; that comes with the part behind it.
    pub(crate) fn push(&mut self, part: &[u8]) -> Bytes {
        let mut bytes = std::mem::take(&mut self.gone);
        let gone = bytes.len();
        bytes.append(&mut self.held);
        bytes.extend_from_slice(part);
        self.replace(&mut bytes);
        let longest = self.pairs.iter().map(|(secret, _)| secret.len());
        let longest = longest.chain(self.loose.iter().map(Loose::longest)).max().unwrap_or(0);
        let from = bytes.len().saturating_sub(longest.saturating_sub(1));
        let begins = |at: &usize| {
            let rest = bytes.get(*at..).unwrap_or_default();
            let enough = |secret: &[u8]| rest.len() > FEW || secret.len() < LONG;
            self.pairs.iter().any(|(secret, _)| enough(secret) && secret.starts_with(rest))
                || self.loose.iter().any(|loose| enough(&loose.secret) && loose.open(rest))
        };
        let end = (from..bytes.len()).find(begins).unwrap_or(bytes.len()).max(gone);
        self.held = bytes.split_off(end);
        self.gone = bytes.get(end.saturating_sub(FEW)..).unwrap_or_default().to_vec();
        Bytes::from(bytes.split_off(gone))
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
            // But for as few bytes as may have gone on before more of it was there.
            let begins = |at: usize| (0..FEW).any(|back| text[at - back..].starts_with(b"s3cr3t-value"));
            assert_eq!(out.len(), expected.len());
            for (at, byte) in out.iter().enumerate().filter(|(at, byte)| **byte != expected[*at]) {
                assert!(begins(at) && *byte == text[at], "{size}: {}", String::from_utf8_lossy(&out));
            }
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
                b"a=s3cr3t%2fvalue%2b0123456789&b".to_vec(),
                br#"{"a":"s3cr3t\/value+0123456789"}"#.to_vec(),
                br#"{"a":"s3cr3t/value\u002B0123456789"}"#.to_vec(),
                b"<b>s3cr3t&#x2F;value+0123456789</b>".to_vec(),
                b"<b>s3cr3t/value&#43;0123456789</b>".to_vec(),
                text.iter().map(|byte| format!("%{byte:02x}")).collect::<String>().into_bytes(),
                text.iter().map(|byte| format!("\\u{byte:04X}")).collect::<String>().into_bytes(),
                text.iter().map(|byte| format!("&#x{byte:x};")).collect::<String>().into_bytes(),
                text.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes(),
            ] {
                let mut mask = Mask::default();
                mask.hide_clothed(secret, None);
                let out = [mask.push(&form), mask.rest()].concat();
                assert_eq!(out.len(), form.len());
                // What is left are bits of its two ends, and what stands around it.
                let kept = out.iter().zip(&form).filter(|(one, other)| one == other).count();
                assert!(
                    out.windows(12).any(|part| part == [b'*'; 12]) && kept < 40,
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
        let mut long = Mask::default();
        long.hide(b"s3cr3t-value-0123456789", None);
        assert_eq!(&long.push(b"data: s3c")[..], b"data: s3c");
        assert_eq!(&long.push(b"r")[..], b"");
        assert_eq!(&long.push(b"3t-value-0123456789.")[..], b"********************.");
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("/x?t=s3cr3t-value"));
        mask.headers(&mut headers);
        assert_eq!(headers["location"], "/x?t=************");
        headers.insert("s3cr3t-value", HeaderValue::from_static("1"));
        mask.hide(b"s3cr3t-Value", None);
        mask.headers(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
