//! What is mounted where, as the kernel lists it: proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

/// Where this process has mounts.
pub(crate) fn points() -> std::io::Result<Vec<PathBuf>> {
    // It has no size, and each read of it walks the whole table: so with room for all of it.
    let mut table = Vec::with_capacity(64 << 10);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut table)?;
    let fields = table.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b' '));
    Ok(fields.filter_map(|mut fields| fields.nth(4)).map(unescaped).collect())
}

/// Whether something is mounted at this path itself, or at what is open where it is empty (statx(2), STATX_ATTR_MOUNT_ROOT).
pub(crate) fn is_point(at: impl AsFd, path: &Path) -> Result<bool, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let stat = fs::statx(at, path, flags, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A path of the list: blanks, tabs, line breaks and backslashes are written as three octal digits.
pub fn unescaped(listed: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(listed.len());
    let mut rest = listed;
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_they_were() {
        assert_eq!(unescaped(b"/a\\040b\\134"), PathBuf::from("/a b\\"));
        assert!(points().unwrap().contains(&PathBuf::from("/")));
        let point = |path: &str| is_point(fs::CWD, Path::new(path));
        let open = std::fs::File::open("/proc").unwrap();
        assert_eq!(
            [point("/proc"), point("/proc/self"), is_point(open, Path::new(""))],
            [Ok(true), Ok(false), Ok(true)]
        );
    }
}
