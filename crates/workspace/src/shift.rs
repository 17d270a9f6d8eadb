//! Renames between directories that are already open, and never over something.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::beneath::change_mode;
use crate::change::FileType;
use crate::layer::Identity;

/// A name in an open directory.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) directory: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
}

/// Moves to a name that is free; `EEXIST` if it is not.
pub(crate) fn shift(from: Spot<'_>, to: Spot<'_>) -> Result<(), Errno> {
    rename(from, to, RenameFlags::NOREPLACE)
}

/// Swaps two objects.
pub(crate) fn swap(one: Spot<'_>, other: Spot<'_>) -> Result<(), Errno> {
    rename(one, other, RenameFlags::EXCHANGE)
}

fn rename(from: Spot<'_>, to: Spot<'_>, flags: RenameFlags) -> Result<(), Errno> {
    let act = || rustix::fs::renameat_with(from.directory, from.name, to.directory, to.name, flags);
    match act() {
        // The owner needs the right to write both directories, and a directory that he moves, since its `..` changes
        // (rename(2)). He gives it to himself for a moment.
        Err(Errno::ACCESS) => {
            let directories = [from.directory, to.directory].map(open_directory);
            let entries = [from, to].map(open_entry);
            let outcome = act();
            for (handle, mode) in entries.into_iter().flatten() {
                change_mode(handle.as_fd(), mode)?;
            }
            for (directory, mode) in directories.into_iter().flatten() {
                rustix::fs::fchmod(directory, mode)?;
            }
            outcome
        }
        other => other,
    }
}

/// Lets the owner write in a directory; what closes it again.
fn open_directory(directory: BorrowedFd<'_>) -> Option<(BorrowedFd<'_>, Mode)> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(directory).ok()?.st_mode & 0o7777);
    if mode.contains(Mode::RWXU) {
        return None;
    }
    rustix::fs::fchmod(directory, mode | Mode::RWXU).ok()?;
    Some((directory, mode))
}

/// The same for a directory that is moved.
fn open_entry(spot: Spot<'_>) -> Option<(OwnedFd, u32)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(spot.directory, spot.name, flags, Mode::empty()).ok()?;
    let found = Identity::of(&rustix::fs::fstat(&handle).ok()?);
    if FileType::of(found.mode) != FileType::Directory || found.owner_may_enter() {
        return None;
    }
    change_mode(handle.as_fd(), found.mode | 0o700).ok()?;
    Some((handle, found.mode))
}
