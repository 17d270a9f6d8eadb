//! What a task set and did not reset, and what undoes it.

use vte::Params;

use crate::modes::Changed;

/// Most entries of one screen's stack of keyboard flags; terminals keep fewer.
const MAX_DEPTH: u16 = 32;

/// What differs from a terminal that was not touched, so far as the task did it.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    modes: Changed,
    /// Bits at the indices of [`SETTINGS`].
    settings: u32,
    /// Main and alternate screen: each has a stack of its own (kitty's keyboard protocol, "Progressive enhancement").
    keyboards: [Keyboard; 2],
    /// A scrolling region.
    region: bool,
    /// The last letter of the sequence that set G0.
    letters: u8,
    /// The value of modifyOtherKeys.
    modified: u16,
}

/// Flags of kitty's keyboard protocol on one screen.
#[derive(Debug, Default)]
struct Keyboard {
    /// Pushed and not popped.
    depth: u16,
    /// The entry beneath those was changed.
    changed: bool,
}

/// A setting that one sequence undoes.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Attributes,
    G0,
    G1,
    G2,
    G3,
    Shifted,
    Keypad,
    CursorStyle,
    ConsoleCursor,
    ModifiedKeys,
    Tabs,
}

const SETTINGS: &[(Setting, &[u8])] = &[
    (Setting::Attributes, b"\x1b[m"),
    (Setting::G0, b"\x1b(B"),
    (Setting::G1, b"\x1b)B"),
    (Setting::G2, b"\x1b*B"),
    (Setting::G3, b"\x1b+B"),
    (Setting::Shifted, b"\x0f"),
    (Setting::Keypad, b"\x1b>"),
    (Setting::CursorStyle, b"\x1b[0 q"),
    (Setting::ConsoleCursor, b"\x1b[?0c"),
    (Setting::ModifiedKeys, b"\x1b[>4m"),
    (Setting::Tabs, b"\x1b[?5W"),
];

impl Leftovers {
    /// A control character went through.
    pub(crate) fn control(&mut self, control: u8) {
        match control {
            0x0e => self.set(Setting::Shifted, true),
            0x0f => self.set(Setting::Shifted, false),
            _ => {}
        }
    }

    /// An allowed escape sequence went through.
    pub(crate) fn escape(&mut self, intermediates: &[u8], last: u8) {
        match (intermediates, last) {
            ([], b'c') => *self = Self::default(),
            ([], b'=') => self.set(Setting::Keypad, true),
            ([], b'>') => self.set(Setting::Keypad, false),
            ([], b'H') => self.set(Setting::Tabs, true),
            (b"(", last) => {
                self.letters = last;
                self.set(Setting::G0, last != b'B');
            }
            (b")", last) => self.set(Setting::G1, last != b'B'),
            (b"*", last) => self.set(Setting::G2, last != b'B'),
            (b"+", last) => self.set(Setting::G3, last != b'B'),
            _ => {}
        }
    }

    /// An allowed control sequence goes through. False: not now, it would undo what the task did not do.
    pub(crate) fn csi(&mut self, params: &Params, intermediates: &[u8], action: char) -> bool {
        let mut numbers = params.iter().map(|param| param.first().copied().unwrap_or_default());
        let first = numbers.next().unwrap_or_default();
        let second = numbers.next();
        match (intermediates, action) {
            ([], 'h' | 'l') => self.modes(false, params, action == 'h'),
            (b"?", 'h' | 'l') => self.modes(true, params, action == 'h'),
            ([], 'm') => self.set(Setting::Attributes, (first, params.len()) != (0, 1)),
            ([], 'r') => self.region = (first, second) != (0, None),
            ([], 'g') => self.set(Setting::Tabs, true),
            (b"?", 'W') => self.set(Setting::Tabs, false),
            (b"?", 'c') => self.set(Setting::ConsoleCursor, first != 0),
            (b" ", 'q') => self.set(Setting::CursorStyle, first != 0),
            (b">", 'm') => {
                self.modified = second.unwrap_or_default();
                self.set(Setting::ModifiedKeys, second.is_some());
            }
            (b">" | b"<" | b"=", 'u') => return self.keyboard(intermediates, first),
            _ => {}
        }
        true
    }

    /// Writes what undoes all of it, and forgets it.
    pub(crate) fn undo(&mut self, output: &mut Vec<u8>) {
        if self.modes.alternate() {
            self.keyboards[1].undo(output);
        }
        self.modes.undo(output);
        self.keyboards[0].undo(output);
        if self.modes.is(6) {
            // Leaving the origin mode moves the cursor to the top, and saving the cursor would save the mode with it.
            output.extend_from_slice(if self.region { b"\x1b[r\x1b[9999H" } else { b"\x1b[9999H" });
        } else if self.region {
            output.extend_from_slice(b"\x1b7\x1b[r\x1b8");
        }
        for (setting, undo) in SETTINGS {
            if self.has(*setting) {
                output.extend_from_slice(undo);
            }
        }
        *self = Self::default();
    }

    /// What makes the terminal fit for somebody else's words and for keys that answer them, and what puts it back. Colours, regions and
    /// the cursor's place are not put back: of those it is known only that they were set. What was drawn on an alternate screen is gone.
    pub(crate) fn interlude(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut aside, mut back) = (Vec::new(), Vec::new());
        self.modes.undo(&mut aside);
        if self.keyboards.iter().any(|keyboard| keyboard.depth > 0 || keyboard.changed) {
            // No flags at all, above whatever the task has there.
            aside.extend_from_slice(b"\x1b[>0u");
            back.extend_from_slice(b"\x1b[<1u");
        }
        self.modes.redo(&mut back);
        let modified = format!("\x1b[>4;{}m", self.modified);
        let g0 = [0x1b, b'(', self.letters];
        let known: [(Setting, &[u8], &[u8]); 4] = [
            (Setting::ModifiedKeys, b"\x1b[>4m", modified.as_bytes()),
            (Setting::Keypad, b"\x1b>", b"\x1b="),
            (Setting::G0, b"\x1b(B", &g0),
            (Setting::Shifted, b"\x0f", b"\x0e"),
        ];
        for (_, undo, redo) in known.into_iter().filter(|(setting, ..)| self.has(*setting)) {
            aside.extend_from_slice(undo);
            back.extend_from_slice(redo);
        }
        (aside, back)
    }

    fn has(&self, setting: Setting) -> bool {
        self.settings >> (setting as u32) & 1 == 1
    }

    fn set(&mut self, setting: Setting, on: bool) {
        let bit = setting as u32;
        self.settings = (self.settings & !(1 << bit)) | (u32::from(on) << bit);
    }

    fn modes(&mut self, private: bool, params: &Params, on: bool) {
        for number in params.iter().flatten() {
            self.modes.note(private, *number, on);
        }
    }

    fn keyboard(&mut self, intermediates: &[u8], number: u16) -> bool {
        let [main, alternate] = &mut self.keyboards;
        let keyboard = if self.modes.alternate() { alternate } else { main };
        match intermediates {
            b">" if keyboard.depth < MAX_DEPTH => keyboard.depth += 1,
            // More than was pushed would take what the user's shell or editor has there.
            b"<" if number.max(1) <= keyboard.depth => keyboard.depth -= number.max(1),
            b"=" if keyboard.depth == 0 => keyboard.changed = number != 0,
            b"=" => {}
            _ => return false,
        }
        true
    }
}

impl Keyboard {
    fn undo(&self, output: &mut Vec<u8>) {
        if self.depth > 0 {
            output.extend_from_slice(format!("\x1b[<{}u", self.depth).as_bytes());
        }
        if self.changed {
            output.extend_from_slice(b"\x1b[=0u");
        }
    }
}
