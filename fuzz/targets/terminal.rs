//! What a task writes to a terminal: what is left does not depend on how it is cut, and holds nothing that acts on the clipboard.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_terminal::Filter;

fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut filter, mut output) = (Filter::new(), Vec::new());
    pieces.iter().for_each(|piece| filter.push(piece, &mut output));
    filter.finish(&mut output);
    output
}

fuzz_target!(|bytes: &[u8]| {
    let (at, text) = bytes.split_first().map_or((0, bytes), |(at, text)| (usize::from(*at), text));
    let whole = filtered(&[text]);
    let (one, two) = text.split_at(at.min(text.len()));
    assert_eq!(filtered(&[one, two]), whole, "cut at {at}");
    // OSC 52.
    assert!(!whole.windows(4).any(|window| window == b"\x1b]52"), "{whole:?}");
});
