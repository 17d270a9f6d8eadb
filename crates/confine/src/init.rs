//! pid 1 of the sandbox: reaps, forwards signals, reports how the task ended. When it goes, the kernel ends the rest.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ringfence_sys::{exec, fds, signals};
use rustix::process::{self, Pid, Signal, WaitOptions};

use crate::report::{Message, send};

/// Signals a user or a service manager sends to a program, handed on to the task.
pub const FORWARDED: &[i32] = &[1, 2, 3, 10, 12, 15, 28]; // HUP INT QUIT USR1 USR2 TERM WINCH
const CHILD: i32 = 17; // SIGCHLD

/// Never returns.
pub(crate) fn run(task: Pid, report: OwnedFd) -> ! {
    let mut waited = FORWARDED.to_vec();
    waited.push(CHILD);
    let set = signals::Set::of(&waited);
    // Everything blocked: pid 1 is not to be interrupted, and what is not waited for stays pending.
    let _ = signals::block_only(&signals::Set::all());
    // Out of the terminal's foreground group: what is typed reaches the task itself, not twice.
    let _ = process::setsid();
    keep_only(&report);
    loop {
        if let Some(message) = reap(task) {
            end_all();
            send(report.as_fd(), message);
            exec::exit_now(0);
        }
        match signals::wait(&set) {
            Ok(signal) if signal != CHILD => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = process::kill_process(task, signal);
                }
            }
            _ => {}
        }
    }
}

/// Ends everything else, so that the report finds nobody who could still change something.
fn end_all() {
    let _ = process::kill_process_group(Pid::INIT, Signal::KILL);
    while process::wait(WaitOptions::empty()).is_ok() {}
}

/// Collects every child that ended; the task's own end is the answer.
fn reap(task: Pid) -> Option<Message> {
    while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG) {
        if pid != task {
            continue;
        }
        if let Some(status) = status.exit_status() {
            return Some(Message::Exited(status.unsigned_abs()));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some(Message::Signalled(signal.unsigned_abs()));
        }
    }
    None
}

/// Closes the streams too, or their other ends would never see an end of file.
fn keep_only(report: &OwnedFd) {
    let kept = report.as_raw_fd().unsigned_abs();
    let _ = fds::close_range(0, kept.saturating_sub(1));
    let _ = fds::close_range(kept + 1, u32::MAX);
}
