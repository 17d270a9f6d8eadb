//! Reads just enough of an ELF file to know whether it needs a loader or a library (man 5 elf).

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;

/// Whether a 64-bit little-endian program starts without a dynamic loader and without shared libraries.
pub(crate) fn is_static(file: &[u8]) -> Result<bool, String> {
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("not a 64-bit little-endian ELF file".to_owned());
    }
    let headers = number(file, 32, 8)?;
    let (size, count) = (number(file, 54, 2)?, number(file, 56, 2)?);
    for index in 0..count {
        let at = headers + index * size;
        let kind = number(file, at, 4)?;
        if kind == u64::from(PT_INTERP) {
            return Ok(false);
        }
        if kind == u64::from(PT_DYNAMIC)
            && needs_library(file, number(file, at + 8, 8)?, number(file, at + 32, 8)?)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn needs_library(file: &[u8], start: u64, length: u64) -> Result<bool, String> {
    for entry in (start..start + length).step_by(16) {
        match number(file, entry, 8)? {
            0 => return Ok(false),
            DT_NEEDED => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

fn number(file: &[u8], at: u64, bytes: usize) -> Result<u64, String> {
    let at = usize::try_from(at).map_err(|e| e.to_string())?;
    let found = file.get(at..at + bytes).ok_or("the ELF file is cut short")?;
    Ok(found.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_not_static() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(!is_static(&own).unwrap());
    }

    #[test]
    fn other_files_are_errors() {
        assert!(is_static(b"#!/bin/sh\n").is_err());
        assert!(is_static(b"\x7fELF\x02\x01").is_err());
    }
}
