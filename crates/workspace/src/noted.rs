//! The modes of directories of a copy that are opened to their owner while what changed is taken out of it, written down before: also where
//! that is interrupted they land as the task set them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Mode and path of each, each ended by NUL.
const FILE: &str = "modes";

pub(crate) struct Noted {
    file: File,
    modes: BTreeMap<PathBuf, u32>,
}

impl Noted {
    /// Those of earlier attempts too. The file is no link, FIFO or other name of another's file, which a layer's owner could have put there.
    pub(crate) fn open(layer: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::open(layer.join(FILE), flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        let found = rustix::fs::fstat(&file)?;
        let plain = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
        if !plain || found.st_nlink != 1 || found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::INVAL);
        }
        let (mut file, mut bytes) = (File::from(file), Vec::new());
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == 0).and_then(|end| bytes.get(..end));
        let mut parts = whole.unwrap_or(&[]).split(|byte| *byte == 0);
        let mut modes = BTreeMap::new();
        while let (Some(mode), Some(path)) = (parts.next(), parts.next()) {
            if let Some(mode) = std::str::from_utf8(mode).ok().and_then(|mode| mode.parse().ok()) {
                // The first one is the task's.
                modes.entry(PathBuf::from(OsString::from_vec(path.to_vec()))).or_insert(mode);
            }
        }
        Ok(Self { file, modes })
    }

    pub(crate) fn note(&mut self, path: &Path, mode: u32) -> Result<(), Errno> {
        if self.modes.contains_key(path) {
            return Ok(());
        }
        let mode = mode & 0o7777;
        let line = [mode.to_string().as_bytes(), b"\0", path.as_os_str().as_bytes(), b"\0"].concat();
        self.file.write_all(&line).map_err(failed)?;
        self.modes.insert(path.to_owned(), mode);
        Ok(())
    }

    /// What is inside comes first: closed, nothing in it could be reached.
    pub(crate) fn inside_out(&self) -> impl Iterator<Item = (&Path, u32)> {
        self.modes.iter().rev().map(|(path, mode)| (path.as_path(), *mode))
    }
}

pub(crate) fn forget(layer: &Path) {
    let _ = std::fs::remove_file(layer.join(FILE));
}

fn failed(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
