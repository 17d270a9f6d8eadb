//! Sockets that lead out. They are connected to and left at once: nothing is said.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ringfence_audit::{Level, sockets, variables};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::Request;
use crate::look::{kind, shown, text};
use crate::report::Out;

pub(crate) fn look(request: &Request, out: &mut Out<'_>) {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())));
    let mut found: Vec<(Level, PathBuf, String)> = Vec::new();
    for known in sockets(&request.home, Some(&runtime)) {
        if answers(&known.path) {
            found.push((known.level, known.path, known.why.to_owned()));
        }
    }
    for variable in variables() {
        let Some(value) = std::env::var_os(&variable.name) else { continue };
        let value = value.to_string_lossy();
        let path = value.split([',', ';']).find_map(|part| {
            let path = part
                .strip_prefix("unix:path=")
                .or_else(|| part.strip_prefix("unix://"))
                .or_else(|| part.strip_prefix("unix:"))
                .unwrap_or(part);
            path.starts_with('/').then(|| PathBuf::from(path))
        });
        if let Some(path) = path.filter(|path| answers(path))
            && !found.iter().any(|(_, known, _)| *known == path)
        {
            found.push((variable.level, path, format!("${}: {}", variable.name, variable.why)));
        }
    }
    for (id, level) in
        [("sockets-host", Level::High), ("sockets-desktop", Level::Medium), ("sockets-services", Level::Low)]
    {
        let names = found
            .iter()
            .filter(|one| one.0 == level)
            .map(|(_, path, why)| format!("{} ({why})", shown(path)))
            .collect();
        out.list(
            id,
            level,
            names,
            "sockets of the host answer",
            "none answers",
            "whoever listens there acts outside of any boundary, for whoever connects",
        );
    }
    // An abstract name has no file: a network namespace of its own is what hides it.
    let table = text("/proc/net/unix");
    let mut named: Vec<String> = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| name.starts_with('@'))
        .map(str::to_owned)
        .collect();
    named.sort();
    named.dedup();
    out.list(
        "sockets-abstract",
        Level::Low,
        named,
        "abstract sockets of others are listed",
        "no abstract socket of others is listed",
        "the network namespace is shared with whoever listens there",
    );
}

fn answers(path: &Path) -> bool {
    if kind(path) != Ok(FileType::Socket) {
        return false;
    }
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM].into_iter().any(|kind| {
        let Ok(socket) = socket(kind) else { return false };
        // A full queue is an answer as well.
        matches!(connect(&socket, &address), Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS))
    })
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}
