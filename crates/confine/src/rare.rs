//! What init waits for beside calls: one descriptor for all of it, since each more that is waited for costs every call.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, epoll};
use rustix::io::Errno;

use crate::child::Own;
use crate::hosted::Sockets;
use crate::reach::Reach;

/// What is waited for beside calls: children, requests, new filters, a way to the gateway, and its end.
pub(crate) fn rare<'a>(
    children: &'a OwnedFd,
    (report, inbox): (&'a OwnedFd, &'a OwnedFd),
    own: &'a Own,
    sockets: Option<&'a Sockets>,
) -> Vec<PollFd<'a>> {
    let always = [children, report, inbox];
    let mut polled: Vec<_> =
        always.into_iter().chain(&own.way).map(|own| PollFd::new(own, PollFlags::IN)).collect();
    polled.extend(sockets.and_then(Sockets::watched));
    polled
}

/// All of it, as one. What is closed leaves it by itself (epoll(7)).
pub(crate) fn watched(
    children: &OwnedFd,
    ends: (&OwnedFd, &OwnedFd),
    own: &Own,
    reach: Option<&Reach>,
) -> Result<OwnedFd, Errno> {
    let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let add = |one: &PollFd<'_>, flags| epoll::add(&all, one.as_fd(), epoll::EventData::new_u64(0), flags);
    for one in rare(children, ends, own, None) {
        add(&one, epoll::EventFlags::IN)?;
    }
    let sockets = reach.and_then(|reach| reach.sockets.as_ref());
    if let Some(ends) = sockets.and_then(Sockets::watched) {
        add(&ends, epoll::EventFlags::empty())?;
    }
    Ok(all)
}
