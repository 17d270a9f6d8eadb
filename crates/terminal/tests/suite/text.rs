//! Text: UTF-8, controls, and bytes that are neither.

use ringfence_terminal::{Filter, Kind};

use super::{pushed, shown};

#[test]
fn text_is_not_changed() {
    for text in [
        "",
        "plain\r\n\ttabs\x08\x07\x0b\x0c",
        "é ß « » \u{a0} ° 漢字 🦀 \u{301}",
        "padding\0\0",
        "\x0eqqq\x0f",
    ] {
        assert_eq!(pushed(text.as_bytes()), (text.as_bytes().to_vec(), vec![]));
    }
}

#[test]
fn characters_cut_at_any_byte() {
    let text = "é漢🦀\u{a0}é";
    for cut in 0..=text.len() {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(&text.as_bytes()[..cut], &mut output);
        assert!(std::str::from_utf8(&output).is_ok());
        filter.push(&text.as_bytes()[cut..], &mut output);
        assert_eq!(shown(&output), shown(text.as_bytes()));
    }
}

#[test]
fn eight_bit_controls_are_removed() {
    for byte in 0x80..=0x9f_u8 {
        assert_eq!(pushed(&[b'a', byte, b'b']), (b"ab".to_vec(), vec![(Kind::C1, 1)]), "{byte:#x}");
        assert_eq!(pushed(&[b'a', 0xc2, byte, b'b']), (b"ab".to_vec(), vec![(Kind::C1, 1)]), "{byte:#x}");
    }
    assert_eq!(pushed(b"\x9b31m\x9d0;t\x07"), (b"31m0;t\x07".to_vec(), vec![(Kind::C1, 2)]));
}

#[test]
fn seven_bit_controls() {
    for byte in (0..0x20_u8).filter(|byte| *byte != 0x1b) {
        let kept = byte == 0 || (0x07..=0x0f).contains(&byte);
        assert_eq!(pushed(&[byte]).0.is_empty(), !kept, "{byte:#x}");
    }
}

#[test]
fn what_is_not_utf8_is_drawn_as_terminals_do() {
    for (input, output) in [
        (b"a\xe9b".as_slice(), "a\u{fffd}b"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        // Cut off by ASCII, by ESC, by another character.
        (b"\xe2\x9bA", "\u{fffd}A"),
        (b"\xe2\x9b\x1b[m", "\u{fffd}\x1b[m"),
        (b"\xe2\x9b\xc3\xa9", "\u{fffd}é"),
        // Overlong forms of ESC, of C1 and of a surrogate are not controls; their 8-bit parts are removed.
        (b"\xc0\x9b", "\u{fffd}"),
        (b"\xe0\x80\x9b", "\u{fffd}"),
        (b"\xed\xa0\x80", "\u{fffd}\u{fffd}"),
        (b"\xf4\x90\x80\x80", "\u{fffd}"),
    ] {
        assert_eq!(shown(&pushed(input).0), shown(output.as_bytes()), "{}", shown(input));
    }
}
