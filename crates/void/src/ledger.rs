//! What was refused already: each refusal is told once and then counted, in a room that does not grow with what is asked.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Refusals that are told of one by one; a task could ask for as many as it likes.
const MOST: usize = 4096;
/// The same of more askers than one, in a room of their own: a task can be whoever it likes.
const MOST_ASKERS: usize = 1024;

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
    /// What was refused, with its number and who asked first.
    known: HashMap<Key, (u32, Key)>,
    /// That, and who else asked.
    askers: HashMap<(Key, Key), u32>,
    /// The strongest purpose that was told of each, where it is more than the least.
    strengths: HashMap<u32, u8>,
    /// How often each was asked again since that was told.
    again: HashMap<u32, u64>,
    others: u64,
    /// The next one's number.
    next: u32,
}

type Key = (u64, u64);

impl Ledger {
    /// One whose numbers begin there, for refusals that no others may crowd out.
    #[must_use]
    pub fn starting(first: u32) -> Self {
        Self { next: first, ..Self::default() }
    }

    /// Takes one down: what was refused, and to whom.
    pub fn note(&mut self, refusal: &[&[u8]], asker: &[&[u8]]) -> First {
        self.note_for(refusal, asker, 0)
    }

    /// The same with a purpose: one that is stronger than those told of is told, too, with a number of its own.
    pub fn note_for(&mut self, refusal: &[&[u8]], asker: &[&[u8]], strength: u8) -> First {
        let key = |parts: &[&[u8]]| (self.keys.0.hash_one(parts), self.keys.1.hash_one(parts));
        let (refusal, asker) = (key(refusal), key(asker));
        let Some((number, first)) = self.known.get(&refusal) else {
            let Some(number) = (self.known.len() < MOST).then(|| self.number()).flatten() else {
                return self.beyond();
            };
            self.known.insert(refusal, (number, asker));
            return self.new_for(number, number, strength);
        };
        let known = if *first == asker { Some(number) } else { self.askers.get(&(refusal, asker)) };
        let again = match known {
            Some(number) => *number,
            None if self.askers.len() < MOST_ASKERS => {
                let Some(number) = self.number() else { return self.beyond() };
                self.askers.insert((refusal, asker), number);
                return self.new_for(number, number, strength);
            }
            None => return self.beyond(),
        };
        if strength > self.strengths.get(&again).copied().unwrap_or(0) {
            let Some(number) = self.number() else { return self.beyond() };
            return self.new_for(again, number, strength);
        }
        self.count(again)
    }

    fn new_for(&mut self, known: u32, number: u32, strength: u8) -> First {
        if strength > 0 {
            self.strengths.insert(known, strength);
        }
        First::New(number)
    }

    /// Counts one that there is no room for.
    pub fn beyond(&mut self) -> First {
        self.others = self.others.saturating_add(1);
        First::Beyond
    }

    /// One that [`Self::note`] had no room for is told of all the same: it is not counted here.
    pub fn passed_on(&mut self) {
        self.others = self.others.saturating_sub(1);
    }

    /// Whether this was told of.
    #[must_use]
    pub fn knows(&self, refusal: &[&[u8]]) -> bool {
        self.known.contains_key(&(self.keys.0.hash_one(refusal), self.keys.1.hash_one(refusal)))
    }

    fn number(&mut self) -> Option<u32> {
        let number = self.next;
        self.next = self.next.checked_add(1)?;
        Some(number)
    }

    fn count(&mut self, number: u32) -> First {
        let count = self.again.entry(number).or_default();
        *count = count.saturating_add(1);
        First::Again
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
        assert_eq!(ledger.note(&[b"/a", b"x"], &[]), First::New(0));
        assert_eq!(ledger.note(&[b"/a", b"x"], &[]), First::Again);
        // Parts are not run together.
        assert_eq!(ledger.note(&[b"/", b"ax"], &[]), First::New(1));
        for index in 0..100_000u32 {
            ledger.note(&[&index.to_ne_bytes()], &[]);
        }
        assert_eq!(ledger.known.len(), MOST);
        let (counts, others) = ledger.counts(10);
        assert_eq!((counts, others), (vec![(0, 1)], 100_000 - (MOST as u64 - 2)));
        assert!(!ledger.dirty());
    }

    #[test]
    fn a_stronger_purpose_is_told_of_what_is_known() {
        let mut ledger = Ledger::default();
        let mut note = |strength| ledger.note_for(&[b"/a"], &[b"x"], strength);
        assert_eq!([note(0), note(0), note(1)], [First::New(0), First::Again, First::New(1)]);
        assert_eq!(
            [note(0), note(1), note(3), note(2)],
            [First::Again, First::Again, First::New(2), First::Again]
        );
        assert_eq!(ledger.note_for(&[b"/a"], &[b"y"], 2), First::New(3));
        assert_eq!(ledger.note_for(&[b"/a"], &[b"y"], 2), First::Again);
    }

    #[test]
    fn whoever_asks_crowds_out_nothing() {
        let mut ledger = Ledger::starting(7);
        assert_eq!(ledger.note(&[b"/a"], &[b"x"]), First::New(7));
        assert_eq!(ledger.note(&[b"/a"], &[b"y"]), First::New(8));
        assert_eq!(ledger.note(&[b"/a"], &[b"y"]), First::Again);
        for index in 0..100_000u32 {
            ledger.note(&[b"/a"], &[&index.to_ne_bytes()]);
        }
        assert_eq!(ledger.askers.len(), MOST_ASKERS);
        assert!(matches!(ledger.note(&[b"/b"], &[b"x"]), First::New(_)));
        let (counts, others) = ledger.counts(10);
        assert_eq!(
            (counts.iter().map(|(_, count)| count).sum::<u64>(), others),
            (1, 100_000 - (MOST_ASKERS as u64 - 1))
        );
    }
}
