//! What a path or a descriptor of the task means, and whether its attributes are the task's to change.
//!
//! Landlock knows no right for modes, owners, times, attributes and watches. A file is the task's where it lies in a tree that is
//! granted for writing: nothing can be moved into such a tree that was not the task's before (landlock(7), LANDLOCK_ACCESS_FS_REFER).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::proc::by_descriptor;
use ringfence_plan::{Plan, Right, syscalls};
use ringfence_sys::memory;
use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::mapping::Trees;

/// The trees of a plan.
#[derive(Debug)]
pub(crate) struct Judge {
    /// Granted for writing.
    written: Vec<PathBuf>,
    /// Granted for anything.
    shown: Vec<PathBuf>,
    /// What is not, below those.
    hidden: Vec<PathBuf>,
    /// Where a socket can only be the task's own.
    sockets: Vec<PathBuf>,
    /// Where programs and code may come from.
    code: Trees,
    /// The task may look into its own processes.
    pub(crate) debug: bool,
}

/// What becomes of a call.
pub(crate) enum Judged {
    /// It was made.
    Done(i64),
    /// It is not the task's to make on this.
    Refused(PathBuf),
    /// It is nobody's to make.
    Never,
}

/// A file, as it was found.
pub(crate) struct Target {
    pub(crate) file: OwnedFd,
    pub(crate) kind: FileType,
    path: PathBuf,
    /// It has no name any more: nobody else can come by it.
    nameless: bool,
}

impl Judge {
    /// `None` in the other tier.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        let hosted = plan.hosted.as_ref()?;
        let landlock = plan.landlock.as_ref()?;
        let shown = landlock.rules.iter().filter(|(right, _)| *right != Right::Device);
        let executed = landlock.rules.iter().filter(|(right, _)| *right == Right::Execute);
        let code = Trees {
            // /proc/self leads init elsewhere than the task.
            written: hosted.written.iter().cloned().chain(["/proc".into()]).collect(),
            executed: executed.map(|(_, path)| path.clone()).collect(),
            hidden: landlock.except.clone(),
            libraries: hosted.libraries.clone(),
            searched: hosted.searched.clone(),
        };
        Some(Self {
            written: hosted.written.clone(),
            shown: shown.map(|(_, path)| path.clone()).collect(),
            hidden: landlock.except.clone(),
            sockets: hosted.sockets.clone(),
            code,
            debug: plan.filter.debug,
        })
    }

    /// Where the task may write.
    pub(crate) fn trees_written(&self) -> &[PathBuf] {
        &self.written
    }

    /// What the guard asks, and who judges mappings.
    pub(crate) fn code(&self) -> &Trees {
        &self.code
    }

    /// Whether init makes this call.
    pub(crate) fn makes(number: i32) -> bool {
        syscalls::hosted(number)
    }

    /// Whether attributes of it are the task's.
    pub(crate) fn written(&self, target: &Target) -> bool {
        target.nameless || target.stands() && self.written.iter().any(|tree| target.path.starts_with(tree))
    }

    /// Whether it may be read.
    pub(crate) fn shown(&self, target: &Target) -> bool {
        let below = |trees: &[PathBuf]| trees.iter().any(|tree| target.path.starts_with(tree));
        self.written(target) || target.stands() && below(&self.shown) && !below(&self.hidden)
    }

    /// Whether nobody but the task can have made this socket.
    pub(crate) fn own_socket(&self, file: OwnedFd) -> Result<bool, Errno> {
        let target = Target::of(file)?;
        Ok(target.stands() && self.sockets.iter().any(|tree| target.path.starts_with(tree)))
    }
}

impl Target {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn of(file: OwnedFd) -> Result<Self, Errno> {
        let found = fs::fstat(&file)?;
        let path = fs::readlinkat(CWD, by_descriptor(&file), Vec::new())?;
        Ok(Self {
            kind: FileType::from_raw_mode(found.st_mode),
            path: PathBuf::from(OsStr::from_bytes(path.as_bytes())),
            // Some file systems (FUSE) count no names of anything.
            nameless: found.st_nlink == 0 && path.as_bytes().ends_with(b" (deleted)"),
            file,
        })
    }

    /// Whether it is at that path at this moment.
    fn stands(&self) -> bool {
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = fs::openat2(CWD, &self.path, flags, Mode::empty(), resolve);
        let found = there.and_then(|there| fs::fstat(&there));
        match (found, fs::fstat(&self.file)) {
            (Ok(found), Ok(own)) => found.st_dev == own.st_dev && found.st_ino == own.st_ino,
            _ => false,
        }
    }

    /// A descriptor of the task.
    pub(crate) fn descriptor(thread: i32, number: u64) -> Result<Self, Errno> {
        // The kernel reads it as 32 bits.
        let number = number as u32;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = fs::openat(CWD, format!("/proc/{thread}/fd/{number}"), flags, Mode::empty());
        Self::of(file.map_err(|errno| if errno == Errno::NOENT { Errno::BADF } else { errno })?)
    }

    /// What the task means by a path in its memory, from a directory of its; 0 is the descriptor itself.
    pub(crate) fn path_at(thread: i32, directory: u64, path: u64, follow: bool) -> Result<Self, Errno> {
        let name = text(thread, path, libc::PATH_MAX as usize)?;
        let at = directory as u32;
        if name.is_empty() {
            return Err(Errno::NOENT);
        }
        // Init's own /proc/self is another.
        for prefix in [&b"/proc/self/fd/"[..], b"/dev/fd/", b"/proc/thread-self/fd/"] {
            let number =
                name.strip_prefix(prefix).and_then(|rest| std::str::from_utf8(rest).ok()?.parse().ok());
            if let Some(number) = number.filter(|_| follow) {
                return Self::descriptor(thread, number);
            }
        }
        let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let start = if name.starts_with(b"/") {
            fs::openat(CWD, c"/", root, Mode::empty())?
        } else if at.cast_signed() == libc::AT_FDCWD {
            fs::openat(CWD, format!("/proc/{thread}/cwd"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
        } else {
            Self::descriptor(thread, directory)?.file
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
        let name = OsStr::from_bytes(&name);
        Self::of(fs::openat2(start, name, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
    }
}

/// A string of at most so many bytes, without its NUL.
pub(crate) fn text(thread: i32, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
    const PAGE: u64 = 4096;
    let mut text = Vec::new();
    let mut at = address;
    while text.len() < most {
        // A read that crosses into a page that is not there would be short.
        let length = usize::try_from(PAGE - at % PAGE).unwrap_or(1);
        let mut part = vec![0; length];
        memory::read(thread, at, &mut part)?;
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            text.extend(part.get(..end).unwrap_or_default());
            return if text.len() < most { Ok(text) } else { Err(Errno::NAMETOOLONG) };
        }
        text.extend(part);
        at = at.checked_add(length as u64).ok_or(Errno::FAULT)?;
    }
    Err(Errno::NAMETOOLONG)
}
