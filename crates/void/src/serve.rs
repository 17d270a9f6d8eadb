//! One request, one answer; nothing is remembered of either.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_plan::Content;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::asked::{Asked, Decision, Turn};
use crate::told::Told;
use crate::tree::{Entry, Tree};
use crate::wire::{
    Answer, DIRECT, FOR_EVER, KEEP_CACHE, Operation, Request, VERSION, WANTED, fail, long, word,
};

/// Names that every start of a program looks for and nothing grants: never told, and remembered by the kernel for ever.
pub const ALWAYS_ASKED: &[&str] = &["/etc/ld.so.preload", "/etc/ld-nix.so.preload", "/etc/suid-debug"];
/// Those that each start of a program with libselinux looks for, as sed and cp: told, and remembered for a second, whether the host has
/// them or not.
pub const OFTEN_ASKED: &[&str] = &["/selinux", "/etc/selinux"];
/// Bytes of one answer to a listing.
const LISTING: usize = 64 << 10;
const BLOCK: u32 = 4096;

/// Something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The request: [`Server::finish`] answers it.
    pub unique: u64,
    /// The thread that asked, as the sandbox counts; 0: unknown.
    pub thread: i32,
    /// What it asked for.
    pub path: PathBuf,
    /// What it came upon.
    pub act: Act,
}

/// What was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A name where nothing is granted.
    Absent,
    /// A file that is a bait, which is opened.
    Opened,
    /// What a grant would show if it were not hidden.
    Hidden,
    /// What the owner is to be asked about.
    Asked,
}

/// Serves one tree.
#[derive(Debug)]
pub struct Server {
    tree: Tree,
    owner: (u32, u32),
    /// Seconds since 1970: when all of it came to be.
    since: u64,
    /// What the task may know of what was refused.
    pub told: Told,
    /// The owner is asked.
    asks: bool,
    asked: Asked,
}

impl Server {
    /// `owner` are the user and group ids that all of it belongs to, as the sandbox counts; `asks`: who looks may have the owner asked.
    #[must_use]
    pub fn new(nodes: &[ringfence_plan::Node], owner: (u32, u32), asks: bool) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let (told, asked) = (Told::default(), Asked::default());
        Self { tree: Tree::new(nodes), owner, since, told, asks, asked }
    }

    /// What a path leads to by the tree's own links: those the plan made, not the task.
    #[must_use]
    pub fn real(&self, path: &Path) -> PathBuf {
        self.tree.real(path)
    }

    /// Whether the owner is asked about something for which nobody waits now.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.asked.leaves()
    }

    /// What the owner was asked about, and nobody will wait for again: those who did are no threads that live, or do not come back.
    pub fn left(&mut self, lives: impl Fn(i32) -> bool) -> Vec<PathBuf> {
        let gone = self.asked.gone(lives);
        gone.into_iter().filter_map(|node| Some(self.tree.get(node)?.path.clone())).collect()
    }

    /// Shows one more name, for what the owner grants: nothing that leads there or lies below is refused any more, or the kernel would
    /// be told that it is gone, and take away what is mounted there. Where the owner is asked, so is whoever comes once it is taken away.
    pub fn add(&mut self, node: &ringfence_plan::Node) {
        let content = match node.content {
            Content::Hidden { directory } if self.asks => Content::Asked { directory },
            _ => node.content.clone(),
        };
        self.tree.add(&node.path, &content);
        self.tree.around(&node.path).into_iter().for_each(|number| self.asked.forget_refusal(number));
    }

    /// Shows a name that the owner is asked about, and answers the look that came upon it.
    pub fn offer(&mut self, path: &Path, directory: bool, look: &Look, answer: &mut Vec<u8>) {
        self.tree.add(path, &Content::Asked { directory });
        match self.tree.find(&look.path) {
            Some(number) if look.act == Act::Absent => {
                let mut answer = Answer::new(answer, look.unique);
                self.entry(number, &mut answer);
                answer.finish(0);
            }
            _ => self.finish(look, answer),
        }
    }

    /// The owner has spoken: requests that are answered with an error now.
    pub fn decide(&mut self, path: &Path, decision: Decision) -> (Vec<u64>, i32) {
        if decision == Decision::Ended {
            // With a directory goes what was asked about below it.
            let below =
                |number: &u64| self.tree.get(*number).is_some_and(|entry| entry.path.starts_with(path));
            self.tree.around(path).into_iter().filter(below).for_each(|number| self.asked.end(number));
            return (Vec::new(), 0);
        }
        match self.tree.find(path) {
            Some(number) if self.tree.get(number).is_some_and(Entry::is_asked) => {
                self.asked.decide(number, decision)
            }
            _ => (Vec::new(), 0),
        }
    }

    /// Answers a request with an error number of errno(3).
    pub fn refuse(unique: u64, error: i32, answer: &mut Vec<u8>) {
        fail(answer, unique, error);
    }

    /// Answers one request in `answer`, which stays empty where none is due. A look is to be written down, and answered by
    /// [`Self::finish`]. Bytes that are no request have no answer.
    #[must_use]
    pub fn serve(&mut self, request: &[u8], answer: &mut Vec<u8>) -> Option<Look> {
        answer.clear();
        let request = Request::parse(request)?;
        match request.operation {
            Operation::Lookup => return self.lookup(&request, answer),
            // A look that is interrupted is answered as soon as it is written down, and not before.
            Operation::Forget | Operation::Destroy => {}
            Operation::Interrupt => {
                if let Some(unique) = long(request.body, 0) {
                    self.asked.interrupt(unique, answer);
                }
            }
            Operation::Init => init(&request, answer),
            Operation::Release => Answer::new(answer, request.unique).finish(0),
            Operation::Statistics => self.statistics(&request, answer),
            Operation::Change => fail(answer, request.unique, libc::EROFS),
            Operation::Other => fail(answer, request.unique, libc::ENOSYS),
            // Init waits for nobody; and nothing else is held, since an overlay asks for more while it looks a name up.
            Operation::Attributes
            | Operation::Open
            | Operation::Read
            | Operation::ReadDirectory
            | Operation::ReadDirectoryPlus
                if request.thread > 1 && self.tree.get(request.node).is_some_and(Entry::waits) =>
            {
                return self.ask(&request, answer);
            }
            Operation::Attributes => self.attributes(&request, answer),
            Operation::Open if self.tree.get(request.node).is_some_and(Entry::is_decoy) => {
                return self.look(&request, Act::Opened);
            }
            Operation::Open | Operation::Read | Operation::ReadDirectory | Operation::ReadDirectoryPlus
                if self.tree.get(request.node).is_some_and(Entry::is_hidden) =>
            {
                return self.look(&request, Act::Hidden);
            }
            Operation::ReadLink | Operation::Open | Operation::Read => self.file(&request, answer),
            Operation::ReadDirectory | Operation::ReadDirectoryPlus => self.list(&request, answer),
        }
        None
    }

    /// Says that a name is not there; or that it is nobody's to read; or that the bait is open.
    pub fn finish(&self, look: &Look, answer: &mut Vec<u8>) {
        match look.act {
            // Where the owner may be asked, who looks next asks anew.
            Act::Absent => {
                let often = !self.asks && OFTEN_ASKED.iter().any(|asked| look.path.as_os_str() == *asked);
                absent(answer, look.unique, u64::from(often));
            }
            Act::Asked => fail(answer, look.unique, libc::ENOENT),
            Act::Hidden => fail(answer, look.unique, libc::EACCES),
            Act::Opened => {
                let mut answer = Answer::new(answer, look.unique);
                answer.longs(&[0]).words(&[KEEP_CACHE, 0]);
                answer.finish(0);
            }
        }
    }

    fn look(&self, request: &Request<'_>, act: Act) -> Option<Look> {
        let path = self.tree.get(request.node)?.path.clone();
        Some(Look { unique: request.unique, thread: request.thread, path, act })
    }

    fn ask(&mut self, request: &Request<'_>, answer: &mut Vec<u8>) -> Option<Look> {
        match self.asked.used(request.node, request.unique, request.thread) {
            Turn::Ask => return self.look(request, Act::Asked),
            Turn::Wait => {}
            Turn::Fail(error) => fail(answer, request.unique, error),
        }
        None
    }

    fn lookup(&self, request: &Request<'_>, answer: &mut Vec<u8>) -> Option<Look> {
        let unique = request.unique;
        let (Some(parent), Some(name)) = (self.tree.get(request.node), request.name()) else {
            fail(answer, unique, libc::ENOENT);
            return None;
        };
        // One that leads to something else is never gone, or the kernel would take that away.
        let gone =
            |number: u64| self.asked.refused(number) && self.tree.get(number).is_some_and(Entry::waits);
        let child = parent.children.get(name).filter(|number| !gone(**number));
        if let Some(number) = child {
            let mut answer = Answer::new(answer, unique);
            self.entry(*number, &mut answer);
            answer.finish(0);
            return None;
        }
        let path = parent.path.join(OsStr::from_bytes(name));
        if parent.waits() {
            absent(answer, unique, 0);
            return None;
        }
        if parent.is_hidden() {
            return Some(Look { unique, thread: request.thread, path, act: Act::Hidden });
        }
        if ALWAYS_ASKED.iter().any(|asked| path.as_os_str() == *asked) {
            absent(answer, unique, FOR_EVER);
            return None;
        }
        Some(Look { unique, thread: request.thread, path, act: Act::Absent })
    }

    /// struct fuse_entry_out.
    fn entry(&self, number: u64, answer: &mut Answer<'_>) {
        let Some(entry) = self.tree.get(number) else { return };
        let (name, attributes) =
            if entry.is_asked() { (self.asked.remembered(number), 0) } else { (FOR_EVER, FOR_EVER) };
        answer.longs(&[number, 0, name, attributes]).words(&[0, 0]);
        self.attr(number, entry, answer);
    }

    /// struct fuse_attr.
    fn attr(&self, number: u64, entry: &Entry, answer: &mut Answer<'_>) {
        let size = entry.bytes().len() as u64;
        let links = if entry.children.is_empty() { 1 } else { 2 };
        // What is bait is as old as its like.
        let (age, part) = if entry.is_decoy() { age(entry.bytes()) } else { (0, 0) };
        let since = self.since.saturating_sub(age);
        answer.longs(&[number, size, size.div_ceil(BLOCK.into()) * 8, since, since, since]).words(&[
            part,
            part,
            part,
            entry.mode(),
            links,
            self.owner.0,
            self.owner.1,
            0,
            BLOCK,
            0,
        ]);
    }

    fn attributes(&self, request: &Request<'_>, answer: &mut Vec<u8>) {
        let Some(entry) = self.tree.get(request.node) else {
            return fail(answer, request.unique, libc::ENOENT);
        };
        let mut answer = Answer::new(answer, request.unique);
        answer.longs(&[FOR_EVER]).words(&[0, 0]);
        self.attr(request.node, entry, &mut answer);
        answer.finish(0);
    }

    fn file(&self, request: &Request<'_>, answer: &mut Vec<u8>) {
        let unique = request.unique;
        let Some(entry) = self.tree.get(request.node) else { return fail(answer, unique, libc::ENOENT) };
        let mut out = Answer::new(answer, unique);
        match request.operation {
            Operation::ReadLink => {
                out.raw(entry.bytes());
            }
            Operation::Open => {
                let flags = if matches!(entry.content, Content::Refusals) { DIRECT } else { KEEP_CACHE };
                out.longs(&[0]).words(&[flags, 0]);
            }
            _ => {
                let (Some(offset), Some(size)) = (long(request.body, 8), word(request.body, 16)) else {
                    return fail(answer, unique, libc::EINVAL);
                };
                let bytes = match entry.content {
                    Content::Refusals => self.told.bytes(),
                    _ => entry.bytes(),
                };
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(bytes.len());
                out.raw(bytes.get(start..end).unwrap_or_default());
            }
        }
        out.finish(0);
    }

    /// struct fuse_dirent, or fuse_direntplus; the offset behind an entry is its place in the list.
    fn list(&self, request: &Request<'_>, answer: &mut Vec<u8>) {
        let unique = request.unique;
        let (Some(entry), Some(offset), Some(size)) =
            (self.tree.get(request.node), long(request.body, 8), word(request.body, 16))
        else {
            return fail(answer, unique, libc::EINVAL);
        };
        let plus = request.operation == Operation::ReadDirectoryPlus;
        let most = usize::try_from(size).unwrap_or(0).min(LISTING);
        let mut out = Answer::new(answer, unique);
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, number)) in entry.children.iter().enumerate().skip(skipped) {
            let shown = |child: &&Entry| !child.waits() || self.asked.granted(*number);
            let Some(child) = self.tree.get(*number).filter(shown) else { continue };
            // Sizes of fuse_entry_out and of fuse_dirent.
            let needed = if plus { 128 } else { 0 } + 24 + name.len().next_multiple_of(8);
            if out.len() + needed > most {
                break;
            }
            if plus {
                self.entry(*number, &mut out);
            }
            let length = u32::try_from(name.len()).unwrap_or(0);
            out.longs(&[*number, index as u64 + 1]).words(&[length, child.mode() >> 12]).raw(name);
            out.pad();
        }
        out.finish(0);
    }

    /// struct fuse_kstatfs.
    fn statistics(&self, request: &Request<'_>, answer: &mut Vec<u8>) {
        let mut answer = Answer::new(answer, request.unique);
        answer.longs(&[0, 0, 0, self.tree.len(), 0]).words(&[BLOCK, 255, BLOCK, 0, 0, 0, 0, 0, 0, 0]);
        answer.finish(0);
    }
}

/// Seconds between three weeks and a year, and nanoseconds: drawn by what a decoy holds, which is drawn itself.
fn age(bytes: &[u8]) -> (u64, u32) {
    const DAY: u64 = 24 * 60 * 60;
    let drawn = BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes);
    let part = u32::try_from((drawn >> 32) % 1_000_000_000).unwrap_or(0);
    (21 * DAY + drawn % (344 * DAY), part)
}

/// An entry without a number: the kernel remembers so long that there is none.
fn absent(answer: &mut Vec<u8>, unique: u64, seconds: u64) {
    let mut answer = Answer::new(answer, unique);
    answer.longs(&[0, 0, seconds, 0]).words(&[0, 0]).raw(&[0; 88]);
    answer.finish(0);
}

/// struct fuse_init_in and fuse_init_out.
fn init(request: &Request<'_>, answer: &mut Vec<u8>) {
    let (Some(major), Some(minor), Some(offered)) =
        (word(request.body, 0), word(request.body, 4), word(request.body, 12))
    else {
        return fail(answer, request.unique, libc::EPROTO);
    };
    if major != VERSION.0 || minor < VERSION.1 {
        return fail(answer, request.unique, libc::EPROTO);
    }
    let mut answer = Answer::new(answer, request.unique);
    // Version, read-ahead, flags, requests in the background and where that is many, the longest write.
    answer.words(&[VERSION.0, VERSION.1, 64 << 10, offered & WANTED, 12 << 16 | 16, BLOCK]);
    // Granularity of times, pages of a request, and room for later.
    answer.words(&[1_000_000_000, 0, 0, 0]).raw(&[0; 24]);
    answer.finish(0);
}
