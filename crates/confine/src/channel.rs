//! How orders and requests travel to init: a length, the bytes in packets, then descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of one packet: far below the smallest send buffer a socket has (socket(7), wmem_default).
const PACKET: usize = 32 << 10;
/// Descriptors of one packet; the kernel takes 253 (unix(7), SCM_MAX_FD).
const DESCRIPTORS: usize = 200;
/// More than any plan: a thousand trees with paths of 4 KiB, and the longest command line.
const MOST: u64 = 64 << 20;
/// More than any plan has trees.
const MOST_DESCRIPTORS: u64 = 4096;

/// Sends a value, with descriptors.
///
/// # Errors
/// The kernel's; EPIPE and ECONNRESET if init is gone, whose report says why.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(value).map_err(|_| Errno::INVAL)?;
    let length = u64::try_from(bytes.len()).ok().filter(|length| *length <= MOST).ok_or(Errno::MSGSIZE)?;
    let count = descriptors.len() as u64;
    packet(socket, &[length.to_ne_bytes(), count.to_ne_bytes()].concat(), &[])?;
    for part in bytes.chunks(PACKET) {
        packet(socket, part, &[])?;
    }
    for part in descriptors.chunks(DESCRIPTORS) {
        packet(socket, b"d", part)?;
    }
    Ok(())
}

/// Receives a value, with descriptors.
///
/// # Errors
/// EPIPE if the sender went away; EBADMSG for what is no such value.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), Errno> {
    let mut header = [0; 16];
    let mut none = Vec::new();
    if take(socket, &mut header, &mut none)? != header.len() {
        return Err(Errno::PIPE);
    }
    let number = |at: usize| {
        header
            .get(at..at + 8)
            .and_then(|part| part.try_into().ok())
            .map(u64::from_ne_bytes)
            .ok_or(Errno::BADMSG)
    };
    let (length, count) = (number(0)?, number(8)?);
    if length > MOST || count > MOST_DESCRIPTORS {
        return Err(Errno::BADMSG);
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| Errno::BADMSG)?];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match take(socket, rest, &mut none)? {
            0 => return Err(Errno::PIPE),
            count => filled += count,
        }
    }
    let mut descriptors = Vec::new();
    while (descriptors.len() as u64) < count {
        if take(socket, &mut [0], &mut descriptors)? == 0 {
            return Err(Errno::PIPE);
        }
    }
    Ok((postcard::from_bytes(&bytes).map_err(|_| Errno::BADMSG)?, descriptors))
}

pub(crate) fn packet(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// One packet into `bytes`; 0 at the end.
pub(crate) fn take(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let received = loop {
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    Ok(received.bytes)
}
