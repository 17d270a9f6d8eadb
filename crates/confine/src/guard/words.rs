//! What an execve names in the memory of who calls it: read once.

use ringfence_sys::{memory, ptrace};
use rustix::io::Errno;

/// Pages are read whole, never past their end: the next one may not be there.
const PAGE: u64 = 4096;
/// The longest path (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// More than the kernel takes with the usual stack: three quarters of 8 MiB (execve(2)).
const LONGEST: usize = 6 << 20;

/// A string; ENAMETOOLONG past `most` bytes.
fn string(thread: i32, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let mut found = Vec::new();
    let mut at = address;
    loop {
        let mut part = [0; PAGE as usize];
        let length = usize::try_from(PAGE - at % PAGE).map_err(|_| Errno::FAULT)?.min(if found.is_empty() {
            256
        } else {
            PAGE as usize
        });
        let part = part.get_mut(..length).ok_or(Errno::FAULT)?;
        memory::read(thread, at, part)?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            found.extend(part.get(..end).unwrap_or_default());
            return if found.len() > most { Err(Errno::NAMETOOLONG) } else { Ok(found) };
        }
        found.extend_from_slice(part);
        if found.len() > most {
            return Err(Errno::NAMETOOLONG);
        }
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
}

/// The path of an execve.
pub(super) fn path(thread: i32, address: u64) -> Result<Vec<u8>, Errno> {
    string(thread, address, LONGEST_PATH - 1)
}

/// A vector of strings; without one, what the kernel makes of it.
pub(super) fn vector(thread: i32, address: u64) -> Result<Vec<Vec<u8>>, Errno> {
    if address == 0 {
        return Ok(or_empty(Vec::new()));
    }
    let (mut found, mut left, mut at) = (Vec::new(), LONGEST, address);
    loop {
        let mut part = [0; PAGE as usize];
        let whole = usize::try_from(PAGE - at % PAGE).map_err(|_| Errno::FAULT)?;
        // One pointer across the border of two pages.
        let length = if whole < 8 {
            8
        } else {
            (whole / 8 * 8).min(if found.is_empty() { 128 } else { PAGE as usize })
        };
        let part = part.get_mut(..length).ok_or(Errno::FAULT)?;
        memory::read(thread, at, part)?;
        for pointer in part.chunks_exact(8) {
            let pointer = u64::from_ne_bytes(pointer.try_into().map_err(|_| Errno::FAULT)?);
            if pointer == 0 {
                return Ok(or_empty(found));
            }
            let word = string(thread, pointer, left)?;
            left = left.checked_sub(word.len() + 9).ok_or(Errno::TOOBIG)?;
            found.push(word);
        }
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
}

/// Whether a program that has just been started, and has not run yet, has these arguments: so many, and this is what they are one
/// after the other, each with its NUL. The kernel lays them out so, which `/proc/PID/cmdline` shows too, at more cost.
pub(super) fn are(process: i32, count: usize, line: &[u8]) -> Result<bool, Errno> {
    let mut head = [0; 16];
    memory::read(process, ptrace::stack(process)?, &mut head)?;
    let (number, first) = head.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).map_err(|_| Errno::FAULT);
    if word(number)? != count as u64 {
        return Ok(false);
    }
    let mut found = vec![0; line.len()];
    memory::read(process, word(first)?, &mut found)?;
    Ok(found == line)
}

/// A program without arguments gets an empty name (since Linux 5.18).
fn or_empty(found: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if found.is_empty() { vec![Vec::new()] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_across_pages_are_read_whole() {
        let own = i32::try_from(std::process::id()).unwrap();
        let long = [vec![b'x'; 10_000], vec![0]].concat();
        assert_eq!(string(own, long.as_ptr() as u64, 10_000).unwrap().len(), 10_000);
        assert_eq!(string(own, long.as_ptr() as u64, 9_999), Err(Errno::NAMETOOLONG));
        assert_eq!(path(own, 0), Err(Errno::FAULT));
        let words: Vec<Vec<u8>> = (0..3000).map(|number| format!("{number}\0").into_bytes()).collect();
        let mut pointers: Vec<u64> = words.iter().map(|word| word.as_ptr() as u64).collect();
        pointers.push(0);
        let read = vector(own, pointers.as_ptr() as u64).unwrap();
        assert!(read.len() == 3000 && read.last().unwrap() == b"2999");
        assert_eq!(vector(own, 0), Ok(vec![Vec::new()]));
        assert_eq!(vector(own, pointers.as_ptr() as u64 + 1), Err(Errno::FAULT));
    }
}
