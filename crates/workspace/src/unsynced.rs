//! Files that are written and not yet on disk: synced together, they cost about one commit of the journal.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// So many are open at a time: few beside what a limit of open files leaves.
const MOST: usize = 16;

/// Open files whose sync is due, each with the path of its change.
#[derive(Debug, Default)]
pub(crate) struct Unsynced(Vec<(PathBuf, OwnedFd)>);

impl Unsynced {
    /// Takes one that changes no more, and starts to write it back.
    pub(crate) fn add(&mut self, path: &Path, file: OwnedFd) -> Result<(), (PathBuf, Errno)> {
        // Only a head start: `sync` says what it comes to.
        let _ = ringfence_sys::writeback::start(file.as_fd());
        self.0.push((path.to_owned(), file));
        if self.0.len() < MOST { Ok(()) } else { self.sync() }
    }

    /// Brings all of them to disk; an error is of the path that it names.
    pub(crate) fn sync(&mut self) -> Result<(), (PathBuf, Errno)> {
        self.0.drain(..).try_for_each(|(path, file)| rustix::fs::fsync(file).map_err(|errno| (path, errno)))
    }
}
