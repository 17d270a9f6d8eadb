//! Reads the output again, with its own short list of what must not be in it.

use vte::{Params, Parser, Perform};

/// What was found that may not be there.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) found: Vec<String>,
}

impl Checker {
    pub(crate) fn of(bytes: &[u8]) -> Vec<String> {
        let mut checker = Self::default();
        if std::str::from_utf8(bytes).is_err() {
            checker.found.push("not UTF-8".into());
        }
        let (mut parser, mut complete): (Parser, _) = (Parser::new(), Vec::from(bytes));
        // A character at the end shows that no sequence is open.
        complete.push(b'#');
        parser.advance(&mut checker, &complete);
        if checker.found.pop_if(|last| last == "#").is_none() {
            checker.found.push("open at the end".into());
        }
        checker.found.retain(|found| found != "#");
        checker.found
    }

    fn bad(&mut self, what: String) {
        self.found.push(what);
    }
}

impl Perform for Checker {
    fn print(&mut self, character: char) {
        match character {
            '#' => self.bad("#".into()),
            '\x7f' => self.bad("DEL".into()),
            _ => {}
        }
    }

    fn execute(&mut self, byte: u8) {
        if !b"\0\x07\x08\t\n\x0b\x0c\r\x0e\x0f".contains(&byte) {
            self.bad(format!("control {byte:#x}"));
        }
    }

    fn hook(&mut self, _: &Params, _: &[u8], _: bool, action: char) {
        self.bad(format!("DCS {action}"));
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
        let question = params.last() == Some(&b"?".as_slice());
        if !question || !matches!(params[0], b"4" | b"10" | b"11" | b"12") {
            self.bad(format!("OSC {params:?}"));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        let first = params.iter().next().map_or(0, |param| param[0]);
        let refused = match action {
            't' => !intermediates.is_empty() || !matches!(first, 14 | 16 | 18 | 19),
            'n' => !matches!(first, 5 | 6 | 996),
            'h' => params.iter().flatten().any(|mode| match intermediates {
                b"?" => [0, 2, 3, 8, 18, 19, 40, 42, 67, 80, 1001, 1036, 1042, 1043].contains(mode),
                _ => [0, 2, 12].contains(mode),
            }),
            'q' => intermediates != b" ",
            'b' => first > 1024,
            'p' => !matches!(intermediates, b"!" | b"$" | b"?$"),
            'm' => matches!(intermediates, b">") && first != 4,
            's' | 'r' => !intermediates.is_empty(),
            'i' | 'x' | 'y' | 'z' | '{' | '|' | '}' | '~' | 'w' | 'v' | ']' => true,
            _ => intermediates.iter().any(|byte| b"'*$\"#&%+,-./()".contains(byte)),
        };
        if refused || ignore {
            self.bad(format!("CSI {intermediates:?} {params:?} {action}"));
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        let refused = match intermediates {
            // An end of string that follows a question for a colour.
            [] => !b"78DEHMcg=>\\".contains(&byte),
            [b'(' | b')' | b'*' | b'+'] => !b"012AB".contains(&byte),
            [b'#'] => !b"34568".contains(&byte),
            _ => true,
        };
        if refused || ignore {
            self.bad(format!("ESC {intermediates:?} {}", byte as char));
        }
    }
}
