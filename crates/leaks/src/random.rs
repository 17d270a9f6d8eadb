//! What looks like a secret although it has no form of its own: long words of letters and digits.

/// Words count from this length on, and if so many of their letters differ.
const WORD: (usize, usize) = (20, 10);

/// The words of a text that look like secrets.
pub fn random_words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let part = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"_-./+~".contains(byte));
    text.split(part).filter(|word| looks_random(word))
}

/// Whether one word does. Paths do not.
#[must_use]
pub fn looks_random(word: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in word {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    let different = seen.iter().filter(|seen| **seen).count();
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    word.len() >= WORD.0 && different >= WORD.1 && mixed && !word.contains(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_and_words_and_paths_are_not() {
        let text = b"token: Zx81kQp0aLw93RtYbn47Vd\npath /usr/lib/x86_64-linux-gnu/libc.so.6 aaaaaaaaaaaaaaaaaaaaaaaa1 plainwordsthatarelongenough";
        let found: Vec<&[u8]> = random_words(text).collect();
        assert_eq!(found, [b"Zx81kQp0aLw93RtYbn47Vd"]);
    }
}
