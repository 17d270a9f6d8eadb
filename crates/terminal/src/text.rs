//! What stands between sequences: UTF-8 in long runs, control characters one by one.

use crate::kind::Kind;
use crate::ledger::Ledger;

/// What terminals draw for bytes that are not UTF-8. Put in here, no two decoders can read the rest differently.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The text of a stream; holds back a character that is cut off at the end of a push.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// The beginning of a character, at most three bytes.
    partial: Vec<u8>,
}

impl Text {
    /// Copies what draws. `ended` says that something other than text follows.
    pub(crate) fn push(&mut self, mut bytes: &[u8], ended: bool, output: &mut Vec<u8>, ledger: &mut Ledger) {
        while let (false, Some((first, tail))) = (self.partial.is_empty(), bytes.split_first()) {
            self.partial.push(*first);
            match std::str::from_utf8(&self.partial) {
                Ok(character) => clean(character.as_bytes(), output, ledger),
                Err(error) if error.error_len().is_none() => {
                    bytes = tail;
                    continue;
                }
                Err(_) => {
                    // The byte itself begins something new.
                    output.extend_from_slice(REPLACEMENT);
                    self.partial.clear();
                    continue;
                }
            }
            self.partial.clear();
            bytes = tail;
        }
        self.whole(bytes, output, ledger);
        if ended && !self.partial.is_empty() {
            output.extend_from_slice(REPLACEMENT);
            self.partial.clear();
        }
    }

    /// Forgets a character that was cut off.
    pub(crate) fn clear(&mut self) {
        self.partial.clear();
    }

    fn whole(&mut self, mut bytes: &[u8], output: &mut Vec<u8>, ledger: &mut Ledger) {
        loop {
            let Err(error) = std::str::from_utf8(bytes) else { return clean(bytes, output, ledger) };
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            clean(valid, output, ledger);
            let Some(length) = error.error_len() else { return self.partial.extend_from_slice(rest) };
            let (invalid, rest) = rest.split_at(length);
            match invalid {
                // Terminals that take 8-bit controls act on these: 0x9b is CSI, 0x9d is OSC, 0x90 is DCS.
                [0x80..=0x9f] => ledger.counts.add(Kind::C1),
                _ => output.extend_from_slice(REPLACEMENT),
            }
            bytes = rest;
        }
    }
}

/// What must be looked at: controls but NUL and those from BEL to CR, and the first of the two bytes that write a C1
/// control in UTF-8.
const fn special(byte: u8) -> bool {
    byte == 0xc2 || byte == 0x7f || (byte < 0x20 && byte.wrapping_sub(0x07) > 0x06 && byte != 0)
}

/// Copies valid UTF-8, and lets the ledger judge the controls in it.
fn clean(mut bytes: &[u8], output: &mut Vec<u8>, ledger: &mut Ledger) {
    while let Some(at) = find(bytes, special) {
        let (run, rest) = bytes.split_at(at);
        output.extend_from_slice(run);
        bytes = match rest {
            [0xc2, 0x80..=0x9f, rest @ ..] => {
                ledger.counts.add(Kind::C1);
                rest
            }
            [0xc2, second, rest @ ..] => {
                output.extend_from_slice(&[0xc2, *second]);
                rest
            }
            [control, rest @ ..] => {
                ledger.control(*control, output);
                rest
            }
            [] => return,
        };
    }
    output.extend_from_slice(bytes);
}

/// Where the first such byte is. The inner loop has no branch, so that the compiler makes vector code of it.
pub(crate) fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const WIDTH: usize = 32;
    let (chunks, _) = bytes.as_chunks::<WIDTH>();
    let dull = chunks.iter().take_while(|chunk| {
        let found = chunk.iter().fold(0, |found, byte| found | u8::from(wanted(*byte)));
        found == 0
    });
    let skipped = dull.count() * WIDTH;
    let at = bytes.get(skipped..)?.iter().position(|byte| wanted(*byte))?;
    Some(skipped + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::allowed;

    #[test]
    fn special_is_what_the_ledger_must_see() {
        for byte in 0..=0x7f {
            let control = byte < 0x20 || byte == 0x7f;
            let shift = matches!(byte, 0x0e | 0x0f);
            assert_eq!(special(byte), shift || control && allowed(byte).is_err(), "{byte:#x}");
        }
    }

    #[test]
    fn found_at_every_place() {
        for length in 0..100 {
            assert_eq!(find(&vec![b'a'; length], special), None);
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                bytes[at] = 0x1b;
                assert_eq!(find(&bytes, special), Some(at));
            }
        }
    }
}
