//! Pipes that a program would begin with, and terminals of the task's own making, for `commands.pipes = false`.

use std::collections::BTreeSet;

use rustix::fs::{CWD, FileType, major, readlinkat, stat};
use rustix::io::Errno;

/// O_CLOEXEC and the two bits of O_ACCMODE (open(2)), as fdinfo shows them.
const CLOSED: u32 = 0o2_000_000;
const ACCESS: u32 = 0o3;
const WRITE_ONLY: u32 = 0o1;

/// Devices that hand on what another process writes (devices.txt): /dev/tty and /dev/ptmx, and both ends of pseudo-terminals.
const TERMINALS: [std::ops::RangeInclusive<u32>; 2] = [5..=5, 128..=143];

/// By the names that the kernel has for them.
pub(super) type Pipes = BTreeSet<Vec<u8>>;

/// What can be read from of the pipes, sockets and terminals that stay open over an execve.
///
/// # Errors
/// EACCES where that cannot be told.
pub(super) fn kept(thread: i32) -> Result<Pipes, Errno> {
    let mut found = Pipes::new();
    let entries = std::fs::read_dir(format!("/proc/{thread}/fd")).map_err(|_| Errno::ACCESS)?;
    for entry in entries {
        let number = entry.map_err(|_| Errno::ACCESS)?.file_name();
        let number = number.to_str().ok_or(Errno::ACCESS)?;
        // One that is closed meanwhile is none.
        let Ok(name) = readlinkat(CWD, format!("/proc/{thread}/fd/{number}"), Vec::new()) else { continue };
        let mut name = name.into_bytes();
        if !name.starts_with(b"pipe:") && !name.starts_with(b"socket:") {
            let Ok(found) = stat(format!("/proc/{thread}/fd/{number}")) else { continue };
            let device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
            if !device || !TERMINALS.iter().any(|numbers| numbers.contains(&major(found.st_rdev))) {
                continue;
            }
            // Each mount of devpts has numbers of its own.
            name = format!("terminal:{}:{}", found.st_dev, found.st_rdev).into_bytes();
        }
        let Ok(info) = std::fs::read_to_string(format!("/proc/{thread}/fdinfo/{number}")) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).ok_or(Errno::ACCESS)?;
        if flags & CLOSED == 0 && flags & ACCESS != WRITE_ONLY {
            found.insert(name);
        }
    }
    Ok(found)
}
