//! A process that has already entered what every command enters, and waits for one: a command in a sandbox that lives then
//! needs no fork, and no filter is compiled while its client waits.

use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::{exec, fds, heap, signals};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{self, Pid, Signal};

use crate::channel;
use crate::job::{self, Rules, Told};
use crate::orders::Job;
use crate::report::{Message, send};

/// Bytes of the stack that becoming a command takes.
const STACK: usize = 24 << 10;

/// Its parent's side.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) pid: Pid,
    socket: OwnedFd,
}

impl Spare {
    /// Makes one. `number` stands for it until it is a command, and is no command's.
    pub(crate) fn new(rules: &Rules, number: u32, told: Told<'_>) -> Result<Self, Errno> {
        let (socket, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Out of the way of a command's streams.
        let other = fcntl_dupfd_cloexec(&other, 3)?;
        match clone(0)? {
            Forked::Child => wait(rules, number, &other, told),
            Forked::Parent(pid, _) => Ok(Self { pid, socket }),
        }
    }

    /// It becomes this command, unless it has ended meanwhile.
    pub(crate) fn become_job(self, job: &Job, passed: &[OwnedFd]) -> Result<Pid, Errno> {
        let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
        channel::send(self.socket.as_fd(), job, &passed).map(|()| self.pid)
    }

    /// It is of no use any more.
    pub(crate) fn end(&self) {
        let _ = process::kill_process(self.pid, Signal::KILL);
    }
}

/// In a process that was forked, and has time: what it writes from now on is its own, and its parent's is its parent's; nobody waits for a copy.
pub(crate) fn take_pages() {
    heap::take_pages();
    let mut stack = [0_u8; STACK];
    std::hint::black_box(&mut stack);
}

/// Never returns. Without rights over init, and with nothing to say, it just ends where something fails: the next command
/// is started without it, and says what is wrong.
fn wait(rules: &Rules, number: u32, socket: &OwnedFd, told: Told<'_>) -> ! {
    // What it is called until then, for whoever lists processes.
    let _ = rustix::thread::set_name(c"ringfence-ready");
    if job::enclose(rules, number, told).is_err() {
        exec::exit_now(125)
    }
    fds::keep_only(&[socket, told.report]);
    take_pages();
    let Ok((job, passed)) = channel::receive::<Job>(socket.as_fd()) else { exec::exit_now(0) };
    if job.terminal.is_some() {
        send(told.report.as_fd(), &Message::Exited { job: job.id, status: 125 });
        exec::exit_now(125)
    }
    // What was sent to it before is not meant for the command.
    signals::forget_pending();
    job::become_task(rules, &job, passed, told)
}
