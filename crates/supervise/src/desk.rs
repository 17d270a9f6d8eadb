//! Takes what the owner's clients ask of a sandbox that has one command, and hands it to who decides about grants.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use ringfence_confine::{Boundary, Message, Refusal};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

use crate::grants::{Clerk, Grants};
use crate::questions::{Choice, Question};
use crate::remote::{LONGEST, asked};

/// Clients at one time, of a sandbox that takes nothing but grants from them.
const MOST_CLIENTS: usize = 32;

/// Takes the clients of a sandbox that has one command.
pub struct Desk<'a> {
    boundary: &'a Boundary,
    socket: OwnedFd,
    clients: Vec<OwnedFd>,
    grants: Grants<'a>,
    request: Vec<u8>,
}

impl<'a> Desk<'a> {
    /// `socket` listens.
    pub fn new(boundary: &'a Boundary, socket: OwnedFd, clerk: &'a mut dyn Clerk) -> Self {
        Self { boundary, socket, clients: Vec::new(), grants: Grants::new(clerk), request: vec![0; LONGEST] }
    }

    /// What is to be polled, in the order that [`Self::step`] takes.
    pub(crate) fn wants(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let room = if self.clients.len() < MOST_CLIENTS { PollFlags::IN } else { PollFlags::empty() };
        let mut wanted = vec![(self.socket.as_fd(), room)];
        wanted.extend(self.boundary.openings().map(|fd| (fd, PollFlags::IN)));
        wanted.extend(self.clients.iter().map(|client| (client.as_fd(), PollFlags::IN)));
        wanted
    }

    /// `false`: the sandbox must not go on.
    pub(crate) fn step(&mut self, ready: &[bool]) -> bool {
        let mut ready = ready.iter().copied();
        let knocked = ready.next().unwrap_or(false);
        if self.boundary.openings().is_some() && ready.next().unwrap_or(false) {
            let fine = match self.boundary.opened() {
                Some(message) => self.told(&message),
                None => self.grants.orphaned(),
            };
            if !fine {
                return false;
            }
        }
        let mut clients = std::mem::take(&mut self.clients);
        clients.retain(|client| !ready.next().unwrap_or(false) || self.answer(client));
        self.clients = clients;
        if knocked {
            self.clients.extend(accept(&self.socket));
        }
        self.grants.expire(self.boundary)
    }

    /// As [`Grants::take_up`].
    pub(crate) fn take_up(&mut self, refusal: &Refusal) -> Option<bool> {
        self.grants.take_up(self.boundary, refusal)
    }

    pub(crate) fn question(&self) -> Option<&Question> {
        self.grants.question()
    }

    pub(crate) fn decide(&mut self, path: &Path, choice: Choice) -> bool {
        self.grants.decide(self.boundary, path, choice)
    }

    pub(crate) fn told(&mut self, message: &Message) -> bool {
        self.grants.told(self.boundary, message)
    }

    /// As [`Grants::leave`].
    pub(crate) fn leave(&mut self) -> bool {
        self.grants.leave(self.boundary)
    }

    /// As [`Grants::finish`].
    pub(crate) fn finish(&mut self) {
        self.grants.finish();
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.grants.patience()
    }

    /// Whether the client stays.
    fn answer(&mut self, client: &OwnedFd) -> bool {
        match asked(client, &mut self.request) {
            Ok((ask, _)) => self.grants.answer(self.boundary, ask, client),
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

/// Nobody but the sandbox's owner; the directory's mode says so already.
pub(crate) fn accept(socket: &OwnedFd) -> Option<OwnedFd> {
    let client = accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
    sockopt::socket_peercred(&client)
        .is_ok_and(|peer| peer.uid == rustix::process::geteuid())
        .then_some(client)
}
