//! Which sequences draw. The lists are of what is allowed; everything else gets the kind it is counted as.
//!
//! A question to the terminal is allowed when programs need it and the answer is numbers that the task did not choose:
//! the answer may arrive when the task has ended, and is then typed into the user's shell.

use vte::Params;

use crate::kind::Kind;
use crate::modes;

/// The most a character is repeated (REP): the widest line. Six bytes are otherwise worth 65 535.
const MAX_REPEAT: u16 = 1024;

/// Escape sequences, by what stands between ESC and the last byte.
pub(crate) const fn escape(intermediates: &[u8], last: u8) -> Result<(), Kind> {
    match (intermediates, last) {
        // Save and restore the cursor, index, next line, tab stop, reverse index, keypad. RIS too: `reset` needs it, and
        // it leads only to where the terminal began.
        ([], b'7' | b'8' | b'D' | b'E' | b'H' | b'M' | b'=' | b'>' | b'c') => Ok(()),
        // The visible bell of screen and tmux.
        ([], b'g') => Ok(()),
        // Line sizes and the alignment pattern.
        (b"#", b'3'..=b'6' | b'8') => Ok(()),
        // ASCII, UK, line drawing and the alternate ROM, into G0 to G3.
        (b"(" | b")" | b"*" | b"+", b'0' | b'1' | b'2' | b'A' | b'B') => Ok(()),
        // DECID: an answer that `CSI c` gives as well.
        ([], b'Z') => Err(Kind::Report),
        // 8-bit controls in answers, UTF-8 off, other character sets, shifts.
        (b" " | b"%" | b"(" | b")" | b"*" | b"+" | b"-" | b"." | b"/", _) => Err(Kind::Encoding),
        ([], b'N' | b'O' | b'n' | b'o' | b'|' | b'}' | b'~') => Err(Kind::Encoding),
        _ => Err(Kind::Unknown),
    }
}

/// Control sequences, by what stands around the parameters.
pub(crate) fn csi(params: &Params, intermediates: &[u8], action: char) -> Result<(), Kind> {
    let colons = params.iter().any(|param| param.len() != 1);
    if colons && !matches!((intermediates, action), ([], 'm')) {
        return Err(Kind::Malformed);
    }
    match intermediates {
        [] => standard(params, action),
        b"?" => private(params, action),
        b">" | b"<" | b"=" => extended(params, intermediates, action),
        // DECRQM: the answer is two numbers. DECSTR resets less than RIS.
        b"$" | b"?$" if action == 'p' => Ok(()),
        b"!" if action == 'p' => Ok(()),
        // Cursor style; scroll left and right.
        b" " if matches!(action, 'q' | '@' | 'A') => Ok(()),
        _ => Err(others(intermediates, action)),
    }
}

fn standard(params: &Params, action: char) -> Result<(), Kind> {
    match (action, only(params)) {
        // Cursor, erase, insert, delete, scroll, tabs, attributes, margins, device attributes.
        ('@' | 'A'..='M' | 'P' | 'S' | 'X' | 'Z' | '`' | 'a' | 'c'..='g' | 'm' | 'r' | 's' | 'u', _) => {
            Ok(())
        }
        ('T', Some(_)) => Ok(()),
        // Five parameters: the terminal waits for the program to track the mouse.
        ('T', None) => Err(Kind::Device),
        ('b', Some(count)) if count <= MAX_REPEAT => Ok(()),
        ('b', _) => Err(Kind::Malformed),
        ('h' | 'l', _) => all_modes(false, params, action == 'h'),
        // Status and position of the cursor.
        ('n', Some(5 | 6)) => Ok(()),
        ('n' | 'x', _) => Err(Kind::Report),
        // Sizes of the window, a cell and the screen.
        ('t', Some(14 | 16 | 18 | 19)) => Ok(()),
        ('t', _) => Err(window(params)),
        ('i', _) => Err(Kind::Print),
        // LEDs, self-tests; `]` is the Linux console's: blanking, bell, switching consoles.
        ('q' | 'y' | ']', _) => Err(Kind::Device),
        _ => Err(Kind::Unknown),
    }
}

fn private(params: &Params, action: char) -> Result<(), Kind> {
    match (action, only(params)) {
        // Erase what is not protected; the Linux console's cursor; tab stops every eight columns.
        ('J' | 'K' | 'c', _) | ('W', Some(5)) => Ok(()),
        ('h' | 'l', _) => all_modes(true, params, action == 'h'),
        // Position of the cursor; whether colours are dark or light.
        ('n', Some(6 | 996)) => Ok(()),
        // Keyboard flags; whether keys are modified.
        ('u', _) | ('m', Some(4)) => Ok(()),
        ('n' | 'w', _) => Err(Kind::Report),
        ('i', _) => Err(Kind::Print),
        ('S', _) => Err(Kind::Graphics),
        // Saved modes could be restored unseen.
        ('s' | 'r', _) => Err(Kind::Mode),
        _ => Err(Kind::Unknown),
    }
}

fn extended(params: &Params, intermediates: &[u8], action: char) -> Result<(), Kind> {
    match (intermediates, action) {
        (b">", 'c') => Ok(()),
        // Keyboard flags of kitty's protocol: pushed, popped, set.
        (_, 'u') => Ok(()),
        // modifyOtherKeys. The other numbers change cursor and function keys.
        (b">", 'm') if params.len() <= 2 && first(params) == 4 => Ok(()),
        (b">", 'm' | 'n' | 'f') => Err(Kind::Keys),
        // XTVERSION, DA3: the answer is text.
        (b">", 'q') | (b"=", 'c') => Err(Kind::Report),
        (b">", 't') => Err(Kind::Title),
        _ => Err(Kind::Unknown),
    }
}

/// The rest: for the count only.
const fn others(intermediates: &[u8], action: char) -> Kind {
    match (intermediates, action) {
        // DECSCL: 8-bit controls in answers.
        (b"\"", 'p') => Kind::Encoding,
        // Checksum of the screen, state of the terminal, attributes.
        (b"*", 'y') | (b"$", 'u' | 'w') | (b"#", '|' | 'S') | (b"&", 'u') => Kind::Report,
        (b"?" | b"$" | b"*" | b"'" | b"#" | b"\"" | b"+" | b"&" | b" " | b"," | b"-" | b")" | b"!", _) => {
            Kind::Device
        }
        _ => Kind::Unknown,
    }
}

/// Window operations that are refused (ctlseqs, XTWINOPS): 20 and 21 report titles, CVE-2003-0063; 22 and 23 save and
/// restore them; 11 and 13 report, the rest move and resize.
fn window(params: &Params) -> Kind {
    match first(params) {
        11 | 13..=21 => Kind::Report,
        22 | 23 => Kind::Title,
        _ => Kind::Window,
    }
}

fn all_modes(private: bool, params: &Params, on: bool) -> Result<(), Kind> {
    let refused = params.iter().flatten().find(|number| !modes::allowed(private, **number, on));
    match (private, refused) {
        (_, None) => Ok(()),
        (false, Some(2)) | (true, Some(8 | 67 | 1035..=1039 | 1050..=1061 | 7727)) => Err(Kind::Keys),
        (true, Some(3 | 40 | 1042 | 1043)) => Err(Kind::Window),
        (true, Some(18 | 19)) => Err(Kind::Print),
        (true, Some(2 | 42)) => Err(Kind::Encoding),
        (_, Some(_)) => Err(Kind::Mode),
    }
}

/// Operating system commands. Allowed is only to ask for a colour: editors choose theirs to fit, and the answer is a
/// colour. To set one would outlast a run that is killed, and to reset one would take what the user had set.
pub(crate) fn osc(params: &[&[u8]]) -> Result<(), Kind> {
    match params {
        [b"10" | b"11" | b"12", b"?"] => Ok(()),
        [b"4", index, b"?"] if matches!(index.len(), 1..=3) && index.iter().all(u8::is_ascii_digit) => Ok(()),
        [number, ..] => Err(command(number)),
        [] => Err(Kind::Unknown),
    }
}

/// What an operating system command is for (ctlseqs; iTerm2 9, 133, 1337; urxvt 777; kitty 99, 5522; VS Code 633).
const fn command(number: &[u8]) -> Kind {
    match number {
        b"0" | b"1" | b"2" | b"3" | b"21" | b"l" | b"L" | b"I" => Kind::Title,
        b"52" | b"5522" => Kind::Clipboard,
        b"8" => Kind::Hyperlink,
        b"9" | b"99" | b"777" => Kind::Notification,
        b"1337" | b"5113" => Kind::FileTransfer,
        b"7" | b"133" | b"633" => Kind::Shell,
        b"4" | b"5" | b"6" | b"10" | b"11" | b"12" | b"13" | b"14" | b"15" | b"16" | b"17" | b"18"
        | b"19" | b"104" | b"105" | b"106" | b"110" | b"111" | b"112" | b"113" | b"114" | b"115" | b"116"
        | b"117" | b"118" | b"119" => Kind::Colour,
        // A font is named and asked for (CVE-2022-45063); a pointer shape; programs around the terminal.
        b"22" | b"46" | b"50" | b"51" | b"60" | b"61" => Kind::Device,
        _ => Kind::Unknown,
    }
}

/// Device control strings; none is allowed.
pub(crate) const fn device(intermediates: &[u8], action: char) -> Kind {
    match (intermediates, action) {
        // DECRQSS (CVE-2008-2383, CVE-2022-45872), XTGETTCAP.
        (b"$" | b"+", 'q') => Kind::Report,
        // DECUDK, XTSETTCAP.
        ([], '|') | (b"+", 'p') => Kind::Keys,
        // Sixel, ReGIS.
        ([], 'q' | 'p') => Kind::Graphics,
        // Soft fonts, macros, restored states, passing through to the terminal around tmux and screen.
        _ => Kind::Device,
    }
}

/// Other strings, by their second byte and the first of their content; none is allowed.
pub(crate) const fn string(introducer: u8, content: Option<u8>) -> Kind {
    match (introducer, content) {
        (b'_', Some(b'G')) => Kind::Graphics,
        (b'k', _) => Kind::Title,
        (b']', _) => Kind::Malformed,
        _ => Kind::Device,
    }
}

fn first(params: &Params) -> u16 {
    params.iter().flatten().next().copied().unwrap_or_default()
}

/// The parameter, if there is one.
fn only(params: &Params) -> Option<u16> {
    (params.len() == 1).then(|| first(params))
}
