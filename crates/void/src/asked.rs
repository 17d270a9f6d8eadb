//! What the owner is asked about. A name of it is answered at once, for a lookup that is held holds up everybody who looks there; what
//! follows is held: the kernel asks for the attributes of what it may not remember before it uses it.

use std::collections::BTreeMap;

use crate::wire::fail;

/// Callers that wait at one time; more are refused at once.
const MOST: usize = 1024;

/// What the owner said of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing, and nobody asked.
    #[default]
    Idle,
    Waiting,
    Granted,
    Refused,
}

/// An answer of the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Decision {
    /// It is mounted: whoever waits walks there again and lands in it.
    Granted,
    /// It is as if it were not there.
    Refused,
    /// It was taken away, and what was granted with it below: the next one asks again.
    Ended,
}

/// All of them, by their nodes.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    states: BTreeMap<u64, State>,
    /// Requests that wait, and for what.
    waiting: BTreeMap<u64, u64>,
}

/// What becomes of a request.
pub(crate) enum Turn {
    /// It is the first: the owner is to be asked.
    Ask,
    Wait,
    /// An error number.
    Fail(i32),
}

impl Asked {
    /// Somebody uses a node.
    pub(crate) fn used(&mut self, node: u64, unique: u64) -> Turn {
        let state = self.states.entry(node).or_default();
        match *state {
            State::Granted => return Turn::Fail(libc::ESTALE),
            State::Refused => return Turn::Fail(libc::ENOENT),
            _ if self.waiting.len() >= MOST => return Turn::Fail(libc::ENOENT),
            State::Idle | State::Waiting => {}
        }
        self.waiting.insert(unique, node);
        match std::mem::replace(state, State::Waiting) {
            State::Idle => Turn::Ask,
            _ => Turn::Wait,
        }
    }

    /// How long the kernel may remember its name, in seconds: one that is granted is walked through often.
    pub(crate) fn remembered(&self, node: u64) -> u64 {
        u64::from(self.granted(node))
    }

    /// Whether the owner has granted it.
    pub(crate) fn granted(&self, node: u64) -> bool {
        self.states.get(&node) == Some(&State::Granted)
    }

    /// Whether the owner has refused it.
    pub(crate) fn refused(&self, node: u64) -> bool {
        self.states.get(&node) == Some(&State::Refused)
    }

    /// The requests that are to be answered now, and with which error.
    pub(crate) fn decide(&mut self, node: u64, decision: Decision) -> (Vec<u64>, i32) {
        let (state, error) = match decision {
            Decision::Granted => (State::Granted, libc::ESTALE),
            Decision::Refused => (State::Refused, libc::ENOENT),
            Decision::Ended => {
                self.end(node);
                return (Vec::new(), 0);
            }
        };
        self.states.insert(node, state);
        let answered: Vec<u64> =
            self.waiting.iter().filter(|(_, waits)| **waits == node).map(|(unique, _)| *unique).collect();
        self.waiting.retain(|_, waits| *waits != node);
        (answered, error)
    }

    /// Who used it once it was not granted any more waits already, and goes on waiting.
    pub(crate) fn end(&mut self, node: u64) {
        self.states.retain(|other, state| *other != node || *state != State::Granted);
    }

    /// The owner thought better of a refusal.
    pub(crate) fn forget_refusal(&mut self, node: u64) {
        self.states.retain(|other, state| *other != node || *state != State::Refused);
    }

    /// A caller was interrupted, perhaps killed: it must not wait any longer (FUSE_INTERRUPT). The node for which nobody waits any more:
    /// the next one asks again.
    pub(crate) fn interrupt(&mut self, unique: u64, answer: &mut Vec<u8>) -> Option<u64> {
        let node = self.waiting.remove(&unique)?;
        fail(answer, unique, libc::EINTR);
        let left = self.waiting.values().all(|waits| *waits != node);
        left.then(|| self.states.remove(&node)).map(|_| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_asks_the_others_wait_and_all_are_answered() {
        let mut asked = Asked::default();
        assert!(matches!(asked.used(7, 1), Turn::Ask));
        assert!(matches!(asked.used(7, 2), Turn::Wait));
        assert!(matches!(asked.used(8, 3), Turn::Ask));
        let mut answer = Vec::new();
        assert_eq!(asked.interrupt(2, &mut answer), None);
        assert!(!answer.is_empty());
        assert!(matches!(asked.used(10, 20), Turn::Ask));
        assert_eq!(asked.interrupt(20, &mut answer), Some(10));
        assert_eq!(asked.interrupt(20, &mut answer), None);
        assert!(matches!(asked.used(10, 21), Turn::Ask));
        assert_eq!(asked.decide(7, Decision::Granted), (vec![1], libc::ESTALE));
        assert!(matches!(asked.used(7, 4), Turn::Fail(libc::ESTALE)));
        assert_eq!(asked.decide(8, Decision::Refused), (vec![3], libc::ENOENT));
        assert!(matches!(asked.used(8, 5), Turn::Fail(libc::ENOENT)));
        assert_eq!(asked.decide(7, Decision::Ended), (vec![], 0));
        assert!(matches!(asked.used(7, 6), Turn::Ask));
        // Who waits is answered by the owner alone.
        assert_eq!(asked.decide(7, Decision::Ended), (vec![], 0));
        assert_eq!(asked.decide(7, Decision::Refused), (vec![6], libc::ENOENT));
        asked.forget_refusal(7);
        assert!(matches!(asked.used(7, 7), Turn::Ask));
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let mut asked = Asked::default();
        let waits = (0..5000).filter(|unique| !matches!(asked.used(9, *unique), Turn::Fail(_))).count();
        assert_eq!(waits, MOST);
    }
}
