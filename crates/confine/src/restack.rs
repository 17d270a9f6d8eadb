//! Copy-on-write directories of a running sandbox, put together anew from more layers or fewer: what checkpoints and rollbacks are.
//! Nothing of the task runs meanwhile; the mounter keeps hold of what they are made of.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_plan::{Flags, Ids, Stacked, Step, Tree};
use ringfence_sys::clone::{Forked, clone};
use ringfence_sys::exec;
use ringfence_sys::mount::{self, Attributes};
use rustix::fs::{self, Mode};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use serde::{Deserialize, Serialize};

use crate::child;
use crate::mounter::{find, status};
use crate::mountinfo;
use crate::root::{self, GONE, is_directory};

/// What a directory is made of from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Of the layer.
    pub name: String,
    /// Names in its directory of what lies over the host's, the topmost first.
    pub between: Vec<String>,
    /// The name of what is written to.
    pub upper: String,
    /// The name of what the kernel works in.
    pub work: String,
}

/// What the mounter keeps for that.
#[derive(Default)]
pub(crate) struct Stacks {
    kept: Vec<(Stacked, OwnedFd, OwnedFd)>,
}

impl Stacks {
    /// Takes hold of the trees; those that only root can take hold of came along. They are attached where nobody comes by: older
    /// kernels make no overlay over a detached mount.
    pub(crate) fn keep(
        stacked: Vec<Stacked>,
        mut passed: impl Iterator<Item = OwnedFd>,
        ids: &Ids,
    ) -> Result<Self, Errno> {
        let mut take = |tree: &Tree| match tree.mapped {
            true => passed.next().ok_or(Errno::BADF),
            false => root::open(tree, true),
        };
        let mut kept = Vec::with_capacity(stacked.len());
        for one in stacked {
            let (lower, layer) = (take(&one.lower)?, take(&one.layer)?);
            kept.push((one, lower, layer));
        }
        if !kept.is_empty() {
            as_task(ids, || attach_all(&kept))?;
        }
        Ok(Self { kept })
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.kept.iter().flat_map(|(_, lower, layer)| [lower, layer])
    }

    /// Whether it lies in one of them.
    pub(crate) fn hold(&self, path: &Path) -> bool {
        self.kept.iter().any(|(one, ..)| path.starts_with(&one.path))
    }

    /// Makes the new ones where the host is seen still.
    pub(crate) fn make(&self, stacks: &[Stack]) -> Result<Vec<OwnedFd>, Errno> {
        if stacks.len() != self.kept.len() || stacks.is_empty() {
            return Err(Errno::OPNOTSUPP);
        }
        let one = |((kept, lower, layer), stack): (&(Stacked, OwnedFd, OwnedFd), &Stack)| {
            if kept.name != stack.name {
                return Err(Errno::INVAL);
            }
            let names = (stack.upper.as_str(), stack.work.as_str());
            let made = root::overlay_of(lower.as_fd(), layer.as_fd(), &stack.between, names)?;
            root::set(made.as_fd(), kept.flags, false)?;
            Ok(made)
        };
        self.kept.iter().zip(stacks).map(one).collect()
    }

    /// Puts them in the place of the old ones, all or none, in the sandbox.
    pub(crate) fn exchange(&self, made: &[OwnedFd]) -> Result<(), Errno> {
        let mut done: Vec<(PathBuf, OwnedFd)> = Vec::new();
        for ((one, ..), new) in self.kept.iter().zip(made) {
            let outcome = replace(one, new, &mut done);
            if let Err(errno) = outcome {
                while let Some((path, old)) = done.pop() {
                    put_back(&path, &old)?;
                }
                return Err(errno);
            }
        }
        Ok(())
    }
}

fn attach_all(kept: &[(Stacked, OwnedFd, OwnedFd)]) -> Result<(), Errno> {
    let scratch = root::tmpfs(1 << 16, 0o700)?;
    move_mount(&scratch, c"", fs::CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for (index, tree) in kept.iter().flat_map(|(_, lower, layer)| [lower, layer]).enumerate() {
        let name = index.to_string();
        fs::mkdirat(&scratch, &name, Mode::empty())?;
        let flags = fs::OFlags::PATH | fs::OFlags::CLOEXEC;
        let at = fs::openat(&scratch, &name, flags, Mode::empty())?;
        root::attach(tree.as_fd(), at.as_fd())?;
    }
    Ok(())
}

/// Root's own files are nobody's in the sandbox.
fn as_task(ids: &Ids, act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    match clone(0)? {
        Forked::Child => {
            let done = child::take_ids(ids).and_then(|()| act());
            exec::exit_now(done.map_or_else(Errno::raw_os_error, |()| 0))
        }
        Forked::Parent(pid, _) => status(pid),
    }
}

/// `done` is told of the old one before it goes.
fn replace(one: &Stacked, new: &OwnedFd, done: &mut Vec<(PathBuf, OwnedFd)>) -> Result<(), Errno> {
    let old = find(&one.path, fs::OFlags::DIRECTORY)?;
    let on = one
        .on
        .iter()
        .map(|step| match step {
            Step::Pin { .. } | Step::Seal { .. } => Ok(None),
            step => match find(step.path(), fs::OFlags::empty()) {
                Ok(at) if !one.nested || mountinfo::is_point(&at, Path::new(""))? => clone_of(&at).map(Some),
                Err(errno) if !one.nested || !GONE.contains(&errno) => Err(errno),
                _ => Ok(None),
            },
        })
        .collect::<Result<Vec<_>, Errno>>()?;
    let kept = clone_of(&old)?;
    // No mount, where the task moved what leads there: then nothing is done.
    detach(&old)?;
    done.push((one.path.clone(), kept));
    root::attach(new.as_fd(), find(&one.path, fs::OFlags::DIRECTORY)?.as_fd())?;
    for (step, kept) in one.on.iter().zip(on) {
        let at = match find(step.path(), fs::OFlags::empty()) {
            Err(errno) if one.nested && GONE.contains(&errno) => continue,
            at => at?,
        };
        match (step, kept) {
            (Step::Pin { flags, .. }, _) => {
                let own = clone_of(&at)?;
                pin(&own, *flags)?;
                root::attach(own.as_fd(), at.as_fd())?;
            }
            // What lay there was moved, and came along: here is something of another kind.
            (_, Some(kept)) if one.nested && is_directory(&kept)? != is_directory(&at)? => {}
            (_, Some(kept)) => root::attach(kept.as_fd(), at.as_fd())?,
            // A task with mounts of its own took it away. Below it the view has something empty, or it is held when it lands.
            (_, None) if one.nested => {}
            _ => return Err(Errno::OPNOTSUPP),
        }
    }
    Ok(())
}

fn pin(own: &OwnedFd, flags: Flags) -> Result<(), Errno> {
    let attributes = Attributes { set: root::attributes(flags), clear: 0, private: true };
    mount::set_attributes(own.as_fd(), c"", true, attributes, None)
}

/// What stood there before; nothing may be on it meanwhile.
fn put_back(path: &Path, old: &OwnedFd) -> Result<(), Errno> {
    let now = find(path, fs::OFlags::DIRECTORY)?;
    // Either the new one, or what the old one was mounted on.
    if fs::fstat(&now)?.st_dev
        != fs::fstat(find(path.parent().unwrap_or(path), fs::OFlags::DIRECTORY)?)?.st_dev
    {
        detach(&now)?;
    }
    root::attach(old.as_fd(), find(path, fs::OFlags::DIRECTORY)?.as_fd())
}

fn detach(mount: &OwnedFd) -> Result<(), Errno> {
    rustix::process::fchdir(mount)?;
    unmount(c".", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    rustix::process::fchdir(find(Path::new("/"), fs::OFlags::DIRECTORY)?)
}

fn clone_of(at: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(at, c"", flags)
}
