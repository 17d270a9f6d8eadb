//! Devices that lead to the machine. Only those are opened whose opening has no effect; a watchdog, say, begins to count by it.

use std::path::{Path, PathBuf};

use ringfence_audit::Level;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, stat};

use crate::Request;
use crate::look::{entries, shown};
use crate::report::Out;

/// Characters: what each gives. Opening them does nothing.
const KNOWN: &[(&str, Level, &str)] = &[
    ("mem", Level::High, "the machine's memory"),
    ("kmem", Level::High, "the kernel's memory"),
    ("port", Level::High, "the machine's ports"),
    ("kvm", Level::Medium, "virtual machines, and the code of the kernel that runs them"),
    ("vhost-net", Level::Medium, "the kernel's side of virtual networks"),
    ("vhost-vsock", Level::Medium, "the kernel's side of virtual sockets"),
    ("net/tun", Level::Low, "networks of one's own"),
    ("fuse", Level::Low, "file systems of one's own"),
    ("loop-control", Level::Medium, "images as disks"),
    ("mapper/control", Level::Medium, "volumes"),
    ("uinput", Level::High, "a keyboard: it types into every window"),
    ("dri/renderD128", Level::Low, "the graphics driver"),
    ("nvidia0", Level::Low, "the graphics driver"),
    ("nvidiactl", Level::Low, "the graphics driver"),
    ("snd/timer", Level::Low, "sound"),
];
/// Beginnings of names of disks; the rest is letters and digits.
const DISKS: &[&str] = &["sd", "vd", "xvd", "hd", "nvme", "mmcblk", "dm-", "md"];

pub(crate) fn look(_: &Request, out: &mut Out<'_>) {
    let dev = Path::new("/dev");
    let mut found: Vec<(Level, String)> = Vec::new();
    for (name, level, what) in KNOWN {
        let path = dev.join(name);
        if let Some(how) = opens(&path, FileType::CharacterDevice) {
            found.push((*level, format!("{} ({how}: {what})", shown(&path))));
        }
    }
    let disk = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        DISKS
            .iter()
            .any(|disk| name.strip_prefix(disk).is_some_and(|rest| !rest.is_empty() && rest.len() <= 8))
    };
    for path in entries(dev).iter().filter(disk).take(64) {
        if let Some(how) = opens(path, FileType::BlockDevice) {
            found.push((Level::High, format!("{} ({how}: a disk as it is)", shown(path))));
        }
    }
    for (id, level) in
        [("devices-machine", Level::High), ("devices-kernel", Level::Medium), ("devices-other", Level::Low)]
    {
        let names = found.iter().filter(|one| one.0 == level).map(|one| one.1.clone()).collect();
        out.list(
            id,
            level,
            names,
            "devices can be opened",
            "none can be opened",
            "a device is talked to past files and permissions",
        );
    }
}

fn opens(path: &Path, wanted: FileType) -> Option<&'static str> {
    let is = |mode| FileType::from_raw_mode(mode) == wanted;
    if !is(stat(path).ok()?.st_mode) {
        return None;
    }
    let opened = |flags: OFlags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty())
            .is_ok_and(|file| fstat(&file).is_ok_and(|stat| is(stat.st_mode)))
    };
    // A disk that is opened for writing is looked at anew by who watches it when it is closed (udev): reading tells enough.
    if wanted == FileType::CharacterDevice && opened(OFlags::RDWR) {
        return Some("read and write");
    }
    opened(OFlags::RDONLY).then_some("read")
}
