//! Starts a host shell in its own process group, collects what it prints, and ends it when its time is over.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;

const MOST_OUTPUT: usize = 64 << 20;

/// A running host command.
pub(crate) struct Running {
    child: Child,
    started: Instant,
    output: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
}

/// How it ended.
pub(crate) struct Ended {
    /// As a shell counts: 128 and the signal's number if a signal ended it.
    pub(crate) exit: i32,
    /// It had to be killed.
    pub(crate) timed_out: bool,
    /// Standard output and error together.
    pub(crate) output: Vec<u8>,
    /// From start to end.
    pub(crate) seconds: f64,
}

impl Ended {
    /// The output as text, whatever it holds.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// Starts a command whose output goes into one pipe.
pub(crate) fn start(mut command: Command) -> std::io::Result<Running> {
    let (mut reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let started = Instant::now();
    let child = command.spawn()?;
    drop(command); // the parent's copies of the pipe, or it never ends
    let output = Arc::new(Mutex::new(Vec::new()));
    let closed = Arc::new(AtomicBool::new(false));
    let (into, end) = (Arc::clone(&output), Arc::clone(&closed));
    std::thread::spawn(move || {
        let mut chunk = [0; 65536];
        while let Ok(length @ 1..) = reader.read(&mut chunk) {
            let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MOST_OUTPUT.saturating_sub(kept.len()).min(length);
            kept.extend(chunk.iter().take(room));
        }
        end.store(true, Ordering::Release);
    });
    Ok(Running { child, started, output, closed })
}

impl Running {
    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended before `moment` seconds after its start; waits until then at most.
    pub(crate) fn ended_before(&mut self, moment: f64) -> std::io::Result<bool> {
        loop {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            if self.started.elapsed().as_secs_f64() >= moment {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits for the end, at most `limit` seconds after the start.
    pub(crate) fn finish(mut self, limit: f64) -> std::io::Result<Ended> {
        let timed_out = !self.ended_before(limit)?;
        if timed_out {
            kill_group(self.child.id());
        }
        let status = self.child.wait()?;
        let seconds = self.started.elapsed().as_secs_f64();
        // A process that was left behind may hold the pipe open; what it writes later is not waited for.
        let patience = Instant::now();
        while !self.closed.load(Ordering::Acquire) && patience.elapsed() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = std::mem::take(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner));
        let exit = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ok(Ended { exit, timed_out, output, seconds })
    }
}

/// Kills a process group, if it is still there.
pub(crate) fn kill_group(leader: u32) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        kill_process_group(pid, Signal::KILL).ok();
    }
}

/// Kills one process, if it is still there.
pub(crate) fn kill_one(process: u32) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        rustix::process::kill_process(pid, Signal::KILL).ok();
    }
}
