//! Renames between directories that are already open, and never over something.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};

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
        // Moving a directory changes its `..`, so its owner needs the right to write it (rename(2)).
        Err(Errno::ACCESS) => {
            let opened = [open_up(from), open_up(to)];
            let outcome = act();
            for (handle, mode) in opened.into_iter().flatten() {
                change_mode(handle, mode)?;
            }
            outcome
        }
        other => other,
    }
}

/// Lets the owner write a directory; the descriptor and mode to close it again.
fn open_up(spot: Spot<'_>) -> Option<(OwnedFd, u32)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(spot.directory, spot.name, flags, Mode::empty()).ok()?;
    let found = Identity::of(&rustix::fs::fstat(&handle).ok()?);
    if FileType::of(found.mode) != FileType::Directory || found.owner_may_enter() {
        return None;
    }
    change_mode(&handle, found.mode | 0o700).ok()?;
    Some((handle, found.mode))
}
