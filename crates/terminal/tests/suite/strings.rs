//! Strings, what breaks them off, and sequences inside sequences.

use ringfence_terminal::{Filter, Kind};

use super::{pushed, shown};

#[test]
fn controls_inside_a_sequence_act_at_once() {
    // As terminals do it: the control first, then the sequence without it.
    assert_eq!(shown(&pushed(b"\x1b[1\x08;31m").0), shown(b"\x08\x1b[1;31m"));
    assert_eq!(pushed(b"\x1b[2\x05J"), (b"\x1b[2J".to_vec(), vec![(Kind::Report, 1)]));
}

#[test]
fn can_and_sub_break_off() {
    for end in ["\x18", "\x1a"] {
        for (begin, kind) in [
            ("\x1b[31", Kind::Malformed),
            ("\x1b", Kind::Malformed),
            ("\x1b(", Kind::Malformed),
            ("\x1b]0;t", Kind::Title),
            ("\x1b]11;?", Kind::Malformed),
            ("\x1bPq1", Kind::Graphics),
            ("\x1bP1;2", Kind::Device),
            ("\x1b_Gx", Kind::Graphics),
        ] {
            let input = format!("{begin}{end}text");
            let (output, removed) = pushed(input.as_bytes());
            assert_eq!((shown(&output).as_str(), removed), ("text", vec![(kind, 1)]), "{begin:?}{end:?}");
        }
    }
}

#[test]
fn escape_breaks_off_and_begins() {
    for (input, output) in [
        ("\x1b[31\x1b[1mx", "\x1b[1mx"),
        ("\x1b]0;t\x1b[1mx", "\x1b[1mx"),
        ("\x1bP$q\x1b[1mx", "\x1b[1mx"),
        ("\x1b\x1b\x1b[1mx", "\x1b[1mx"),
        ("\x1b]52;c;\x1b]52;c;QQ==\x07x", "x"),
        // Passing through to the terminal around tmux: what is wrapped is judged too.
        ("\x1bPtmux;\x1b\x1b]52;c;QQ==\x07\x1b\\x", "x"),
        ("\x1bPtmux;\x1b\x1b[21t\x1b\\x", "x"),
        // Allowed, and whole even where the end is torn.
        ("\x1b]11;?\x1b[1mx", "\x1b]11;?\x1b\\\x1b[1mx"),
        ("\x1b\\x", "x"),
        ("\x1bktitle\x07x", "\x07x"),
        ("\x1bktitle\r\nx", "\r\nx"),
        ("\x1bkti\x1b[1mx", "\x1b[1mx"),
    ] {
        assert_eq!(shown(&pushed(input.as_bytes()).0), shown(output.as_bytes()), "{input:?}");
    }
}

#[test]
fn bell_ends_only_operating_system_commands() {
    assert_eq!(pushed(b"\x1b]0;t\x07x"), (b"x".to_vec(), vec![(Kind::Title, 1)]));
    assert_eq!(pushed(b"\x1bPq\x07x\x1b\\y"), (b"y".to_vec(), vec![(Kind::Graphics, 1)]));
    assert_eq!(pushed(b"\x1b_Gq\x07x\x1b\\y"), (b"y".to_vec(), vec![(Kind::Graphics, 1)]));
}

#[test]
fn eight_bit_terminators_do_not_end_a_string() {
    // 0x9c is the middle of many characters.
    assert_eq!(pushed("\x1b]0;\u{15c}\x07x".as_bytes()).0, b"x");
    assert_eq!(pushed(b"\x1bPq\x9cx\x1b\\y").0, b"y");
}

#[test]
fn characters_and_delete_break_off_a_sequence() {
    assert_eq!(pushed("\x1b[3é1m".as_bytes()), ("é1m".into(), vec![(Kind::Malformed, 1)]));
    assert_eq!(pushed("\x1bé]0;t\x07".as_bytes()), ("é]0;t\x07".into(), vec![(Kind::Malformed, 1)]));
    assert_eq!(pushed(b"\x1b\x9b31mx").0, b"31mx");
    assert_eq!(pushed(b"\x1b[3\x7f1m").0, b"1m");
    // The parser is not left where it was.
    assert_eq!(pushed("\x1b[?25é\x1b[1m".as_bytes()).0, "é\x1b[1m".as_bytes());
    assert_eq!(pushed("\x1b(é\x1b7".as_bytes()).0, "é\x1b7".as_bytes());
}

#[test]
fn a_broken_end_is_dropped() {
    for half in ["\x1b", "\x1b[", "\x1b[3", "\x1b]0;t", "\x1b]11;?", "\x1bP", "\x1b_G", "\x1bkx"] {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(half.as_bytes(), &mut output);
        filter.finish(&mut output);
        assert_eq!(output, b"", "{half:?}");
        assert_eq!(filter.removed().map(|(_, count)| count).sum::<u64>(), 1, "{half:?}");
        // And does not reach into what follows.
        filter.push(b"text\x1b[1m\x1b\\", &mut output);
        assert_eq!(output, b"text\x1b[1m", "{half:?}");
    }
}

/// Strings without end cost neither memory nor output.
#[test]
fn strings_without_end_cost_nothing() {
    const TOTAL: usize = 64 << 20;
    let block = vec![b'A'; 1 << 20];
    for begin in ["\x1bPq", "\x1b]0;", "\x1b]52;c;", "\x1b_G", "\x1b^", "\x1bX", "\x1bk"] {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        let before = resident();
        filter.push(begin.as_bytes(), &mut output);
        for _ in 0..TOTAL / block.len() {
            filter.push(&block, &mut output);
        }
        assert!(resident() < before + (32 << 20), "{begin:?}");
        filter.push(b"\x1b\\x", &mut output);
        assert_eq!((output.as_slice(), output.capacity() < 1024), (b"x".as_slice(), true), "{begin:?}");
    }
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
