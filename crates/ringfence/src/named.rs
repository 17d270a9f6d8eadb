//! Named sandboxes: which name belongs to which run, and the socket that leads to it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_confine::Message;
use ringfence_record::{RunDir, RunRecord, State, like_id};
use ringfence_supervise::{Ask, Remote, Sandbox as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::failure::{Context, Failure};
use crate::found::LAST;

/// The socket in the run's directory.
const SOCKET: &str = "control.sock";

/// Refuses what is no name: it becomes a file's.
fn check(name: &str) -> Result<(), Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Failure::new(format!("`{name}` is no name for a sandbox"))
        .hint("use letters, digits, `-`, `_` and `.`, at most 64, beginning with a letter or digit"))
}

/// A name that is held for as long as this lives.
pub(crate) struct Claim {
    file: File,
    path: PathBuf,
}

impl Claim {
    /// Takes the name, for no run yet.
    pub(crate) fn take(state: &State, name: &str) -> Result<Self, Failure> {
        check(name)?;
        let meaning = match name {
            LAST => "it means the last run",
            _ if like_id(name) => "it may be the beginning of a run's id",
            _ => "",
        };
        if !meaning.is_empty() {
            return Err(Failure::new(format!("`{name}` is no name for a sandbox: {meaning}"))
                .hint("choose another, such as `dev`"));
        }
        let directory = state.path().join("names");
        std::fs::create_dir_all(&directory).context(format!("making {}", directory.display()))?;
        let path = directory.join(name);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            openat(CWD, &path, flags, Mode::from_raw_mode(0o600)).context(format!("the name {name}"))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Failure::new(format!("a sandbox `{name}` is running already")).hint(format!(
                "use it with `ringfence exec {name} -- COMMAND`, or end it with `ringfence stop {name}`"
            )));
        }
        Ok(Self { file: File::from(file), path })
    }

    /// From now on the name leads to this run.
    pub(crate) fn lead_to(&mut self, run: &RunDir) -> Result<(), Failure> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all(run.id().as_bytes()))
            .context("the sandbox's name")
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The run of a sandbox that lives, and what is recorded of it.
pub(crate) fn find(state: &State, name: &str) -> Result<(RunDir, RunRecord), Failure> {
    living(state, name)?.ok_or_else(|| {
        let failure = Failure::new(format!("no sandbox `{name}` is running"));
        let failure = match state.last(|record| record.name.as_deref() == Some(name)) {
            Ok((run, _)) => {
                failure.hint(format!("the last one ended: `ringfence explain {}` says how", run.id()))
            }
            Err(_) => failure,
        };
        failure.hint(format!("`ringfence ps` lists those that are; `ringfence start {name}` starts one"))
    })
}

/// The same; `None`: there is none.
pub(crate) fn living(state: &State, name: &str) -> Result<Option<(RunDir, RunRecord)>, Failure> {
    check(name)?;
    let Ok(mut file) = File::open(state.path().join("names").join(name)) else { return Ok(None) };
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        // Nobody holds it: whoever did was killed.
        return Ok(None);
    }
    let mut run = String::new();
    file.read_to_string(&mut run).context("the sandbox's name")?;
    if run.is_empty() {
        return Err(
            Failure::new(format!("the sandbox `{name}` is just being made")).hint("try again in a moment")
        );
    }
    state.find(&run, None).map(Some).map_err(|error| Failure::new(error.to_string()))
}

/// Listens in the directory of a run.
pub(crate) fn listener(run: &RunDir) -> Result<OwnedFd, Failure> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("the control socket")?;
    at(run.path(), |address| bind(&socket, address))?;
    listen(&socket, 64).context("the control socket")?;
    Ok(socket)
}

/// At the end: its name would lead nowhere.
pub(crate) fn close(run: &RunDir) {
    let _ = std::fs::remove_file(run.path().join(SOCKET));
}

/// Calls the sandbox of a run.
pub(crate) fn call(run: &RunDir) -> Result<Remote, Failure> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("the control socket")?;
    at(run.path(), |address| connect(&socket, address))?;
    Ok(Remote::new(socket))
}

/// Who waits for the owner in a run that lives, a line each. One that grants nothing, or does not answer soon, has nobody.
pub(crate) fn waiting(run: &RunDir) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(remote) = call(run) else { return lines };
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    if remote.ask(&Ask::Waiting, &[]).is_err() {
        return lines;
    }
    while lines.len() < MOST_LINES
        && poll(&mut [PollFd::from_borrowed_fd(remote.reports(), PollFlags::IN)], Some(&patience)) == Ok(1)
        && let Some((Message::Answer { done: false, text }, _)) = remote.report()
    {
        lines.push(text);
    }
    lines
}

/// Those that may wait at a time.
const MOST_LINES: usize = 64;

/// An address takes 107 bytes (unix(7)); a directory's descriptor keeps it short.
fn at(
    directory: &Path,
    use_it: impl FnOnce(&SocketAddrUnix) -> rustix::io::Result<()>,
) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = openat(CWD, directory, flags, Mode::empty()).context("the run's directory")?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd()))
        .context("the control socket")?;
    use_it(&address).context("the control socket")
}
