//! A secret as texts of other kinds write it: percent-encoded, in JSON, in HTML, whichever of its characters they escape, and how.

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

/// It, of whose letters all, some or none are escaped.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) secret: Vec<u8>,
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
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self { secret: secret.to_vec() }
    }

    /// Writes stars in place of it; whether it was there.
    pub(crate) fn replace(&self, text: &mut [u8]) -> bool {
        let Some(first) = self.secret.first() else { return false };
        let may = |byte: &u8| byte == first || b"%\\&".contains(byte);
        let (mut from, mut any) = (0, false);
        while let Some(at) = text.get(from..).and_then(|rest| rest.iter().position(may)).map(|at| from + at) {
            from = at + 1;
            if let Begins::With(length) = self.begins(text.get(at..).unwrap_or_default()) {
                text.get_mut(at..at + length).unwrap_or_default().fill(b'*');
                (from, any) = (at + length, true);
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
            Some(b'u') => unicode(rest.get(1..).unwrap_or_default(), byte),
            Some(b'x') => number(rest.get(1..).unwrap_or_default(), 2, 16, byte, 2),
            Some(b'0'..=b'7') => number(rest, 3, 8, byte, 1),
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

/// Four digits, or fewer in braces.
fn unicode(text: &[u8], byte: u8) -> Begins {
    let Some(text) = text.strip_prefix(b"{") else { return number(text, 4, 16, byte, 2) };
    match text.iter().take(WIDEST - 3).position(|byte| *byte == b'}') {
        Some(digits) => match number(text, digits, 16, byte, 3) {
            Begins::With(length) => Begins::With(length + 1),
            other => other,
        },
        None if text.len() < WIDEST - 3 => number(text, WIDEST, 16, byte, 3),
        None => Begins::No,
    }
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
        let loose = Loose::new(b"x/a+0123456789=b&\\y");
        for form in [
            r"x/a+0123456789=b&\y",
            r"x\/a+0123456789=b&\\y",
            r"x\/a\u002B0123456789\u003db\u0026\\y",
            r"x&#x2F;a&#43;0123456789=b&amp;\y",
            r"x&sol;a&plus;0123456789&equals;b&#38;&#x5c;y",
            r"x%2Fa%2b0123456789%3db%26%5Cy",
            r"%78/a+0123456789=b&\y",
            r"%78%2F%61%2b%30%31%32%33%34%35%36%37%38%39%3d%62%26%5C%79",
            r"\u0078\u002f\u0061\u002b\u0030\u0031\u0032\u0033\u0034\u0035\u0036\u0037\u0038\u0039\u003D\u0062\u0026\u005C\u0079",
            r"&#120;&#47;&#97;&#43;&#48;&#49;&#50;&#51;&#52;&#53;&#54;&#55;&#56;&#57;&#61;&#98;&#38;&#92;&#121;",
            r"\x78\x2f\x61\x2b\x30\x31\x32\x33\x34\x35\x36\x37\x38\x39\x3d\x62\x26\x5c\x79",
            r"\170\057\141\u{2b}\u{0030}1\u{32}345\u{36}78&#x39;=b&\\y",
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
        let mut text = b"only%6cetter&#115; \\x6fnlyletters".to_vec();
        assert!(Loose::new(b"onlyletters").replace(&mut text));
        assert_eq!(text, [&b"*".repeat(18)[..], b" ", &b"*".repeat(14)].concat());
    }
}
