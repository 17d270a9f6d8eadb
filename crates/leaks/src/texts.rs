//! Many texts, found by samples: four bytes in so many are looked at, as many as the shortest text allows, and only where these are in one of
//! the texts are the two compared. Letters are compared without regard to their case.

/// Bytes of a sample.
const GRAM: usize = 4;
/// No more than these bytes of the beginning of a text are sampled.
const WINDOW: usize = 16;
/// More samples are too many to be looked for.
const MOST: usize = 1 << 22;
/// Where letters differ by their case alone, samples are the same; some others are too, and are told apart when texts are compared.
const FOLD: u32 = 0x2020_2020;

/// The texts, each of [`GRAM`] bytes at least.
pub(crate) struct Texts {
    texts: Vec<Vec<u8>>,
    /// How far one sample is behind the other.
    step: usize,
    /// Which samples may be in a text, a bit each.
    bits: Vec<u64>,
    shift: u32,
    /// Samples by the upper bits of their hash: where those of one value begin.
    begins: Vec<u32>,
    places: Vec<Place>,
    upper: u32,
}

/// Where in a text a sample is.
#[derive(Clone, Copy)]
struct Place {
    gram: u32,
    text: u32,
    at: u32,
}

#[inline]
fn gram(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<GRAM>().map(|bytes| u32::from_le_bytes(*bytes) | FOLD)
}

#[inline]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9E37_79B1)
}

impl Texts {
    /// `None`: they are too many.
    pub(crate) fn new(texts: Vec<Vec<u8>>) -> Option<Self> {
        let shortest = texts.iter().map(Vec::len).min().unwrap_or(WINDOW).clamp(GRAM, WINDOW);
        let step = shortest - GRAM + 1;
        let mut places = Vec::new();
        for (number, text) in (0..).zip(&texts) {
            for (at, bytes) in (0..).zip(text.windows(GRAM)).take(step) {
                places.extend(gram(bytes).map(|gram| Place { gram, text: number, at }));
            }
        }
        if places.len() > MOST {
            return None;
        }
        // Of 64 bits one is set, as long as they fit into a cache.
        let bits_log = (places.len() * 64)
            .next_power_of_two()
            .ilog2()
            .clamp(15, 21)
            .max((places.len() * 8).next_power_of_two().ilog2());
        let upper_log = bits_log - 4;
        let (shift, upper) = (32 - bits_log, 32 - upper_log);
        let mut bits = vec![0u64; 1 << (bits_log - 6)];
        for place in &places {
            let at = hash(place.gram) >> shift;
            if let Some(word) = bits.get_mut(at as usize >> 6) {
                *word |= 1 << (at & 63);
            }
        }
        places.sort_by_key(|place| (hash(place.gram), place.text, place.at));
        let mut begins = Vec::with_capacity((1 << upper_log) + 1);
        let mut at = 0;
        for value in 0..=1u32 << upper_log {
            let own = |place: &Place| (hash(place.gram) >> upper) < value;
            at += places.get(at..).unwrap_or_default().iter().take_while(|place| own(place)).count();
            begins.push(u32::try_from(at).ok()?);
        }
        Some(Self { texts, step, bits, shift, begins, places, upper })
    }

    /// What is there: the number of each text, where it begins and where it ends.
    #[inline]
    pub(crate) fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize, usize)) {
        if self.places.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(sample) = bytes.get(at..).and_then(gram) {
            if self.may(sample) {
                self.compare(bytes, at, sample, &mut found);
            }
            at += self.step;
        }
    }

    /// The longest end, of so many bytes at least, that a text may go on from.
    pub(crate) fn open(&self, bytes: &[u8], least: usize) -> usize {
        let longest = (least.max(GRAM)..=bytes.len()).rev().find(|length| {
            let end = bytes.get(bytes.len() - length..).unwrap_or_default();
            gram(end).is_some_and(|first| {
                self.may(first)
                    && self.places(first).any(|place| {
                        let beginning = self.text(place.text).get(..*length).filter(|_| place.at == 0);
                        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(end))
                    })
            })
        });
        longest.unwrap_or(0)
    }

    #[inline]
    fn may(&self, gram: u32) -> bool {
        let at = hash(gram) >> self.shift;
        self.bits.get(at as usize >> 6).is_some_and(|word| word >> (at & 63) & 1 == 1)
    }

    fn places(&self, gram: u32) -> impl Iterator<Item = &Place> {
        let value = (hash(gram) >> self.upper) as usize;
        let bound = |value: usize| self.begins.get(value).copied().unwrap_or(0) as usize;
        let places = self.places.get(bound(value)..bound(value + 1)).unwrap_or_default();
        places.iter().filter(move |place| place.gram == gram)
    }

    #[cold]
    fn compare(&self, bytes: &[u8], at: usize, sample: u32, found: &mut impl FnMut(usize, usize, usize)) {
        for place in self.places(sample) {
            let own = self.text(place.text);
            let start = at.checked_sub(place.at as usize);
            let there =
                start.and_then(|start| bytes.get(start..start + own.len()).map(|there| (start, there)));
            if let Some((start, _)) = there.filter(|(_, there)| there.eq_ignore_ascii_case(own)) {
                found(place.text as usize, start, start + own.len());
            }
        }
    }

    fn text(&self, number: u32) -> &[u8] {
        self.texts.get(number as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        for length in [4, 7, 8, 9, 12, 16, 40] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + at % 23).collect();
            let texts = Texts::new(vec![text.clone(), b"some other text".to_vec()]).unwrap();
            for before in 0..40 {
                let all = [&b"-".repeat(before)[..], &text, b"---"].concat().to_ascii_uppercase();
                let mut found = Vec::new();
                texts.find(&all, |text, start, end| found.push((text, start, end)));
                found.sort_unstable();
                found.dedup();
                assert_eq!(found, [(0, before, before + usize::from(length))]);
                for cut in 4..usize::from(length) {
                    assert_eq!(texts.open(&all[..before + cut], 4), cut);
                }
                assert_eq!(texts.open(&all, 4), 0);
            }
        }
    }
}
