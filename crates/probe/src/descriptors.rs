//! Descriptors that whoever started this left open: a directory among them leads out of any tree.

use ringfence_audit::Level;
use ringfence_sys::harmless;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::report::{Finding, State, finding};

/// Numbers that are looked at.
const MOST: i32 = 4096;

/// Looked at before anything else is opened. Descriptors 0 to 2 are the caller's own affair.
pub(crate) fn look() -> Vec<Finding> {
    let (mut directories, mut others) = (Vec::new(), Vec::new());
    for number in 3..MOST {
        let Some(mode) = harmless::descriptor(number) else { continue };
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
        let shown = format!("{number}: {}", target.display());
        match FileType::from_raw_mode(mode) {
            FileType::Directory => directories.push(shown),
            _ => others.push(shown),
        }
    }
    let tell =
        |id: &str, level, names: Vec<String>, open: &str, closed: &str, why: &str| match names.is_empty() {
            true => finding("descriptors", id, State::Closed, level, closed, "", names),
            false => finding("descriptors", id, State::Open, level, open, why, names),
        };
    vec![
        tell(
            "inherited-directory",
            Level::High,
            directories,
            "directories are open since the start",
            "no directory was left open",
            "paths are looked up from there, whatever the root is (CVE-2024-21626)",
        ),
        tell(
            "inherited-other",
            Level::Low,
            others,
            "files, pipes or sockets are open since the start",
            "nothing else was left open",
            "they were opened with the rights of whoever started this",
        ),
    ]
}

/// Whether a descriptor of this process is a terminal's, and may be written.
pub(crate) fn is_character_device(fd: impl std::os::fd::AsFd) -> bool {
    let fd = fd.as_fd();
    let character =
        fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice);
    character && fcntl_getfl(fd).is_ok_and(|flags| !flags.contains(OFlags::PATH))
}
