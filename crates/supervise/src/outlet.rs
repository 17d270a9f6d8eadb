//! What a task prints, on its way out: what would act on a terminal is taken away, and secrets are looked for.

use std::rc::Rc;

use ringfence_leaks::{Hit, Masking, Scanner, Stream};
use ringfence_policy::Leaks;
use ringfence_terminal::Filter;

/// The way out of one stream. The filter comes first: what it takes away may have stood between the letters of a secret.
#[derive(Default)]
pub struct Outlet {
    filter: Option<Filter>,
    /// All of it goes out: the filter only notes what is set.
    whole: bool,
    sieve: Option<Sieve>,
    /// Nothing goes out any more.
    ended: bool,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Outlet {
    /// To a terminal, or to something that takes what it gets.
    #[must_use]
    pub fn new(terminal: bool) -> Self {
        Self { filter: terminal.then(Filter::new), ..Self::default() }
    }

    /// Lets what acts on a terminal pass.
    pub(crate) fn unfiltered(&mut self) {
        self.whole = true;
    }

    /// As [`Filter::interlude`].
    pub(crate) fn interlude(&self) -> (Vec<u8>, Vec<u8>) {
        self.filter.as_ref().map(Filter::interlude).unwrap_or_default()
    }

    /// Looks for secrets.
    pub fn sift(&mut self, scanner: &Rc<Scanner>, action: Leaks) {
        self.sieve = Some(Sieve::new(scanner, action));
    }

    /// The next part: what of it goes out now.
    pub fn push(&mut self, mut part: Vec<u8>) -> Vec<u8> {
        if self.ended {
            return Vec::new();
        }
        if let Some(filter) = &mut self.filter {
            let mut plain = Vec::new();
            filter.push(&part, &mut plain);
            if !self.whole {
                part = plain;
            }
        }
        match &mut self.sieve {
            Some(sieve) => sieve.push(part),
            None => part,
        }
    }

    /// What waited for more, now that no more comes, and what switches off what is switched on. A sequence that never ended does
    /// not go out.
    pub fn end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if std::mem::replace(&mut self.ended, true) {
            return rest;
        }
        if let Some(filter) = self.filter.as_mut().filter(|_| !self.whole) {
            filter.finish(&mut rest);
        }
        if let Some(sieve) = &mut self.sieve {
            rest = sieve.push(rest);
            rest.extend(sieve.end());
        }
        rest
    }

    /// The secrets that were found since this was asked last.
    pub fn found(&mut self) -> Vec<Found> {
        self.sieve.as_mut().map(Sieve::found).unwrap_or_default()
    }
}

/// A secret that was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is, and how it is written.
    pub hit: Hit,
    /// What was done: [`Leaks::Block`] ends the sandbox, also where `mask` could not replace it.
    pub action: Leaks,
}

impl Found {
    /// Tells of all; whether the sandbox must end, and the first that says so.
    pub(crate) fn tell(all: Vec<Self>, mut tell: impl FnMut(&Self) -> bool) -> (bool, Option<Hit>) {
        let (mut ends, mut hit) = (false, None);
        for found in all {
            // What cannot be written down does not go on.
            ends |= !tell(&found) || found.action == Leaks::Block;
            if found.action == Leaks::Block {
                hit.get_or_insert(found.hit);
            }
        }
        (ends, hit)
    }
}

/// What one stream goes through.
struct Sieve {
    scanner: Rc<Scanner>,
    way: Way,
    action: Leaks,
    found: Vec<Found>,
}

enum Way {
    /// It passes, and is told of.
    Watch(Stream),
    /// What may be the beginning of a secret waits until more is known.
    Hold(Box<Masking>),
    /// Nothing passes any more.
    Shut,
}

impl Sieve {
    fn new(scanner: &Rc<Scanner>, action: Leaks) -> Self {
        let way = match action {
            Leaks::Warn => Way::Watch(scanner.begin()),
            Leaks::Mask | Leaks::Block => Way::Hold(Box::new(Masking::new(scanner))),
        };
        Self { scanner: Rc::clone(scanner), way, action, found: Vec::new() }
    }

    /// The next part: what of it passes now.
    fn push(&mut self, part: Vec<u8>) -> Vec<u8> {
        let step = match &mut self.way {
            Way::Watch(stream) => Ok((stream.push(&self.scanner, &part), part)),
            Way::Hold(masking) => masking.push(&self.scanner, &part).map(|(bytes, hit)| (hit, bytes)),
            Way::Shut => return Vec::new(),
        };
        self.judge(step)
    }

    /// What waited, at the end of the stream.
    fn end(&mut self) -> Vec<u8> {
        let step = match &mut self.way {
            Way::Watch(stream) => Ok((stream.end(&self.scanner), Vec::new())),
            Way::Hold(masking) => masking.end(&self.scanner).map(|(bytes, hit)| (hit, bytes)),
            Way::Shut => return Vec::new(),
        };
        let rest = self.judge(step);
        self.way = Way::Shut;
        rest
    }

    /// What was found since this was asked last.
    fn found(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    fn shut(&mut self, hit: Hit, bytes: Vec<u8>) -> Vec<u8> {
        self.found.push(Found { hit, action: Leaks::Block });
        self.way = Way::Shut;
        bytes
    }

    fn judge(&mut self, step: Result<(Option<Hit>, Vec<u8>), Hit>) -> Vec<u8> {
        match step {
            Ok((None, bytes)) => bytes,
            Ok((Some(hit), bytes)) if self.action != Leaks::Block => {
                self.found.push(Found { hit, action: self.action });
                bytes
            }
            // The part in which it was is shown, with as many letters in its place.
            Ok((Some(hit), bytes)) => self.shut(hit, bytes),
            Err(hit) => self.shut(hit, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringfence_leaks::Known;

    use super::*;

    fn sieve(action: Leaks) -> Sieve {
        let known = [Known { name: "it".into(), value: b"correct-horse-battery".to_vec() }];
        Sieve::new(&Rc::new(Scanner::new(&known, true).unwrap()), action)
    }

    fn through(sieve: &mut Sieve, parts: &[&str]) -> (String, Vec<Leaks>) {
        let mut out: Vec<u8> = parts.iter().flat_map(|part| sieve.push(part.as_bytes().to_vec())).collect();
        out.extend(sieve.end());
        (String::from_utf8(out).unwrap(), sieve.found().iter().map(|found| found.action).collect())
    }

    #[test]
    fn each_action_does_what_it_says() {
        let parts = ["say correct-ho", "rse-battery then"];
        let masked = "say xxxxxxxxxxxxxxxxxxxxx then".to_owned();
        assert_eq!(through(&mut sieve(Leaks::Mask), &parts), (masked.clone(), vec![Leaks::Mask]));
        assert_eq!(through(&mut sieve(Leaks::Warn), &parts), (parts.concat(), vec![Leaks::Warn]));
        assert_eq!(through(&mut sieve(Leaks::Block), &parts), (masked, vec![Leaks::Block]));
    }

    #[test]
    fn what_waits_comes_in_the_end_and_nothing_after_a_block() {
        assert_eq!(through(&mut sieve(Leaks::Block), &["is it corre"]), ("is it corre".to_owned(), vec![]));
        let mut shut = sieve(Leaks::Block);
        assert!(shut.push(b"correct-horse-battery".to_vec()).iter().all(|byte| *byte == b'x'));
        assert_eq!(through(&mut shut, &["more"]), (String::new(), vec![Leaks::Block]));
    }
}
