//! Which sequences are kept and which are removed, as what.

use ringfence_terminal::Kind;

use super::{pushed, shown};

/// What full-screen programs, prompts and `tput` send.
const KEPT: &[&str] = &[
    // Escape sequences.
    "\x1b7\x1b8\x1bD\x1bE\x1bH\x1bM\x1bc\x1bg\x1b=\x1b>",
    "\x1b(0\x1b(A\x1b(B\x1b)0\x1b*B\x1b+B\x1b#8\x1b#3",
    // Cursor, erase, insert, delete, scroll, tabs, margins.
    "\x1b[A\x1b[2B\x1b[3C\x1b[4D\x1b[5E\x1b[6F\x1b[7G\x1b[8;9H\x1b[H\x1b[999;999H\x1b[10;10f",
    "\x1b[J\x1b[2J\x1b[3J\x1b[K\x1b[1K\x1b[?2J\x1b[?1K\x1b[2X\x1b[3@\x1b[4P\x1b[5L\x1b[6M\x1b[2S\x1b[3T",
    "\x1b[g\x1b[3g\x1b[?5W\x1b[2I\x1b[2Z\x1b[3d\x1b[3e\x1b[3a\x1b[3`\x1b[r\x1b[2;10r\x1b[s\x1b[u",
    "\x1b[80b\x1b[b\x1b[1024b\x1b[2 @\x1b[2 A",
    // Attributes.
    "\x1b[m\x1b[0m\x1b[1;31;42m\x1b[38;5;200m\x1b[38;2;1;2;3m\x1b[38:2::1:2:3m\x1b[4:3m\x1b[58:5:1m\x1b[;m",
    // Modes.
    "\x1b[4h\x1b[4l\x1b[20h\x1b[34h\x1b[34l\x1b[?1h\x1b[?1l\x1b[?3l\x1b[?3;4l\x1b[?7h\x1b[?25l\x1b[?12;25h",
    "\x1b[?1049h\x1b[?1000;1002;1006h\x1b[?2004h\x1b[?2026h\x1b[?1004h\x1b[?1034h\x1b[?69h\x1b[?2031h",
    // Style, keyboard.
    "\x1b[2 q\x1b[ q\x1b[!p\x1b[>4;2m\x1b[>4m\x1b[?4m\x1b[>1u\x1b[<u\x1b[=5;1u\x1b[?u\x1b[?8c",
    // Questions whose answers are numbers.
    "\x1b[5n\x1b[6n\x1b[?6n\x1b[?996n\x1b[c\x1b[0c\x1b[>c\x1b[>0c\x1b[?2026$p\x1b[4$p\x1b[14t\x1b[16t\x1b[18t\x1b[19t",
    "\x1b]11;?\x07\x1b]10;?\x1b\\\x1b]12;?\x1b\\\x1b]4;255;?\x07",
];

#[test]
fn what_draws_is_kept_as_it_came() {
    for kept in KEPT {
        for sequence in kept.split_inclusive_at_escape() {
            // A pop needs a push before it.
            let input = if sequence.starts_with("\x1b[<") { format!("\x1b[>1u{sequence}") } else { sequence };
            let (output, removed) = pushed(input.as_bytes());
            assert_eq!(shown(&output), shown(input.as_bytes()));
            assert_eq!(removed, [], "{}", shown(input.as_bytes()));
        }
        assert_eq!(shown(&pushed(kept.as_bytes()).0), shown(kept.as_bytes()));
    }
}

trait Split {
    fn split_inclusive_at_escape(&self) -> Vec<String>;
}

impl Split for str {
    fn split_inclusive_at_escape(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for part in self.split('\x1b').skip(1) {
            match (part, all.last_mut()) {
                ("\\", Some(last)) => last.push_str("\x1b\\"),
                _ => all.push(format!("\x1b{part}")),
            }
        }
        all
    }
}

/// What acts.
const REMOVED: &[(&str, Kind)] = &[
    ("\x1b]52;c;cm0gLXJmIC8K\x07", Kind::Clipboard),
    ("\x1b]52;c;?\x1b\\", Kind::Clipboard),
    ("\x1b]5522;type=read;Lg==\x1b\\", Kind::Clipboard),
    ("\x1b]0;rm -rf /\x07", Kind::Title),
    ("\x1b]2;t\x1b\\", Kind::Title),
    ("\x1bktitle\x1b\\", Kind::Title),
    ("\x1b[22;0;0t", Kind::Title),
    ("\x1b[23t", Kind::Title),
    ("\x1b[>2t", Kind::Title),
    ("\x05", Kind::Report),
    ("\x1bZ", Kind::Report),
    ("\x1b[20t", Kind::Report),
    ("\x1b[21t", Kind::Report),
    ("\x1b[>q", Kind::Report),
    ("\x1b[=c", Kind::Report),
    ("\x1b[15n", Kind::Report),
    ("\x1b[?26n", Kind::Report),
    ("\x1b[1;1;1;1;1;1*y", Kind::Report),
    ("\x1b[2$w", Kind::Report),
    ("\x1b[x", Kind::Report),
    ("\x1b[#|", Kind::Report),
    ("\x1bP$q\nid\n\x1b\\", Kind::Report),
    ("\x1bP+q544e\x1b\\", Kind::Report),
    ("\x1bP0;1|17/6c730a\x1b\\", Kind::Keys),
    ("\x1bP+p544e=1\x1b\\", Kind::Keys),
    ("\x1b[2h", Kind::Keys),
    ("\x1b[?67h", Kind::Keys),
    ("\x1b[?1036h", Kind::Keys),
    ("\x1b[?1060h", Kind::Keys),
    ("\x1b[>1;2m", Kind::Keys),
    ("\x1b[>4n", Kind::Keys),
    ("\x1b[<u", Kind::Keys),
    ("\x1b[8;10;10t", Kind::Window),
    ("\x1b[3;0;0t", Kind::Window),
    ("\x1b[2t", Kind::Window),
    ("\x1b[t", Kind::Window),
    ("\x1b[?3h", Kind::Window),
    ("\x1b[?40h", Kind::Window),
    ("\x1b[?1043h", Kind::Window),
    ("\x1b[i", Kind::Print),
    ("\x1b[5i", Kind::Print),
    ("\x1b[?1i", Kind::Print),
    ("\x1b[?19h", Kind::Print),
    ("\x1b]9;hello\x07", Kind::Notification),
    ("\x1b]777;notify;a;b\x07", Kind::Notification),
    ("\x1b]99;i=1:d=0;hello\x1b\\", Kind::Notification),
    ("\x1b]1337;File=name=YQ==;size=1:QQ==\x07", Kind::FileTransfer),
    ("\x1b]5113;ac=send\x1b\\", Kind::FileTransfer),
    ("\x1b]4;1;#ff0000\x07", Kind::Colour),
    ("\x1b]4;1;?;2;#ff0000\x07", Kind::Colour),
    ("\x1b]11;?;#000000\x07", Kind::Colour),
    ("\x1b]10;#ffffff\x1b\\", Kind::Colour),
    ("\x1b]104\x07", Kind::Colour),
    ("\x1b]112\x07", Kind::Colour),
    ("\x1b]7;file://host/etc\x07", Kind::Shell),
    ("\x1b]133;A\x07", Kind::Shell),
    ("\x1b]633;E;id\x07", Kind::Shell),
    ("\x1b_Ga=t,t=f;L2V0Yy9wYXNzd2Q=\x1b\\", Kind::Graphics),
    ("\x1bPq#0;2;0;0;0\x1b\\", Kind::Graphics),
    ("\x1b[?1;1;0S", Kind::Graphics),
    ("\x1b[?1001h", Kind::Mode),
    ("\x1b[?25;1001h", Kind::Mode),
    ("\x1b[?80h", Kind::Mode),
    ("\x1b[12h", Kind::Mode),
    ("\x1b[?h", Kind::Mode),
    ("\x1b[?1000s", Kind::Mode),
    ("\x1b[?1000r", Kind::Mode),
    ("\x1b[?2l", Kind::Encoding),
    ("\x1b%@", Kind::Encoding),
    ("\x1b G", Kind::Encoding),
    ("\x1b(K", Kind::Encoding),
    ("\x1b-A", Kind::Encoding),
    ("\x1b[62;0\"p", Kind::Encoding),
    ("\x1bn", Kind::Encoding),
    ("\x1b]50;?\x07", Kind::Device),
    ("\x1b]51;id\x07", Kind::Device),
    ("\x1bPtmux;x\x1b\\", Kind::Device),
    ("\x1bP0;0;0!z41\x1b\\", Kind::Device),
    ("\x1bXsos\x1b\\", Kind::Device),
    ("\x1b^pm\x1b\\", Kind::Device),
    ("\x1b_tmux\x1b\\", Kind::Device),
    ("\x1b[1*z", Kind::Device),
    ("\x1b[1;1'z", Kind::Device),
    ("\x1b[65;1;1;9;9$x", Kind::Device),
    ("\x1b[1q", Kind::Device),
    ("\x1b[12;2]", Kind::Device),
    ("\x1b[4;1y", Kind::Device),
    ("\x1b[1;2;3;4;5T", Kind::Device),
    ("\x7f", Kind::Control),
    ("\x13", Kind::Control),
    ("\x1a", Kind::Control),
    ("\u{9b}", Kind::C1),
    ("\u{90}", Kind::C1),
    ("\x1b[1025b", Kind::Malformed),
    ("\x1b[65535b", Kind::Malformed),
    ("\x1b[100000A", Kind::Malformed),
    ("\x1b[1:2A", Kind::Malformed),
    ("\x1b[>>c", Kind::Malformed),
    ("\x1b[1!1A", Kind::Malformed),
    ("\x1b[?:25h", Kind::Malformed),
    ("\x1b<", Kind::Unknown),
    ("\x1bl", Kind::Unknown),
    ("\x1b]987;x\x07", Kind::Unknown),
    ("\x1b[>1p", Kind::Unknown),
];

#[test]
fn what_acts_is_removed_and_counted() {
    for (sequence, kind) in REMOVED {
        let input = format!("before{sequence}after");
        let (output, removed) = pushed(input.as_bytes());
        let name = shown(sequence.as_bytes());
        assert_eq!(shown(&output), "beforeafter", "{name}");
        assert_eq!(removed, [(*kind, 1)], "{name}");
    }
}

#[test]
fn every_kind_has_a_name_of_its_own_and_a_sequence() {
    let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Hyperlink) {
        assert!(REMOVED.iter().any(|(_, listed)| *listed == kind), "{kind:?}");
    }
}

#[test]
fn a_link_leaves_its_text() {
    let (output, removed) = pushed(b"\x1b]8;;http://a.example\x1b\\https://b.example\x1b]8;;\x1b\\.");
    assert_eq!(shown(&output), "https://b.example.");
    assert_eq!(removed, [(Kind::Hyperlink, 2)]);
}

#[test]
fn lengths_end_a_control_sequence() {
    let long = format!("\x1b[{}1mx", "0;".repeat(30));
    assert_eq!(shown(&pushed(long.as_bytes()).0), shown(long.as_bytes()));
    for many in [40, 126, 127, 128, 100_000] {
        let input = format!("a\x1b[{}1mx", "0;".repeat(many));
        assert_eq!(pushed(input.as_bytes()), (b"ax".to_vec(), vec![(Kind::Malformed, 1)]), "{many}");
    }
}
