//! What a removed sequence was for, and how many of each there were.

/// What was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Writes or reads the clipboard (OSC 52).
    Clipboard,
    /// Sets, saves or restores a title.
    Title,
    /// Makes the terminal type an answer that is more than numbers, or that shows what is on the screen.
    Report,
    /// Changes what keys send, or locks the keyboard.
    Keys,
    /// Moves, resizes, raises or iconifies a window.
    Window,
    /// Prints, or writes the screen to a file (media copy).
    Print,
    /// A desktop notification or a progress report.
    Notification,
    /// Hands files to or from the user's machine.
    FileTransfer,
    /// A link, whose text stays: it may lead elsewhere than it says.
    Hyperlink,
    /// Sets or resets colours of the terminal itself.
    Colour,
    /// Claims to be the user's shell: prompt marks, current directory.
    Shell,
    /// Pictures and graphics that are data for a decoder in the terminal.
    Graphics,
    /// A mode that is not on the list.
    Mode,
    /// Changes how bytes are read: UTF-8 off, 8-bit controls on, other character sets.
    Encoding,
    /// Another command to the device: macros, fonts, self-tests, strings for a program around the terminal.
    Device,
    /// A control character that draws nothing.
    Control,
    /// An 8-bit control, raw or written in UTF-8.
    C1,
    /// Cut off, too long, or not in the form the standard gives.
    Malformed,
    /// Not on the list, and not known.
    Unknown,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::Clipboard,
        Self::Title,
        Self::Report,
        Self::Keys,
        Self::Window,
        Self::Print,
        Self::Notification,
        Self::FileTransfer,
        Self::Hyperlink,
        Self::Colour,
        Self::Shell,
        Self::Graphics,
        Self::Mode,
        Self::Encoding,
        Self::Device,
        Self::Control,
        Self::C1,
        Self::Malformed,
        Self::Unknown,
    ];

    /// The word for it in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clipboard => "clipboard",
            Self::Title => "title",
            Self::Report => "report",
            Self::Keys => "keys",
            Self::Window => "window",
            Self::Print => "print",
            Self::Notification => "notification",
            Self::FileTransfer => "file-transfer",
            Self::Hyperlink => "hyperlink",
            Self::Colour => "colour",
            Self::Shell => "shell",
            Self::Graphics => "graphics",
            Self::Mode => "mode",
            Self::Encoding => "encoding",
            Self::Device => "device",
            Self::Control => "control",
            Self::C1 => "c1",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }
}

/// How many of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; Kind::ALL.len()]);

impl Counts {
    pub(crate) fn add(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}
