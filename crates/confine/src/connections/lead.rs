//! Calls about sockets of a network in tier `landlock`, where init makes and connects them (`hosted/sockets.rs`).

use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::seccomp::{self, Notification};
use ringfence_void::Ledger;
use rustix::fs::{self, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::unreached::Nowhere;
use super::{Connections, MOST_WAITING, Verdict, Waiting, attempt, scarce, take};
use crate::hosted::{self, Held, Made};
use crate::proc::group;
use crate::reach::{self, Reach};
use crate::report::Refusal;
use crate::script::{Program, file_of};

/// A name in the task's own directory may have been moved there from one that others write to, too.
pub(super) fn check_peer(socket: &OwnedFd, own: bool) -> Result<(), Errno> {
    if own && !hosted::is_descendant(sockopt::socket_peercred(socket)?.pid) {
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        return Err(Errno::CONNREFUSED);
    }
    Ok(())
}

impl Connections {
    /// A call about a socket of a network, in tier `landlock`.
    pub(super) fn socket(
        &mut self,
        call: &Notification,
        calls: &mut Ledger,
        reach: &mut Reach,
    ) -> Option<Refusal> {
        let process = group(call.thread).unwrap_or(call.thread);
        let mut met = None;
        let made = match &mut reach.sockets {
            Some(sockets) => sockets.judge(&self.listener, call, &mut |number| met = Some(number)),
            None => Made::Refused,
        };
        if let Some(met) = met {
            reach.meet(met, process, file_of(process));
        }
        let _ = match made {
            Made::Answered => Ok(()),
            Made::Proceed => seccomp::proceed(self.listener.as_fd(), call.id),
            Made::Answer(outcome) => seccomp::answer(self.listener.as_fd(), call.id, outcome),
            Made::Refused => return self.refuse(call, calls),
            Made::Unreachable(asked) => {
                return self.unreached(call, Nowhere::packet(asked), calls);
            }
        };
        None
    }

    /// A connect of a socket of a network, in tier `landlock`: made on init's own copy, to the gateway.
    pub(super) fn lead(
        &mut self,
        call: &Notification,
        bytes: &[u8],
        reach: &mut Reach,
    ) -> Result<Verdict, Errno> {
        let asked = reach::parse(bytes).ok_or(Errno::INVAL)?;
        let process = group(call.thread)?;
        let Some(sockets) = &reach.sockets else { return Err(Errno::NETUNREACH) };
        let socket = match sockets.held(call)? {
            Held::Stream(socket) => socket,
            // Where that is forbidden, as in many containers, it stays what it is.
            Held::Done => take(call).map_err(|_| Errno::ISCONN)?,
            Held::Asker if asked.port() != reach::DNS => return Err(Errno::NETUNREACH),
            Held::Asker => {
                let sockets = reach.sockets.as_mut().ok_or(Errno::NETUNREACH)?;
                return sockets.asks(call, asked).map(|()| Verdict::Done);
            }
            Held::Unix(_) => return Err(Errno::INVAL),
            Held::Other => return Err(Errno::AFNOSUPPORT),
        };
        let door = sockets.door(&socket, asked)?;
        if !seccomp::still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        if let Some(what) = reach.refuses_here(asked) {
            let refusal =
                Refusal { number: 0, process, program: Program::of(process).started(process), what };
            return Ok(Verdict::Refuse(Box::new(refusal), Errno::CONNREFUSED));
        }
        let blocking = !fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK);
        let outcome = attempt(&socket, &door);
        if matches!(outcome, Ok(()) | Err(Errno::INPROGRESS))
            && let Some(sockets) = &mut reach.sockets
            && let Err(errno) = sockets.begun(&socket, asked)
        {
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
            return Err(errno);
        }
        reach.note(&socket, process, || file_of(process));
        match outcome {
            Err(Errno::INPROGRESS) if blocking => {
                if self.waiting.len() >= MOST_WAITING || scarce(&socket) {
                    return Err(Errno::CONNREFUSED);
                }
                let (id, address) = (call.id, door);
                self.waiting.push(Waiting {
                    id,
                    socket,
                    address,
                    again: false,
                    own_peer: false,
                    _held: None,
                });
                Ok(Verdict::Later)
            }
            outcome => outcome.map(|()| Verdict::Done),
        }
    }
}
