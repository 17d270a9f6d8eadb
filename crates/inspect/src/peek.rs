//! A ClientHello out of TLS records, however they are cut.

use crate::hello::{ClientHello, Malformed};

/// The most bytes that are read for one ClientHello, records' heads included. A usual one takes 250 to 2,000 bytes with
/// a post-quantum key share; what is larger is refused.
pub const LARGEST_HELLO: usize = 16 * 1024;

pub(crate) const HANDSHAKE: u8 = 22;

/// The start of a connection, collected until its ClientHello is whole.
#[derive(Debug, Default)]
pub struct Peek {
    bytes: Vec<u8>,
    /// How many of them are behind the ClientHello.
    behind: usize,
}

/// What to do after more bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Read on.
    More,
    /// The ClientHello is whole.
    Hello(Box<ClientHello>),
}

impl Peek {
    /// Takes the next bytes of the connection. After an error the connection is to be ended, nothing sent on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        if bytes.len() > LARGEST_HELLO.saturating_sub(self.bytes.len()) {
            return Err(Malformed::TooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        self.step()
    }

    /// Everything that was pushed, to be sent upstream before anything else.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What came behind the ClientHello already.
    #[must_use]
    pub fn behind(&self) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(self.behind)..).unwrap_or_default()
    }

    fn step(&mut self) -> Result<Step, Malformed> {
        let mut message = Vec::with_capacity(self.bytes.len());
        let mut rest = self.bytes.as_slice();
        loop {
            // The first bytes tell already that this is no TLS; a client that waits for an answer is not kept waiting.
            if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
                || rest.get(1).is_some_and(|major| *major != 3)
            {
                return Err(Malformed::NotTls);
            }
            let Some(([_, _, _, high, low], after)) = rest.split_first_chunk() else { break };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            // RFC 8446, section 5.1: no empty fragments of handshakes, none above 2^14 bytes.
            if length == 0 || length > 1 << 14 {
                return Err(Malformed::Record);
            }
            let (fragment, next) = after.split_at_checked(length).unwrap_or((after, &[]));
            message.extend_from_slice(fragment);
            let hello = whole(&message)?;
            // What is still to come of the record would be a second message.
            if after.len() < length {
                break;
            }
            if let Some(hello) = hello {
                // Nothing may follow before the server has answered; early data is a record of its own.
                self.behind = next.len();
                return Ok(Step::Hello(Box::new(hello)));
            }
            rest = next;
        }
        if self.bytes.len() >= LARGEST_HELLO { Err(Malformed::TooLarge) } else { Ok(Step::More) }
    }
}

/// The ClientHello, if all of it is here.
fn whole(message: &[u8]) -> Result<Option<ClientHello>, Malformed> {
    const CLIENT_HELLO: u8 = 1;
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Malformed::NotTls);
    }
    let Some(([_, a, b, c], body)) = message.split_first_chunk() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).map_err(|_| Malformed::TooLarge)?;
    if length > LARGEST_HELLO {
        return Err(Malformed::TooLarge);
    }
    match body.split_at_checked(length) {
        None => Ok(None),
        Some((body, [])) => ClientHello::parse(body).map(Some),
        // A second message within the record that ends the first (RFC 8446, section 5.1 forbids it here).
        Some(_) => Err(Malformed::Record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::tests::{hello, record, sni};
    use proptest::prelude::*;

    fn named(name: &str) -> Vec<u8> {
        hello(&sni(name))
    }

    #[test]
    fn a_hello_is_read_however_it_is_cut() {
        let message = named("api.example.org");
        for size in [1, 2, 7, 100, message.len()] {
            let bytes: Vec<u8> = message.chunks(size).flat_map(record).collect();
            let mut peek = Peek::default();
            for (index, byte) in bytes.iter().enumerate() {
                let last = index + 1 == bytes.len();
                match peek.push(&[*byte]).unwrap() {
                    Step::More => assert!(!last, "records of {size}"),
                    Step::Hello(read) => {
                        assert!(last, "records of {size}");
                        assert_eq!(read.sni.as_deref(), Some("api.example.org"));
                    }
                }
            }
            assert_eq!(peek.into_bytes(), bytes);
        }
    }

    #[test]
    fn what_is_not_a_hello_is_told_at_its_first_bytes() {
        let push = |bytes: &[u8]| Peek::default().push(bytes).map(|_| ());
        assert_eq!(push(b"G"), Err(Malformed::NotTls));
        assert_eq!(push(b"\x80\x2e"), Err(Malformed::NotTls), "SSL 2");
        assert_eq!(push(&[22, 2]), Err(Malformed::NotTls));
        assert_eq!(push(&[22, 3, 1, 0, 1, 2]), Err(Malformed::NotTls), "a ServerHello");
        assert_eq!(push(&[22, 3, 1, 0, 0]), Err(Malformed::Record), "an empty record");
        assert_eq!(push(&[22, 3, 1, 0x40, 1]), Err(Malformed::Record), "a record beyond 2^14");
        assert_eq!(push(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), Err(Malformed::TooLarge), "64 KiB announced");
        let mut two = named("a.org");
        two.push(1);
        assert_eq!(push(&record(&two)), Err(Malformed::Record), "a second message behind it");
        assert_eq!(push(&vec![22; LARGEST_HELLO + 1]), Err(Malformed::TooLarge));
    }

    #[test]
    fn a_hello_ends_with_its_record() {
        let message = named("a.org");
        let mut bytes = record(&message);
        let mut peek = Peek::default();
        assert!(matches!(peek.push(&[&bytes[..], b"\x17\x03"].concat()), Ok(Step::Hello(_))));
        assert_eq!(peek.behind(), b"\x17\x03");
        // More is announced than the hello takes.
        bytes[4] += 1;
        let mut peek = Peek::default();
        assert_eq!(peek.push(&bytes), Ok(Step::More));
        assert_eq!(peek.push(&[1]), Err(Malformed::Record));
    }

    #[test]
    fn an_endless_hello_is_ended() {
        let mut peek = Peek::default();
        // Announces 16 KiB and sends it byte by byte, a record each: heads count too.
        let message = [&[1, 0, 0x3f, 0xff][..], &[0; 16 * 1024]].concat();
        let end = message.chunks(1).map(|byte| peek.push(&record(byte))).find_map(Result::err);
        assert_eq!(end, Some(Malformed::TooLarge));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Peek::default().push(&bytes);
            let _ = Peek::default().push(&record(&[&[1, 0, 0, bytes.len() as u8][..], &bytes].concat()));
        }

        #[test]
        fn a_damaged_hello_never_gets_another_name(at in 0usize..120, byte in any::<u8>()) {
            let mut bytes = record(&named("api.example.org"));
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(Step::Hello(read)) = Peek::default().push(&bytes) {
                // One byte off is another name, or none, but never a longer text of the client's choice.
                prop_assert!(read.sni.is_none_or(|name| name.len() <= "api.example.org".len()));
            }
        }
    }
}
