//! pid 1 of the sandbox: starts commands, reaps, reports how they ended. When it goes, the kernel ends the rest.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ringfence_sys::{exec, fds, memory, signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{self, Pid, Signal, WaitOptions};

use crate::channel;
use crate::job::{self, Rules};
use crate::orders::Request;
use crate::report::{Message, send};

const CHILD: i32 = 17; // SIGCHLD
/// What the leader of a terminal's session hands on to its command.
const HANDED_ON: &[i32] = &[1, 2, 3, 10, 12, 15, 18]; // HUP INT QUIT USR1 USR2 TERM CONT

struct Init {
    report: OwnedFd,
    rules: Rules,
    /// Commands by the process that stands for them: itself, or the leader of its terminal's session.
    jobs: HashMap<Pid, Running>,
}

struct Running {
    job: u32,
    led: bool,
}

/// Never returns.
pub(crate) fn run(report: OwnedFd, rules: Rules, own: &[u64]) -> ! {
    // Everything blocked: pid 1 is not to be interrupted, and what is not waited for stays pending.
    let _ = signals::block_only(&signals::Set::all());
    let Ok(children) = signals::descriptor(&signals::Set::of(&[CHILD])) else { exec::exit_now(125) };
    let _ = process::setsid();
    keep_only(&[&report, &children]);
    for id in own {
        send(report.as_fd(), Message::Own(*id));
    }
    send(report.as_fd(), Message::Ready);
    let mut init = Init { report, rules, jobs: HashMap::new() };
    loop {
        let mut polled = [PollFd::new(&init.report, PollFlags::IN), PollFd::new(&children, PollFlags::IN)];
        let _ = poll(&mut polled, None);
        let [asked, ended] = polled.map(|entry| entry.revents());
        if !ended.is_empty() {
            let _ = rustix::io::read(&children, &mut [0; signals::RECORD]);
            init.reap();
        }
        if !asked.is_empty() {
            init.answer();
        }
    }
}

impl Init {
    fn answer(&mut self) {
        match channel::receive::<Request>(self.report.as_fd()) {
            Ok((Request::Start(job), passed)) => match job::start(&self.rules, &job, passed, &self.report) {
                Ok(pid) => {
                    self.jobs.insert(pid, Running { job: job.id, led: job.terminal.is_some() });
                    memory::forget_code();
                }
                Err((stage, errno)) => {
                    send(self.report.as_fd(), Message::Failed { stage, errno, job: job.id });
                    self.ended(Message::Exited { job: job.id, status: 125 });
                }
            },
            Ok((Request::Signal { job, signal, group }, _)) => self.signal(job, signal, group),
            Ok((Request::Pause, _)) => all(Signal::STOP),
            Ok((Request::Resume, _)) => all(Signal::CONT),
            Ok((Request::End, _)) => {
                end_all();
                exec::exit_now(0)
            }
            // The supervisor is gone, or speaks no more of ours.
            Err(_) => exec::exit_now(125),
        }
    }

    fn signal(&self, job: u32, signal: i32, group: bool) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        for (pid, _) in self.jobs.iter().filter(|(_, running)| running.job == job) {
            // The process that stands for a command leads its group, or hands on what it gets.
            let _ = if group {
                process::kill_process_group(*pid, signal)
            } else {
                process::kill_process(*pid, signal)
            };
        }
    }

    /// Collects every child that ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if status.stopped() {
                // A task may stop the leader of its session, which must see it end.
                if self.jobs.get(&pid).is_some_and(|running| running.led) {
                    let _ = process::kill_process(pid, Signal::CONT);
                }
            } else if let Some(Running { job, .. }) = self.jobs.remove(&pid) {
                self.ended(message(job, status));
            }
        }
    }

    fn ended(&self, message: Message) {
        if self.rules.single {
            end_all();
        }
        send(self.report.as_fd(), message);
        if self.rules.single {
            exec::exit_now(0);
        }
    }
}

fn message(job: u32, status: process::WaitStatus) -> Message {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Message::Exited { job, status: status.unsigned_abs() },
        (_, signal) => Message::Signalled { job, signal: signal.unwrap_or(9).unsigned_abs() },
    }
}

fn all(signal: Signal) {
    let _ = process::kill_process_group(Pid::INIT, signal);
}

/// Ends everything else, so that the report finds nobody who could still change something.
fn end_all() {
    all(Signal::KILL);
    while process::wait(WaitOptions::empty()).is_ok() {}
}

/// The leader of a terminal's session: waits for its command, hands signals on, says when the terminal stopped it. Ends as
/// the command did. Never returns.
pub(crate) fn lead(task: Pid, job: u32, report: &OwnedFd) -> ! {
    keep_only(&[report]);
    let mut waited = HANDED_ON.to_vec();
    waited.push(CHILD);
    let set = signals::Set::of(&waited);
    loop {
        match signals::wait(&set) {
            Ok(CHILD) => follow(task, job, report),
            Ok(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    // Going on concerns all whom the terminal stopped.
                    let _ = if signal == Signal::CONT {
                        process::kill_process_group(task, signal)
                    } else {
                        process::kill_process(task, signal)
                    };
                }
            }
            Err(_) => {}
        }
    }
}

fn follow(task: Pid, job: u32, report: &OwnedFd) {
    while let Ok(Some((_, status))) =
        process::waitpid(Some(task), WaitOptions::NOHANG | WaitOptions::UNTRACED)
    {
        if status.stopped() {
            send(report.as_fd(), Message::Stopped { job });
        } else if let Some(status) = status.exit_status() {
            exec::exit_now(status)
        } else if let Some(signal) = status.terminating_signal() {
            signals::end_by(signal)
        }
    }
}

/// Closes the streams too, or their other ends would never see an end of file.
fn keep_only(kept: &[&OwnedFd]) {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept {
        if fd > from {
            let _ = fds::close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    let _ = fds::close_range(from, u32::MAX);
}
