//! The journal of an apply: JSON lines in the run's directory, on disk before what they announce.
//!
//! It names the steps before the first one is taken, the new objects once they are built, and the moment when the whole
//! has landed. Which steps were taken is not written down: [`crate::recover()`] sees it from the inode numbers, whatever
//! order a power cut left the renames in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::beneath::Tree;
use crate::layer::{Identity, Timestamp};
use crate::name;
use crate::operation::Operation;
use crate::root::Root;

/// The file's name in the journal directory.
pub(crate) const FILE: &str = "journal.jsonl";
/// Holds what was replaced, each under the number of its step.
pub(crate) const UNDO: &str = "undo";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
enum Line {
    Begin {
        version: u32,
        stage: String,
        layers: Vec<Place>,
        /// When, before the first step.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<Timestamp>,
    },
    Operation(Operation),
    /// All steps are named; from here on the host may hold something of ours.
    Planned {
        count: usize,
    },
    Staged {
        number: usize,
        identity: Identity,
    },
    /// Everything new is on disk; from here on steps may have been taken.
    Ready,
    /// Every step was taken and is on disk: from here on it goes forward only.
    Landed,
    /// How something new stands on the host at the end: whoever undoes it compares it with this.
    Stands {
        number: usize,
        identity: Identity,
        /// What an index of git's says: see [`crate::index`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meaning: Option<String>,
    },
    Done {
        landed: bool,
    },
}

/// A layer's directory on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) name: String,
    #[serde(with = "name")]
    pub(crate) host: PathBuf,
    #[serde(flatten)]
    pub(crate) root: Root,
}

/// How new objects stand on the host, by the numbers of their steps, and what indexes of git's among them say.
pub(crate) type Standing = BTreeMap<usize, (Identity, Option<String>)>;

/// What a journal says.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// When it was begun, before its first step.
    pub(crate) begun: Option<Timestamp>,
    pub(crate) stage: String,
    pub(crate) layers: Vec<Place>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) staged: BTreeMap<usize, Identity>,
    pub(crate) stands: BTreeMap<usize, Identity>,
    /// What indexes of git's among it say.
    pub(crate) meanings: BTreeMap<usize, String>,
    pub(crate) planned: bool,
    pub(crate) ready: bool,
    pub(crate) landed: bool,
    /// How it ended.
    pub(crate) done: Option<bool>,
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Its directory.
    pub(crate) directory: Tree,
    pub(crate) path: PathBuf,
}

impl Journal {
    /// Starts one and writes down every step. `EEXIST`: there is one already.
    pub(crate) fn create(
        path: &Path,
        stage: &str,
        layers: Vec<Place>,
        operations: &[Operation],
    ) -> Result<Self, Errno> {
        for directory in [path, &path.join(UNDO)] {
            match rustix::fs::mkdir(directory, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let directory = Tree::own(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(directory.root(), FILE, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))?;
        let mut journal = Self { file: File::from(file), directory, path: path.to_owned() };
        let mut text = Vec::new();
        let begun = Some(Timestamp::now());
        push(&mut text, &Line::Begin { version: 1, stage: stage.to_owned(), layers, begun })?;
        for operation in operations {
            push(&mut text, &Line::Operation(operation.clone()))?;
        }
        push(&mut text, &Line::Planned { count: operations.len() })?;
        journal.append(&text)?;
        journal.sync()?;
        rustix::fs::fsync(journal.directory.root())?;
        if let Some(above) = path.parent() {
            rustix::fs::fsync(Tree::own(above)?.root())?;
        }
        Ok(journal)
    }

    /// Opens one to continue it, and reads what it says.
    pub(crate) fn open(path: &Path) -> Result<(Self, Story), Errno> {
        let directory = Tree::own(path)?;
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(directory.root(), FILE, flags, Mode::empty())?);
        let copy = file.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let (story, whole) = read(copy)?;
        // The cut line announced nothing that was done: it was not on disk. Where none is cut, the file keeps its time.
        if file.metadata().is_ok_and(|found| found.len() != whole) {
            rustix::fs::ftruncate(&file, whole)?;
        }
        Ok((Self { file, directory, path: path.to_owned() }, story))
    }

    /// Only reads what one says: its time tells when something landed last, and whoever works on it goes on.
    pub(crate) fn look(path: &Path) -> Result<Story, Errno> {
        let directory = Tree::own(path)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(directory.root(), FILE, flags, Mode::empty())?;
        read(File::from(file)).map(|(story, _)| story)
    }

    pub(crate) fn staged(&mut self, number: usize, identity: Identity) -> Result<(), Errno> {
        self.line(&Line::Staged { number, identity })
    }

    pub(crate) fn ready(&mut self) -> Result<(), Errno> {
        self.line(&Line::Ready)?;
        self.sync()
    }

    pub(crate) fn landed(&mut self) -> Result<(), Errno> {
        self.line(&Line::Landed)?;
        self.sync()
    }

    /// Before `done`, whose sync counts for it.
    pub(crate) fn stands(&mut self, found: &Standing) -> Result<(), Errno> {
        let mut text = Vec::new();
        for (number, (identity, meaning)) in found {
            let (identity, meaning) = (*identity, meaning.clone());
            push(&mut text, &Line::Stands { number: *number, identity, meaning })?;
        }
        self.append(&text)
    }

    pub(crate) fn done(&mut self, landed: bool) -> Result<(), Errno> {
        self.line(&Line::Done { landed })?;
        self.sync()
    }

    /// Where what is replaced goes.
    pub(crate) fn undo(&self) -> Result<Tree, Errno> {
        Tree::own(&self.path.join(UNDO))
    }

    fn line(&mut self, line: &Line) -> Result<(), Errno> {
        let mut text = Vec::new();
        push(&mut text, line)?;
        self.append(&text)
    }

    fn append(&mut self, text: &[u8]) -> Result<(), Errno> {
        self.file.write_all(text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn sync(&self) -> Result<(), Errno> {
        rustix::fs::fsync(&self.file)
    }
}

fn push(text: &mut Vec<u8>, line: &Line) -> Result<(), Errno> {
    serde_json::to_writer(&mut *text, line).map_err(|_| Errno::INVAL)?;
    text.push(b'\n');
    Ok(())
}

/// The story, and the length of its whole lines.
fn read(file: File) -> Result<(Story, u64), Errno> {
    let mut reader = BufReader::new(file);
    let (mut story, mut whole, mut text) = (Story::default(), 0_u64, Vec::new());
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text);
        let length = read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if text.pop() != Some(b'\n') {
            return Ok((story, whole));
        }
        whole += u64::try_from(length).unwrap_or(0);
        // A file of ours that is neither whole nor cut is damaged: nothing is guessed from it.
        match serde_json::from_slice(&text).map_err(|_| Errno::BADMSG)? {
            Line::Begin { version: 1, stage, layers, begun } => {
                (story.stage, story.layers, story.begun) = (stage, layers, begun);
            }
            Line::Begin { .. } => return Err(Errno::BADMSG),
            Line::Operation(operation) => story.operations.push(operation),
            Line::Planned { count } if count == story.operations.len() => story.planned = true,
            Line::Planned { .. } => return Err(Errno::BADMSG),
            Line::Staged { number, identity } => {
                story.staged.insert(number, identity);
            }
            Line::Stands { number, identity, meaning } => {
                story.stands.insert(number, identity);
                story.meanings.extend(meaning.map(|meaning| (number, meaning)));
            }
            Line::Ready => story.ready = true,
            Line::Landed => story.landed = true,
            Line::Done { landed } => story.done = Some(landed),
        }
    }
}
