//! The file that an execve leads to, and what the kernel will run for it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_policy::{Digest, command_line, digest, runs_alone};
use rustix::fs::{self, Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::Why;
use super::nested::{self, Root};
use crate::hosted::Trees;
use crate::mountinfo;
use crate::proc::by_descriptor;

/// What the kernel reads of a file to know what it is (BINPRM_BUF_SIZE).
const HEAD: usize = 256;
/// Scripts for scripts (execve(2)), and links on one path (path_resolution(7)).
const MOST_SCRIPTS: usize = 4;
const MOST_LINKS: usize = 40;
/// Names that are kept in mind, and seconds after which a file's times tell whether it is the same.
const MOST_SEEN: usize = 4096;
const OLD: i64 = 2;

/// What is told of a directory whose path the kernel does not say.
const TOO_LONG: &[u8] = b"(longer than any path)";

/// Where a path begins: the caller's directory, or a descriptor of it.
#[derive(Debug)]
pub(super) struct From {
    thread: i32,
    /// Callers may have mounts of their own.
    nested: bool,
    /// Where absolute paths begin, if not at init's root.
    pub(super) root: Option<Root>,
    /// Opened where it matters: a directory that is only told of is not confirmed.
    directory: Option<OwnedFd>,
    /// Path of the directory.
    pub(super) directory_path: Vec<u8>,
}

impl From {
    /// The directory of a thread. `told`: it is not what decides.
    pub(super) fn of(thread: i32, told: bool, nested: bool) -> Result<Self, Errno> {
        let root = if nested { Root::of(thread)? } else { None };
        let path = format!("/proc/{thread}/cwd");
        if told {
            let path = match fs::readlinkat(CWD, path, Vec::new()) {
                // It decides nothing.
                Err(Errno::NAMETOOLONG) => TOO_LONG.to_vec(),
                path => path?.into_bytes(),
            };
            let directory_path = root.as_ref().and_then(|root| root.inside(&path)).unwrap_or(path);
            return Ok(Self { thread, nested, root, directory: None, directory_path });
        }
        let directory = fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Self::at(thread, nested, root, directory)
    }

    /// Relative to a descriptor of the caller.
    pub(super) fn descriptor(&self, descriptor: i32) -> Result<Self, Errno> {
        let root = if self.nested { Root::of(self.thread)? } else { None };
        Self::at(self.thread, self.nested, root, descriptor_of(self.thread, descriptor)?)
    }

    fn at(thread: i32, nested: bool, root: Option<Root>, directory: OwnedFd) -> Result<Self, Errno> {
        let path = path_of(&directory).map_err(|errno| match errno {
            Errno::NAMETOOLONG => Errno::OVERFLOW,
            errno => errno,
        })?;
        let directory_path = match &root {
            None => path,
            Some(root) => root.inside(&path).ok_or(Errno::XDEV)?,
        };
        Ok(Self { thread, nested, root, directory: Some(directory), directory_path })
    }

    /// Whether its directory is what init finds by that path.
    pub(super) fn is_here(&self) -> bool {
        let directory = self.directory.as_ref().filter(|_| self.nested);
        directory.is_none_or(|directory| nested::here(directory, &self.directory_path).is_some())
    }

    /// Which directory that is, if it was opened: device and inode.
    pub(super) fn place(&self) -> Result<Option<(u64, u64)>, Errno> {
        self.directory.as_ref().map(nested::identity).transpose()
    }

    fn open(&mut self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if self.directory.is_none() && !path.starts_with(b"/") {
            *self = Self::of(self.thread, false, self.nested)?;
        }
        let found = match &self.root {
            None => self.plain(path),
            Some(root) => self.inside(root, path),
        };
        match found {
            // A number that nobody has here may be one of the caller's.
            Err(Errno::LOOP) => magic(self.thread, path, self.root.is_some()),
            Err(Errno::NOENT) if descriptors(path).is_some() => magic(self.thread, path, self.root.is_some()),
            found => found,
        }
    }

    /// From the directory all the way from the root: links may lead back there.
    fn inside(&self, root: &Root, path: &[u8]) -> Result<OwnedFd, Errno> {
        if path.starts_with(b"/") {
            return root.open(path);
        }
        if Some(nested::identity(&root.open(&self.directory_path)?)?) != self.place()? {
            return Err(Errno::XDEV);
        }
        root.open(&[self.directory_path.as_slice(), b"/", path].concat())
    }

    fn plain(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = OsStr::from_bytes(path);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // Absolute paths and links mean the same from here. Magic links lead where the caller's would not.
        let directory = self.directory.as_ref().map_or(CWD, AsFd::as_fd);
        fs::openat2(directory, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    }
}

/// One file of what runs.
#[derive(Debug)]
pub(super) struct Link {
    /// Its path without links.
    pub(super) real: Vec<u8>,
    /// The name that it was found by.
    pub(super) named: Vec<u8>,
    /// What stands behind the interpreter in its `#!` line.
    pub(super) argument: Option<Vec<u8>>,
    /// The kernel starts nothing there, whatever the rules say.
    pub(super) no_exec: bool,
    /// Nothing that the sandbox itself has at this path.
    pub(super) strange: bool,
    device: u64,
    inode: u64,
    file: OwnedFd,
}

impl Link {
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether it lies where the task writes.
    pub(super) fn written(&self, trees: Option<&Trees>) -> bool {
        match trees {
            Some(trees) => trees.changes(Path::new(OsStr::from_bytes(&self.real))),
            None => {
                fs::fstatvfs(&self.file).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
            }
        }
    }

    /// Where init has this very file; by the path that the caller would say, or by the kernel's.
    fn place(&mut self, root: Option<&Root>) {
        let inside = root.and_then(|root| root.inside(&self.real));
        let found = inside.into_iter().chain([self.real.clone()]);
        match found.filter_map(|path| nested::here(&self.file, &path)).next() {
            Some((no_exec, path)) => (self.no_exec, self.real) = (self.no_exec || no_exec, path),
            None => self.strange = true,
        }
    }

    /// SHA-256 of the file; remembered for as long as nobody changed it.
    pub(super) fn digest(&self, known: &mut Known) -> Result<Digest, Errno> {
        let stat = fs::fstat(&self.file)?;
        let now = times(&stat);
        match known.get(&(self.device, self.inode)) {
            Some((then, digest)) if *then == now => Ok(*digest),
            _ => {
                let digest =
                    std::fs::File::open(by_descriptor(&self.file)).and_then(digest).map_err(|_| Errno::IO)?;
                known.insert((self.device, self.inode), (now, digest));
                Ok(digest)
            }
        }
    }
}

fn times(stat: &fs::Stat) -> [i64; 5] {
    [stat.st_ctime, stat.st_ctime_nsec as i64, stat.st_mtime, stat.st_mtime_nsec as i64, stat.st_size]
}

/// What files held, with the times and the size that they had.
pub(super) type Known = HashMap<(u64, u64), ([i64; 5], Digest)>;

/// What an execve runs: the file; for a script then its interpreter, and so on to a program of the machine.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
}

impl Chain {
    /// Whether all that runs is a program that the task writes.
    pub(super) fn is_written(&self, trees: Option<&Trees>) -> bool {
        matches!(&self.links[..], [own] if own.written(trees))
    }

    /// Follows it.
    ///
    /// # Errors
    /// As the kernel would answer; EACCES for what cannot be read, because it could not be confirmed either.
    pub(super) fn follow(
        from: &mut From,
        path: &[u8],
        trees: Option<&Trees>,
        seen: &mut Seen,
    ) -> Result<Self, Errno> {
        let file = from.open(path)?;
        Self::from_file(from, file, path.to_vec(), trees, seen)
    }

    pub(super) fn from_file(
        from: &mut From,
        file: OwnedFd,
        named: Vec<u8>,
        trees: Option<&Trees>,
        seen: &mut Seen,
    ) -> Result<Self, Errno> {
        let mut links = Vec::new();
        let (mut file, mut named) = (file, named);
        loop {
            let (link, interpreter) = seen.look(file, named, trees, from.root.as_ref())?;
            links.push(link);
            match interpreter {
                None => return Ok(Self { links }),
                Some(_) if links.len() > MOST_SCRIPTS => return Err(Errno::LOOP),
                Some(interpreter) => {
                    file = from.open(&interpreter)?;
                    named = interpreter;
                }
            }
        }
    }

    /// Whether the interpreter of this script runs that alone, whatever its arguments.
    ///
    /// # Errors
    /// Why not, and what the policy would have to list.
    pub(super) fn runs_alone(&self, number: usize, arguments: &[&[u8]]) -> Result<(), Why> {
        let (Some(script), Some(interpreter)) = (self.links.get(number), self.links.get(number + 1)) else {
            return Ok(());
        };
        let before: Vec<&[u8]> = script.argument.as_deref().into_iter().collect();
        let behind = arguments.get(1..).unwrap_or_default();
        runs_alone(&interpreter.real, &interpreter.named, &before, behind).map_err(|why| {
            let shown = String::from_utf8_lossy(&interpreter.real);
            self.beside(number, arguments, &format!("`{shown}` {why}"))
        })
    }

    /// A script does not run as itself, and needs another entry.
    pub(super) fn beside(&self, number: usize, arguments: &[&[u8]], why: &str) -> Why {
        let given = arguments.iter().map(|word| word.to_vec()).collect();
        let wanted = Self::arguments_of(&self.links, number, given);
        let entry = command_line(wanted.iter().map(|word| String::from_utf8_lossy(word)));
        Why { rule: format!("{why}: list this beside it: `{entry}`"), wanted }
    }

    /// The arguments that the kernel hands to the last of them.
    pub(super) fn arguments(&self, given: &[Vec<u8>]) -> Vec<Vec<u8>> {
        (0..self.links.len())
            .fold(given.to_vec(), |given, number| Self::arguments_of(&self.links, number, given))
    }

    /// What becomes of arguments where the kernel goes from this script to its interpreter.
    pub(super) fn arguments_of(links: &[Link], number: usize, mut given: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let (Some(script), Some(interpreter)) = (links.get(number), links.get(number + 1)) else {
            return given;
        };
        let rest = given.split_off(given.len().min(1));
        let mut arguments = vec![interpreter.named.clone()];
        arguments.extend(script.argument.clone());
        arguments.push(script.named.clone());
        arguments.extend(rest);
        arguments
    }

    /// Whether this process runs the last of them.
    pub(super) fn runs(&self, process: i32) -> bool {
        let stat = fs::stat(format!("/proc/{process}/exe"));
        self.links
            .last()
            .zip(stat.ok())
            .is_some_and(|(link, stat)| (link.device, link.inode) == (stat.st_dev, stat.st_ino))
    }
}

/// Whether a process is in this directory.
pub(super) fn stands_in(process: i32, place: (u64, u64)) -> bool {
    fs::stat(format!("/proc/{process}/cwd")).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == place)
}

/// Where a path leads to, without links.
pub(super) fn leads(directory: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let whole = Path::new(OsStr::from_bytes(directory)).join(OsStr::from_bytes(path));
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = fs::openat2(CWD, &whole, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    path_of(&found).ok()
}

/// A descriptor of the caller's.
pub(super) fn descriptor_of(thread: i32, number: i32) -> Result<OwnedFd, Errno> {
    fs::openat(CWD, format!("/proc/{thread}/fd/{number}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Behind what it names descriptors of who asks.
fn descriptors(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(b"/dev/fd/").or_else(|| path.strip_prefix(b"/proc/self/fd/"))
}

/// What the caller means by its own magic links: its program, and its descriptors.
fn magic(thread: i32, path: &[u8], nested: bool) -> Result<OwnedFd, Errno> {
    let text = std::str::from_utf8(path).map_err(|_| Errno::ACCESS)?;
    let number = |rest: &str| rest.parse::<u16>().map_err(|_| Errno::ACCESS).map(i32::from);
    if let Some(rest) = descriptors(path).and_then(|rest| std::str::from_utf8(rest).ok()) {
        return descriptor_of(thread, number(rest)?);
    }
    let own = text.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/exe")).ok_or(Errno::ACCESS)?;
    // In a process namespace of its own its numbers are others.
    let process = match own {
        "self" => thread,
        own if !nested => own.parse().map_err(|_| Errno::ACCESS)?,
        _ => return Err(Errno::ACCESS),
    };
    fs::openat(CWD, format!("/proc/{process}/exe"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What was seen of files by the names that they were found by, where the task can change neither.
#[derive(Debug)]
pub(super) struct Seen {
    known: HashMap<Vec<u8>, Looked>,
    /// What a path leads to may differ from what init finds there.
    pub(super) nested: bool,
}

#[derive(Debug)]
struct Looked {
    device: u64,
    inode: u64,
    times: [i64; 5],
    /// `None`: the task can make it another one.
    found: Option<Settled>,
}

#[derive(Debug)]
struct Settled {
    real: Vec<u8>,
    argument: Option<Vec<u8>>,
    no_exec: bool,
    interpreter: Option<Vec<u8>>,
}

impl Seen {
    pub(super) fn new(nested: bool) -> Self {
        Self { known: HashMap::new(), nested }
    }

    /// Mounts or grants are others now.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    fn look(
        &mut self,
        file: OwnedFd,
        named: Vec<u8>,
        trees: Option<&Trees>,
        root: Option<&Root>,
    ) -> Result<(Link, Option<Vec<u8>>), Errno> {
        let stat = fs::fstat(&file)?;
        let (device, inode, times) = (stat.st_dev, stat.st_ino, times(&stat));
        let known = self.known.get(&named);
        let known = known.filter(|known| (known.device, known.inode, known.times) == (device, inode, times));
        if let Some(Settled { real, argument, no_exec, interpreter }) =
            known.and_then(|known| known.found.as_ref())
        {
            let (real, argument, no_exec) = (real.clone(), argument.clone(), *no_exec);
            let strange = false;
            return Ok((
                Link { real, named, argument, no_exec, strange, device, inode, file },
                interpreter.clone(),
            ));
        }
        let fresh = known.is_none();
        let (mut link, interpreter) = look(file, named, &stat, trees)?;
        if self.nested {
            link.place(root);
        }
        // Times of files tick: what was changed a moment ago may be changed again without another one.
        if fresh
            && !link.strange
            && link.named.starts_with(b"/")
            && stat.st_ctime + OLD < clock_gettime(ClockId::Realtime).tv_sec
        {
            let settled = |path| settled(path, b"/", trees, !self.nested);
            let found = (settled(&link.named) && settled(&link.real)).then(|| Settled {
                real: link.real.clone(),
                argument: link.argument.clone(),
                no_exec: link.no_exec,
                interpreter: interpreter.clone(),
            });
            if self.known.len() >= MOST_SEEN {
                self.known.clear();
            }
            self.known.insert(link.named.clone(), Looked { device, inode, times, found });
        }
        Ok((link, interpreter))
    }
}

fn look(
    file: OwnedFd,
    named: Vec<u8>,
    stat: &fs::Stat,
    trees: Option<&Trees>,
) -> Result<(Link, Option<Vec<u8>>), Errno> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    let own = by_descriptor(&file);
    fs::accessat(CWD, &own, Access::READ_OK, AtFlags::empty())?;
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::ACCESS);
    }
    let real = path_of(&file)?;
    let kept = trees.is_some_and(|trees| !trees.starts(Path::new(OsStr::from_bytes(&real))));
    let no_exec = kept || fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::NOEXEC);
    let (device, inode) = (stat.st_dev, stat.st_ino);
    // Landlock may keep init itself from reading it; it is refused, and is what it is called.
    if kept {
        return Ok((
            Link { real, named, argument: None, no_exec, strange: false, device, inode, file },
            None,
        ));
    }
    let readable = fs::openat(CWD, &own, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut head = [0; HEAD];
    let length = rustix::io::pread(&readable, &mut head, 0)?;
    let head = head.get(..length).unwrap_or_default();
    let link = |argument| Link { real, named, argument, no_exec, strange: false, device, inode, file };
    if let Some(line) = head.strip_prefix(b"#!") {
        let (interpreter, argument) = shebang(line, length == HEAD).ok_or(Errno::NOEXEC)?;
        return Ok((link(argument), Some(interpreter)));
    }
    // 64 bits, little endian, and this machine (elf(5)): anything else the kernel refuses, or hands to a program that the host
    // registered for it (binfmt_misc), which nobody here has judged.
    #[cfg(target_arch = "x86_64")]
    const MACHINE: u16 = 62;
    #[cfg(target_arch = "aarch64")]
    const MACHINE: u16 = 183;
    let machine = head.get(18..20).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    if head.starts_with(b"\x7fELF\x02\x01") && machine == Some(MACHINE) {
        Ok((link(None), None))
    } else {
        Err(Errno::NOEXEC)
    }
}

/// As fs/binfmt_script.c reads it: a path, and behind blanks one argument, to the end of the line.
fn shebang(line: &[u8], cut: bool) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = line.get(..end.unwrap_or(line.len()))?;
    let from = text.iter().position(|byte| !blank(byte))?;
    let text = text.get(from..)?;
    let to = text.iter().rposition(|byte| !blank(byte))? + 1;
    let text = text.get(..to)?;
    let name = text.iter().position(|byte| blank(byte) || *byte == 0).unwrap_or(text.len());
    // A name that does not end in what the kernel reads may be longer.
    if cut && end.is_none() && name == text.len() {
        return None;
    }
    let (interpreter, rest) = text.split_at_checked(name)?;
    let rest = rest.get(rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len())..)?;
    let rest = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    if interpreter.is_empty() {
        return None;
    }
    Some((interpreter.to_vec(), (!rest.is_empty()).then(|| rest.to_vec())))
}

pub(super) fn path_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    named(crate::proc::path_of(file)?)
}

fn named(path: Vec<u8>) -> Result<Vec<u8>, Errno> {
    // Not a path: a file without a name (memfd_create(2)), or one that was removed.
    if !path.starts_with(b"/") || path.starts_with(b"/memfd:") || path.ends_with(b" (deleted)") {
        return Err(Errno::ACCESS);
    }
    Ok(path)
}

/// Whether nothing that the task can do makes this path lead elsewhere, or its file say something else: each directory on the
/// way, and the file, lie on mounts that are read-only, or outside of what is granted for writing. A directory where something is mounted
/// stays where it is (rename(2), EBUSY), whatever it lies in, if nobody has other `mounts`.
pub(super) fn settled(path: &[u8], directory: &[u8], trees: Option<&Trees>, mounts: bool) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    let whole = Path::new(OsStr::from_bytes(directory)).join(path);
    let mounts = mounts && trees.is_none();
    let mut left: Vec<_> = whole.components().rev().map(|part| part.as_os_str().to_owned()).collect();
    // `above`: nothing in the directory that `at` lies in can be exchanged.
    let (mut at, mut links, mut above) = (PathBuf::new(), 0, true);
    while let Some(name) = left.pop() {
        let mut seen = true;
        if name == "/" {
            at = PathBuf::from("/");
        } else if name == ".." {
            at.pop();
        } else {
            at.push(&name);
            seen = false;
        }
        match fs::readlink(&at, Vec::new()) {
            Ok(target) => {
                links += 1;
                if links > MOST_LINKS || !above {
                    return false;
                }
                at.pop();
                let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
            }
            Err(Errno::INVAL) if seen || above || mounts && mountinfo::is_point(CWD, &at) == Ok(true) => {
                above = sealed(&at, trees);
            }
            Err(_) => return false,
        }
    }
    above
}

fn sealed(path: &Path, trees: Option<&Trees>) -> bool {
    if let Some(trees) = trees {
        return !trees.changes(path);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = fs::openat(CWD, path, flags, Mode::empty()).and_then(|file| fs::fstatvfs(file.as_fd()));
    stat.is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_read_as_the_kernel_reads_them() {
        let read = |line: &str| {
            shebang(line.as_bytes(), false).map(|(name, rest)| {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                (text(name), rest.map(text).unwrap_or_default())
            })
        };
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("/bin/sh\nx"), pair("/bin/sh", ""));
        assert_eq!(read(" \t/bin/sh -e  x \t\n"), pair("/bin/sh", "-e  x"));
        assert_eq!(read("/usr/bin/env -S a b"), pair("/usr/bin/env", "-S a b"));
        assert_eq!(read("  \n/bin/sh"), None);
        assert_eq!(shebang(b"/very/long", true), None);
    }

    #[test]
    fn what_can_be_written_is_not_settled() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("x");
        std::fs::write(&file, "").unwrap();
        let stays = |path: &[u8], trees: Option<&Trees>| settled(path, b"/", trees, true);
        assert!(!stays(file.as_os_str().as_bytes(), None));
        assert!(!stays(b"/proc/../x", None) && !stays(b"/nowhere/at/all", None));
        let trees = |written: &Path| {
            let [executed, hidden, libraries, searched] = [const { Vec::new() }; 4];
            Some(Trees { written: vec![written.into()], executed, hidden, libraries, searched })
        };
        let path = file.as_os_str().as_bytes();
        assert!(!stays(path, trees(place.path()).as_ref()));
        assert!(stays(path, trees(&place.path().join("below")).as_ref()));
        assert!(!stays(path, trees(&file).as_ref()));
        let up = place.path().join("..").join(place.path().file_name().unwrap()).join("x");
        let up = up.as_os_str().as_bytes();
        assert!(stays(up, trees(&place.path().join("below")).as_ref()));
    }
}
