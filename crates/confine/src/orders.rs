//! What init is told: the part of a plan that it carries out, sent when the plan is known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use ringfence_plan::{Ids, Landlock, Plan, Step, Tree};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};

/// Bytes of one packet: far below the smallest send buffer a socket has (socket(7), wmem_default).
const PACKET: usize = 32 << 10;
/// Descriptors of one packet; the kernel takes 253 (unix(7), SCM_MAX_FD).
const DESCRIPTORS: usize = 200;
/// More than any plan: a thousand trees with paths of 4 KiB, and the longest command line.
const MOST: u64 = 64 << 20;

/// The fields of [`Plan`] of the same names.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders<'a> {
    pub(crate) ids: Ids,
    pub(crate) trees: Cow<'a, [Tree]>,
    pub(crate) steps: Cow<'a, [Step]>,
    pub(crate) landlock: Cow<'a, Option<Landlock>>,
    pub(crate) memfd_noexec: bool,
    pub(crate) host_name: Cow<'a, str>,
    pub(crate) environment: Cow<'a, BTreeMap<OsString, OsString>>,
    pub(crate) directory: OsString,
    pub(crate) command: Cow<'a, [OsString]>,
}

impl<'a> Orders<'a> {
    pub(crate) fn of(plan: &'a Plan) -> Self {
        Self {
            ids: plan.ids,
            trees: Cow::Borrowed(&plan.trees),
            steps: Cow::Borrowed(&plan.steps),
            landlock: Cow::Borrowed(&plan.landlock),
            memfd_noexec: plan.memfd_noexec,
            host_name: Cow::Borrowed(plan.host_name),
            environment: Cow::Borrowed(&plan.environment),
            directory: plan.directory.clone().into_os_string(),
            command: Cow::Borrowed(&plan.command),
        }
    }

    /// The directory the command starts in.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone().into()
    }
}

/// Sends them, with a descriptor for each tree that is `Some`.
///
/// # Errors
/// The kernel's; EPIPE and ECONNRESET if init is gone, whose report says why.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    orders: &Orders<'_>,
    trees: &[Option<OwnedFd>],
) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(orders).map_err(|_| Errno::INVAL)?;
    let length = u64::try_from(bytes.len()).ok().filter(|length| *length <= MOST).ok_or(Errno::MSGSIZE)?;
    packet(socket, &length.to_ne_bytes(), &[])?;
    for part in bytes.chunks(PACKET) {
        packet(socket, part, &[])?;
    }
    let descriptors: Vec<BorrowedFd<'_>> = trees.iter().flatten().map(AsFd::as_fd).collect();
    for part in descriptors.chunks(DESCRIPTORS) {
        packet(socket, b"d", part)?;
    }
    Ok(())
}

/// Receives them, with the descriptors of the trees that are mapped, each at its tree's index.
///
/// # Errors
/// EPIPE if the sender went away before it sent any; EBADMSG for what is no orders.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<(Orders<'static>, Vec<Option<OwnedFd>>), Errno> {
    let mut header = [0; 8];
    let mut none = Vec::new();
    if take(socket, &mut header, &mut none)? != header.len() {
        return Err(Errno::PIPE);
    }
    let length = u64::from_ne_bytes(header);
    if length > MOST {
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
    let orders: Orders<'static> = postcard::from_bytes(&bytes).map_err(|_| Errno::BADMSG)?;
    let wanted = orders.trees.iter().filter(|tree| tree.mapped).count();
    let mut descriptors = Vec::with_capacity(wanted);
    while descriptors.len() < wanted {
        if take(socket, &mut [0], &mut descriptors)? == 0 {
            return Err(Errno::PIPE);
        }
    }
    let mut descriptors = descriptors.into_iter();
    let trees = orders.trees.iter().map(|tree| if tree.mapped { descriptors.next() } else { None }).collect();
    Ok((orders, trees))
}

fn packet(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// One packet into `bytes`; 0 at the end.
fn take(socket: BorrowedFd<'_>, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
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
