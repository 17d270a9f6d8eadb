//! Carries out the steps of the plan that build the sandbox's root.
//!
//! Mount points are found with RESOLVE_BENEATH and without links below the new root; trees of the host are found by a
//! path without links and must still be the inode that was surveyed. So nothing that changes meanwhile can lead a mount astray.

use std::cell::{OnceCell, RefCell};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_plan::{Flags, Kind, MASKS, Step, Tree};
use ringfence_sys::mount::{self, Attributes};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

const EMPTY: &CStr = c"";

/// What a task with mounts of its own leaves of a path that a mount lay on.
pub(crate) const GONE: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];

/// Parts of /proc that may be read but never written, beside those that only their owner can write.
const PROC_READ_ONLY: &[&str] = &["sys", "irq", "bus", "fs", "sysrq-trigger"];
/// The new root while it is built.
pub(crate) struct Root {
    root: OwnedFd,
    /// In memory, on top of the root, where no search below the root comes by: what the construction needs for a moment.
    scratch: OwnedFd,
    /// Whether the root sees who looks.
    watched: bool,
    /// It alone, without what is mounted on it; made at the first use.
    bare: OnceCell<OwnedFd>,
    /// Unreadable stand-ins for what is hidden, where nobody sees who looks.
    masks: Masks,
    /// The file that was made last: mostly the mount point of the next step.
    made: RefCell<Option<(PathBuf, OwnedFd)>>,
    /// What was mounted since the first view that is loose, in its order, and whether it is that.
    mounted: RefCell<Vec<(PathBuf, bool)>>,
    /// Directories that are hidden since something in them was to be, and could not be reached.
    shut: RefCell<Vec<PathBuf>>,
}

/// Takes hold of a tree of the host as a detached mount.
pub(crate) fn open(tree: &Tree, verify: bool) -> Result<OwnedFd, Errno> {
    let place = fs::openat2(
        CWD,
        &tree.host,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    if verify && tree.inode != 0 {
        let stat = fs::fstat(&place)?;
        // Somebody exchanged it between the survey and now.
        if (stat.st_dev, stat.st_ino) != (tree.device, tree.inode) {
            return Err(Errno::STALE);
        }
    }
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if tree.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(&place, EMPTY, flags)
}

impl Root {
    /// Attaches `root`, detached still, on top of the old root, and makes the two stand-ins.
    pub(crate) fn new(root: OwnedFd, watched: bool) -> Result<Self, Errno> {
        let scratch = tmpfs(1 << 16, 0o700)?;
        for mount in [&root, &scratch] {
            move_mount(mount, EMPTY, CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        for name in [c"lower", c"layer", c"bare"] {
            fs::mkdirat(&scratch, name, Mode::from_raw_mode(0o000))?;
        }
        let masks = Masks::below(&scratch)?;
        Ok(Self {
            root,
            scratch,
            watched,
            bare: OnceCell::new(),
            masks,
            made: RefCell::new(None),
            mounted: RefCell::default(),
            shut: RefCell::default(),
        })
    }

    /// Asks for all `count` names of a directory at once, which the kernel then remembers.
    pub(crate) fn foresee(&self, directory: &Path, count: usize) -> Result<(), Errno> {
        let path = if directory == Path::new("/") { Path::new(".") } else { relative(directory) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat(&self.root, path, flags, Mode::empty())?;
        let mut room = [MaybeUninit::uninit(); 32 << 10];
        let mut names = fs::RawDir::new(directory, &mut room);
        let mut seen = 0;
        // That there are no more is not asked.
        while seen < count {
            match names.next() {
                Some(name) => _ = name?,
                None => break,
            }
            seen += 1;
        }
        Ok(())
    }

    /// Takes away what only the construction needed, enters the root and leaves the old one: that is put under the new root for
    /// a moment and detached with all that is below it (pivot_root(2), NOTES).
    pub(crate) fn enter(self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.root)?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")?;
        // Nothing may lie on the root: the way up from below would lead there.
        let id = |path: &CStr| fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID);
        let (root, up) = (id(c".")?, id(c"dev/..")?);
        if root.stx_mnt_id == up.stx_mnt_id && root.stx_ino == up.stx_ino { Ok(()) } else { Err(Errno::BUSY) }
    }

    /// Carries out one step. `trees` are the detached mounts of the plan's trees.
    pub(crate) fn carry_out(&self, step: &Step, trees: &mut [Option<OwnedFd>]) -> Result<(), Errno> {
        if self.is_gone(step, trees)? {
            return Ok(());
        }
        let loose = matches!(step, Step::Overlay { loose: true, .. });
        let mounts = matches!(step, Step::Bind { .. } | Step::Overlay { .. } | Step::Tmpfs { .. });
        if loose || mounts && !self.mounted.borrow().is_empty() {
            self.mounted.borrow_mut().push((step.path().to_owned(), loose));
        }
        match step {
            Step::Directory { path, mode } => {
                fs::mkdirat(&self.root, relative(path), Mode::from_raw_mode(*mode))
            }
            Step::File { path, contents } => self.write(path, contents),
            Step::Symlink { path, target } => fs::symlinkat(target, &self.root, relative(path)),
            Step::Tmpfs { path, .. } if path == Path::new("/") => Ok(()),
            Step::Tmpfs { path, size, mode, flags, over } => {
                let made = tmpfs(*size, *mode)?;
                if *over {
                    return self.lay_over(path, made.as_fd(), *mode, *flags);
                }
                set(made.as_fd(), *flags, false)?;
                attach(made.as_fd(), self.find(path)?.as_fd())
            }
            Step::Bind { tree, path, flags } => {
                let tree = take(trees, *tree)?;
                set(tree.as_fd(), *flags, true)?;
                attach(tree.as_fd(), self.find(path)?.as_fd())
            }
            Step::Device { path } => self.device(path),
            Step::Terminals { path } => self.terminals(path),
            Step::Processes { path, masked } => self.processes(path, *masked),
            Step::Overlay { path, lower, layer, between, flags, .. } => {
                let lower = take(trees, *lower)?;
                let layer = take(trees, *layer)?;
                self.overlay(path, lower.as_fd(), (layer.as_fd(), between), *flags)
            }
            Step::Watch { path } => {
                let window = clone(self.watched_at(path)?.as_fd(), false)?;
                attach(window.as_fd(), self.find(path)?.as_fd())
            }
            Step::Cover { path, with } => {
                let own = clone(self.find(with)?.as_fd(), false)?;
                let flags = Flags { read_only: true, no_exec: true };
                let attributes = Attributes { set: attributes(flags), clear: 0, private: true };
                mount::set_attributes(own.as_fd(), EMPTY, false, attributes, None)?;
                attach(own.as_fd(), self.find(path)?.as_fd())
            }
            Step::Hide { path, kind, .. } => self.hide(path, *kind),
            Step::Pin { path, flags } => {
                let at = self.find(path)?;
                let own = clone(at.as_fd(), true)?;
                let attributes = Attributes { set: attributes(*flags), clear: 0, private: true };
                mount::set_attributes(own.as_fd(), EMPTY, true, attributes, None)?;
                attach(own.as_fd(), at.as_fd())
            }
            Step::Seal { path, flags } => {
                let at = if path == Path::new("/") {
                    fs::openat(&self.root, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
                } else {
                    self.find(path)?
                };
                let attributes =
                    Attributes { set: attributes(*flags) & !mount::NO_EXEC, clear: 0, private: false };
                mount::set_attributes(at.as_fd(), EMPTY, false, attributes, None)
            }
        }
    }

    fn hide(&self, path: &Path, kind: Kind) -> Result<(), Errno> {
        if self.shut.borrow().iter().any(|shut| path.starts_with(shut)) {
            return Ok(());
        }
        let at = match self.find(path) {
            Err(Errno::ACCESS) => return self.shut_above(path),
            at => at?,
        };
        // What a task put there has a kind of its own.
        let directory = if self.is_loose(path) { is_directory(&at)? } else { kind == Kind::Directory };
        let mask = if self.watched && directory == (kind == Kind::Directory) {
            clone(self.watched_at(path)?.as_fd(), false)?
        } else {
            self.masks.one(directory)?
        };
        attach(mask.as_fd(), at.as_fd())
    }

    /// Hides the directory that cannot be passed on the way to a path: whoever builds root's sandbox is another user on the host, with no
    /// right over what is private there. What lies in such a one is closed to the task as well, while its mode stays.
    fn shut_above(&self, path: &Path) -> Result<(), Errno> {
        for above in path.ancestors().skip(1).take_while(|above| *above != Path::new("/")) {
            match self.find(above) {
                Err(Errno::ACCESS) => {}
                at => {
                    attach(self.masks.one(true)?.as_fd(), at?.as_fd())?;
                    self.shut.borrow_mut().push(above.to_owned());
                    return Ok(());
                }
            }
        }
        Err(Errno::ACCESS)
    }

    /// Whether it lies in a view where something else may be than was surveyed.
    fn is_loose(&self, path: &Path) -> bool {
        let mounted = self.mounted.borrow();
        let nearest = mounted.iter().rev().find(|(at, _)| path.starts_with(at) && path != at);
        nearest.is_some_and(|(_, loose)| *loose)
    }

    /// Whether a task with mounts of its own took away what the step lays something on.
    fn is_gone(&self, step: &Step, trees: &[Option<OwnedFd>]) -> Result<bool, Errno> {
        let path = match step {
            Step::Bind { path, .. } | Step::Cover { path, .. } => path,
            Step::Hide { path, .. } | Step::Pin { path, .. } => path,
            _ => return Ok(false),
        };
        if !self.is_loose(path) {
            return Ok(false);
        }
        let at = match self.find(path) {
            Err(errno) if GONE.contains(&errno) => return Ok(true),
            at => at?,
        };
        Ok(match step {
            Step::Bind { tree, .. } => {
                let tree = trees.get(*tree).and_then(Option::as_ref).ok_or(Errno::BADF)?;
                is_directory(tree)? != is_directory(&at)?
            }
            Step::Cover { .. } => is_directory(&at)?,
            _ => false,
        })
    }

    /// Finds a mount point below the new root, through no link.
    fn find(&self, path: &Path) -> Result<OwnedFd, Errno> {
        if let Some((made, file)) = self.made.take()
            && made.as_os_str() == path.as_os_str()
        {
            return Ok(file);
        }
        fs::openat2(
            &self.root,
            relative(path),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// What the root itself has at a path that a grant covers.
    fn watched_at(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let bare = match self.bare.get() {
            Some(bare) => bare,
            None => {
                let own = clone(self.root.as_fd(), false)?;
                set(own.as_fd(), Flags { read_only: true, no_exec: true }, false)?;
                let at = fs::openat(&self.scratch, c"bare", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                // Attached: a detached mount cannot be cloned before Linux 6.15.
                attach(own.as_fd(), at.as_fd())?;
                self.bare.get_or_init(|| own)
            }
        };
        fs::openat2(
            bare,
            relative(path),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )
    }

    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(&self.root, relative(path), flags, Mode::from_raw_mode(0o644))?;
        let mut rest = contents;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest)?;
            rest = rest.get(written..).ok_or(Errno::IO)?;
        }
        self.made.replace(Some((path.to_path_buf(), file)));
        Ok(())
    }

    fn device(&self, path: &Path) -> Result<(), Errno> {
        let host = fs::openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fs::fstat(&host)?;
        let number = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        // Numbers of Documentation/admin-guide/devices.txt: null zero full random urandom, and tty.
        let harmless = matches!(number, (1, 3 | 5 | 7 | 8 | 9) | (5, 0));
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || !harmless {
            return Err(Errno::NODEV);
        }
        let own = clone(host.as_fd(), false)?;
        let attributes = Attributes { set: mount::NO_SUID | mount::NO_EXEC, clear: 0, private: true };
        mount::set_attributes(own.as_fd(), EMPTY, false, attributes, None)?;
        attach(own.as_fd(), self.find(path)?.as_fd())
    }

    fn terminals(&self, path: &Path) -> Result<(), Errno> {
        let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, c"newinstance")?;
        fsconfig_set_string(&context, c"ptmxmode", c"0666")?;
        fsconfig_set_string(&context, c"mode", c"0600")?;
        fsconfig_create(&context)?;
        // No nodev here: terminals are devices.
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let made = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        attach(made.as_fd(), self.find(path)?.as_fd())
    }

    fn processes(&self, path: &Path, masked: bool) -> Result<(), Errno> {
        let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let made = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        attach(made.as_fd(), self.find(path)?.as_fd())?;
        if !masked {
            return Ok(());
        }
        for name in PROC_READ_ONLY {
            let step = Step::Pin { path: path.join(name), flags: Flags { read_only: true, no_exec: true } };
            ignore_missing(self.carry_out(&step, &mut []))?;
        }
        for name in ringfence_policy::PROC_HIDDEN {
            let path = path.join(name);
            let at = match self.find(&path) {
                Ok(at) => at,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
            let directory = FileType::from_raw_mode(fs::fstat(&at)?.st_mode) == FileType::Directory;
            attach(self.masks.one(directory)?.as_fd(), at.as_fd())?;
        }
        Ok(())
    }

    fn overlay(
        &self,
        path: &Path,
        lower: BorrowedFd<'_>,
        (layer, between): (BorrowedFd<'_>, &[String]),
        flags: Flags,
    ) -> Result<(), Errno> {
        let at = self.find(path)?;
        self.attach_layer(c"lower", lower)?;
        self.attach_layer(c"layer", layer)?;
        let made = overlay_of(lower, layer, between, ("upper", "work"))?;
        set(made.as_fd(), flags, false)?;
        attach(made.as_fd(), at.as_fd())
    }

    /// What is made in it lies in memory; what is not in it is looked for in the root, which sees that.
    fn lay_over(&self, path: &Path, made: BorrowedFd<'_>, mode: u32, flags: Flags) -> Result<(), Errno> {
        let at = self.find(path)?;
        for name in [c"upper", c"work"] {
            fs::mkdirat(made, name, Mode::from_raw_mode(mode))?;
        }
        self.attach_layer(c"layer", made)?;
        let overlay = overlay_of(at.as_fd(), made, &[], ("upper", "work"))?;
        set(overlay.as_fd(), flags, false)?;
        attach(overlay.as_fd(), at.as_fd())
    }

    /// Older kernels make no overlay over a detached mount. What is attached here goes with the scratch, all at once: the kernel waits for
    /// all processors each time that something is unmounted.
    fn attach_layer(&self, name: &CStr, layer: BorrowedFd<'_>) -> Result<(), Errno> {
        let at = fs::openat(&self.scratch, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        attach(layer, at.as_fd())
    }
}

/// `between`, `upper` and `work` are names in the layer's directory, the topmost first.
pub(crate) fn overlay_of(
    lower: BorrowedFd<'_>,
    layer: BorrowedFd<'_>,
    between: &[String],
    (upper, work): (&str, &str),
) -> Result<OwnedFd, Errno> {
    let open = |name: &str| {
        fs::openat(layer, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    };
    let (upper, work) = (open(upper)?, open(work)?);
    let between = between.iter().map(|name| open(name)).collect::<Result<Vec<_>, _>>()?;
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Names of descriptors, not paths of the host: they are what /proc/self/mountinfo shows.
    let name = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    // What stands in for what is hidden lies on the host's tree, below all changes.
    let masks = match open(MASKS) {
        Err(Errno::NOENT) => None,
        masks => Some(masks?),
    };
    // At most 255 bytes (fsconfig(2)): some fourteen of them.
    let lowers: Vec<_> = between.iter().chain(&masks).map(AsFd::as_fd).chain([lower]).map(name).collect();
    fsconfig_set_string(&context, c"lowerdir", lowers.join(":"))?;
    fsconfig_set_string(&context, c"upperdir", name(upper.as_fd()))?;
    fsconfig_set_string(&context, c"workdir", name(work.as_fd()))?;
    fsconfig_set_flag(&context, c"userxattr")?;
    // The layer is read back by this kernel or lost with it; syncing it at the end would only delay the exit.
    fsconfig_set_flag(&context, c"volatile")?;
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

/// Stand-ins for what stays hidden in what is granted later.
pub(crate) struct Masks {
    file: OwnedFd,
    directory: OwnedFd,
}

impl Masks {
    /// On top of the caller's root, where no search comes by.
    pub(crate) fn new() -> Result<Self, Errno> {
        let scratch = tmpfs(1 << 16, 0o700)?;
        move_mount(&scratch, EMPTY, CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Self::below(&scratch)
    }

    fn below(scratch: &OwnedFd) -> Result<Self, Errno> {
        fs::mkdirat(scratch, c"directory", Mode::from_raw_mode(0o000))?;
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC;
        drop(fs::openat(scratch, c"file", flags, Mode::from_raw_mode(0o000))?);
        Ok(Self { file: stand_in(scratch, c"file")?, directory: stand_in(scratch, c"directory")? })
    }

    pub(crate) fn of(file: OwnedFd, directory: OwnedFd) -> Self {
        Self { file, directory }
    }

    /// The file, then the directory.
    pub(crate) fn both(&self) -> [&OwnedFd; 2] {
        [&self.file, &self.directory]
    }

    /// Cloned for each use: a detached mount can be attached once.
    pub(crate) fn one(&self, directory: bool) -> Result<OwnedFd, Errno> {
        clone(if directory { self.directory.as_fd() } else { self.file.as_fd() }, false)
    }
}

fn stand_in(root: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let at = fs::openat(root, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let own = clone(at.as_fd(), false)?;
    set(own.as_fd(), Flags { read_only: true, no_exec: true }, false)?;
    // Kept attached somewhere of its own is not needed: a clone of a detached mount is refused before Linux 6.15, so the
    // flags are set on each use's source instead, which is this attached file.
    attach(own.as_fd(), at.as_fd())?;
    Ok(own)
}

/// As many names as any root's skeleton needs, and a task with a small /tmp.
const FEWEST_FILES: u64 = 16_384;

pub(crate) fn tmpfs(size: u64, mode: u32) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"size", size.to_string())?;
    // Empty files cost the kernel about as much each; by default half of the host's pages may be files.
    fsconfig_set_string(&context, c"nr_inodes", (size / 1024).max(FEWEST_FILES).to_string())?;
    fsconfig_set_string(&context, c"mode", format!("{mode:o}"))?;
    fsconfig_create(&context)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

fn clone(at: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(at, EMPTY, flags)
}

pub(crate) fn attach(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, EMPTY, at, EMPTY, flags)
}

pub(crate) fn set(mount: BorrowedFd<'_>, flags: Flags, recursive: bool) -> Result<(), Errno> {
    let attributes =
        Attributes { set: attributes(flags) | mount::NO_SUID | mount::NO_DEVICES, clear: 0, private: true };
    mount::set_attributes(mount, EMPTY, recursive, attributes, None)
}

pub(crate) fn attributes(flags: Flags) -> u64 {
    let mut set = 0;
    if flags.read_only {
        set |= mount::READ_ONLY;
    }
    if flags.no_exec {
        set |= mount::NO_EXEC;
    }
    set
}

pub(crate) fn is_directory(file: &OwnedFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fs::fstat(file)?.st_mode) == FileType::Directory)
}

fn take(trees: &mut [Option<OwnedFd>], index: usize) -> Result<OwnedFd, Errno> {
    trees.get_mut(index).and_then(Option::take).ok_or(Errno::BADF)
}

fn ignore_missing(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
