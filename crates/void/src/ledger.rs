//! What was refused already: each refusal is told once and then counted, in a room that does not grow with what is asked.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Refusals that are told of one by one; a task could ask for as many as it likes.
const MOST: usize = 4096;

/// Whether a refusal is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// It is: this is its number, the first has 0.
    New(u32),
    /// It was told before and is only counted.
    Again,
    /// Too many were told: it is only counted, among the others.
    Beyond,
}

/// The refusals of one sandbox.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Two hashes with keys of their own: nobody who asks can make two refusals look like one.
    keys: (RandomState, RandomState),
    known: HashMap<(u64, u64), u32>,
    /// How often each was asked again since that was told.
    again: HashMap<u32, u64>,
    others: u64,
    /// The first one's number.
    first: u32,
}

impl Ledger {
    /// One whose numbers begin there, for refusals that no others may crowd out.
    #[must_use]
    pub fn starting(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    /// Takes one down.
    pub fn note(&mut self, refusal: &[&[u8]]) -> First {
        let key = (self.keys.0.hash_one(refusal), self.keys.1.hash_one(refusal));
        if let Some(number) = self.known.get(&key) {
            let count = self.again.entry(*number).or_default();
            *count = count.saturating_add(1);
            return First::Again;
        }
        let count = u32::try_from(self.known.len()).ok().filter(|_| self.known.len() < MOST);
        let Some(number) = count.and_then(|count| self.first.checked_add(count)) else {
            self.others = self.others.saturating_add(1);
            return First::Beyond;
        };
        self.known.insert(key, number);
        First::New(number)
    }

    /// Whether something was counted that is not told yet.
    #[must_use]
    pub fn dirty(&self) -> bool {
        self.others > 0 || !self.again.is_empty()
    }

    /// How often known refusals were repeated since the last time, at most `most` of them, and how many others there were.
    pub fn counts(&mut self, most: usize) -> (Vec<(u32, u64)>, u64) {
        let numbers: Vec<u32> = self.again.keys().copied().take(most).collect();
        let counts = numbers.into_iter().filter_map(|number| self.again.remove_entry(&number)).collect();
        (counts, std::mem::take(&mut self.others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_then_counted_and_bounded() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.note(&[b"/a", b"x"]), First::New(0));
        assert_eq!(ledger.note(&[b"/a", b"x"]), First::Again);
        // Parts are not run together.
        assert_eq!(ledger.note(&[b"/", b"ax"]), First::New(1));
        for index in 0..100_000u32 {
            ledger.note(&[&index.to_ne_bytes()]);
        }
        assert_eq!(ledger.known.len(), MOST);
        let (counts, others) = ledger.counts(10);
        assert_eq!((counts, others), (vec![(0, 1)], 100_000 - (MOST as u64 - 2)));
        assert!(!ledger.dirty());
    }
}
