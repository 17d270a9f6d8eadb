//! Why a program does not start, as far as its file says: the kernel's ENOENT and EACCES name no cause.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a file is that no rule could have executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A directory.
    Directory = 1,
    /// A FIFO, a socket or a device.
    NotRegular,
    /// Nobody has the permission to execute it.
    NoPermission,
}

impl Unfit {
    /// By its number in a message.
    pub(crate) fn of(number: u32) -> Option<Self> {
        [Self::Directory, Self::NotRegular, Self::NoPermission].into_iter().find(|one| *one as u32 == number)
    }
}

/// The interpreter of a script (execve(2)), or of a program: its PT_INTERP segment (elf(5)).
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    // Opening a FIFO would wait.
    let mut file = path.is_file().then(|| File::open(path).ok())??;
    let mut head = [0; 256];
    let length = file.read(&mut head).ok()?;
    let head = head.get(..length)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        // As the kernel does: a carriage return is a letter of the name.
        let line = line.split(|byte| *byte == b'\n').next()?;
        let word = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
        return Some(OsStr::from_bytes(word).into());
    }
    // 64 bits, little endian: the machines that are supported.
    head.strip_prefix(b"\x7fELF\x02\x01")?;
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let field = bytes.get(at..at + size)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let (table, size, count) = (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?);
    for index in 0..count.min(64) {
        let mut entry = [0; 56];
        file.seek(SeekFrom::Start(table.checked_add(index * size)?)).ok()?;
        file.read_exact(&mut entry).ok()?;
        const INTERP: u64 = 3;
        if number(&entry, 0, 4)? == INTERP {
            let mut name = vec![0; usize::try_from(number(&entry, 32, 8)?.min(4096)).ok()?];
            file.seek(SeekFrom::Start(number(&entry, 8, 8)?)).ok()?;
            file.read_exact(&mut name).ok()?;
            name.retain(|byte| *byte != 0);
            return Some(OsString::from_vec(name).into());
        }
    }
    None
}

/// What keeps the file from being executed, whatever the policy says. What is hidden has no permission at all, and is not judged.
pub(crate) fn unfit(path: &Path) -> Option<Unfit> {
    let found = path.metadata().ok()?;
    let mode = found.permissions().mode() & 0o777;
    match mode {
        0 => None,
        _ if found.is_dir() => Some(Unfit::Directory),
        _ if !found.is_file() => Some(Unfit::NotRegular),
        _ => (mode & 0o111 == 0).then_some(Unfit::NoPermission),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_keeps_it_from_starting() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        for (text, needs) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! \t/bin/sh -e\n", Some("/bin/sh")),
            ("#!/bin/sh\r\n", Some("/bin/sh\r")),
            ("#!\n", None),
            ("echo\n", None),
        ] {
            std::fs::write(&script, text).unwrap();
            assert_eq!(interpreter(&script).as_deref(), needs.map(Path::new), "{text:?}");
        }
        let with = |mode| {
            std::fs::set_permissions(&script, PermissionsExt::from_mode(mode)).unwrap();
            unfit(&script)
        };
        assert_eq!((with(0o644), with(0o755), with(0o000)), (Some(Unfit::NoPermission), None, None));
        assert_eq!(unfit(directory.path()), Some(Unfit::Directory));
        assert_eq!(unfit(Path::new("/dev/null")), Some(Unfit::NotRegular));
    }
}
