//! Text that came from a task, made safe for a terminal: whatever is not plainly printable becomes a visible escape.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// No control byte, no invisible or direction-changing character and no broken UTF-8 is left. A backslash is doubled, so
/// that two names never look the same.
pub fn escape(text: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for chunk in text.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                ' '..='~' => out.push(character),
                // The standard library knows which characters are printable: bidi controls, joiners and spaces are not.
                _ => out.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unprintable_is_left() {
        for (name, shown) in [
            (&b"plain name"[..], "plain name"),
            (b"a\nrm -rf x", "a\\nrm -rf x"),
            (b"\x1b]0;t\x07", "\\u{1b}]0;t\\u{7}"),
            (b"caf\xe9", "caf\\xe9"),
            ("invoice_\u{202e}txt.sh".as_bytes(), "invoice_\\u{202e}txt.sh"),
            ("README\u{200b}.md".as_bytes(), "README\\u{200b}.md"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("größe".as_bytes(), "größe"),
            (b"a\\nb", "a\\\\nb"),
        ] {
            assert_eq!(escape(OsStr::from_bytes(name)), shown);
        }
    }
}
