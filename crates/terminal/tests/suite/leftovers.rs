//! What the end of a stream undoes, and only that.

use ringfence_terminal::Filter;

use super::{filtered, shown};

/// What the end adds.
fn end(input: &str) -> String {
    let (mut filter, mut output) = (Filter::new(), Vec::new());
    filter.push(input.as_bytes(), &mut output);
    assert_eq!(shown(&output), shown(input.as_bytes()));
    let before = output.len();
    filter.finish(&mut output);
    let added = shown(&output[before..]);
    let again = output.len();
    filter.finish(&mut output);
    assert_eq!(output.len(), again, "the end comes once");
    added.replace("\\x1b", "^")
}

#[test]
fn nothing_set_nothing_undone() {
    for input in [
        "",
        "text",
        "\x1b[2J\x1b[H",
        "\x1b[6n",
        "\x1b7\x1b8",
        "\x1b[?1048h",
        "\x1b[m\x1b[0m\x1b(B\x1b>",
        "\x1b[r",
    ] {
        assert_eq!(end(input), "", "{input:?}");
    }
}

#[test]
fn what_was_reset_is_not_undone() {
    for input in [
        "\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l",
        "\x1b[?1000;1006h\x1b[?1006;1000l",
        "\x1b[1m\x1b[0m",
        "\x1b[31m\x1b[m",
        "\x1b(0\x1b(B",
        "\x0eq\x0f",
        "\x1b=\x1b>",
        "\x1b[>4;2m\x1b[>4m",
        "\x1b[>1u\x1b[>3u\x1b[<2u",
        "\x1b[=5u\x1b[=0u",
        "\x1b[2 q\x1b[0 q",
        "\x1b[1;5r\x1b[r",
        "\x1b[4h\x1b[4l",
        "\x1b[1m\x1b[?1049h\x1b[>1u\x1bc",
    ] {
        assert_eq!(end(input), "", "{input:?}");
    }
}

#[test]
fn what_was_left_is_undone() {
    for (input, undone) in [
        ("\x1b[?1049h\x1b[?25l", "^[?1049l^[?25h"),
        ("\x1b[?47h", "^[?47l"),
        ("\x1b[?1000;1006h\x1b[?2004h", "^[?1000l^[?1006l^[?2004l"),
        ("\x1b[?7l", "^[?7h"),
        ("\x1b[4h\x1b[34l", "^[4l^[34h"),
        ("\x1b[1m", "^[m"),
        ("\x1b[38:5:0m", "^[m"),
        ("\x1b[0;1m", "^[m"),
        ("\x1b(0\x1b)0\x0e", "^(B^)B\\x0f"),
        ("\x1b=\x1b[?1h", "^[?1l^>"),
        ("\x1b[2 q", "^[0 q"),
        ("\x1b[3g", "^[?5W"),
        ("\x1b[2;5r", "^7^[r^8"),
        ("\x1b[2;5r\x1b[?6h", "^[?6l^[r^[9999H"),
        ("\x1b[>4;2m", "^[>4m"),
        ("\x1b[>1u\x1b[>1u", "^[<2u"),
        // The alternate screen has a stack of its own, and is left after it is popped.
        ("\x1b[>1u\x1b[?1049h\x1b[>1u\x1b[>1u", "^[<2u^[?1049l^[<1u"),
        ("\x1b[=5u", "^[=0u"),
        ("\x1b[?2026h\x1b[?1049h", "^[?2026l^[?1049l"),
    ] {
        assert_eq!(end(input), undone, "{input:?}");
    }
}

#[test]
fn others_keyboard_flags_are_not_popped() {
    assert_eq!(shown(&filtered(b"\x1b[<u\x1b[>1u\x1b[<5u\x1b[<1u\x1b[<1u")), shown(b"\x1b[>1u\x1b[<1u"));
    let flood = "\x1b[>1u".repeat(1000);
    assert_eq!(filtered(flood.as_bytes()).len(), 32 * 5 + "\x1b[<32u".len());
}

/// The words of somebody else between two parts of a stream need a plain terminal, and the task its own again.
#[test]
fn what_was_set_is_set_aside_and_put_back() {
    let both = |input: &str| {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(input.as_bytes(), &mut output);
        let (aside, back) = filter.interlude();
        [aside, back].map(|bytes| shown(&bytes).replace("\\x1b", "^"))
    };
    for (input, aside, back) in [
        ("text\x1b[31m\x1b[1;5r", "", ""),
        ("\x1b[?2026h\x1b[?5h", "^[?2026l^[?5l", "^[?5h^[?2026h"),
        (
            "\x1b[?1003;1006;1004;2004h",
            "^[?1003l^[?1004l^[?1006l^[?2004l",
            "^[?1003h^[?1004h^[?1006h^[?2004h",
        ),
        ("\x1b[?1049h\x1b[?25l\x1b[4h", "^[?1049l^[?25h^[4l", "^[?1049h^[?25l^[4h"),
        ("\x1b[?1000h\x1b[?1000l", "", ""),
        ("\x1b[>31u", "^[>0u", "^[<1u"),
        ("\x1b[=5u", "^[>0u", "^[<1u"),
        ("\x1b[?1049h\x1b[>1u", "^[?1049l^[>0u", "^[<1u^[?1049h"),
        ("\x1b[>4;2m\x1b=\x1b(0", "^[>4m^>^(B", "^[>4;2m^=^(0"),
        ("\x1b[?6h", "^[?6l", "^[?6h^[9999H"),
    ] {
        assert_eq!(both(input), [aside, back], "{input:?}");
    }
}
