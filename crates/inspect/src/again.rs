//! The ClientHello that a server asks for once more (RFC 8446, section 4.1.4), which may name another server than the first did.

use crate::hello::{ClientHello, Malformed};
use crate::peek::{HANDSHAKE, Peek, Step};

/// The random value of a ServerHello that asks for it (RFC 8446, section 4.1.3).
const ASKS: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Of the head of a ServerHello: kind, length, version, random value.
const HEAD: usize = 38;
/// The most bytes of the server in which that is looked for; every server says it in its first record.
const MOST: usize = 1024;

/// A connection of TLS behind its first ClientHello, until it is clear that no other is read.
#[derive(Debug, Default)]
pub struct Again {
    server: Vec<u8>,
    /// The head of a record, as far as it came, and how much of its content is still to come.
    head: Vec<u8>,
    rest: usize,
    peek: Option<Peek>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The server has said nothing yet.
    #[default]
    Unanswered,
    /// It asks for another hello; before that come records that it leaves unread, such as early data.
    Asked,
    /// Whatever comes, no other is read in the clear.
    Over,
}

impl Again {
    /// Whether there is no need to look any further.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes what the server says, before the client hears it.
    pub fn answered(&mut self, bytes: &[u8]) {
        if self.state != State::Unanswered {
            return;
        }
        let room = MOST.saturating_sub(self.server.len());
        self.server.extend(bytes.iter().take(room));
        let Some(state) = answer(&self.server) else { return };
        (self.state, self.server) = (state, Vec::new());
    }

    /// Takes what the client says, before the server hears it: with the hello that ends in it, if one does. After an error
    /// nothing of it is sent on.
    pub fn said(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, Malformed> {
        while self.state != State::Over
            && let Some(first) = bytes.first()
        {
            if let Some(peek) = &mut self.peek {
                let Step::Hello(hello) = peek.push(bytes)? else { return Ok(None) };
                self.state = State::Over;
                return Ok(Some(*hello));
            }
            if self.rest > 0 {
                let (_, left) = bytes.split_at(self.rest.min(bytes.len()));
                self.rest -= bytes.len() - left.len();
                bytes = left;
            } else if self.head.is_empty() && *first == HANDSHAKE {
                // Who sends one before there is an answer knows what that will be, and hopes to be ahead of whoever looks.
                if self.state == State::Unanswered {
                    return Err(Malformed::Record);
                }
                self.peek = Some(Peek::default());
            } else {
                self.head.push(*first);
                bytes = bytes.get(1..).unwrap_or_default();
                if let [_, _, _, high, low] = self.head[..] {
                    self.rest = u16::from_be_bytes([high, low]).into();
                    self.head.clear();
                }
            }
        }
        Ok(None)
    }
}

/// What the first words of a server come to; `None`: more must come.
fn answer(said: &[u8]) -> Option<State> {
    let (mut message, mut rest) = (Vec::new(), said);
    loop {
        if let Some(head) = message.get(..HEAD) {
            let asks = head.first() == Some(&2) && head.ends_with(&ASKS);
            return Some(if asks { State::Asked } else { State::Over });
        }
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE) {
            return Some(State::Over);
        }
        let Some(([_, _, _, high, low], after)) = rest.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (fragment, next) = after.split_at_checked(length).unwrap_or((after, &[]));
        message.extend_from_slice(fragment);
        rest = next;
        if let (true, None) = (rest.is_empty(), message.get(..HEAD)) {
            break;
        }
    }
    (said.len() >= MOST).then_some(State::Over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::tests::{hello, record, sni};
    use proptest::prelude::*;

    fn server(random: &[u8; 32]) -> Vec<u8> {
        [&[2, 0, 0, 80, 3, 3][..], random, &[0; 46]].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        record(&hello(&sni(name)))
    }

    fn of(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = record(content);
        bytes[0] = kind;
        bytes
    }

    #[test]
    fn a_second_hello_is_read_where_one_is_asked_for() {
        for size in [1, 3, 64, 1000] {
            let mut again = Again::default();
            assert_eq!(again.said(&of(23, b"early")), Ok(None));
            let asks: Vec<u8> = server(&ASKS).chunks(size).flat_map(record).chain(of(20, &[1])).collect();
            asks.chunks(size).for_each(|part| again.answered(part));
            assert!(!again.is_over());
            let said = [of(20, &[1]), of(23, &[22; 40]), of(23, &[]), named("b.org")].concat();
            let mut parts = said.chunks(size).map(|part| again.said(part).unwrap());
            let found: Vec<_> = parts.by_ref().flatten().collect();
            assert_eq!(found.len(), 1, "parts of {size}");
            assert_eq!(found[0].sni.as_deref(), Some("b.org"));
            assert!(again.is_over());
        }
    }

    #[test]
    fn none_is_looked_for_where_none_is_asked_for() {
        for answer in [record(&server(&[7; 32])), of(21, &[2, 40]), of(23, &[1; 50]), vec![22; 4000]] {
            let mut again = Again::default();
            again.answered(&answer);
            assert!(again.is_over());
            assert_eq!(again.said(&named("b.org")), Ok(None));
        }
    }

    #[test]
    fn none_comes_before_the_answer() {
        let mut again = Again::default();
        again.answered(&record(&server(&ASKS)[..37]));
        assert_eq!(again.said(&[of(23, b"early"), named("a.org")].concat()), Err(Malformed::Record));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            server in proptest::collection::vec(any::<u8>(), 0..100),
            client in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut again = Again::default();
            again.answered(&server);
            let _ = again.said(&client);
            again.answered(&record(&self::server(&ASKS)));
            let _ = again.said(&client);
        }
    }
}
