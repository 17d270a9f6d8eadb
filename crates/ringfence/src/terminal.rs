//! What people read: stderr for words of ours, stdout for results; nothing that acts on a terminal passes.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

/// Writes a line of ours.
pub(crate) fn error(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Writes a result. A reader that went away ends quietly; what cannot be written ends the program.
pub(crate) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    if let Err(fault) = written
        && fault.kind() != std::io::ErrorKind::BrokenPipe
    {
        error(&format!("{} standard output: {fault}", label("error:")));
        std::process::exit(i32::from(crate::failure::Failure::OURS));
    }
}

/// A bold label; `anstream` strips it where there is no terminal or NO_COLOR is set.
pub(crate) fn label(text: &str) -> String {
    format!("\u{1b}[1mringfence: {text}\u{1b}[0m")
}

/// Whether errors are read by a person with colours.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The same for results.
pub(crate) fn colour_out() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A word of a command line that is shown to be pasted: one word to every shell, whatever a task called its file.
pub(crate) fn word(text: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || "_./@%+=:,-~".contains(one);
    if !text.is_empty() && !text.starts_with(['-', '~', '=']) && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path of a command line, likewise: where it cannot be shown as it is, in the notation of bash and zsh that names its bytes, so that
/// no other file is meant by what is shown.
pub(crate) fn path(path: impl AsRef<OsStr>) -> String {
    let bytes = path.as_ref().as_bytes();
    let shown = ringfence_workspace::escape(path.as_ref());
    if shown.as_bytes() == bytes {
        return word(&shown);
    }
    let mut text = String::from("$'");
    for byte in bytes.iter().copied() {
        match byte {
            b'\\' | b'\'' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('\'');
    text
}

/// The same as [`escape`] in one line: no name of the task's begins another one, which would pass for a line of ours.
pub(crate) fn line(text: impl AsRef<OsStr>) -> String {
    escape(text).replace('\n', "\\n")
}

/// Text without bytes that act on a terminal or mislead its reader; line breaks stay.
pub(crate) fn escape(text: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    for character in text.as_ref().to_string_lossy().chars() {
        let misleading = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if (character.is_control() && character != '\n') || misleading {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one() {
        let name = "y\nringfence: ask:\r\u{85}\u{2028}\u{2029}\u{1b}[2K";
        let shown = line(name);
        assert!(shown.starts_with("y\\nringfence: ask:\\r"), "{shown}");
        assert!(!shown.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{1b}']), "{shown:?}");
    }

    #[test]
    fn a_name_is_one_word() {
        assert_eq!(word("src/main.rs"), "src/main.rs");
        for name in ["a; touch PWN #", "$(id)", "a b", "it's", "-rf", "`id`", "a\nb", "*", ""] {
            let shown =
                std::process::Command::new("sh").args(["-c", &format!("printf %s {}", word(name))]).output();
            assert_eq!(shown.unwrap().stdout, name.as_bytes(), "{name}");
        }
    }
}
