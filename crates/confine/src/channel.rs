//! How orders and requests travel to init: two lengths, the bytes and the descriptors, in as few packets as they fit in.

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
/// The same of the first one, beside the lengths: most commands are shorter, and whoever waits for one has memory of its own for
/// so much, not for a packet.
const FIRST: usize = 2 << 10;
/// The lengths before it.
const HEADER: usize = 16;
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
    let header = [length.to_ne_bytes(), (descriptors.len() as u64).to_ne_bytes()].concat();
    let mut descriptors = descriptors.chunks(DESCRIPTORS);
    let (begin, rest) = bytes.split_at(bytes.len().min(FIRST));
    let first = [IoSlice::new(&header), IoSlice::new(begin)];
    packets(socket, &first, descriptors.next().unwrap_or_default())?;
    for part in rest.chunks(PACKET) {
        packet(socket, part, &[])?;
    }
    for part in descriptors {
        packet(socket, b"d", part)?;
    }
    Ok(())
}

/// Receives a value, with descriptors.
///
/// # Errors
/// EPIPE if the sender went away; EBADMSG for what is no such value.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<(T, Vec<OwnedFd>), Errno> {
    let mut header = [0; HEADER];
    let mut bytes = vec![0; FIRST];
    let mut descriptors = Vec::new();
    let first = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut bytes)];
    let Some(mut filled) = take_parts(socket, first, &mut descriptors)?.checked_sub(HEADER) else {
        return Err(Errno::PIPE);
    };
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
    bytes.resize(usize::try_from(length).map_err(|_| Errno::BADMSG)?, 0);
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match take(socket, rest, &mut Vec::new())? {
            0 => return Err(Errno::PIPE),
            count => filled += count,
        }
    }
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
    packets(socket, &[IoSlice::new(bytes)], descriptors)
}

fn packets(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, parts, &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// One packet into `bytes`; 0 at the end.
pub(crate) fn take(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    take_parts(socket, [IoSliceMut::new(bytes)], descriptors)
}

fn take_parts<const N: usize>(
    socket: BorrowedFd<'_>,
    mut parts: [IoSliceMut<'_>; N],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
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
