//! What is typed, without what a terminal tells in sequences: keys with others held down, the mouse, the focus, answers to the task, pastes.

/// Follows the bytes from a terminal. What is cut off is no key: one that was meant is pressed again.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    state: State,
    /// Between the marks of a paste.
    pasting: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Key,
    /// ESC came; with a key behind it that is one sequence (Alt).
    Escape,
    /// `ESC [`, and what came of its numbers.
    Control(Vec<u8>),
    /// So many letters are its last.
    Last(u8),
    /// `ESC O`.
    Single,
    /// Content, up to BEL or `ESC \`.
    Text,
}

/// Of the numbers of a sequence as many are kept as tell a paste from others.
const NUMBERS: usize = 4;

impl Keys {
    /// The byte, if it is a key by itself.
    pub(crate) fn key(&mut self, byte: u8) -> Option<u8> {
        match (byte, &self.state) {
            // Whatever stands open: Ctrl-C, Ctrl-D.
            (3 | 4, _) => {
                *self = Self::default();
                return Some(byte);
            }
            (0x1b, _) => self.state = State::Escape,
            (_, State::Key) => return (!self.pasting).then_some(byte),
            // Enter, and what cancels.
            (b'\r' | b'\n' | 0x18 | 0x1a, _) => self.state = State::Key,
            _ => self.inside(byte),
        }
        None
    }

    fn inside(&mut self, byte: u8) {
        self.state = match (std::mem::take(&mut self.state), byte) {
            (State::Escape, b'[') => State::Control(Vec::new()),
            (State::Escape, b'O') => State::Single,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Text,
            (State::Escape, b' '..=b'/') => State::Escape,
            // The mouse as X10 has it: a button and a place; and function keys of the Linux console.
            (State::Control(numbers), b'M') if numbers.is_empty() => State::Last(3),
            (State::Control(numbers), b'[') if numbers.is_empty() => State::Last(1),
            (State::Control(numbers), b'@'..=b'~') => {
                match (numbers.as_slice(), byte) {
                    (b"200", b'~') => self.pasting = true,
                    (b"201", b'~') => self.pasting = false,
                    _ => {}
                }
                State::Key
            }
            (State::Control(mut numbers), byte) => {
                if numbers.len() < NUMBERS {
                    numbers.push(byte);
                }
                State::Control(numbers)
            }
            // A letter of several bytes counts once.
            (State::Last(left), 0x80..=0xbf) => State::Last(left),
            (State::Last(left), _) if left > 1 => State::Last(left - 1),
            (State::Single, b'0'..=b';') => State::Single,
            (State::Text, 7) => State::Key,
            (State::Text, _) => State::Text,
            _ => State::Key,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_tells_is_no_key() {
        for sequence in [
            "\x1b[A",
            "\x1bOP",
            "\x1bO2P",
            "\x1b[121u",
            "\x1b[13u",
            "\x1b[121;1:3u",
            "\x1b[27;5;121~",
            "\x1b[<35;10;5M",
            "\x1b[<0;1;1m",
            "\x1b[32;10;5M",
            "\x1b[M #y",
            "\x1b[M é1",
            "\x1b[I",
            "\x1b[O",
            "\x1b[24;80R",
            "\x1b[?62;c",
            "\x1by",
            "\x1b\r",
            "\x1b\x1b[A",
            "\x1b[[A",
            "\x1b]11;rgb:0/0/0\x1b\\",
            "\x1b]11;y\x07",
            "\x1bP1$ry\x1b\\",
            "\x1b[200~y\rn\x1b[201~",
            "\x1b[1\x18",
        ] {
            let mut keys = Keys::default();
            let typed: Vec<u8> = sequence.bytes().chain(*b"t\r").filter_map(|byte| keys.key(byte)).collect();
            assert_eq!(typed, b"t\r", "{sequence:?}");
        }
        let mut keys = Keys::default();
        let typed: Vec<u8> = b"\x1b[200~y\x03".iter().filter_map(|byte| keys.key(*byte)).collect();
        assert_eq!(typed, b"\x03");
    }
}
