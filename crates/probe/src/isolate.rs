//! One area in a child of its own: what hangs or is killed there ends there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use ringfence_audit::Level;
use ringfence_sys::clone::Forked;
use ringfence_sys::{exec, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};

use crate::report::{Finding, Out, State, finding};

/// How long an area may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
/// What it may tell, in bytes.
const MOST: u64 = 1 << 20;

/// Runs it. What it told before it ended counts, however it ended.
pub(crate) fn run(name: &str, limit: Duration, area: impl FnOnce(&mut Out<'_>)) -> Vec<Finding> {
    let unknown =
        |what: String| vec![finding(name, name, State::Unknown, Level::Note, &what, "", Vec::new())];
    let (from, to) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return unknown(format!("no pipe: {}", words(errno))),
    };
    match fork::fork() {
        Err(errno) => unknown(format!("no child to look with: {}", words(errno))),
        Ok(Forked::Child) => {
            drop(from);
            let _ = process::set_parent_process_death_signal(Some(Signal::KILL));
            let mut file = File::from(to);
            area(&mut Out::new(name, &mut file));
            exec::exit_now(0)
        }
        Ok(Forked::Parent(pid, pidfd)) => {
            drop(to);
            let (mut findings, late) = collect(from, limit);
            if let Some(what) = end(pid, &pidfd, late) {
                findings.extend(unknown(what));
            }
            findings
        }
    }
}

/// Reads until the child ends, or its time does.
fn collect(from: OwnedFd, limit: Duration) -> (Vec<Finding>, bool) {
    let start = Instant::now();
    let mut text = Vec::new();
    let mut file = File::from(from);
    let late = loop {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() || !wait(file.as_fd(), left) {
            break true;
        }
        let mut part = [0; 4096];
        match file.read(&mut part) {
            Ok(0) => break false,
            Ok(length) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break false,
        }
        if text.len() as u64 > MOST {
            break true;
        }
    };
    let lines = BufReader::new(text.as_slice()).lines().map_while(Result::ok);
    (lines.filter_map(|line| serde_json::from_str(&line).ok()).collect(), late)
}

/// Sees to the child's end; why it did not end by itself, in words.
fn end(pid: Pid, pidfd: &OwnedFd, late: bool) -> Option<String> {
    if late {
        let _ = process::pidfd_send_signal(pidfd, Signal::KILL);
        // One that hangs in the kernel is not waited for.
        wait(pidfd.as_fd(), Duration::from_secs(2));
        let _ = process::waitpid(Some(pid), WaitOptions::NOHANG);
        return Some("what was not told of within its time was not tried".to_owned());
    }
    loop {
        match process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return unusual(status),
            Err(Errno::INTR) | Ok(None) => {}
            Err(_) => return None,
        }
    }
}

fn unusual(status: WaitStatus) -> Option<String> {
    let signal = status.terminating_signal()?;
    let filter =
        if signal == Signal::SYS.as_raw() { ": a filter ends whoever makes a certain call" } else { "" };
    Some(format!("the rest was not tried: ended by signal {signal}{filter}"))
}

fn wait(fd: BorrowedFd<'_>, left: Duration) -> bool {
    let limit = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}

/// The kernel's words, without the number that only repeats them.
pub(crate) fn words(errno: Errno) -> String {
    errno.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

/// Runs what may not come back in a child of its own; its exit status, or `None` where it was killed or did not end.
pub(crate) fn status(action: impl FnOnce() -> i32) -> Option<i32> {
    match fork::fork().ok()? {
        Forked::Child => {
            let _ = process::set_parent_process_death_signal(Some(Signal::KILL));
            exec::exit_now(action())
        }
        Forked::Parent(pid, pidfd) => {
            if !wait(pidfd.as_fd(), Duration::from_secs(5)) {
                let _ = process::pidfd_send_signal(&pidfd, Signal::KILL);
                wait(pidfd.as_fd(), Duration::from_secs(2));
                let _ = process::waitpid(Some(pid), WaitOptions::NOHANG);
                return None;
            }
            let (_, status) = process::waitpid(Some(pid), WaitOptions::empty()).ok()??;
            status.exit_status()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The harness has threads: these children take no lock that another one may hold but the allocator's, which fork(2) of the C library keeps whole.
    fn told(findings: &[Finding]) -> Vec<(&str, State)> {
        findings.iter().map(|finding| (finding.id.as_str(), finding.state)).collect()
    }

    #[test]
    fn what_was_told_before_it_hung_or_was_killed_counts() {
        let hangs = run("x", Duration::from_millis(300), |out| {
            out.either("first", Level::Low, true, ("a", "b"), "c");
            loop {
                rustix::event::pause();
            }
        });
        assert_eq!(told(&hangs), [("first", State::Open), ("x", State::Unknown)]);
        let killed = run("x", LIMIT, |out| {
            out.either("first", Level::Low, false, ("a", "b"), "c");
            let _ = process::kill_process(process::getpid(), Signal::SYS);
        });
        assert_eq!(told(&killed), [("first", State::Closed), ("x", State::Unknown)]);
        assert!(killed.last().is_some_and(|last| last.what.contains("a filter ends")), "{killed:?}");
        let floods = run("x", LIMIT, |out| {
            loop {
                out.list("many", Level::Low, vec!["x".repeat(10_000); 100], "a", "b", "c");
            }
        });
        assert_eq!(floods.last().map(|last| last.state), Some(State::Unknown));
        assert!(
            floods
                .iter()
                .all(|one| one.names.len() <= 16 && one.names.iter().all(|name| name.chars().count() <= 201))
        );
    }
}
