//! What the owner is asked about. A name of it is answered at once, for a lookup that is held holds up everybody who looks there; what
//! follows is held: the kernel asks for the attributes of what it may not remember before it uses it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::wire::fail;

/// Callers that wait at one time; more are refused at once.
const MOST: usize = 1024;
/// How long a question stands for which nobody waits, while who waited lives: signals end calls, and most programs try again.
const RETRIES: Duration = Duration::from_secs(3);

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
    /// Requests that wait, for what, and whose they are.
    waiting: BTreeMap<u64, (u64, i32)>,
    /// Nodes for which nobody waits now: since when, and who was the last.
    left: BTreeMap<u64, (Instant, i32)>,
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
    /// A thread uses a node.
    pub(crate) fn used(&mut self, node: u64, unique: u64, thread: i32) -> Turn {
        let state = self.states.entry(node).or_default();
        match *state {
            State::Granted => return Turn::Fail(libc::ESTALE),
            State::Refused => return Turn::Fail(libc::ENOENT),
            _ if self.waiting.len() >= MOST => return Turn::Fail(libc::ENOENT),
            State::Idle | State::Waiting => {}
        }
        self.waiting.insert(unique, (node, thread));
        self.left.remove(&node);
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
        self.left.remove(&node);
        let waits = self.waiting.iter().filter(|(_, (waits, _))| *waits == node);
        let answered = waits.map(|(unique, _)| *unique).collect();
        self.waiting.retain(|_, (waits, _)| *waits != node);
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

    /// A caller was interrupted, perhaps killed: it must not wait any longer (FUSE_INTERRUPT).
    pub(crate) fn interrupt(&mut self, unique: u64, answer: &mut Vec<u8>) {
        let Some((node, thread)) = self.waiting.remove(&unique) else { return };
        fail(answer, unique, libc::EINTR);
        if self.waiting.values().all(|(waits, _)| *waits != node) {
            self.left.insert(node, (Instant::now(), thread));
        }
    }

    /// Whether there are nodes for which nobody waits now.
    pub(crate) fn leaves(&self) -> bool {
        !self.left.is_empty()
    }

    /// Those for which nobody will wait again: the next one asks anew. `lives` says whether a thread does.
    pub(crate) fn gone(&mut self, lives: impl Fn(i32) -> bool) -> Vec<u64> {
        let over = |(since, thread): &(Instant, i32)| since.elapsed() >= RETRIES || !lives(*thread);
        let gone: Vec<u64> = self.left.iter().filter(|(_, last)| over(last)).map(|(node, _)| *node).collect();
        self.left.retain(|node, _| !gone.contains(node));
        self.states.retain(|node, _| !gone.contains(node));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_asks_the_others_wait_and_all_are_answered() {
        let mut asked = Asked::default();
        assert!(matches!(asked.used(7, 1, 9), Turn::Ask));
        assert!(matches!(asked.used(7, 2, 9), Turn::Wait));
        assert!(matches!(asked.used(8, 3, 9), Turn::Ask));
        let mut answer = Vec::new();
        asked.interrupt(2, &mut answer);
        assert!(!answer.is_empty() && !asked.leaves());
        assert!(matches!(asked.used(10, 20, 9), Turn::Ask));
        asked.interrupt(20, &mut answer);
        // Its question stands while it lives, and whoever tries again waits for the same one.
        assert!(asked.leaves() && asked.gone(|_| true).is_empty());
        assert!(matches!(asked.used(10, 22, 9), Turn::Wait) && asked.gone(|_| false).is_empty());
        asked.interrupt(22, &mut answer);
        assert_eq!((asked.gone(|thread| thread != 9), asked.leaves()), (vec![10], false));
        assert!(matches!(asked.used(10, 21, 9), Turn::Ask));
        assert_eq!(asked.decide(7, Decision::Granted), (vec![1], libc::ESTALE));
        assert!(matches!(asked.used(7, 4, 9), Turn::Fail(libc::ESTALE)));
        assert_eq!(asked.decide(8, Decision::Refused), (vec![3], libc::ENOENT));
        assert!(matches!(asked.used(8, 5, 9), Turn::Fail(libc::ENOENT)));
        assert_eq!(asked.decide(7, Decision::Ended), (vec![], 0));
        assert!(matches!(asked.used(7, 6, 9), Turn::Ask));
        // Who waits is answered by the owner alone.
        assert_eq!(asked.decide(7, Decision::Ended), (vec![], 0));
        assert_eq!(asked.decide(7, Decision::Refused), (vec![6], libc::ENOENT));
        asked.forget_refusal(7);
        assert!(matches!(asked.used(7, 7, 9), Turn::Ask));
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let mut asked = Asked::default();
        let waits = (0..5000).filter(|unique| !matches!(asked.used(9, *unique, 9), Turn::Fail(_))).count();
        assert_eq!(waits, MOST);
    }
}
