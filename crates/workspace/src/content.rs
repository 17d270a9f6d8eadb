//! Comparing and copying files that may be huge and mostly holes.

use std::hash::Hasher;
use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

const BLOCK: usize = 256 << 10;
const PAGE: usize = 4096;

/// Do two files of this size hold the same bytes? Where both have a hole nothing is read.
pub(crate) fn same(one: impl AsFd, other: impl AsFd, size: u64) -> Result<bool, Errno> {
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut at = 0;
    while at < size {
        at = next_data(&one, at, size)?.min(next_data(&other, at, size)?);
        let length = usize::try_from(size - at).map_or(BLOCK, |rest| rest.min(BLOCK));
        let (left, right) = (left.get_mut(..length), right.get_mut(..length));
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        if !(fill(&one, at, left)? && fill(&other, at, right)? && left == right) {
            return Ok(false);
        }
        at += u64::try_from(length).map_err(|_| Errno::OVERFLOW)?;
    }
    Ok(true)
}

/// A number for the bytes of a file, the same for the same ones with the same keys.
pub(crate) fn digest(file: impl AsFd, size: u64, mut hasher: impl Hasher) -> Result<u64, Errno> {
    let mut block = vec![0; usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))];
    let mut at = 0;
    while at < size {
        let data = next_data(&file, at, size)?;
        // Wherever the holes are: pages of zeroes do not count, and the others count with their places.
        at = if data == size { size } else { data - data % (PAGE as u64) };
        let length = usize::try_from(size - at).map_or(block.len(), |rest| rest.min(block.len()));
        let Some(part) = block.get_mut(..length) else { break };
        if length == 0 || !fill(&file, at, part)? {
            break;
        }
        for (place, page) in (at..).step_by(PAGE).zip(part.chunks(PAGE)) {
            if page.iter().any(|byte| *byte != 0) {
                hasher.write_u64(place);
                hasher.write(page);
            }
        }
        at += u64::try_from(length).map_err(|_| Errno::OVERFLOW)?;
    }
    Ok(hasher.finish())
}

/// Copies `size` bytes into an empty file: shared blocks if the file system can, holes stay holes.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd, size: u64) -> Result<(), Errno> {
    if size > 0 && rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return rustix::fs::ftruncate(&to, size);
    }
    rustix::fs::ftruncate(&to, size)?;
    let mut block = vec![0; usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK))];
    let mut at = 0;
    loop {
        at = next_data(&from, at, size)?;
        if at >= size {
            return Ok(());
        }
        let end = next_hole(&from, at, size)?;
        while at < end {
            let length = usize::try_from(end - at).map_or(BLOCK, |rest| rest.min(BLOCK));
            let part = block.get_mut(..length).ok_or(Errno::OVERFLOW)?;
            if !fill(&from, at, part)? {
                // Shorter than it was said to be.
                return Err(Errno::AGAIN);
            }
            write_all(&to, at, part)?;
            at += u64::try_from(length).map_err(|_| Errno::OVERFLOW)?;
        }
    }
}

/// Copies all of a file that may change meanwhile: as it is, or was a moment ago. Returns its size.
pub(crate) fn copy_whole(from: impl AsFd, to: impl AsFd) -> Result<u64, Errno> {
    // One that shrinks meanwhile is copied as it is a moment later.
    let mut tries = 0;
    loop {
        let size = u64::try_from(rustix::fs::fstat(&from)?.st_size).map_err(|_| Errno::OVERFLOW)?;
        match copy(&from, &to, size) {
            Err(Errno::AGAIN) if tries < 8 => tries += 1,
            other => return other.map(|()| size),
        }
    }
}

fn next_data(file: impl AsFd, at: u64, size: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(next) => Ok(next.clamp(at, size)),
        // No data behind this point.
        Err(Errno::NXIO) => Ok(size),
        Err(Errno::INVAL) => Ok(at),
        Err(errno) => Err(errno),
    }
}

fn next_hole(file: impl AsFd, at: u64, size: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(file, SeekFrom::Hole(at)) {
        Ok(next) => Ok(next.clamp(at.saturating_add(1), size)),
        Err(Errno::NXIO | Errno::INVAL) => Ok(size),
        Err(errno) => Err(errno),
    }
}

/// Fills the whole buffer; `false`: the file ends before.
pub(crate) fn fill(file: impl AsFd, mut at: u64, buffer: &mut [u8]) -> Result<bool, Errno> {
    let mut rest = buffer;
    while !rest.is_empty() {
        match rustix::io::pread(&file, &mut *rest, at) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                at += u64::try_from(count).map_err(|_| Errno::OVERFLOW)?;
                rest = rest.split_at_mut_checked(count).ok_or(Errno::OVERFLOW)?.1;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

/// Writes all of it.
pub(crate) fn write_all(file: impl AsFd, mut at: u64, mut part: &[u8]) -> Result<(), Errno> {
    while !part.is_empty() {
        match rustix::io::pwrite(&file, part, at) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                at += u64::try_from(count).map_err(|_| Errno::OVERFLOW)?;
                part = part.get(count..).unwrap_or(&[]);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_terabyte_of_hole_is_compared_and_copied_as_a_hole() {
        let (mut one, two, three) =
            (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let size = 1 << 40;
        one.write_all(b"head").unwrap();
        one.set_len(size).unwrap();
        two.set_len(size).unwrap();
        assert!(!same(&one, &two, size).unwrap());
        copy(&one, &three, size).unwrap();
        assert!(same(&one, &three, size).unwrap());
        assert!(three.metadata().unwrap().blocks() < 1000);
    }

    #[test]
    fn a_copy_is_the_same() {
        let (mut one, mut two) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let text: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
        one.write_all(&text).unwrap();
        copy(&one, &two, text.len() as u64).unwrap();
        let read = |file: &mut File| {
            let mut all = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut all).unwrap();
            all
        };
        assert_eq!(read(&mut two), text);
        two.set_len(700_000).unwrap();
        assert!(!same(&one, &two, 700_001).unwrap());
    }
}
