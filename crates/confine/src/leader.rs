//! The leader of a terminal's session: waits for its command, hands signals on, says when the terminal stopped it, and when it
//! goes on. Ends as the command did.

use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::{exec, fds, signals};
use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions};

use crate::init::CHILD;
use crate::report::{Message, send};

/// Handed on as they are.
const HANDED_ON: &[i32] = &[1, 2, 3, 10, 12, 15]; // HUP INT QUIT USR1 USR2 TERM
const CONTINUE: i32 = 18; // SIGCONT
/// Stops the command, which a SIGSTOP to the leader would not. The terminal sends it too, to whoever is in front before the
/// command is.
pub(crate) const HOLD: Signal = Signal::TSTP;

/// Never returns. It holds the terminal: a command that closes its own descriptors of it goes on without, and is not hung up.
pub(crate) fn lead(task: Pid, job: u32, report: &OwnedFd, terminal: &OwnedFd) -> ! {
    fds::keep_only(&[report, terminal]);
    let hold = HOLD.as_raw();
    let set = signals::Set::of(&[HANDED_ON, &[CHILD, CONTINUE, hold]].concat());
    loop {
        match signals::wait(&set) {
            Ok(CHILD) => {
                // Everything goes on: a task that is seen stopped has only not had its own signal yet.
                if signals::pending(&[CONTINUE]) {
                    send_all(task, Signal::CONT);
                }
                follow(task, job, report);
            }
            Ok(CONTINUE) => {
                send_all(task, Signal::CONT);
                // A stop that was told of before this is over, and the next one is told of after it.
                send(report.as_fd(), &Message::Stopped { job, yes: false });
            }
            Ok(signal) if signal == hold => send_all(task, Signal::STOP),
            Ok(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = process::kill_process(task, signal);
                }
            }
            Err(_) => {}
        }
    }
}

/// To all whom the terminal stops; to the command's process alone while that has no group yet.
fn send_all(task: Pid, signal: Signal) {
    if process::kill_process_group(task, signal) == Err(Errno::SRCH) {
        let _ = process::kill_process(task, signal);
    }
}

fn follow(task: Pid, job: u32, report: &OwnedFd) {
    while let Ok(Some((_, status))) =
        process::waitpid(Some(task), WaitOptions::NOHANG | WaitOptions::UNTRACED)
    {
        if status.stopped() {
            send(report.as_fd(), &Message::Stopped { job, yes: true });
        } else if let Some(status) = status.exit_status() {
            exec::exit_now(status)
        } else if let Some(signal) = status.terminating_signal() {
            signals::end_by(signal)
        }
    }
}
