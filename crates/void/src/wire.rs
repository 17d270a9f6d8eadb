//! The part of the FUSE protocol that a read-only tree needs (include/uapi/linux/fuse.h, version 7.31 and later). All numbers
//! are in the machine's own byte order.

/// Room for any request: the kernel takes no smaller buffer (FUSE_MIN_READ_BUFFER), and sends none larger to a server that is
/// never written to.
pub const LONGEST_REQUEST: usize = 16 << 10;

pub(crate) const VERSION: (u32, u32) = (7, 31);
/// sizeof(struct fuse_in_header).
const HEADER: usize = 40;
/// sizeof(struct fuse_out_header).
const ANSWER: usize = 16;
/// A time that never comes.
pub(crate) const FOR_EVER: u64 = u64::MAX;

/// FUSE_PARALLEL_DIROPS | FUSE_DO_READDIRPLUS | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT.
pub(crate) const WANTED: u32 = 1 << 18 | 1 << 13 | 1 << 23 | 1 << 24;
/// FOPEN_DIRECT_IO: each read is asked, whatever the size.
pub(crate) const DIRECT: u32 = 1;
/// FOPEN_KEEP_CACHE: contents never change.
pub(crate) const KEEP_CACHE: u32 = 1 << 1;

/// What is asked (enum fuse_opcode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Lookup,
    Forget,
    Attributes,
    ReadLink,
    Open,
    Read,
    Statistics,
    Release,
    Init,
    ReadDirectory,
    ReadDirectoryPlus,
    Interrupt,
    Destroy,
    /// It would change something.
    Change,
    /// Nothing that this file system has.
    Other,
}

impl Operation {
    fn of(code: u32) -> Self {
        match code {
            1 => Self::Lookup,
            2 | 42 => Self::Forget,
            3 => Self::Attributes,
            5 => Self::ReadLink,
            14 => Self::Open,
            15 => Self::Read,
            17 => Self::Statistics,
            18 | 29 => Self::Release,
            26 => Self::Init,
            28 => Self::ReadDirectory,
            44 => Self::ReadDirectoryPlus,
            36 => Self::Interrupt,
            38 => Self::Destroy,
            4 | 6 | 8..=13 | 16 | 21 | 24 | 35 | 43 | 45 | 47 | 51 => Self::Change,
            _ => Self::Other,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) operation: Operation,
    pub(crate) unique: u64,
    pub(crate) node: u64,
    /// The thread that asks, in the pid namespace of whoever mounted.
    pub(crate) thread: i32,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// `None` for what is no request: too short, or of another length than it says.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        if length != bytes.len() {
            return None;
        }
        Some(Self {
            operation: Operation::of(word(bytes, 4)?),
            unique: long(bytes, 8)?,
            node: long(bytes, 16)?,
            thread: i32::try_from(word(bytes, 32)?).unwrap_or(0),
            body: bytes.get(HEADER..)?,
        })
    }

    /// The body as one name: what stands before its NUL byte.
    pub(crate) fn name(&self) -> Option<&'a [u8]> {
        let end = self.body.iter().position(|byte| *byte == 0)?;
        self.body.get(..end).filter(|name| !name.is_empty() && !name.contains(&b'/'))
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(crate) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
}

/// An answer while it is written.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    bytes: &'a mut Vec<u8>,
}

impl<'a> Answer<'a> {
    /// To the request of this number. `bytes` is emptied.
    pub(crate) fn new(bytes: &'a mut Vec<u8>, unique: u64) -> Self {
        bytes.clear();
        bytes.extend([0; 8]);
        bytes.extend(unique.to_ne_bytes());
        Self { bytes }
    }

    pub(crate) fn words(&mut self, words: &[u32]) -> &mut Self {
        self.bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        self
    }

    pub(crate) fn longs(&mut self, longs: &[u64]) -> &mut Self {
        self.bytes.extend(longs.iter().flat_map(|long| long.to_ne_bytes()));
        self
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Bytes behind the header so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(ANSWER)
    }

    /// Fills up to a multiple of eight.
    pub(crate) fn pad(&mut self) {
        let rest = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(rest, 0);
    }

    /// `error` is a number of errno(3), or 0.
    pub(crate) fn finish(self, error: i32) {
        if error != 0 {
            self.bytes.truncate(ANSWER);
        }
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let head = [length.to_ne_bytes(), error.wrapping_neg().to_ne_bytes()].concat();
        for (to, from) in self.bytes.iter_mut().zip(head) {
            *to = from;
        }
    }
}

/// Only a number of errno(3).
pub(crate) fn fail(bytes: &mut Vec<u8>, unique: u64, error: i32) {
    Answer::new(bytes, unique).finish(error);
}
