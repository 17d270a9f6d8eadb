//! Sessions of ssh that the gateway carries right now, and how their hosts signed them: in the clear, in the exchange of keys (RFC 4253,
//! sections 7 and 8). A key signs for these alone: somebody outside could else have a session of its own signed in here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Bytes of what a server says before its keys are new; there are about three thousand, and no packet has more than 35,000.
const FIRST: usize = 64 << 10;
/// Sessions that are known at one time.
const MOST: usize = 256;
/// Bytes of a line that a server says before its version, or of that (RFC 4253, section 4.2).
const LINE: usize = 255;
/// SSH_MSG_NEWKEYS; and the messages of the exchange, which depend on its method.
const NEW_KEYS: u8 = 21;
const EXCHANGE: std::ops::RangeInclusive<u8> = 30..=49;

/// Names of a host, and what it said.
type Said = (Vec<String>, Beginning);

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

/// What a server says until its keys are new. Whatever comes then may be what the client had it say, who knows the keys.
#[derive(Debug, Default)]
struct Beginning {
    /// What is not read yet.
    rest: Vec<u8>,
    heard: usize,
    /// Its version came: packets follow.
    packets: bool,
    over: bool,
    /// How it signed the exchange.
    signatures: Vec<Vec<u8>>,
}

impl Sessions {
    /// One begins with the host that has these names in the policy. `None`: it has none, or there are too many.
    pub(crate) fn begin(&self, hosts: Vec<String>) -> Option<Session<'_>> {
        let mut said = self.said.borrow_mut();
        if hosts.is_empty() || said.len() >= MOST {
            return None;
        }
        let number = self.next.replace(self.next.get().wrapping_add(1));
        said.insert(number, (hosts, Beginning::default()));
        Some(Session { all: self, number })
    }

    /// Whether a session that lasts, with this host, was signed so.
    pub(crate) fn signed(&self, host: &str, signature: &[u8]) -> bool {
        let of = |(hosts, said): &Said| {
            hosts.iter().any(|own| own == host) && said.signatures.iter().any(|own| own == signature)
        };
        !signature.is_empty() && self.said.borrow().values().any(of)
    }
}

impl Session<'_> {
    /// The server says this.
    pub(crate) fn hear(&self, part: &[u8]) {
        if let Some((_, said)) = self.all.said.borrow_mut().get_mut(&self.number) {
            said.hear(part);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.all.said.borrow_mut().remove(&self.number);
    }
}

impl Beginning {
    fn hear(&mut self, part: &[u8]) {
        if self.over {
            return;
        }
        self.heard = self.heard.saturating_add(part.len());
        self.over = self.heard > FIRST;
        self.rest.extend_from_slice(part.get(..part.len().min(FIRST)).unwrap_or_default());
        while !self.over && self.step() {}
        if self.over {
            self.rest = Vec::new();
        }
    }

    /// Reads a line or a packet, if it is there whole.
    fn step(&mut self) -> bool {
        if !self.packets {
            let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
                self.over = self.rest.len() > LINE;
                return false;
            };
            self.packets = self.rest.starts_with(b"SSH-");
            self.rest.drain(..=end);
            return true;
        }
        let Some((length, behind)) = self.rest.split_first_chunk() else { return false };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(packet) = behind.get(..length) else {
            self.over = length > FIRST;
            return false;
        };
        let payload = packet.split_first().and_then(|(padding, rest)| {
            rest.get(..rest.len().checked_sub(usize::from(*padding))?)?.split_first()
        });
        match payload {
            Some((&NEW_KEYS, _)) | None => self.over = true,
            Some((kind, body)) if EXCHANGE.contains(kind) => self.signatures.extend(signature(body)),
            Some(_) => {}
        }
        self.rest.drain(..4 + length);
        true
    }
}

/// Of the host's last message: its key, its part of the exchange, and how it signs that.
fn signature(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = body;
    let mut next = || {
        let (length, behind) = rest.split_first_chunk()?;
        let (own, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = behind;
        Some(own)
    };
    let (_, _, own) = (next()?, next()?, next()?);
    rest.is_empty().then(|| own.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 5).unwrap();
        [&length.to_be_bytes()[..], &[4], payload, &[0; 4]].concat()
    }

    fn reply(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let parts = parts
            .iter()
            .flat_map(|part| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat());
        packet(&std::iter::once(kind).chain(parts).collect::<Vec<_>>())
    }

    #[test]
    fn a_session_is_known_by_how_it_was_signed_while_it_lasts() {
        let all = Sessions::default();
        assert!(all.begin(Vec::new()).is_none());
        let one = all.begin(vec!["a:22".to_owned()]).unwrap();
        let said = [
            b"a banner\r\nSSH-2.0-x\r\n".to_vec(),
            packet(b"\x14 methods"),
            reply(31, &[b"p", b"g"]),
            reply(33, &[b"key", b"part", b"signature"]),
            packet(&[NEW_KEYS]),
            // What the client has the server say is no signature.
            reply(33, &[b"key", b"part", b"foreign"]),
            b"foreign".to_vec(),
        ]
        .concat();
        for byte in said {
            one.hear(&[byte]);
        }
        assert!(all.signed("a:22", b"signature") && !all.signed("b:22", b"signature"));
        for other in [&b"foreign"[..], b"signatur", b"key", b"p", b""] {
            assert!(!all.signed("a:22", other), "{other:?}");
        }
        let held: Vec<_> = (0..2 * MOST).filter_map(|_| all.begin(vec!["a:22".to_owned()])).collect();
        assert_eq!(held.len(), MOST - 1);
        drop(one);
        assert!(!all.signed("a:22", b"signature"));
    }

    #[test]
    fn what_is_no_beginning_of_ssh_is_not_kept() {
        for said in [
            vec![b'x'; 2 * FIRST],
            [b"SSH-2.0-x\n", &u32::MAX.to_be_bytes()[..]].concat(),
            [b"SSH-2.0-x\n", &[0, 0, 0, 2, 9, 31][..]].concat(),
            [b"SSH-2.0-x\n".to_vec(), packet(b"\x02x").repeat(FIRST)].concat(),
        ] {
            let mut beginning = Beginning::default();
            said.chunks(1000).for_each(|part| beginning.hear(part));
            assert!(beginning.over && beginning.rest.is_empty() && beginning.signatures.is_empty());
        }
    }
}
