//! Where temporary files of benchmarks and tests lie: on a file system with a journal, as those of users do.
//!
//! ext4 without one looks through the inodes that were deleted in the last minutes before it gives out another
//! (`recently_deleted`, fs/ext4/ialloc.c): each start in a row, which makes and removes a few, is slower than the one before, and
//! a third of what the attack table takes is that.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::command::{capture, is_root};

/// Set where the file system is there.
const MARK: &str = "RINGFENCE_XTASK_DISK";

/// What it has room for, as arguments of truncate(1) and mkfs.ext4(8).
pub(crate) enum Room {
    /// Trees of a million files, several times.
    Trees,
    /// What tests leave lying until their end.
    Tests,
}

impl Room {
    fn arguments(&self) -> [&'static str; 2] {
        match self {
            Self::Trees => ["64G", "8192"],
            Self::Tests => ["16G", "16384"],
        }
    }
}

/// Whether this program was started again so.
pub(crate) fn entered() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this program again with such a directory for temporary files, unless it has one. Does not return then.
///
/// Who is not root works where temporary files lie, and so does who has no loop device; both are told.
pub(crate) fn enter(room: &Room) -> Result<(), String> {
    if entered() || journalled(&std::env::temp_dir())? {
        return Ok(());
    }
    if !is_root() {
        println!(
            "{}: ext4 without a journal, where starts in a row get slower; set TMPDIR to another file system",
            std::env::temp_dir().display()
        );
        return Ok(());
    }
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    // The image has no name any more once it is mounted, and goes with the namespace.
    let inner = "size=$1 inode=$2; shift 2; at=$(mktemp -d -t rfXXXX); image=$(mktemp); status=0
        if truncate -s $size $image && mkfs.ext4 -q -E nodiscard -i $inode $image &&
            mount -o loop,discard,noinit_itable $image $at; then
            echo 'on an ext4 of its own, with a journal: that of temporary files has none'
            rm $image; chmod 1777 $at; TMPDIR=$at \"$@\" || status=$?; umount $at || true
        else
            echo 'on the ext4 of temporary files, which has no journal: no loop device could be mounted'
            rm $image; \"$@\" || status=$?
        fi
        rmdir $at; exit $status";
    let error = Command::new("unshare")
        .args(["--mount", "sh", "-ec", inner, "xtask"])
        .args(room.arguments())
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .exec();
    Err(format!("unshare (package util-linux): {error}"))
}

/// False for an ext4 that keeps none; others are taken as they are.
fn journalled(directory: &Path) -> Result<bool, String> {
    let mut command = Command::new("findmnt");
    command.args(["--noheadings", "--output", "FSTYPE,SOURCE", "--target"]).arg(directory);
    let line = capture(&mut command)?;
    let mut words = line.split_whitespace();
    let (kind, device) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let name = Path::new(device).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let journal =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-"));
    Ok(kind != "ext4"
        || std::fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten().any(|one| journal(&one)))
}
