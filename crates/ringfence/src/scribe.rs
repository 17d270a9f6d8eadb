//! Who writes a grant that lasts into the policy file while the supervisor, which may write nothing but its state, runs: a process of
//! its own, which adds lines of `approvals.grantable.read` to one file and does nothing else.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_plan::{Invoker, Plan};
use ringfence_policy::{Judge, Policy, check_grant};
use ringfence_sys::clone::Forked;
use ringfence_sys::{exec, fds, fork};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, waitpid};

use crate::{custody, environment, lasting, terminal};

/// PATH_MAX.
const LONGEST: usize = 4096;

/// It ends when this is dropped, or its supervisor is gone.
#[derive(Debug)]
pub(crate) struct Scribe {
    /// `None`: it is told that nothing more comes.
    socket: Option<OwnedFd>,
    process: Pid,
}

impl Scribe {
    /// For this policy file; `None` where nobody could be asked, or it cannot be had. The caller has one thread.
    pub(crate) fn start(policy: &Policy, plan: &Plan, file: PathBuf, invoker: &Invoker) -> Option<Self> {
        if !plan.asks {
            return None;
        }
        let flags = SocketFlags::CLOEXEC;
        let (socket, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
        match fork::fork().ok()? {
            Forked::Parent(process, _) => Some(Self { socket: Some(socket), process }),
            Forked::Child => {
                // What the supervisor holds is not for it.
                let own = other.as_raw_fd().unsigned_abs();
                let alone = fds::close_range(3, own - 1).and_then(|()| fds::close_range(own + 1, u32::MAX));
                if alone.is_ok() && set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok() {
                    serve(&other, policy, &plan.workspace, &file, invoker);
                }
                exec::exit_now(0)
            }
        }
    }

    /// Asks for it; what became of it, it tells the owner itself.
    pub(crate) fn add(&self, path: &Path) {
        if let Some(socket) = &self.socket {
            let _ = send(socket, path.as_os_str().as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.socket = None;
        let _ = waitpid(Some(self.process), WaitOptions::empty());
    }
}

fn serve(socket: &OwnedFd, policy: &Policy, workspace: &Path, file: &Path, invoker: &Invoker) {
    let mut buffer = [0; LONGEST];
    while let Ok((length @ 1.., _)) = recv(socket, &mut buffer[..], RecvFlags::empty()) {
        let Some(bytes) = buffer.get(..length) else { return };
        let told = match write(policy, workspace, file, Path::new(OsStr::from_bytes(bytes)), invoker) {
            Ok(told) => told,
            Err(why) => format!("not written to {}: {why}", file.display()),
        };
        // The terminal may be raw.
        terminal::error(&format!("\r\nringfence: {}\r", terminal::line(told)));
    }
}

/// The supervisor's word alone is not enough: only what the policy says may be granted.
fn write(
    policy: &Policy,
    workspace: &Path,
    file: &Path,
    path: &Path,
    invoker: &Invoker,
) -> Result<String, String> {
    Judge::new(policy, workspace).grantable(path)?;
    if let Some(invalid) = check_grant(path, false, &environment::context(invoker)) {
        return Err(invalid.message);
    }
    if let Some(tree) = custody::written(policy, workspace, file) {
        return Err(format!(
            "the task writes {}, and could have changed it: write the line yourself",
            tree.display()
        ));
    }
    let added = lasting::add(file, path, invoker).map_err(|failure| failure.plain())?;
    let did = if added { "grants it to later sandboxes too" } else { "had that grant already" };
    Ok(format!("{} {did}: {}", file.display(), path.display()))
}
