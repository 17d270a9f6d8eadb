//! A stream without its escapes, and without what may stand between the letters of a secret.

use std::ops::Range;

/// What may stand between: white space, quotes and commas.
pub(crate) const BETWEEN: &[u8] = b" \t\n\x0b\x0c\r\"',";
/// Bytes that are looked at together, but for one: an `&` may have waited.
pub(crate) const PIECE: usize = 8 << 10;
/// Bytes that are looked at at one time.
const BLOCK: usize = 16;
/// So near to what an escape stood for, something may begin that could not be seen before.
const NEAR: usize = 64;

/// What each byte is: taken away, kept, or the beginning of an escape.
const KIND: [u8; 256] = {
    let mut kind = [KEPT; 256];
    let mut at = 0;
    while at < BETWEEN.len() {
        kind[BETWEEN[at] as usize] = TAKEN;
        at += 1;
    }
    kind[b'%' as usize] = ESCAPE;
    kind[b'\\' as usize] = ESCAPE;
    kind[b'&' as usize] = ESCAPE;
    kind
};
const TAKEN: u8 = 0;
const KEPT: u8 = 1;
const ESCAPE: u8 = 2;

/// What is left of a piece.
pub(crate) struct Left {
    pub(crate) bytes: [u8; PIECE],
    pub(crate) length: usize,
    /// What is near to an escape.
    pub(crate) near: Vec<Range<usize>>,
}

impl Left {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; PIECE], length: 0, near: Vec::new() }
    }

    /// What an escape stands for may be taken away as well.
    fn put(&mut self, byte: u8) {
        if KIND[usize::from(byte)] != TAKEN {
            self.bytes[self.length % PIECE] = byte;
            self.length += 1;
        }
    }

    fn near(&mut self) {
        let (from, until) = (self.length.saturating_sub(NEAR), self.length + NEAR);
        match self.near.last_mut() {
            Some(last) if last.end >= from => last.end = until,
            _ => self.near.push(from..until),
        }
    }
}

/// Where an escape is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Escape {
    #[default]
    None,
    /// Behind `%` or `\x`, with the first digit.
    Percent(Option<u8>),
    Backslash,
    /// Behind `\u`: how many digits, and their value.
    Unicode(u8, u16),
    /// Behind `&`, which stands by itself where no `#` follows.
    And,
    /// Behind `&#`: the value so far, and whether its digits are hexadecimal.
    Entity(u16, bool),
}

/// What comes out for one byte: what waited, and it.
type Out = [Option<u8>; 2];

impl Escape {
    /// What is left of a piece of less than [`PIECE`] bytes.
    pub(crate) fn loosen(&mut self, piece: &[u8], left: &mut Left) {
        left.length = 0;
        left.near.clear();
        let mut rest = piece;
        while !rest.is_empty() {
            if matches!(self, Self::None) {
                rest = plain(rest, left);
                if let Some((byte, behind)) = hexadecimal(rest) {
                    left.near();
                    left.put(byte);
                    rest = behind;
                    continue;
                }
            }
            let Some((first, behind)) = rest.split_first() else { return };
            let (next, out) = self.unescaped(*first);
            if matches!(self, Self::Percent(Some(_)) | Self::Unicode(3, _) | Self::Entity(..)) {
                left.near();
            }
            *self = next;
            out.into_iter().flatten().for_each(|byte| left.put(byte));
            rest = behind;
        }
    }

    #[inline]
    fn unescaped(self, byte: u8) -> (Self, Out) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let none = |byte| (Self::None, [None, byte]);
        match self {
            Self::None => match byte {
                b'%' => (Self::Percent(None), [None; 2]),
                b'\\' => (Self::Backslash, [None; 2]),
                b'&' => (Self::And, [None; 2]),
                byte => none(Some(byte)),
            },
            Self::Percent(None) => match digit(byte) {
                Some(high) => (Self::Percent(Some(high)), [None; 2]),
                None => none(Some(byte)),
            },
            Self::Percent(Some(high)) => none(digit(byte).map_or(Some(byte), |low| Some(high << 4 | low))),
            Self::Backslash => match byte {
                b'u' => (Self::Unicode(0, 0), [None; 2]),
                b'x' => (Self::Percent(None), [None; 2]),
                b'n' | b'r' | b't' => none(None),
                byte => none(Some(byte)),
            },
            Self::Unicode(count, value) => match digit(byte) {
                Some(digit) if count == 3 => none(u8::try_from(value << 4 | u16::from(digit)).ok()),
                Some(digit) => (Self::Unicode(count + 1, value << 4 | u16::from(digit)), [None; 2]),
                None => none(Some(byte)),
            },
            Self::And if byte == b'#' => (Self::Entity(0, false), [None; 2]),
            Self::And => Self::after(b'&', byte),
            Self::Entity(value, hexadecimal) => match (byte, digit(byte)) {
                (b'x' | b'X', _) if value == 0 && !hexadecimal => (Self::Entity(0, true), [None; 2]),
                (_, Some(digit)) if hexadecimal || digit < 10 => {
                    let base = if hexadecimal { 16 } else { 10 };
                    let value = value.saturating_mul(base).saturating_add(u16::from(digit));
                    (Self::Entity(value, hexadecimal), [None; 2])
                }
                // The semicolon may be left out.
                (byte, _) => match u8::try_from(value).ok().filter(|value| *value > 0) {
                    value if byte == b';' => none(value),
                    Some(value) => Self::after(value, byte),
                    None => Self::None.unescaped(byte),
                },
            },
        }
    }

    /// What waited comes first, then this.
    fn after(waited: u8, byte: u8) -> (Self, Out) {
        let (next, [_, out]) = Self::None.unescaped(byte);
        (next, [Some(waited), out])
    }
}

/// The same, and where each byte that is left was written; slower, for where something was found.
pub(crate) struct Placed {
    pub(crate) bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    /// Which bytes stand as they are, because they are no part of a word: what may stand between, and zeros.
    kept: Vec<bool>,
    /// Bytes at the end that are an escape which goes on.
    pub(crate) pending: usize,
}

impl Placed {
    pub(crate) fn new(text: &[u8]) -> Self {
        let (mut escape, mut begun) = (Escape::None, 0);
        let mut placed = Self { bytes: Vec::new(), places: Vec::new(), kept: Vec::new(), pending: 0 };
        for (at, byte) in text.iter().enumerate() {
            let before = matches!(escape, Escape::None);
            begun = if before { at } else { begun };
            let (next, [waited, out]) = escape.unescaped(*byte);
            escape = next;
            placed.kept.push(before && (KIND[usize::from(*byte)] == TAKEN || *byte == 0));
            placed.put(waited, begun..at);
            // What was no part of the escape begins by itself.
            let alone = waited.is_some() || matches!(escape, Escape::And) && !before;
            begun = if alone { at } else { begun };
            placed.put(out, begun..at + 1);
        }
        if !matches!(escape, Escape::None) {
            placed.pending = text.len() - begun;
        }
        placed
    }

    fn put(&mut self, byte: Option<u8>, place: Range<usize>) {
        if let Some(byte) = byte.filter(|byte| KIND[usize::from(*byte)] != TAKEN) {
            self.bytes.push(byte);
            self.places.push(place);
        }
    }

    /// Does this byte stand as it is?
    pub(crate) fn keeps(&self, at: usize) -> bool {
        self.kept.get(at).is_none_or(|kept| *kept)
    }

    /// Where what is left between these was written.
    pub(crate) fn place(&self, start: usize, end: usize) -> Range<usize> {
        let first = self.places.get(start).map_or(0, |place| place.start);
        first..end.checked_sub(1).and_then(|last| self.places.get(last)).map_or(first, |place| place.end)
    }
}

/// Until the next escape; what is left from there on.
fn plain<'a>(bytes: &'a [u8], left: &mut Left) -> &'a [u8] {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let mut taken = 0;
    let mut length = left.length;
    for block in blocks {
        if block.iter().fold(false, |any, byte| any | (*byte == b'%') | (*byte == b'\\') | (*byte == b'&')) {
            break;
        }
        let Some(room) = left.bytes.get_mut(length..).and_then(<[u8]>::first_chunk_mut::<BLOCK>) else {
            break;
        };
        let mut count = 0;
        for byte in block {
            // Without a branch: which bytes are taken away cannot be foretold.
            room[count % BLOCK] = *byte;
            count += usize::from(KIND[usize::from(*byte)]);
        }
        length += count;
        taken += BLOCK;
    }
    let rest = bytes.get(taken..).unwrap_or_default();
    let until = rest.iter().position(|byte| KIND[usize::from(*byte)] == ESCAPE).unwrap_or(rest.len());
    let (plain, rest) = rest.split_at(until);
    for byte in plain {
        left.bytes[length % PIECE] = *byte;
        length += usize::from(KIND[usize::from(*byte)]);
    }
    left.length = length;
    rest
}

/// What two digits behind `%` stand for, which is the escape that comes in great numbers.
fn hexadecimal(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (escape, behind) = bytes.split_first_chunk::<3>()?;
    let [b'%', high, low] = escape else { return None };
    let (high, low) = (DIGIT[usize::from(*high)], DIGIT[usize::from(*low)]);
    (high | low < 16).then_some((high << 4 | low, behind))
}

/// The value of each digit, and of what is none.
const DIGIT: [u8; 256] = {
    let mut digit = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digit[b"0123456789abcdef"[value] as usize] = value as u8;
        digit[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digit
};
