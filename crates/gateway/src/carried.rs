//! Sessions of ssh that the gateway carries right now: what their servers said at the beginning, where a host signs the session in the
//! clear (RFC 4253, section 8). A key signs for these alone: somebody outside could else have a session of its own signed in here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use memchr::memmem;

/// Bytes of the beginning; the exchange of keys has about three thousand.
const FIRST: usize = 32 << 10;
/// Sessions whose beginnings are kept at one time.
const MOST: usize = 256;

/// Names of a host, and what it said.
type Said = (Vec<String>, Vec<u8>);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    next: Cell<u64>,
    said: RefCell<HashMap<u64, Said>>,
}

/// One, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    all: &'a Sessions,
    number: u64,
}

impl Sessions {
    /// One begins with the host that has these names in the policy. `None`: it has none, or there are too many.
    pub(crate) fn begin(&self, hosts: Vec<String>) -> Option<Session<'_>> {
        let mut said = self.said.borrow_mut();
        if hosts.is_empty() || said.len() >= MOST {
            return None;
        }
        let number = self.next.replace(self.next.get().wrapping_add(1));
        said.insert(number, (hosts, Vec::new()));
        Some(Session { all: self, number })
    }

    /// Whether a session that lasts, with this host, was signed so.
    pub(crate) fn signed(&self, host: &str, signature: &[u8]) -> bool {
        let of = |(hosts, said): &Said| {
            hosts.iter().any(|own| own == host) && memmem::find(said, signature).is_some()
        };
        !signature.is_empty() && self.said.borrow().values().any(of)
    }
}

impl Session<'_> {
    /// The server says this.
    pub(crate) fn hear(&self, part: &[u8]) {
        if let Some((_, said)) = self.all.said.borrow_mut().get_mut(&self.number) {
            let room = FIRST.saturating_sub(said.len());
            said.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.all.said.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_while_it_lasts() {
        let all = Sessions::default();
        assert!(all.begin(Vec::new()).is_none());
        let one = all.begin(vec!["a:22".to_owned()]).unwrap();
        one.hear(b"SSH-2.0-x ... signa");
        assert!(!all.signed("a:22", b"signature") && !all.signed("a:22", b""));
        one.hear(b"ture and more");
        assert!(all.signed("a:22", b"signature") && !all.signed("b:22", b"signature"));
        one.hear(&[b'x'; 2 * FIRST]);
        one.hear(b"later");
        assert!(!all.signed("a:22", b"later"));
        let held: Vec<_> = (0..2 * MOST).filter_map(|_| all.begin(vec!["a:22".to_owned()])).collect();
        assert_eq!(held.len(), MOST - 1);
        drop(one);
        assert!(!all.signed("a:22", b"signature"));
    }
}
