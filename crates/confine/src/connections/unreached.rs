//! Connections that lead nowhere, and are told of like every other one that is refused; and how many files are.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use ringfence_sys::seccomp::{self, Notification};
use ringfence_void::{First, Ledger};
use rustix::io::Errno;

use super::{Connections, Fate};
use crate::proc::group;
use crate::reach;
use crate::report::{Refusal, Refused};
use crate::script::Program;

/// Why a packet is refused, in tier `landlock`.
const DATAGRAMS: &str = "UDP leaves a sandbox only as a question for a name";
/// Why a connection is, where the policy grants no network.
const NO_NETWORK: &str =
    "no network: nothing of `network.allow` is there, and the name that led to this address was not seen";

/// Of these that are told of one by one: a task has all addresses to name, and what else is refused needs room.
const MOST: usize = 1024;
/// Refused files that are told of one by one: half the ledger's room, the rest is for calls and connections.
const MOST_FILES: usize = 2048;

/// Where such a connection was to go, why it does not, and with which error.
pub(super) struct Nowhere {
    asked: SocketAddr,
    rule: &'static str,
    errno: Errno,
}

impl Nowhere {
    /// What the kernel has no way to where there is no network. To port 0 nobody connects: that asks for the way alone (getaddrinfo(3)).
    pub(super) fn of(address: &[u8], outcome: Result<(), Errno>) -> Option<Self> {
        let (asked, errno) = (reach::parse(address)?, outcome.err()?);
        let to = asked.ip().to_canonical();
        let local = to.is_loopback() || to.is_unspecified() || asked.port() == 0;
        let told = !local && [Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ADDRNOTAVAIL].contains(&errno);
        told.then_some(Self { asked, rule: NO_NETWORK, errno })
    }

    /// What a packet in tier `landlock` was for.
    pub(super) fn packet(asked: SocketAddr) -> Self {
        Self { asked, rule: DATAGRAMS, errno: Errno::CONNREFUSED }
    }
}

impl Connections {
    /// A file that is refused.
    pub(super) fn note_file(&mut self, what: &[&[u8]], program: &Program, calls: &mut Ledger) -> First {
        if self.files >= MOST_FILES && !calls.knows(what) {
            return calls.beyond();
        }
        let noted = calls.note(what, &program.key());
        self.files += usize::from(matches!(noted, First::New(_)));
        noted
    }

    /// It fails once it is told of; a flood of them is counted.
    pub(super) fn unreached(
        &mut self,
        call: &Notification,
        Nowhere { asked, rule, errno }: Nowhere,
        calls: &mut Ledger,
    ) -> Option<Refusal> {
        let process = group(call.thread).unwrap_or(call.thread);
        let program = Program::of(process);
        let (host, port) = (asked.ip().to_canonical().to_string(), asked.port());
        let place: &[&[u8]] = &[b"u", host.as_bytes(), &port.to_ne_bytes()];
        let room = self.nowhere < MOST || calls.knows(place);
        let noted = if room { calls.note(place, &program.key()) } else { calls.beyond() };
        if let First::New(number) = noted {
            self.nowhere += 1;
            let what = Refused::Network { host, port, rule: rule.into(), source: 0, times: 1 };
            self.unwritten.insert(number, (call.id, Fate::Fails(errno)));
            return Some(Refusal { number, process, program: program.started(process), what });
        }
        let _ = seccomp::answer(self.listener.as_fd(), call.id, Err(errno));
        None
    }
}
