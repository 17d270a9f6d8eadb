//! Where a path leads: through which links, to what.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use ringfence_plan::{Kind, Link, Place};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Finds out. `filesystem`: also which file system, which only root's sandboxes need to know.
///
/// # Errors
/// The kernel's: ENOENT, ENOTDIR, EACCES, ELOOP.
pub fn resolve(path: &Path, filesystem: bool) -> Result<Place, Errno> {
    match open(path) {
        Ok(file) => describe(path.to_path_buf(), Vec::new(), &file, filesystem),
        Err(Errno::LOOP) => {
            let (real, links) = follow(path)?;
            let file = open(&real)?;
            describe(real, links, &file, filesystem)
        }
        Err(errno) => Err(errno),
    }
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    // Without O_NOFOLLOW a final link is ELOOP as well (openat2(2)).
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn describe(real: PathBuf, links: Vec<Link>, file: &OwnedFd, filesystem: bool) -> Result<Place, Errno> {
    let stat = fs::fstat(file)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Socket => Kind::Socket,
        _ => Kind::Special,
    };
    Ok(Place {
        real: plain(&real),
        links,
        kind,
        device: stat.st_dev,
        inode: stat.st_ino,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        filesystem: if filesystem { fs::fstatfs(file)?.f_type } else { 0 },
        names: stat.st_nlink as u64,
    })
}

/// Without `.`, `..`, doubled and trailing slashes, so that paths compare by component. No link is on the way, so that `..` is
/// what stands before it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

fn follow(path: &Path) -> Result<(PathBuf, Vec<Link>), Errno> {
    let mut rest: VecDeque<OsString> = parts(path);
    let mut real = PathBuf::from("/");
    let mut links = Vec::new();
    let mut parent = fs::stat("/")?;
    while let Some(part) = rest.pop_front() {
        if part == ".." {
            real.pop();
            parent = fs::stat(&real)?;
            continue;
        }
        let next = real.join(&part);
        let stat = fs::statat(CWD, &next, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            real = next;
            parent = stat;
            continue;
        }
        if links.len() == MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let target = PathBuf::from(OsStr::from_bytes(fs::readlinkat(CWD, &next, Vec::new())?.to_bytes()));
        links.push(Link { path: next, target: target.clone(), system: system(&stat, &parent) });
        if target.is_absolute() {
            real = PathBuf::from("/");
            parent = fs::stat("/")?;
        }
        let mut target = parts(&target);
        target.extend(rest);
        rest = target;
    }
    Ok((real, links))
}

/// Root's own.
fn system(link: &Stat, parent: &Stat) -> bool {
    ringfence_policy::system_link(link.st_uid, (parent.st_uid, parent.st_mode))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_os_string()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}
