//! What holds for any stream, cut anywhere.

use proptest::collection::vec;
use proptest::prelude::*;
use ringfence_terminal::{Filter, Kind};

use super::checker::Checker;
use super::{filtered, shown};

/// Pieces that meet in ways nobody would write down.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let introducers =
        ["\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x1bk", "\x1b(", "\x1b[?", "\x1b[>"];
    let ends = [
        "\x07", "\x1b\\", "\x18", "\x1a", "m", "h", "l", "u", "t", "n", "q", "$p", "b", "c", "r", "H",
        "\x7f", " q",
    ];
    let whole = [
        "\x1b[?1049h",
        "\x1b[?1049l",
        "\x1b[>1u",
        "\x1b[<1u",
        "\x1b[=1u",
        "\x1b[31m",
        "\x1b]11;?",
        "\x1b]52;c;?\x07",
        "\x1b[?6h",
        "\x1b[2;5r",
        "\x1b]4;1;?\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1bPtmux;\x1b",
        "\x1b[21t",
        "\x1b[3g",
        "\x0e",
    ];
    prop_oneof![
        4 => proptest::sample::select(introducers.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        4 => proptest::sample::select(ends.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        4 => proptest::sample::select(whole.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        3 => vec(proptest::sample::select(b"0123456789;:?>=<!$ \"'*".to_vec()), 0..6),
        2 => vec(any::<u8>(), 0..4),
        2 => vec(0x80..=0xff_u8, 0..4),
        1 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..80),
        1 => (200..400_usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn in_pieces(input: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<(Kind, u64)>) {
    let (mut filter, mut output) = (Filter::new(), Vec::new());
    let mut rest = input;
    for cut in cuts {
        let (piece, after) = rest.split_at(*cut.min(&rest.len()));
        filter.push(piece, &mut output);
        rest = after;
    }
    filter.push(rest, &mut output);
    filter.finish(&mut output);
    (output, filter.removed().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_nothing(input in stream(), cuts in vec(0..9_usize, 0..200)) {
        let whole = in_pieces(&input, &[]);
        prop_assert_eq!(&in_pieces(&input, &cuts), &whole, "{}", shown(&input));
        prop_assert_eq!(&in_pieces(&input, &vec![1; input.len()]), &whole, "{}", shown(&input));
    }

    #[test]
    fn twice_is_once(input in stream()) {
        let once = filtered(&input);
        prop_assert_eq!(shown(&filtered(&once)), shown(&once), "{}", shown(&input));
    }

    #[test]
    fn a_kept_stream_removes_nothing(input in stream()) {
        let (_, removed) = in_pieces(&filtered(&input), &[]);
        prop_assert_eq!(removed, [], "{}", shown(&input));
    }

    #[test]
    fn nothing_refused_comes_out(input in stream()) {
        prop_assert_eq!(Checker::of(&filtered(&input)), Vec::<String>::new(), "{}", shown(&input));
    }

    #[test]
    fn every_push_ends_between_sequences(input in stream(), cut in 0..400_usize) {
        let (mut filter, mut output) = (Filter::new(), Vec::new());
        filter.push(&input[..cut.min(input.len())], &mut output);
        prop_assert_eq!(Checker::of(&output), Vec::<String>::new(), "{}", shown(&input));
    }

    #[test]
    fn text_is_not_changed(text in "[ -~éß漢🦀\r\n\t]*") {
        prop_assert_eq!(filtered(text.as_bytes()), text.into_bytes());
    }
}
