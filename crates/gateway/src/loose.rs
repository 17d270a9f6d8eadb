//! A secret as texts of other kinds write it: percent-encoded, in JSON, in HTML, whichever of its characters they escape, and how.

use memchr::memmem;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 6;
/// Bytes of the longest way to write one byte.
const WIDEST: usize = 8;
/// Names of HTML for what stands in secrets.
static NAMES: &[(&str, u8)] = &[
    ("amp;", b'&'),
    ("lt;", b'<'),
    ("gt;", b'>'),
    ("quot;", b'"'),
    ("apos;", b'\''),
    ("sol;", b'/'),
    ("plus;", b'+'),
    ("equals;", b'='),
];

/// It, found by the longest part of it that nothing escapes.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) secret: Vec<u8>,
    core: (usize, usize),
}

/// Whether a text begins so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// With so many bytes.
    With(usize),
    /// It ends before that is known.
    Perhaps,
    No,
}

impl Loose {
    /// `None`: there is one way alone to write it, or too little of it to find it by.
    pub(crate) fn new(secret: &[u8]) -> Option<Self> {
        let mut core = (0, 0);
        let mut from = 0;
        for run in secret.split(|byte| !byte.is_ascii_alphanumeric()) {
            if run.len() > core.1 - core.0 {
                core = (from, from + run.len());
            }
            from += run.len() + 1;
        }
        let found = (SHORTEST..secret.len()).contains(&(core.1 - core.0));
        found.then(|| Self { secret: secret.to_vec(), core })
    }

    /// Writes stars in place of it; whether it was there.
    pub(crate) fn replace(&self, text: &mut [u8]) -> bool {
        let Some(core) = self.secret.get(self.core.0..self.core.1) else { return false };
        let (mut from, mut any) = (0, false);
        while let Some(at) = text.get(from..).and_then(|rest| memmem::find(rest, core)).map(|at| from + at) {
            from = at + 1;
            let first = at.saturating_sub(self.core.0 * WIDEST);
            let found = (first..=at.saturating_sub(self.core.0)).find_map(|start| {
                match self.begins(text.get(start..)?) {
                    Begins::With(length) if start + length > at => Some((start, start + length)),
                    _ => None,
                }
            });
            if let Some((start, end)) = found {
                text.get_mut(start..end).unwrap_or_default().fill(b'*');
                (from, any) = (end, true);
            }
        }
        any
    }

    /// Whether it may have begun in the end of a text, which is this.
    pub(crate) fn open(&self, end: &[u8]) -> bool {
        self.begins(end) == Begins::Perhaps
    }

    /// The most bytes that it may have.
    pub(crate) fn longest(&self) -> usize {
        self.secret.len() * WIDEST
    }

    fn begins(&self, text: &[u8]) -> Begins {
        let mut at = 0;
        for byte in &self.secret {
            match written(*byte, text.get(at..).unwrap_or_default()) {
                Begins::With(length) => at += length,
                other => return other,
            }
        }
        Begins::With(at)
    }
}

/// Whether a text begins with this byte, in one of its ways.
fn written(byte: u8, text: &[u8]) -> Begins {
    let Some((first, rest)) = text.split_first() else { return Begins::Perhaps };
    let escaped = match first {
        b'%' => number(rest, 2, 16, byte, 1),
        b'\\' => match rest.first() {
            Some(b'u') => number(rest.get(1..).unwrap_or_default(), 4, 16, byte, 2),
            Some(own) if *own == byte && !byte.is_ascii_alphanumeric() => Begins::With(2),
            Some(_) => Begins::No,
            None => Begins::Perhaps,
        },
        b'&' => entity(byte, rest),
        _ => Begins::No,
    };
    match escaped {
        Begins::No if *first == byte => Begins::With(1),
        escaped => escaped,
    }
}

/// So many digits that say it, behind so many bytes.
fn number(text: &[u8], digits: usize, base: u32, byte: u8, before: usize) -> Begins {
    let Some(own) = text.get(..digits) else {
        let fine = text.iter().all(|digit| char::from(*digit).is_digit(base));
        return if fine { Begins::Perhaps } else { Begins::No };
    };
    let value = str::from_utf8(own).ok().and_then(|own| u32::from_str_radix(own, base).ok());
    if value == Some(u32::from(byte)) { Begins::With(before + digits) } else { Begins::No }
}

/// `&amp;`, `&#38;`, `&#x26;`, without the first letter.
fn entity(byte: u8, rest: &[u8]) -> Begins {
    let Some(end) = rest.iter().take(WIDEST - 1).position(|byte| *byte == b';') else {
        let fine = rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
        return if fine && rest.len() < WIDEST - 1 { Begins::Perhaps } else { Begins::No };
    };
    let own = rest.get(..=end).unwrap_or_default();
    let told = str::from_utf8(own.get(..end).unwrap_or_default()).unwrap_or_default();
    let value = match told.strip_prefix('#') {
        Some(text) => match text.strip_prefix(['x', 'X']) {
            Some(hex) => u8::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        None => NAMES.iter().find(|(name, _)| name.as_bytes() == own).map(|(_, byte)| *byte),
    };
    if value == Some(byte) { Begins::With(1 + own.len()) } else { Begins::No }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_escaped() {
        let loose = Loose::new(b"x/a+0123456789=b&\\y").unwrap();
        for form in [
            r"x/a+0123456789=b&\y",
            r"x\/a+0123456789=b&\\y",
            r"x\/a\u002B0123456789\u003db\u0026\\y",
            r"x&#x2F;a&#43;0123456789=b&amp;\y",
            r"x&sol;a&plus;0123456789&equals;b&#38;&#x5c;y",
            r"x%2Fa%2b0123456789%3db%26%5Cy",
            r"%78/a+0123456789=b&\y",
        ] {
            let mut text = format!("a {form} b").into_bytes();
            assert!(loose.replace(&mut text), "{form}");
            assert_eq!(String::from_utf8(text).unwrap(), format!("a {} b", "*".repeat(form.len())));
            for length in 1..form.len() {
                assert!(loose.open(&form.as_bytes()[..length]), "{}", &form[..length]);
            }
            assert!(form.len() <= loose.longest());
        }
        for other in [
            "x/a+012345678",
            "a+0123456789=b",
            "x//a+0123456789=b&\\y",
            "x&#99;a+0123456789=b&\\y",
            "x&#\u{e4};a+0123456789",
        ] {
            let mut text = other.as_bytes().to_vec();
            assert!(!loose.replace(&mut text), "{other}");
        }
        assert!(!loose.open(b"y") && !loose.open(b"x/b") && !loose.open(b"x%2g") && !loose.open(b"&bad;"));
        assert!(Loose::new(b"onlyletters0123").is_none() && Loose::new(b"a/b/c/d").is_none());
    }
}
