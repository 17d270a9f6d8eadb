//! What an execve names in the memory of who calls it: read once.

use ringfence_sys::{memory, ptrace};
use rustix::io::Errno;

/// Pages are read whole, never past their end: the next one may not be there.
const PAGE: u64 = 4096;
/// The longest path (PATH_MAX).
const LONGEST_PATH: usize = 4096;
/// More than the kernel takes with the usual stack: three quarters of 8 MiB (execve(2)).
const LONGEST: usize = 6 << 20;

/// Bytes of a string that are read at first, of a vector, and strings that are read at once.
const STRING: usize = 256;
const VECTOR: usize = 128;
const TOGETHER: usize = 16;

/// The path and the arguments of an execve.
pub(super) fn command(thread: i32, path: u64, vector: u64) -> Result<(Vec<u8>, Vec<Vec<u8>>), Errno> {
    let (mut name, mut pointers) = ([0; STRING], [0; VECTOR]);
    let [name, pointers] = [(&mut name[..], path), (&mut pointers[..], vector)].map(|(buffer, at)| {
        let length = buffer.len().min(to_border(at));
        buffer.get_mut(..length).unwrap_or_default()
    });
    // Both at once, as far as they are there; what is not is asked for again, and fails as it would alone.
    let whole = pointers.len() / 8 * 8;
    let read = memory::read_parts(
        thread,
        &mut [(path, &mut *name), (vector, pointers.get_mut(..whole).unwrap_or_default())],
    );
    let read = read.unwrap_or(0);
    let name = (read >= name.len()).then_some(&*name);
    let pointers = name.and_then(|name| pointers.get(..read - name.len())).unwrap_or_default();
    Ok((string(thread, path, LONGEST_PATH - 1, name)?, strings(thread, vector, pointers)?))
}

/// How much of its page is left at an address.
fn to_border(address: u64) -> usize {
    (PAGE - address % PAGE) as usize
}

/// A string, of which the first bytes may be known; ENAMETOOLONG past `most` bytes.
fn string(thread: i32, address: u64, most: usize, known: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
    let mut found = Vec::new();
    let mut at = address;
    let mut known = known.filter(|known| !known.is_empty());
    loop {
        let mut part = [0; PAGE as usize];
        let length = to_border(at).min(if found.is_empty() { STRING } else { PAGE as usize });
        let part = match known.take() {
            Some(known) => known,
            None => {
                let part = part.get_mut(..length).ok_or(Errno::FAULT)?;
                memory::read(thread, at, part)?;
                part
            }
        };
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            found.extend(part.get(..end).unwrap_or_default());
            return if found.len() > most { Err(Errno::NAMETOOLONG) } else { Ok(found) };
        }
        found.extend_from_slice(part);
        if found.len() > most {
            return Err(Errno::NAMETOOLONG);
        }
        at = at.checked_add(part.len() as u64).ok_or(Errno::FAULT)?;
    }
}

/// A vector of strings, of which the first pointers may be known; without one, what the kernel makes of it.
fn strings(thread: i32, address: u64, known: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    if address == 0 {
        return Ok(or_empty(Vec::new()));
    }
    let (mut found, mut left, mut at) = (Vec::new(), LONGEST, address);
    let mut known = Some(known).filter(|known| !known.is_empty());
    loop {
        let mut part = [0; PAGE as usize];
        let part = match known.take() {
            Some(known) => known,
            None => {
                let whole = to_border(at);
                // One pointer across the border of two pages.
                let most = if found.is_empty() { VECTOR } else { PAGE as usize };
                let length = if whole < 8 { 8 } else { (whole / 8 * 8).min(most) };
                let part = part.get_mut(..length).ok_or(Errno::FAULT)?;
                memory::read(thread, at, part)?;
                part
            }
        };
        let pointers = part.chunks_exact(8).filter_map(|pointer| pointer.try_into().ok());
        let pointers: Vec<u64> =
            pointers.map(u64::from_ne_bytes).take_while(|pointer| *pointer != 0).collect();
        for pointers in pointers.chunks(TOGETHER) {
            extend(thread, pointers, &mut left, &mut found)?;
        }
        if pointers.len() < part.len() / 8 {
            return Ok(or_empty(found));
        }
        at = at.checked_add(part.len() as u64).ok_or(Errno::FAULT)?;
    }
}

/// Adds the strings that these point to, `left` bytes at most.
fn extend(thread: i32, pointers: &[u64], left: &mut usize, found: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
    let mut heads = [[0; STRING]; TOGETHER];
    let mut parts: Vec<(u64, &mut [u8])> = Vec::with_capacity(TOGETHER);
    for (pointer, head) in pointers.iter().zip(&mut heads) {
        let length = STRING.min(to_border(*pointer));
        parts.push((*pointer, head.get_mut(..length).unwrap_or_default()));
    }
    let mut read = memory::read_parts(thread, &mut parts).unwrap_or(0);
    for (pointer, head) in parts {
        let known = (read >= head.len()).then_some(&*head);
        read = read.saturating_sub(head.len());
        let word = string(thread, pointer, *left, known)?;
        *left = left.checked_sub(word.len() + 9).ok_or(Errno::TOOBIG)?;
        found.push(word);
    }
    Ok(())
}

/// Whether a program that has just been started, and has not run yet, has these arguments: so many, and this is what they are one
/// after the other, each with its NUL. The kernel lays them out so, which `/proc/PID/cmdline` shows too, at more cost.
pub(super) fn are(process: i32, count: usize, line: &[u8]) -> Result<bool, Errno> {
    let stack = ptrace::stack(process)?;
    let mut near = [0; 2 * PAGE as usize];
    // Most stacks end in these pages. One that ends before has all of it there.
    let (one, other) = near.split_at_mut(to_border(stack));
    let behind = stack.checked_add(one.len() as u64).ok_or(Errno::FAULT)?;
    let other = other.get_mut(..PAGE as usize).unwrap_or_default();
    let read = memory::read_parts(process, &mut [(stack, one), (behind, other)])?;
    let near = near.get(..read).unwrap_or_default();
    let word = |at| near.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    let (Some(number), Some(first)) = (word(0), word(8)) else { return Err(Errno::FAULT) };
    if number != count as u64 {
        return Ok(false);
    }
    let start = first.checked_sub(stack).and_then(|start| usize::try_from(start).ok());
    if let Some(found) = start.and_then(|start| near.get(start..start.checked_add(line.len())?)) {
        return Ok(found == line);
    }
    let mut found = vec![0; line.len()];
    memory::read(process, first, &mut found)?;
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
        let string = |most| string(own, long.as_ptr() as u64, most, None);
        assert_eq!(string(10_000).unwrap().len(), 10_000);
        assert_eq!(string(9_999), Err(Errno::NAMETOOLONG));
        let words: Vec<Vec<u8>> = (0..3000).map(|number| format!("{number}\0").into_bytes()).collect();
        let mut pointers: Vec<u64> = words.iter().map(|word| word.as_ptr() as u64).collect();
        pointers.push(0);
        let vector = pointers.as_ptr() as u64;
        let path = words[17].as_ptr() as u64;
        let (name, read) = command(own, path, vector).unwrap();
        assert!(name == b"17" && read.len() == 3000 && read.last().unwrap() == b"2999");
        assert!(read.iter().enumerate().all(|(number, word)| *word == number.to_string().as_bytes()));
        assert_eq!(command(own, path, 0), Ok((b"17".to_vec(), vec![Vec::new()])));
        assert_eq!(command(own, path, vector + 1), Err(Errno::FAULT));
        assert_eq!(command(own, 0, vector), Err(Errno::FAULT));
        // One that is not there is told from those before it.
        pointers[5] = 8;
        assert_eq!(command(own, path, pointers.as_ptr() as u64), Err(Errno::FAULT));
        pointers[5] = 0;
        assert_eq!(command(own, path, pointers.as_ptr() as u64).unwrap().1.len(), 5);
    }
}
