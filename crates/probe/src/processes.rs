//! Processes of others: seen, signalled, read. No signal is sent, and no byte of them is read.

use std::path::PathBuf;

use ringfence_audit::Level;
use ringfence_sys::harmless;
use rustix::fs::{CWD, Mode, OFlags, openat, stat};
use rustix::process::{Pid, getpid, test_kill_process};

use crate::Request;
use crate::look::{entries, field, text};
use crate::report::Out;

/// Steps up to pid 1.
const ANCESTORS: usize = 64;

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    let listed = entries(std::path::Path::new("/proc"));
    let pids: Vec<(i32, PathBuf)> = listed
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path)))
        .collect();
    if pids.is_empty() {
        out.unknown("processes-seen", Level::Low, "no /proc: processes could not be listed");
        return;
    }
    let own = ancestors();
    let others: Vec<(Pid, PathBuf)> = pids
        .into_iter()
        .filter(|(pid, _)| !own.contains(pid))
        .filter_map(|(pid, path)| Some((Pid::from_raw(pid)?, path)))
        .collect();
    let name = |(pid, path): &(Pid, PathBuf)| {
        let status = text(path.join("status"));
        format!("{} {}", pid.as_raw_nonzero(), field(&status, "Name").unwrap_or("?"))
    };
    let those = |fits: &dyn Fn(&(Pid, PathBuf)) -> bool| -> Vec<String> {
        others.iter().filter(|other| fits(other)).map(name).collect()
    };
    out.list(
        "processes-seen",
        Level::Low,
        those(&|_| true),
        "processes of others are seen",
        "no process of others is seen",
        "their names and arguments tell what the host does, and often hold secrets",
    );
    let signal = those(&|(pid, _)| test_kill_process(*pid).is_ok());
    out.list(
        "processes-signal",
        Level::Medium,
        signal,
        "processes of others can be signalled",
        "no process of others can be signalled",
        "they can be stopped and ended",
    );
    let attach = those(&|(pid, _)| harmless::may_attach(*pid));
    out.list(
        "processes-memory",
        Level::High,
        attach,
        "the memory of other processes can be read and changed",
        "no memory of other processes can be read",
        "what they hold can be taken, and they can be made to do anything",
    );
    let opens = |path: PathBuf| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(CWD, &path, flags, Mode::empty()).is_ok()
    };
    let environ = those(&|(_, path)| opens(path.join("environ")));
    out.list(
        "processes-environment",
        Level::High,
        environ,
        "the variables of other processes can be read",
        "no variables of other processes can be read",
        "secrets are handed to programs in them",
    );
    let here = stat("/").map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let root = |path: &PathBuf| stat(path.join("root/.")).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    // Also of the own ancestors: an init that was started outside still has the host's root.
    let all = others
        .iter()
        .map(|(_, path)| path.clone())
        .chain(own.iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))));
    let elsewhere: Vec<String> = all
        .filter(|path| root(path).is_some_and(|root| Some(root) != here))
        .map(|path| format!("{}/root", path.display()))
        .collect();
    out.list(
        "processes-root",
        Level::High,
        elsewhere,
        "another root can be walked through other processes",
        "no other root is reached through processes",
        "the files of whoever those belong to are there",
    );
}

/// Itself, its own child that looks, and what started them.
fn ancestors() -> Vec<i32> {
    let mut found = vec![getpid().as_raw_nonzero().get()];
    for _ in 0..ANCESTORS {
        let Some(last) = found.last() else { break };
        let status = text(format!("/proc/{last}/status"));
        match field(&status, "PPid").and_then(|parent| parent.parse().ok()) {
            Some(parent) if parent > 0 => found.push(parent),
            _ => break,
        }
    }
    found
}
