//! What looks like a secret although it has no form of its own: long words of letters and digits.

/// Words count from this length on, and if so many of their letters differ.
const WORD: (usize, usize) = (20, 10);
/// Of so many places between two letters or digits, one must lie between kinds: names and addresses change them less often.
const TURNS: usize = 5;

/// The words of a text that look like secrets.
pub fn random_words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let part = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"_-./+~".contains(byte));
    text.split(part).filter(|word| looks_random(word))
}

/// Whether one word does. Paths and names of hosts do not.
#[must_use]
pub fn looks_random(word: &[u8]) -> bool {
    let different = different(word);
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    // Where a path could be meant, all three kinds are asked for, and more turns.
    let path = word.contains(&b'/');
    let all = mixed && word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_lowercase);
    let begins = word.first().is_some_and(|first| b"/~.".contains(first));
    let turns = turns(word) * if path { TURNS - 1 } else { TURNS };
    word.len() >= WORD.0 && different >= WORD.1 && mixed && (!path || all && !begins) && turns >= word.len()
}

/// How many bytes differ.
pub(crate) fn different(word: &[u8]) -> usize {
    let mut seen = [false; 256];
    word.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// How often a letter or digit is followed by one of another kind.
fn turns(word: &[u8]) -> usize {
    let kind = |byte: u8| match byte {
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        b'0'..=b'9' => 3,
        _ => 0,
    };
    let turn = |pair: &&[u8]| match pair {
        [one, two] => kind(*one) * kind(*two) > 0 && kind(*one) != kind(*two),
        _ => false,
    };
    word.windows(2).filter(turn).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_and_words_and_paths_are_not() {
        let text = b"token: Zx81kQp0aLw93RtYbn47Vd\npath /usr/lib/x86_64-linux-gnu/libc.so.6 aaaaaaaaaaaaaaaaaaaaaaaa1 plainwordsthatarelongenough";
        let found: Vec<&[u8]> = random_words(text).collect();
        assert_eq!(found, [b"Zx81kQp0aLw93RtYbn47Vd"]);
        for word in [
            "Zx81kQp0/aLw93RtYbn47Vdq",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "0123456789abcdef77aa66bb55cc44dd",
            "abcd12f2-46da-4fdb-b8d5-fbd4c466928f",
        ] {
            assert!(looks_random(word.as_bytes()), "{word}");
        }
        for word in [
            "us-central1-docker.pkg.dev",
            "x86_64-unknown-linux-gnu",
            "ip-10-0-12-34.eu-west-1.compute.internal",
            "crates/ServerV2/src/Index3/Handler4",
            "/home/User1/x9Y8z7/aB1cD2eF3gH4",
            "bamboo-project-412309-x1",
            "2024-11-29T17:09:31.123456",
        ] {
            assert!(!looks_random(word.as_bytes()), "{word}");
        }
    }
}
