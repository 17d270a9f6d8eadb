//! What a program needs before it can start: the kernel's ENOENT for a file that is there means this.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The interpreter of a script (execve(2)), or of a program: its PT_INTERP segment (elf(5)).
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    // Opening a FIFO would wait.
    let mut file = path.is_file().then(|| File::open(path).ok())??;
    let mut head = [0; 256];
    let length = file.read(&mut head).ok()?;
    let head = head.get(..length)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let word = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
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
