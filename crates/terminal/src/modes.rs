//! The modes a task may set and reset, each with what it does and how a terminal begins.
//!
//! From "XTerm Control Sequences" (modes below 2000) and the specifications of single modes (above). Not here, and why:
//! 2 (VT52: other sequences, which are not parsed here), 8 and 67 (what keys send), 18 and 19 (printing), 40 (lets 3
//! resize the window), 42 (other character sets), 80 (sixel), 1001 (the terminal waits for an answer), 1036 to 1061
//! (what keys send, bell that raises the window).

/// Whether a mode is on in a terminal that was not touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usual {
    On,
    Off,
    /// Off, and may only be switched off: terminfo's `is2` and `rs2` do so.
    Stays,
    /// Not a state: an act on each setting and resetting.
    Act,
}
use Usual::{Act, Off, On, Stays};

/// DEC private modes. Those a terminal must leave first come first.
const PRIVATE: &[(u16, Usual)] = &[
    (2026, Off), // output held back until it is complete
    (1049, Off), // alternate screen, cursor saved
    (1047, Off), // alternate screen
    (47, Off),   // alternate screen
    (1, Off),    // cursor keys send SS3
    (3, Stays),  // 132 columns: resizes the window
    (4, Stays),  // smooth scrolling
    (5, Off),    // reverse video
    (6, Off),    // origin at the scrolling region
    (7, On),     // wrap at the right margin
    (9, Off),    // mouse: presses, as X10
    (12, Off),   // cursor blinks
    (25, On),    // cursor is shown
    (45, Off),   // backspace wraps to the line before
    (66, Off),   // keypad sends SS3
    (69, Off),   // left and right margins
    (1000, Off), // mouse: presses and releases
    (1002, Off), // mouse: drags
    (1003, Off), // mouse: all motion
    (1004, Off), // focus in and out
    (1005, Off), // mouse: coordinates in UTF-8
    (1006, Off), // mouse: coordinates in decimal
    (1007, On), // the wheel sends cursor keys on the alternate screen; terminals begin either way, on does no harm
    (1015, Off), // mouse: coordinates in decimal, as urxvt
    (1016, Off), // mouse: coordinates in pixels
    (1034, On), // Meta sets the eighth bit; readline sends terminfo's `smm`
    (1048, Act), // saves and restores the cursor
    (2004, Off), // pasted text is bracketed
    (2027, Off), // width of grapheme clusters
    (2031, Off), // tells of dark and light
    (2048, Off), // tells of a new size
];

/// ANSI modes. Not here: 2 (locks the keyboard), 12 (echo).
const STANDARD: &[(u16, Usual)] = &[
    (4, Off),  // insert
    (20, Off), // LF returns
    (34, On),  // shape of the cursor, in terminfo of screen and tmux
];

/// Whether a mode may be set (`on`) or reset.
pub(crate) fn allowed(private: bool, number: u16, on: bool) -> bool {
    let usual = table(private).iter().find(|(known, _)| *known == number).map(|(_, usual)| *usual);
    match usual {
        None => false,
        Some(Stays) => !on,
        Some(On | Off | Act) => true,
    }
}

/// The modes that are not as usual.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    private: u64,
    standard: u64,
}

impl Changed {
    /// Takes down that a mode was set or reset.
    pub(crate) fn note(&mut self, private: bool, number: u16, on: bool) {
        let table = table(private);
        let Some(index) = table.iter().position(|(known, _)| *known == number) else { return };
        let changed = match table.get(index) {
            Some((_, On)) => !on,
            Some((_, Off)) => on,
            _ => return,
        };
        let bits = if private { &mut self.private } else { &mut self.standard };
        *bits = (*bits & !(1 << index)) | (u64::from(changed) << index);
    }

    /// Whether the screen is an alternate one.
    pub(crate) fn alternate(&self) -> bool {
        self.is(1049) || self.is(1047) || self.is(47)
    }

    /// Whether a private mode is not as usual.
    pub(crate) fn is(&self, number: u16) -> bool {
        PRIVATE.iter().position(|(known, _)| *known == number).is_some_and(|n| self.private >> n & 1 == 1)
    }

    /// Writes what makes them as usual.
    pub(crate) fn undo(&self, output: &mut Vec<u8>) {
        for (number, mark, usual) in self.all() {
            let action = if usual == On { 'h' } else { 'l' };
            output.extend_from_slice(format!("\x1b[{mark}{number}{action}").as_bytes());
        }
    }

    /// Writes what makes them from usual as they are: that output is held back last, as it was undone first.
    pub(crate) fn redo(&self, output: &mut Vec<u8>) {
        let (held, others): (Vec<_>, Vec<_>) = self.all().partition(|(number, ..)| *number == 2026);
        for (number, mark, usual) in others.into_iter().chain(held) {
            let action = if usual == On { 'l' } else { 'h' };
            output.extend_from_slice(format!("\x1b[{mark}{number}{action}").as_bytes());
            if (number, mark) == (6, "?") {
                // The origin mode moves the cursor to the top.
                output.extend_from_slice(b"\x1b[9999H");
            }
        }
    }

    /// Those, each with what stands before its number and how it usually is.
    fn all(&self) -> impl Iterator<Item = (u16, &'static str, Usual)> {
        [(PRIVATE, self.private, "?"), (STANDARD, self.standard, "")].into_iter().flat_map(
            |(table, bits, mark)| {
                let changed = table.iter().enumerate().filter(move |(index, _)| bits >> index & 1 == 1);
                changed.map(move |(_, (number, usual))| (*number, mark, *usual))
            },
        )
    }
}

const fn table(private: bool) -> &'static [(u16, Usual)] {
    if private { PRIVATE } else { STANDARD }
}

const _: () = assert!(PRIVATE.len() <= 64 && STANDARD.len() <= 64, "one bit each");
