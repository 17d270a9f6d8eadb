//! Replaces a file as a whole: written beside, then renamed.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// Writes `content` to `path`. A symlink or a special file at that place is refused, not followed and not replaced.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> Result<(), Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::not_ours(path, "does not name a file"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty()).map_err(Error::system("open", parent))?;
    match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
        Ok(_) => return Err(Error::not_ours(path, "is not a regular file")),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::system("stat", path)(errno)),
    }
    let (file, beside) = create_beside(&directory, path)?;
    let mut file = File::from(file);
    let outcome = file
        .write_all(content)
        .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
        .map_err(Error::io("write", path))
        .and_then(|()| {
            rustix::fs::renameat(&directory, &*beside, &directory, name).map_err(Error::system("write", path))
        });
    if outcome.is_err() {
        // The error that is told is the first one.
        let _ = rustix::fs::unlinkat(&directory, &*beside, AtFlags::empty());
        return outcome;
    }
    if durable {
        rustix::fs::fsync(&directory).map_err(Error::system("sync", parent))?;
    }
    Ok(())
}

/// A new file with a name of its own; names left by a crash are passed over.
fn create_beside(directory: &OwnedFd, path: &Path) -> Result<(OwnedFd, String), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut last = Errno::EXIST;
    for attempt in 0..100 {
        let name = format!(".ringfence-{}-{attempt}", rustix::process::getpid().as_raw_nonzero());
        match rustix::fs::openat(directory, &*name, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok((file, name)),
            Err(Errno::EXIST) => {}
            Err(errno) => {
                last = errno;
                break;
            }
        }
    }
    Err(Error::system("create a file beside", path)(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_is_not_followed_and_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("target"), home.path().join("link"));
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(replace(&link, b"new", false).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"kept");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    }

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("report.json");
        replace(&path, b"one", true).unwrap();
        replace(&path, b"two", false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
