//! Whether `run` works is not deduced: it is tried, with `true`, where a run of the caller's would be.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Check;
use crate::scratch::Scratch;

/// The name of its check.
pub(crate) const NAME: &str = "a run of `true`";

/// Seconds: a start takes milliseconds, but a machine may be busy.
const LIMIT: i64 = 10;

/// The check, and the tier of the run.
pub(crate) fn check(binary: &Path, scratch: &Scratch) -> (Check, Option<String>) {
    let status = match run(binary, scratch) {
        Ok(Some(status)) => status,
        Ok(None) => return (failed(format!("it did not end within {LIMIT} s")), None),
        Err(error) => return (failed(format!("starting {}: {error}", binary.display())), None),
    };
    let report = std::fs::read_to_string(scratch.path().join("report.json")).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    let text = |name: &str| report.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    if status == Some(0) {
        return (Check::good(NAME, "under the preset `default`, in this directory"), text("tier"));
    }
    let said = std::fs::read_to_string(scratch.path().join("errors")).unwrap_or_default();
    let lines = |label: &str| {
        let label = format!("ringfence: {label}: ");
        said.lines().filter_map(move |line| line.strip_prefix(&label).map(str::to_owned)).collect::<Vec<_>>()
    };
    let ended = || status.map_or_else(|| "it was killed".into(), |status| format!("it ended with {status}"));
    let found = text("error").or_else(|| lines("error").into_iter().next()).unwrap_or_else(ended);
    (failed(found).with_remedy(lines("hint")), None)
}

/// Its name says the effect.
fn failed(found: String) -> Check {
    Check::missing(NAME, found).with_effect("")
}

/// Its exit status (`None`: killed), or nothing where it took too long.
fn run(binary: &Path, scratch: &Scratch) -> std::io::Result<Option<Option<i32>>> {
    let errors = std::fs::File::create(scratch.path().join("errors"))?;
    let state = scratch.directory("state")?;
    let mut command = Command::new(binary);
    command
        .args(["run", "--quiet", "--preset", "default", "--report"])
        .arg(scratch.path().join("report.json"));
    command.args(["--", "/bin/true"]).env("RINGFENCE_STATE", state);
    // As it is already: then the library forks, which a filter that refuses clone3 lets it do.
    command.uid(rustix::process::geteuid().as_raw());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let mut child = command.spawn()?;
    if !ends(child.id()) {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(child.wait()?.code()))
}

/// Waits for its end, but not for ever.
fn ends(id: u32) -> bool {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return false };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let limit = Timespec { tv_sec: LIMIT, tv_nsec: 0 };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}
