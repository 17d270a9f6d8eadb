//! The table of well-known forms.

use std::sync::OnceLock;

use serde::Deserialize;

/// One form: a beginning, then so many of certain characters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// Whose.
    pub name: String,
    /// What one begins with.
    pub prefixes: Vec<String>,
    letters: Letters,
    /// How many characters follow: at least, and at most.
    pub length: (usize, usize),
    /// Where that is documented.
    pub source: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Letters {
    Word,
    Dash,
    Mixed,
    Upper,
    Hex,
    Dotted,
    Key,
    Bech32,
}

impl Format {
    /// May this byte follow the beginning?
    #[must_use]
    pub fn follows(&self, byte: u8) -> bool {
        let mixed = byte.is_ascii_alphanumeric();
        match self.letters {
            Letters::Word => mixed || byte == b'_',
            Letters::Dash => mixed || byte == b'_' || byte == b'-',
            Letters::Mixed => mixed,
            Letters::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Letters::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Letters::Dotted => mixed || b"_-.".contains(&byte),
            // Also with its line breaks written out, as in JSON.
            Letters::Key => mixed || b"+/=\r\n\\".contains(&byte),
            Letters::Bech32 => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        }
    }

    /// Is this a whole secret of this form? The beginning that it has.
    #[must_use]
    pub fn begins<'a>(&self, text: &'a str) -> Option<&'a str> {
        let prefix = self.prefixes.iter().find(|prefix| text.starts_with(prefix.as_str()))?;
        let (before, rest) = text.split_at_checked(prefix.len())?;
        let (least, most) = self.length;
        let fits = (least..=most).contains(&rest.len()) && rest.bytes().all(|byte| self.follows(byte));
        fits.then_some(before)
    }
}

/// All of them.
#[must_use]
pub fn formats() -> &'static [Format] {
    #[derive(Deserialize)]
    struct Table {
        format: Vec<Format>,
    }
    static ALL: OnceLock<Vec<Format>> = OnceLock::new();
    // The tests read it: it is never empty.
    ALL.get_or_init(|| {
        toml::from_str::<Table>(include_str!("formats.toml")).map(|table| table.format).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let written = include_str!("formats.toml").matches("[[format]]").count();
        assert_eq!(formats().len(), written);
        for format in formats() {
            assert!(format.length.0 >= 16 && format.length.0 <= format.length.1, "{format:?}");
            assert!(
                !format.source.is_empty() && format.prefixes.iter().all(|prefix| prefix.len() >= 3),
                "{format:?}"
            );
        }
    }
}
