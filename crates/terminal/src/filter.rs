//! The filter: text to `text`, the rest to the parser.

use memchr::memchr;
use vte::Parser;

use crate::kind::Kind;
use crate::ledger::Ledger;
use crate::sequence::{Actor, ESC, Sequence};
use crate::text::{Text, find};

/// Takes out of a stream what would act on the terminal it goes to. See the crate for what that is.
///
/// It works on whatever pieces the stream comes in, and needs the same small memory for any stream.
///
/// ```
/// let mut filter = ringfence_terminal::Filter::new();
/// let mut output = Vec::new();
/// filter.push(b"\x1b[1mbold\x1b]52;c;cm0gLXJmIC8K\x07", &mut output);
/// filter.finish(&mut output);
/// assert_eq!(output, b"\x1b[1mbold\x1b[m");
/// assert_eq!(filter.removed().collect::<Vec<_>>(), [(ringfence_terminal::Kind::Clipboard, 1)]);
/// ```
#[derive(Default)]
pub struct Filter {
    parser: Parser,
    text: Text,
    sequence: Sequence,
    ledger: Ledger,
}

impl Filter {
    /// For a terminal between two sequences.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `output` what of `input` may be written to the terminal. What is not complete is held back.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        let mut rest = input;
        while !rest.is_empty() {
            let used =
                if self.sequence.open { self.inside(rest, output) } else { self.outside(rest, output) };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// At the end of the stream: drops what is not complete, and appends what undoes the task's settings, if it left any
    /// (alternate screen, hidden cursor, attributes, character sets, mouse and keyboard modes, ...).
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        self.text.clear();
        self.break_off();
        self.parser = Parser::new();
        self.ledger.leftovers.undo(output);
    }

    /// What makes the terminal fit for somebody else's words, between two pushes, and for keys that answer them; and what puts it back as
    /// the task had it, as far as that is known.
    pub fn interlude(&self) -> (Vec<u8>, Vec<u8>) {
        self.ledger.leftovers.interlude()
    }

    /// What was removed so far, and how many of it.
    pub fn removed(&self) -> impl Iterator<Item = (Kind, u64)> {
        self.ledger.counts.iter()
    }

    /// Text, up to an ESC and with it. How many bytes that were.
    fn outside(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        let escape = memchr(ESC, input);
        let (text, _) = input.split_at(escape.unwrap_or(input.len()));
        self.text.push(text, escape.is_some(), output, &mut self.ledger);
        if escape.is_none() {
            return text.len();
        }
        self.advance(ESC, output);
        self.sequence.begin();
        text.len() + 1
    }

    /// Part of a sequence. How many bytes that were.
    fn inside(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        if self.sequence.is_string() && self.sequence.is_overlong() {
            // Content that nobody will see is not read: a control ends it, or is in it.
            let content = find(input, |byte| byte < 0x20).unwrap_or(input.len());
            if content > 0 {
                return content;
            }
        }
        let parameters = self.sequence.parameters(input);
        if !parameters.is_empty() {
            let (sequence, ledger) = (&mut self.sequence, &mut self.ledger);
            self.parser.advance(&mut Actor { sequence, ledger, output, byte: b'0' }, parameters);
            return parameters.len();
        }
        let Some(byte) = input.first() else { return 0 };
        match byte {
            &ESC => {
                // First, since it ends a string.
                self.advance(ESC, output);
                if self.sequence.open {
                    self.ledger.counts.add(self.sequence.broken_off());
                }
                self.sequence.begin();
            }
            0x00..=0x1f if self.sequence.is_screen_title() => return self.break_off(),
            0x00..=0x1f => self.advance(*byte, output),
            0x7f.. if !self.sequence.is_string() => return self.break_off(),
            _ if !self.sequence.keep(*byte) && self.sequence.is_string() => {}
            0x7f.. => {}
            _ => {
                self.advance(*byte, output);
                if self.sequence.open && self.sequence.is_last_of_csi(*byte) {
                    self.break_off();
                }
            }
        }
        1
    }

    /// Ends a sequence here: the byte that did it, if any, is text, so none is used.
    fn break_off(&mut self) -> usize {
        if self.sequence.open {
            self.ledger.counts.add(self.sequence.broken_off());
            self.sequence.open = false;
        }
        0
    }

    fn advance(&mut self, byte: u8, output: &mut Vec<u8>) {
        let (sequence, ledger) = (&mut self.sequence, &mut self.ledger);
        self.parser.advance(&mut Actor { sequence, ledger, output, byte }, &[byte]);
    }
}
