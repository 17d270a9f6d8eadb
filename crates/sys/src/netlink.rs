//! netlink(7): messages as the kernel reads them, and its answers.
//!
//! Numbers of headers are in the host's byte order; those within nf_tables' attributes are big-endian. Everything is padded
//! to four bytes. Sources: linux/netlink.h, linux/netfilter/nfnetlink.h.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socket_with};

use crate::Errno;

const ERROR: u16 = 2;
const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// NLM_F_REQUEST.
pub(crate) const REQUEST: u16 = 0x1;
/// NLM_F_ACK: the kernel answers with an errno, 0 if it did it.
pub(crate) const ACK: u16 = 0x4;
/// NLM_F_EXCL: an error if it exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// NLM_F_CREATE.
pub(crate) const CREATE: u16 = 0x400;
/// NLM_F_APPEND: behind those that exist.
pub(crate) const APPEND: u16 = 0x800;

/// Messages for one send.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    sequence: u32,
    acknowledged: usize,
}

impl Messages {
    /// Adds one: its fixed part, then what `attributes` writes.
    pub(crate) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes),
    ) {
        self.sequence += 1;
        self.acknowledged += usize::from(flags & ACK != 0);
        let start = self.bytes.len();
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(fixed);
        pad(&mut self.bytes);
        let mut inner = Attributes { bytes: std::mem::take(&mut self.bytes) };
        attributes(&mut inner);
        self.bytes = inner.bytes;
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The bytes, as they are sent.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sends all and reads one answer for each that asked for it. The kernel answers within the send.
    pub(crate) fn exchange(&self, protocol: Option<Protocol>) -> Result<(), Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket: OwnedFd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        self.exchange_on(&socket)
    }

    /// The same by a socket that is there.
    pub(crate) fn exchange_on(&self, socket: &OwnedFd) -> Result<(), Errno> {
        if send(socket, &self.bytes, SendFlags::empty())? != self.bytes.len() {
            return Err(Errno::MSGSIZE);
        }
        let mut missing = self.acknowledged;
        // An error of one comes with a copy of its message.
        let mut buffer = vec![0; self.bytes.len() + 4096];
        while missing > 0 {
            let (_, length) = recv(socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
            missing = missing.checked_sub(answers(&buffer[..length])?).ok_or(Errno::PROTO)?;
        }
        Ok(())
    }
}

/// How many agreements these bytes hold; the first refusal is the error.
fn answers(mut bytes: &[u8]) -> Result<usize, Errno> {
    let mut count = 0;
    while !bytes.is_empty() {
        let number = |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        let length = number(0).map(u32::from_ne_bytes).ok_or(Errno::PROTO)? as usize;
        let kind = bytes.get(4..6).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
        if kind != Some(ERROR) || length < HEADER + 4 || length > bytes.len() {
            return Err(Errno::PROTO);
        }
        match number(HEADER).map(i32::from_ne_bytes).ok_or(Errno::PROTO)? {
            0 => count += 1,
            errno => return Err(Errno::from_raw_os_error(errno.checked_neg().ok_or(Errno::PROTO)?)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(count)
}

/// Reads messages one by one: the kind of each and what is behind its header, as far as they are whole.
pub(crate) fn each(mut bytes: &[u8], mut found: impl FnMut(u16, &[u8])) {
    let length = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize);
    while let Some(length) = length(bytes) {
        let Some(message) = bytes.get(HEADER..length) else { return };
        let kind = bytes.get(4..6).and_then(|two| two.try_into().ok()).map_or(0, u16::from_ne_bytes);
        found(kind, message);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Attributes of one message, or within one.
pub(crate) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    /// One with raw bytes.
    pub(crate) fn raw(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |bytes| bytes.extend(value));
    }

    /// A name, ended by NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, |bytes| {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        });
    }

    /// A number as nf_tables reads it.
    pub(crate) fn number(&mut self, kind: u16, number: u32) {
        self.raw(kind, &number.to_be_bytes());
    }

    /// One that holds others.
    pub(crate) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, |bytes| {
            let mut inner = Self { bytes: std::mem::take(bytes) };
            write(&mut inner);
            *bytes = inner.bytes;
        });
    }

    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend(0_u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        write(&mut self.bytes);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(&mut self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(errno: i32) -> Vec<u8> {
        let mut bytes = 36_u32.to_ne_bytes().to_vec();
        bytes.extend(ERROR.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(errno.to_ne_bytes());
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn answers_are_counted_and_the_first_refusal_is_the_error() {
        assert_eq!(answers(&[answer(0), answer(0)].concat()), Ok(2));
        assert_eq!(answers(&[answer(0), answer(-1)].concat()), Err(Errno::PERM));
    }

    #[test]
    fn what_is_no_answer_is_never_an_agreement() {
        let whole = answer(0);
        for length in 1..whole.len() {
            assert_eq!(answers(&whole[..length]), Err(Errno::PROTO), "{length}");
        }
        assert_eq!(answers(&answer(i32::MIN)), Err(Errno::PROTO));
        let mut other = answer(0);
        other[4] = 3;
        assert_eq!(answers(&other), Err(Errno::PROTO));
    }

    #[test]
    fn lengths_leave_out_the_padding() {
        let mut messages = Messages::default();
        messages.add(7, ACK, &[1], |inner| inner.nested(5, |inner| inner.text(6, "ab")));
        let mut expected = 32_u32.to_ne_bytes().to_vec();
        expected.extend([7_u16.to_ne_bytes(), 5_u16.to_ne_bytes()].concat());
        expected.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
        expected.extend([1, 0, 0, 0]);
        expected.extend([12_u16.to_ne_bytes(), 0x8005_u16.to_ne_bytes()].concat());
        expected.extend([7_u16.to_ne_bytes(), 6_u16.to_ne_bytes()].concat());
        expected.extend(*b"ab\0\0");
        assert_eq!(messages.bytes(), expected);
    }
}
